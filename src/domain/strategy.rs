//! How a service gets from one revision to the next: all at once under surge, by groups that must be
//! accepted, or by one switch of the front door. Not here: where a rollout stands (`rollout`).

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::domain::quantity::Share;

/// A part of a service's instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Portion {
    /// So many instances.
    Count(u32),
    /// A share of the count, rounded up.
    Share(Share),
}

impl Portion {
    /// Of `count` instances; at least one where there are any, at most all.
    pub fn of(self, count: u32) -> u32 {
        let wanted = match self {
            Self::Count(instances) => instances,
            Self::Share(share) => (share.get() * f64::from(count)).ceil() as u32,
        };
        wanted.clamp(count.min(1), count)
    }
}

/// What the new revision may be worse than the old one by, over the same time behind the same front door.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The 95th percentile of its latency may be this many times that of the old revision.
    pub latency_ratio: f64,
    /// A 95th percentile that is higher by no more than this is accepted whatever the ratio.
    pub latency_floor: SignedDuration,
    /// The share of its answers that are errors may be this many times that of the old revision.
    pub errors_ratio: f64,
    /// A share of errors that is higher by no more than this is accepted whatever the ratio.
    pub errors_floor: Share,
    /// Its CPU time per request may be this many times that of the old revision; not compared where absent.
    pub cpu_ratio: Option<f64>,
    /// Each of both revisions must have answered this many requests.
    pub min_requests: u64,
}

impl Default for Comparison {
    fn default() -> Self {
        Self {
            latency_ratio: 1.5,
            latency_floor: SignedDuration::from_millis(10),
            errors_ratio: 1.5,
            errors_floor: Share::new(0.01),
            cpu_ratio: None,
            min_requests: 100,
        }
    }
}

/// What lets a rollout go on from one of its steps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acceptance {
    /// Its instances are ready.
    Ready,
    /// They have been ready for the wait.
    #[default]
    Time,
    /// Somebody says so.
    Manual,
    /// After the wait the new revision answers about as well as the old one.
    Metric(Comparison),
    /// After the wait a command ends with exit status 0.
    Command {
        /// Program and arguments; never empty.
        command: Vec<String>,
        /// One that takes longer refuses.
        time_limit: SignedDuration,
    },
}

/// How a service gets from one revision to the next.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// New instances replace old ones as fast as surge and readiness allow.
    #[default]
    Rolling,
    /// Groups of new instances take their share of the requests; each must be accepted before the next.
    Canary {
        /// New instances in all at the end of each group; what is beyond the last one follows like `Rolling`.
        groups: Vec<Portion>,
        /// How long a group is watched.
        wait: SignedDuration,
        /// What lets it go on.
        accept: Acceptance,
    },
    /// All new instances come up beside the old ones without requests; then all requests go to them.
    BlueGreen {
        /// How long the new instances are ready before they are accepted.
        wait: SignedDuration,
        /// What lets the front door switch; never `Metric`, since they get no requests before.
        accept: Acceptance,
        /// How long the old instances stay after the switch, for an instant return.
        hold: SignedDuration,
    },
}

impl Strategy {
    /// The word in specs and tables.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Rolling => "rolling",
            Self::Canary { .. } => "canary",
            Self::BlueGreen { .. } => "blue-green",
        }
    }

    /// Steps that must be accepted before the rest follows by itself.
    pub fn steps(&self) -> u32 {
        match self {
            Self::Rolling => 0,
            Self::Canary { groups, .. } => u32::try_from(groups.len()).unwrap_or(u32::MAX),
            Self::BlueGreen { .. } => 1,
        }
    }

    /// What lets a step go on, and how long it is watched.
    pub fn acceptance(&self) -> (&Acceptance, SignedDuration) {
        match self {
            Self::Rolling => (&Acceptance::Ready, SignedDuration::ZERO),
            Self::Canary { wait, accept, .. } | Self::BlueGreen { wait, accept, .. } => (accept, *wait),
        }
    }

    /// New instances wanted in a step (counted from 0) of a service with `count` instances.
    pub fn instances(&self, step: u32, count: u32) -> u32 {
        match self {
            Self::Canary { groups, .. } => {
                groups.get(step as usize).map_or(count, |portion| portion.of(count))
            }
            Self::Rolling | Self::BlueGreen { .. } => count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_portion_is_at_least_one_and_at_most_all() {
        let quarter = Portion::Share(Share::new(0.25));
        assert_eq!([0, 1, 4, 5, 10].map(|count| quarter.of(count)), [0, 1, 1, 2, 3]);
        assert_eq!([0, 1, 2, 9].map(|count| Portion::Count(3).of(count)), [0, 1, 2, 3]);
    }
}
