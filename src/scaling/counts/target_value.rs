//! nomad-autoscaler's strategy `target-value` as a policy of counts.
//!
//! In: `Seen` and `Terms`. Out: an `Answer`: the count times metric over target, by the last value alone. The
//! metric is the load per instance that serves, as a share of what one serves. Constants are those of
//! nomad-autoscaler: threshold 0.01, cooldown 5 min after a change in either direction. Its evaluation
//! interval is 10 s; here each decision is one. Instances that start do not serve yet, but are multiplied
//! all the same (hashicorp/nomad-autoscaler#540); the cooldown hides that where they start within it.

use serde::{Deserialize, Serialize};

use crate::scaling::counts::{Answer, CheckpointError, CountPolicy, NO_LOAD, Reason, Seen, Terms};

/// No change while the factor is within this of 1.
const THRESHOLD: f64 = 0.01;
/// Seconds without a decision after a change.
const COOLDOWN: i64 = 300;

/// The strategy, with what it remembers.
#[derive(Debug, Clone)]
pub struct TargetValue {
    target: f64,
    state: State,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct State {
    changed: Option<i64>,
}

impl TargetValue {
    /// `target` is the share of its capacity that an instance should have as load.
    pub fn new(target: f64) -> Self {
        Self { target, state: State::default() }
    }
}

impl CountPolicy for TargetValue {
    fn decide(&mut self, seen: &Seen, terms: &Terms) -> Answer {
        let now = seen.count();
        let hold = |rule: &'static str| Answer { count: now, reason: Reason { rule, values: Vec::new() } };
        let Some(load) = seen.load else { return hold(NO_LOAD) };
        if self.state.changed.is_some_and(|changed| (0..COOLDOWN).contains(&(seen.at - changed))) {
            return hold("cooldown");
        }
        let metric = load / (f64::from(seen.ready.max(1)) * terms.capacity);
        let factor = metric / self.target;
        // From nothing the factor itself is the count.
        let wanted = if now == 0 { factor } else { f64::from(now) * factor };
        let within = (factor - 1.0).abs() <= THRESHOLD && now > 0;
        // Rounding noise is no instance.
        let count = if within { now } else { terms.bounded((wanted - 1e-9).ceil() as u32) };
        if count != now {
            self.state.changed = Some(seen.at);
        }
        let values = vec![("factor", factor), ("load", load), ("target", self.target)];
        Answer { count, reason: Reason { rule: "target value", values } }
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

    const TERMS: Terms = Terms { capacity: 10.0, startup: 60.0, interval: 15.0, min: 1, max: 40 };

    #[test]
    fn the_last_value_decides_and_a_change_is_followed_by_five_minutes_of_rest() {
        let mut policy = TargetValue::new(0.5);
        let mut ask = |at: i64, load: f64, ready: u32, starting: u32| {
            policy.decide(&Seen { at, load: Some(load), ready, starting }, &TERMS).count
        };
        assert_eq!(ask(0, 50.4, 10, 0), 10, "within a hundredth");
        assert_eq!(ask(15, 51.0, 10, 0), 11, "10 x 1.02, rounded up");
        assert_eq!(ask(30, 200.0, 10, 1), 11, "in the cooldown");
        assert_eq!(ask(314, 200.0, 11, 0), 11);
        assert_eq!(ask(315, 100.0, 11, 0), 20);
        assert_eq!(ask(700, 5.0, 20, 0), 1);
        // One that starts is multiplied as if it served: 2 x (20 / 10) / 0.5.
        assert_eq!(ask(1100, 20.0, 1, 1), 8);
        assert_eq!(ask(1500, 20.0, 0, 0), 4, "from nothing");
    }
}
