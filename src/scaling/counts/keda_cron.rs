//! KEDA with a cron scaler beside the load: windows of the week with a least count, and HPA v2 above it.
//!
//! In: `Seen` and `Terms`. Out: an `Answer`. As in KEDA, the cron scaler's metric is its `desiredReplicas` within
//! a window, with a target of 1: a floor only, subject to HPA's tolerance and windows. To and from 0, where the
//! least count is 0, goes KEDA's operator: at once to 1 with load or a window, to 0 after a cooldown of 300 s
//! without both. Between 1 and the most, that cooldown means nothing; HPA's own window of 300 s holds.
//!
//! The windows are those that an owner would write who has watched the service for a week (key `days`): for each
//! hour of weekdays and each hour of weekends (UTC) the mean load of that hour over those days, divided by the
//! target, rounded up. They are written once, when the days are over, and never looked at again. Until then
//! there is HPA alone. So nothing is known before it was seen.

use serde::{Deserialize, Serialize};

use crate::domain::workload::WorkloadName;
use crate::scaling::counts::bins::Bins;
use crate::scaling::counts::hpa::{Beside, Hpa};
use crate::scaling::counts::{Answer, CheckpointError, CountPolicy, Reason, Seen, Terms};

const HOUR: i64 = 3_600;
/// KEDA's `cooldownPeriod`, seconds: from the last activity until the count goes to 0.
const COOLDOWN: i64 = 300;

/// KEDA's cron scaler and HPA.
#[derive(Debug, Clone)]
pub struct KedaCron {
    target: f64,
    hours: i64,
    hpa: Hpa,
    state: State,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    hpa: Vec<u8>,
    watched: Bins,
    /// The hour since the epoch of the first decision.
    first: Option<i64>,
    /// Least counts by hour of weekdays, then of weekends.
    windows: Option<Vec<u32>>,
    active: Option<i64>,
}

impl KedaCron {
    /// `target` as for HPA; windows are written after so many `days`.
    pub fn new(target: f64, days: f64, name: WorkloadName) -> Self {
        let hours = ((days * 24.0) as i64).max(1);
        let keep = usize::try_from(hours).unwrap_or(usize::MAX);
        let watched = Bins::new(HOUR, keep);
        let state = State { hpa: Vec::new(), watched, first: None, windows: None, active: None };
        Self { target, hours, hpa: Hpa::new(target, name), state }
    }

    fn watch(&mut self, from: i64, load: Option<f64>, terms: &Terms) {
        if self.state.windows.is_some() {
            return;
        }
        let ended = self.state.watched.tell(from, load);
        let hour = from.div_euclid(HOUR);
        let first = *self.state.first.get_or_insert(hour);
        if ended && hour - first >= self.hours {
            let counts = windows(&self.state.watched, self.target * terms.capacity);
            self.state.windows = Some(counts);
            self.state.watched = Bins::new(HOUR, 1);
        }
    }

    fn floor(&self, at: i64) -> u32 {
        let windows = self.state.windows.as_ref();
        windows.and_then(|windows| windows.get(window(at.div_euclid(HOUR))).copied()).unwrap_or(0)
    }
}

/// The place of an hour since the epoch: 0 to 23 on weekdays, 24 to 47 on weekends. 1970 began on a Thursday.
fn window(hour: i64) -> usize {
    let weekend = matches!(hour.div_euclid(24).rem_euclid(7), 2 | 3);
    hour.rem_euclid(24) as usize + if weekend { 24 } else { 0 }
}

fn windows(watched: &Bins, aim: f64) -> Vec<u32> {
    let mut sums = [(0.0, 0.0); 48];
    for (hour, load) in watched.known() {
        let (sum, count) = &mut sums[window(hour)];
        *sum += load;
        *count += 1.0;
    }
    // An hour that was not seen has no window.
    sums.map(|(sum, count)| if count > 0.0 { (sum / count / aim - 1e-9).ceil() as u32 } else { 0 }).into()
}

