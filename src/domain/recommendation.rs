//! A size that Loadline would choose, or the reason why it would not say one.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::money::MicroCents;
use crate::domain::quantity::{Bytes, Resources, TaskSize};
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
    /// Kills for want of memory per task-day that are expected at this size, where the estimator knows.
    #[serde(default)]
    pub risk: Option<f64>,
    /// The two or three reasons that matter most, in words, the weightiest first.
    #[serde(default)]
    pub reasons: Vec<String>,
    /// Other memory requests and what is expected of them, ascending.
    #[serde(default)]
    pub candidates: Vec<Candidate>,
    /// What its usage shows besides a size.
    #[serde(default)]
    pub findings: Vec<Finding>,
}

/// A memory request that could be chosen, and what is expected of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The memory request.
    pub memory: Bytes,
    /// Kills for want of memory per task-day.
    pub risk: f64,
}

/// What the usage of a workload shows that its owner should know.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Finding {
    /// Memory grows as long as a task runs and falls only at its restart: a fault to report, not a size
    /// to chase.
    Leak {
        /// Growth in bytes per day of a task's life.
        bytes_per_day: f64,
    },
    /// Usage grows or falls from day to day, whether or not tasks restart.
    Trend {
        /// Growth in bytes per day; negative where it falls.
        bytes_per_day: f64,
    },
    /// Memory rises to a level and stays there, as a runtime with a heap of fixed size does: usage says
    /// little of need.
    Plateau {
        /// The level.
        memory: Bytes,
    },
    /// A task uses much more while it starts than later.
    StartupPeak {
        /// The peak while starting.
        memory: Bytes,
        /// The peak afterwards.
        settled: Bytes,
    },
    /// The same hours of the day need much more than the others.
    Daily {
        /// The highest over the lowest hour of a usual day.
        ratio: f64,
    },
}

impl Finding {
    /// Its kind, in words.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Leak { .. } => "leak",
            Self::Trend { .. } => "trend",
            Self::Plateau { .. } => "plateau",
            Self::StartupPeak { .. } => "start-up peak",
            Self::Daily { .. } => "daily",
        }
    }
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
    /// What was measured does not allow a size at the stated risk.
    TooUncertain {
        /// Why, in words.
        why: String,
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
            Self::TooUncertain { why } => write!(f, "too uncertain: {why}"),
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
