//! What is counted of a simulation. In: what happened. Out: figures, and samples for charts.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::simulation::cluster::Violations;

/// The cluster at an instant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Sample {
    /// Seconds from the beginning of what is counted.
    pub second: i64,
    /// Machines that take tasks.
    pub nodes: u64,
    /// Those of them whose tasks use more CPU than they have.
    pub nodes_beyond: u64,
    /// Tasks that hold resources.
    pub tasks: u64,
    /// Cores that machines have, that tasks ask for, and that they use.
    pub cores: f64,
    /// Requested of them.
    pub cores_requested: f64,
    /// Used of them.
    pub cores_used: f64,
    /// GiB that machines have.
    pub gib: f64,
    /// Requested of them.
    pub gib_requested: f64,
    /// Used of them.
    pub gib_used: f64,
    /// What the machines cost per hour.
    pub price_per_hour: f64,
    /// The least that any machines for these tasks cost per hour.
    pub bound_per_hour: f64,
    /// Tasks that wait for a node.
    pub waiting: u64,
    /// The longest wait of the tasks placed since the sample before, in seconds.
    pub longest_wait: u64,
    /// The share of wanted instances that do not serve.
    pub lacking: f64,
}

/// What a simulation came to. The same input gives the same outcome.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Outcome {
    /// The policy of nodes.
    pub policy: String,
    /// Hours that were counted.
    pub hours: f64,
    /// What was paid for machines.
    pub paid: f64,
    /// The integral of the least that machines for the tasks that ran could have cost.
    pub bound: f64,
    /// Hours of machines.
    pub node_hours: f64,
    /// Tasks asked for and placed.
    pub placed: u64,
    /// Tasks asked for that were never placed.
    pub unplaced: u64,
    /// Seconds from asked to placed: the median, the 99th percentile, the longest.
    pub wait_p50: u64,
    /// The 99th percentile.
    pub wait_p99: u64,
    /// The longest.
    pub wait_max: u64,
    /// The mean.
    pub wait_mean: f64,
    /// Instances replaced because their node was to be emptied.
    pub moved: u64,
    /// Tasks killed for want of memory.
    pub oom_kills: u64,
    /// Tasks that were lost with their node.
    pub lost: u64,
    /// Runs of jobs that were closed, and of these those that did not succeed.
    pub runs: u64,
    /// Those that did not succeed.
    pub runs_failed: u64,
    /// The share of instance-time in which a wanted instance did not serve.
    pub under_provisioned: f64,
    /// Nodes asked for.
    pub nodes_made: u64,
    /// Most machines at once.
    pub nodes_max: u64,
    /// Plans of the scheduler, and steps of them.
    pub plans: u64,
    /// Steps of all plans.
    pub steps: u64,
    /// What must never happen.
    pub violations: Violations,
    /// What the cluster was like, at even times.
    pub samples: Vec<Sample>,
}

impl Outcome {
    /// What was paid per hour.
    pub fn price_per_hour(&self) -> f64 {
        self.paid / self.hours.max(f64::MIN_POSITIVE)
    }

    /// What was paid over the bound.
    pub fn over_bound(&self) -> f64 {
        self.paid / self.bound.max(f64::MIN_POSITIVE)
    }

    /// The share of windows of nodes in which their tasks used more CPU than they have.
    pub fn beyond(&self) -> f64 {
        let nodes: u64 = self.samples.iter().map(|sample| sample.nodes).sum();
        let beyond: u64 = self.samples.iter().map(|sample| sample.nodes_beyond).sum();
        beyond as f64 / nodes.max(1) as f64
    }

    /// The mean of a figure over all samples.
    pub fn mean(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        self.samples.iter().map(of).sum::<f64>() / self.samples.len().max(1) as f64
    }
}

/// Wall time that decisions took; not the same twice.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Effort {
    /// Seconds of wall time for everything.
    pub wall: f64,
    /// Milliseconds of a plan of the scheduler: the median and the 99th percentile.
    pub plan_p50: f64,
    /// The 99th percentile.
    pub plan_p99: f64,
    /// Milliseconds of a decision about nodes: the median and the 99th percentile.
    pub decision_p50: f64,
    /// The 99th percentile.
    pub decision_p99: f64,
}

/// Counts of values, small and exact.
#[derive(Debug, Clone, Default)]
pub struct Counts(BTreeMap<u64, u64>);

impl Counts {
    /// One more of a value.
    pub fn add(&mut self, value: u64) {
        *self.0.entry(value).or_default() += 1;
    }

    /// How many.
    pub fn len(&self) -> u64 {
        self.0.values().sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The least value that a share of all values does not exceed; 0 where there is none.
    pub fn percentile(&self, share: f64) -> u64 {
        let wanted = (self.len() as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (value, count) in &self.0 {
            seen += count;
            if seen >= wanted.max(1) {
                return *value;
            }
        }
        0
    }

    /// The mean.
    pub fn mean(&self) -> f64 {
        let sum: f64 = self.0.iter().map(|(value, count)| *value as f64 * *count as f64).sum();
        sum / self.len().max(1) as f64
    }

    /// The greatest value.
    pub fn max(&self) -> u64 {
        self.0.keys().next_back().copied().unwrap_or(0)
    }
}

/// What is counted while a simulation runs. Nothing counts before `from`.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    pub(super) from: Timestamp,
    pub(super) outcome: Outcome,
    pub(super) waits: Counts,
    pub(super) longest_wait: u64,
    /// Instance-seconds wanted, and those of them without an instance.
    pub(super) wanted: f64,
    pub(super) lacking: f64,
    /// Microseconds.
    pub(super) plans: Counts,
    pub(super) decisions: Counts,
}

impl Tally {
    pub(super) fn new(from: Timestamp) -> Self {
        Self {
            from,
            outcome: Outcome::default(),
            waits: Counts::default(),
            longest_wait: 0,
            wanted: 0.0,
            lacking: 0.0,
            plans: Counts::default(),
            decisions: Counts::default(),
        }
    }

    /// A task that was asked for at `asked` has found a node.
    pub(super) fn placed(&mut self, asked: Timestamp, now: Timestamp) {
        let waited = now.duration_since(asked).as_secs().max(0).unsigned_abs();
        self.longest_wait = self.longest_wait.max(waited);
        if asked >= self.from {
            self.waits.add(waited);
        }
    }

    pub(super) fn effort(&self, wall: f64) -> Effort {
        let milliseconds = |counts: &Counts, share| counts.percentile(share) as f64 / 1000.0;
        Effort {
            wall,
            plan_p50: milliseconds(&self.plans, 0.5),
            plan_p99: milliseconds(&self.plans, 0.99),
            decision_p50: milliseconds(&self.decisions, 0.5),
            decision_p99: milliseconds(&self.decisions, 0.99),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let mut counts = Counts::default();
        assert_eq!((counts.percentile(0.5), counts.max()), (0, 0));
        (1..=100).for_each(|value| counts.add(value));
        assert_eq!((counts.percentile(0.5), counts.percentile(0.99), counts.max()), (50, 99, 100));
        assert!((counts.mean() - 50.5).abs() < 1e-9);
    }
}