impl CountPolicy for KedaCron {
    fn decide(&mut self, seen: &Seen, terms: &Terms) -> Answer {
        self.watch(seen.at - terms.interval as i64, seen.load, terms);
        let floor = self.floor(seen.at);
        // What is not known may be load.
        if floor > 0 || seen.load.is_none_or(|load| load > 0.0) {
            self.state.active = Some(seen.at);
        }
        if terms.min == 0 {
            let idle = self.state.active.is_none_or(|active| seen.at - active >= COOLDOWN);
            if idle || seen.count() == 0 {
                let count = u32::from(!idle);
                return Answer { count, reason: Reason { rule: "operator", values: Vec::new() } };
            }
        }
        let bounds = Terms { min: terms.min.max(1), ..*terms };
        let beside = (floor > 0).then(|| Beside { aim: 1.0, total: f64::from(floor) });
        let mut answer = self.hpa.decide_beside(seen, &bounds, beside);
        answer.reason.values.push(("floor", f64::from(floor)));
        answer
    }

    fn checkpoint(&self) -> Result<Vec<u8>, CheckpointError> {
        let state = State { hpa: self.hpa.checkpoint()?, ..self.state.clone() };
        Ok(postcard::to_stdvec(&state)?)
    }

    fn restore(&mut self, checkpoint: &[u8]) -> Result<(), CheckpointError> {
        let state: State = postcard::from_bytes(checkpoint)?;
        self.hpa.restore(&state.hpa)?;
        self.state = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms { capacity: 10.0, startup: 60.0, interval: 900.0, min: 1, max: 40 };
    const DAY: i64 = 86_400;

    /// Monday, 1970-01-05.
    const MONDAY: i64 = 4 * DAY;

    /// Weekdays have 70 from 9 to 17 and 7 else, weekends 7.
    fn load(at: i64) -> f64 {
        let hour = at.div_euclid(HOUR);
        if window(hour) < 24 && (9..17).contains(&hour.rem_euclid(24)) { 70.0 } else { 7.0 }
    }

    #[test]
    fn an_owner_writes_windows_after_a_week_and_they_come_in_time() {
        let mut policy = KedaCron::new(0.7, 7.0, WorkloadName::new("web").expect("a name"));
        let mut count = 1;
        let mut counts = Vec::new();
        for step in 1..14 * 96 {
            let at = MONDAY + step * 900;
            let seen = Seen { at, load: Some(load(at - 900)), ready: count, starting: 0 };
            count = policy.decide(&seen, &TERMS).count;
            counts.push((at, count));
        }
        let at = |day: i64, hour: i64| {
            let at = MONDAY + day * DAY + hour * HOUR;
            counts.iter().find(|(time, _)| *time == at).expect("a decision").1
        };
        assert_eq!((at(0, 9), at(0, 10)), (1, 10), "the first Monday it only reacts");
        assert_eq!((at(7, 8), at(7, 9)), (1, 5), "the second one the window does: four more in 15 s");
        assert_eq!((at(7, 16), at(12, 12)), (10, 1));
    }

    #[test]
    fn a_window_is_a_floor_and_no_cap_and_zero_is_the_operators() {
        let mut policy = KedaCron::new(0.5, 1.0, WorkloadName::new("web").expect("a name"));
        policy.state.windows = Some(vec![6; 48]);
        let seen = |at: i64, load: f64, ready: u32| Seen { at, load: Some(load), ready, starting: 0 };
        assert_eq!(policy.decide(&seen(MONDAY, 0.0, 3), &TERMS).count, 6);
        assert_eq!(policy.decide(&seen(MONDAY + 60, 50.0, 6), &TERMS).count, 10);
        let mut policy = KedaCron::new(0.5, 1.0, WorkloadName::new("web").expect("a name"));
        let terms = Terms { min: 0, ..TERMS };
        let mut ask = |at: i64, load: f64, ready: u32| {
            policy.decide(&Seen { at, load: Some(load), ready, starting: 0 }, &terms).count
        };
        assert_eq!(ask(0, 4.0, 1), 1);
        assert_eq!(ask(299, 0.0, 1), 1, "within the cooldown");
        assert_eq!(ask(300, 0.0, 1), 0);
        assert_eq!(ask(900, 4.0, 0), 1);
    }
}
