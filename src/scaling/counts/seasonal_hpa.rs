//! A seasonal naive forecast fed to HPA v2: the simplest prediction that others have to beat.
//!
//! In: `Seen` and `Terms`. Out: an `Answer`: HPA's with two metrics, the present load and the highest load of the
//! same minutes a season ago (a week; a day until there is a week) that an instance asked for now would meet;
//! the greater answer counts, and HPA's windows and rules hold for both.

use serde::{Deserialize, Serialize};

use crate::domain::workload::WorkloadName;
use crate::scaling::counts::bins::Bins;
use crate::scaling::counts::hpa::{Beside, Hpa};
use crate::scaling::counts::{Answer, CheckpointError, CountPolicy, Seen, Terms};

const MINUTE: i64 = 60;
/// Minutes of a day.
const DAY: i64 = 1_440;

/// HPA with the load of a season ago beside the present one.
#[derive(Debug, Clone)]
pub struct SeasonalHpa {
    target: f64,
    season: i64,
    hpa: Hpa,
    minutes: Bins,
}

#[derive(Serialize, Deserialize)]
struct State {
    hpa: Vec<u8>,
    minutes: Bins,
}

impl SeasonalHpa {
    /// `target` as for HPA; a season of whole days, at least one.
    pub fn new(target: f64, days: f64, name: WorkloadName) -> Self {
        let season = (days.max(1.0) as i64).saturating_mul(DAY);
        let keep = usize::try_from(season).unwrap_or(usize::MAX);
        Self { target, season, hpa: Hpa::new(target, name), minutes: Bins::new(MINUTE, keep) }
    }

    /// The highest load of the minutes from when an instance asked for now serves until the next one would.
    fn forecast(&self, at: i64, terms: &Terms) -> Option<f64> {
        let from = at + terms.startup.ceil() as i64;
        let minutes = from.div_euclid(MINUTE)..=(from + terms.interval.ceil() as i64).div_euclid(MINUTE);
        let ago = |season: i64| minutes.clone().filter_map(move |minute| self.minutes.of(minute - season));
        ago(self.season).reduce(f64::max).or_else(|| ago(DAY).reduce(f64::max))
    }
}

impl CountPolicy for SeasonalHpa {
    fn decide(&mut self, seen: &Seen, terms: &Terms) -> Answer {
        self.minutes.tell(seen.at - terms.interval as i64, seen.load);
        let forecast = self.forecast(seen.at, terms);
        let beside = forecast.map(|total| Beside { aim: self.target * terms.capacity, total });
        let mut answer = self.hpa.decide_beside(seen, terms, beside);
        answer.reason.values.extend(forecast.map(|load| ("a season ago", load)));
        answer
    }

    fn checkpoint(&self) -> Result<Vec<u8>, CheckpointError> {
        let state = State { hpa: self.hpa.checkpoint()?, minutes: self.minutes.clone() };
        Ok(postcard::to_stdvec(&state)?)
    }

    fn restore(&mut self, checkpoint: &[u8]) -> Result<(), CheckpointError> {
        let state: State = postcard::from_bytes(checkpoint)?;
        self.hpa.restore(&state.hpa)?;
        self.minutes = state.minutes;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms { capacity: 10.0, startup: 60.0, interval: 60.0, min: 1, max: 40 };

    #[test]
    fn a_rise_of_yesterday_is_met_a_start_up_time_early() {
        let mut policy = SeasonalHpa::new(0.5, 7.0, WorkloadName::new("web").expect("a name"));
        let mut count = 2;
        let mut counts = Vec::new();
        // A load of 10 that is 50 for an hour from noon on; decisions are told of the minute before.
        for minute in 0..2 * DAY {
            let before = (minute - 1).rem_euclid(DAY);
            let load = if (720..780).contains(&before) { 50.0 } else { 10.0 };
            let seen = Seen { at: minute * MINUTE, load: Some(load), ready: count, starting: 0 };
            count = policy.decide(&seen, &TERMS).count;
            counts.push(count);
        }
        assert_eq!(counts[719..722], [2, 2, 6], "the first day it reacts, by 4 or double a 15 s");
        let of_next = |minute: i64| counts[(DAY + minute) as usize];
        // An instance that is asked for at 11:58 serves from 11:59 to 12:00, both ends included.
        assert_eq!([717, 718, 719].map(of_next), [2, 6, 10]);
    }
}
