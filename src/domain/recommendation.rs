//! A size that Loadline would choose, or the reason why it would not say one.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::money::MicroCents;
use crate::domain::quantity::{Resources, TaskSize};
use crate::domain::workload::WorkloadName;

/// A recommended size for the tasks of a workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recommendation {
    /// The workload.
    pub workload: WorkloadName,
    /// When it was made.
    pub at: Timestamp,
    /// Request and limit recommended for each task.
    pub size: TaskSize,
    /// A request below this is too small.
    pub lower: Resources,
    /// A request above this is too large; it narrows as samples come.
    pub upper: Resources,
    /// Samples that it rests on.
    pub samples: u64,
    /// Days of history that it rests on (the confidence of VPA: the lesser of days lived and days of
    /// one sample a minute).
    pub confidence_days: f64,
    /// Why this size, in words.
    pub reason: String,
    /// What each instance would cost more per hour; negative is a saving.
    pub price_effect: MicroCents,
}

/// Why no size is recommended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Withheld {
    /// Nothing has been measured.
    NoSamples,
    /// Too little has been measured.
    TooYoung {
        /// Samples so far.
        samples: u64,
        /// Samples needed.
        needed: u64,
    },
    /// The policy says `off`.
    PolicyOff,
}

impl std::fmt::Display for Withheld {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoSamples => write!(f, "nothing measured yet"),
            Self::TooYoung { samples, needed } => {
                write!(f, "too young: {samples} of {needed} samples needed")
            }
            Self::PolicyOff => write!(f, "its policy is off"),
        }
    }
}

/// The answer of an estimator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Estimate {
    /// A size.
    Recommended(Box<Recommendation>),
    /// No size, and why.
    Withheld(Withheld),
}
