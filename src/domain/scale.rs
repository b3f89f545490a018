//! How an owner wants the number of instances to follow the load: metrics, bounds and behaviour rules
//! (the field names and defaults of the Kubernetes `autoscaling/v2` API).

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// A metric with its target for one instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricTarget {
    /// CPU in use as a share of the request, for example 0.8.
    Cpu {
        /// The share aimed at, above 0.
        utilization: f64,
    },
    /// Memory (working set) as a share of the request.
    Memory {
        /// The share aimed at, above 0.
        utilization: f64,
    },
    /// Requests per second through the front door.
    Requests {
        /// Per second and instance.
        per_instance: f64,
    },
    /// A gauge, or the rate of a counter, that each instance exposes as Prometheus text.
    Prometheus {
        /// The metric's name; samples of one instance with several label sets are added.
        metric: String,
        /// The port's name; the first port where absent.
        port: Option<String>,
        /// The path, for example `/metrics`.
        path: String,
        /// The average over instances that is aimed at.
        per_instance: f64,
    },
}

/// How much may change within a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScalingRule {
    /// A number of instances or a percentage of those at the beginning of the period.
    pub amount: ScalingAmount,
    /// The period.
    pub period: SignedDuration,
}

/// The unit of a scaling rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScalingAmount {
    /// Instances (`type: Pods`).
    Instances(u32),
    /// Percent of the current count (`type: Percent`).
    Percent(u32),
}

/// Which of several rules holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SelectPolicy {
    /// The one that allows the most.
    Max,
    /// The one that allows the least.
    Min,
    /// No change in this direction.
    Disabled,
}

/// The rules of one direction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScalingRules {
    /// The window over which the most cautious recommendation counts.
    pub stabilization: SignedDuration,
    /// Which rule holds where several are given.
    pub select: SelectPolicy,
    /// The rules; without any, the change is not limited.
    pub rules: Vec<ScalingRule>,
}

/// Automatic counts for a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScaleSpec {
    /// Never fewer.
    pub min: u32,
    /// Never more.
    pub max: u32,
    /// At least one; the highest answer counts.
    pub metrics: Vec<MetricTarget>,
    /// No change while |current/target - 1| is at most this.
    pub tolerance: f64,
    /// Upwards.
    pub up: ScalingRules,
    /// Downwards.
    pub down: ScalingRules,
}

impl ScalingRules {
    /// Kubernetes' default upwards: no waiting, the greater of +100 % and +4 instances each 15 s.
    pub fn default_up() -> Self {
        let period = SignedDuration::from_secs(15);
        Self {
            stabilization: SignedDuration::ZERO,
            select: SelectPolicy::Max,
            rules: vec![
                ScalingRule { amount: ScalingAmount::Instances(4), period },
                ScalingRule { amount: ScalingAmount::Percent(100), period },
            ],
        }
    }

    /// Kubernetes' default downwards: the highest answer of 300 s, then without limit.
    pub fn default_down() -> Self {
        Self {
            stabilization: SignedDuration::from_secs(300),
            select: SelectPolicy::Max,
            rules: vec![ScalingRule {
                amount: ScalingAmount::Percent(100),
                period: SignedDuration::from_secs(15),
            }],
        }
    }
}
