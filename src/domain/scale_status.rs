//! How the count of a service stands: bounds in force, start-up time, and what is wrong with its metrics.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::scale::CountPolicyKind;

/// What is wrong with a metric. While one holds, nothing is scaled down for that metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MetricFault {
    /// There is no value, or none that is young enough.
    MetricStale,
    /// What came is no amount: not a number, infinite, negative, unreadable, or not there.
    MetricInvalid,
    /// The value left what it was by a factor that nothing else bears out.
    MetricImplausible,
    /// A counter began anew: the rate over that interval is not known.
    CounterReset,
    /// The clock of the source, or of this machine, jumped.
    ClockJump,
}

impl MetricFault {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::MetricStale,
        Self::MetricInvalid,
        Self::MetricImplausible,
        Self::CounterReset,
        Self::ClockJump,
    ];

    /// The name of the condition.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MetricStale => "metric-stale",
            Self::MetricInvalid => "metric-invalid",
            Self::MetricImplausible => "metric-implausible",
            Self::CounterReset => "counter-reset",
            Self::ClockJump => "clock-jump",
        }
    }
}

impl std::fmt::Display for MetricFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// A fault that holds, or held a moment ago.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleCondition {
    /// What it is.
    pub fault: MetricFault,
    /// The metric.
    pub metric: String,
    /// In words.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
    /// When it was last found.
    pub seen: Timestamp,
}

/// How long instances take from their launch until they are ready.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StartupTime {
    /// The revision.
    pub revision: u64,
    /// What half of the instances keep to, in seconds.
    pub typical_seconds: f64,
    /// What nine of ten keep to, in seconds.
    pub seconds: f64,
    /// Instances of this revision that it rests on; with few, earlier revisions speak as well.
    pub samples: u32,
}

impl StartupTime {
    /// What nine of ten keep to.
    pub fn lead(&self) -> SignedDuration {
        SignedDuration::try_from_secs_f64(self.seconds.max(0.0)).unwrap_or(SignedDuration::ZERO)
    }
}

/// How the count of a service stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScaleStatus {
    /// What finds it.
    pub policy: CountPolicyKind,
    /// The least now.
    pub min: u32,
    /// The most now.
    pub max: u32,
    /// The window that these bounds come from.
    pub window: Option<String>,
    /// The rule that holds the count, and why, as last decided.
    pub rule: String,
    /// In words.
    pub reason: String,
    /// What is wrong with its metrics.
    pub conditions: Vec<ScaleCondition>,
    /// How long an instance takes to start.
    pub startup: Option<StartupTime>,
    /// Requests that the front door holds for want of an instance.
    pub held: u64,
    /// Since when there has been no request, where that counts (`min = 0`).
    pub idle_since: Option<Timestamp>,
}
