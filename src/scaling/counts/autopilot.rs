//! Google Autopilot's horizontal scaling (Rzadca et al. 2020, section 3.3) as a policy of counts.
//!
//! In: `Seen` and `Terms`. Out: an `Answer`. From the paper: the load of a window of 72 h as means of 5 min, its 95th
//! percentile (or its highest value: percentile 1) over the target; the greatest such recommendation of the last
//! two days (40 % of its jobs use two, 35 % three); a slow decay, half in an hour; small changes deferred; growth
//! limited by the share of instances that are still starting. Of the last two the paper tells no values: here a
//! change of less than a twentieth waits, and no more may start than serve.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::scaling::counts::bins::Bins;
use crate::scaling::counts::{Answer, CheckpointError, CountPolicy, Reason, Seen, Terms};

/// Seconds of a mean.
const STEP: i64 = 300;
/// Seconds in which the count may halve.
const HALVING: f64 = 3_600.0;
/// The share of the count below which a change waits; ours.
const SMALL: f64 = 0.05;
/// Instances that may be starting, for each one that serves; ours.
const GROWTH: f64 = 1.0;

/// What an owner sets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameters {
    /// The share of its capacity that an instance should have as load.
    pub target: f64,
    /// Which percentile of the window; 1 is the highest value.
    pub percentile: f64,
    /// Hours of the window.
    pub window: f64,
    /// Hours for which the greatest recommendation holds.
    pub deferral: f64,
}

/// Autopilot, with what it remembers.
#[derive(Debug, Clone)]
pub struct Autopilot {
    parameters: Parameters,
    state: State,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    means: Bins,
    /// Recommendations that may still become the greatest: falling from the front on, each with its place.
    greatest: VecDeque<(i64, f64)>,
    /// The count that decays, with when it was last moved.
    level: Option<(i64, f64)>,
}

impl Autopilot {
    /// Knows nothing yet.
    pub fn new(parameters: Parameters) -> Self {
        let keep = (parameters.window * 3_600.0 / STEP as f64) as usize;
        let state = State { means: Bins::new(STEP, keep), greatest: VecDeque::new(), level: None };
        Self { parameters, state }
    }

    /// Once a step: the recommendation of the window, in instances that are not whole.
    fn recommend(&mut self, terms: &Terms) {
        let mut loads: Vec<f64> = self.state.means.known().map(|(_, load)| load).collect();
        let place = self.state.means.now().unwrap_or_default();
        if !loads.is_empty() {
            let rank = (self.parameters.percentile.min(1.0) * loads.len() as f64).ceil() as usize;
            let rank = rank.clamp(1, loads.len()) - 1;
            let (_, load, _) = loads.select_nth_unstable_by(rank, f64::total_cmp);
            let wanted = *load / (self.parameters.target * terms.capacity);
            while self.state.greatest.back().is_some_and(|(_, last)| *last <= wanted) {
                self.state.greatest.pop_back();
            }
            self.state.greatest.push_back((place, wanted));
        }
        let deferral = (self.parameters.deferral * 3_600.0 / STEP as f64) as i64;
        while self.state.greatest.front().is_some_and(|(at, _)| place - at > deferral) {
            self.state.greatest.pop_front();
        }
    }

    fn decayed(&mut self, at: i64, wanted: f64, now: f64) -> f64 {
        let (last, level) = self.state.level.unwrap_or((at, now));
        let level = level * 0.5_f64.powf((at - last).max(0) as f64 / HALVING);
        let level = level.max(wanted);
        self.state.level = Some((at, level));
        level
    }
}

impl CountPolicy for Autopilot {
    fn decide(&mut self, seen: &Seen, terms: &Terms) -> Answer {
        if self.state.means.tell(seen.at - terms.interval as i64, seen.load) {
            self.recommend(terms);
        }
        let now = seen.count();
        let Some(&(_, wanted)) = self.state.greatest.front() else {
            let reason = Reason { rule: "nothing recommended yet", values: Vec::new() };
            return Answer { count: now, reason };
        };
        let level = self.decayed(seen.at, wanted, f64::from(now));
        let whole = terms.bounded((level - 1e-9).ceil() as u32);
        let values = vec![("recommended", wanted), ("decayed", level)];
        if f64::from(whole.abs_diff(now)) < SMALL * f64::from(now) {
            return Answer { count: now, reason: Reason { rule: "small change", values } };
        }
        let may_start = (f64::from(seen.ready) * GROWTH).max(1.0) as u32;
        let most = seen.ready.saturating_add(may_start).max(now);
        Answer { count: terms.bounded(whole.min(most)), reason: Reason { rule: "autopilot", values } }
    }

    fn checkpoint(&self) -> Result<Vec<u8>, CheckpointError> {
        Ok(postcard::to_stdvec(&self.state)?)
    }

    fn restore(&mut self, checkpoint: &[u8]) -> Result<(), CheckpointError> {
        self.state = postcard::from_bytes(checkpoint)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms { capacity: 10.0, startup: 60.0, interval: 300.0, min: 1, max: 40 };

    fn counts(load: impl Fn(i64) -> f64, steps: i64, parameters: Parameters) -> Vec<u32> {
        let mut policy = Autopilot::new(parameters);
        let mut count = 1;
        (1..=steps)
            .map(|step| {
                let at = step * STEP;
                let seen = Seen { at, load: Some(load(step - 1)), ready: count, starting: 0 };
                count = policy.decide(&seen, &TERMS).count;
                count
            })
            .collect()
    }

    #[test]
    fn the_percentile_grows_by_doubling_and_leaves_late_and_slowly() {
        let parameters = Parameters { target: 0.5, percentile: 1.0, window: 2.0, deferral: 3.0 };
        // 40 for an hour, then 5: the window forgets it after two hours more, the deferral after three more.
        let counts = counts(|step| if step < 12 { 40.0 } else { 5.0 }, 120, parameters);
        assert_eq!(counts[..5], [1, 2, 4, 8, 8], "no more may start than serve");
        let held = counts.iter().skip(4).take_while(|count| **count == 8).count();
        // 24 means without it after step 36, the recommendation of step 35 holds for 36 steps more,
        // and two later the decay is by a whole instance.
        assert_eq!(held, 70, "{counts:?}");
        let after = &counts[72..];
        assert_eq!(after[11], 4, "half in an hour: {after:?}");
        assert_eq!(counts.last(), Some(&1));
    }

    #[test]
    fn a_percentile_ignores_what_is_rare() {
        let parameters = Parameters { target: 0.5, percentile: 0.95, window: 72.0, deferral: 48.0 };
        let counts = counts(|step| if step % 50 == 49 { 100.0 } else { 20.0 }, 300, parameters);
        assert_eq!(counts.last(), Some(&4));
    }
}
