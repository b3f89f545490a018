//! How the count of a service stands, as the API says it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::scale_status::ScaleStatus;

/// How the count of a service stands that follows the load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScaleDto {
    /// What finds the count: `hpa`, `loadline`, `target-value`, `keda-cron`, `aws-predictive`, `autopilot`.
    pub policy: String,
    /// Never fewer, at this time.
    pub min: u32,
    /// Never more, at this time.
    pub max: u32,
    /// The window that these bounds come from; absent outside of all windows.
    pub window: Option<String>,
    /// The rule that holds the count, or changed it.
    pub rule: String,
    /// Why, in words.
    pub reason: String,
    /// What is wrong with its metrics; empty when nothing is.
    pub conditions: Vec<ConditionDto>,
    /// What nine of ten instances of its revision take from launch to ready, in seconds.
    pub startup_seconds: Option<f64>,
    /// What half of them take.
    pub startup_typical_seconds: Option<f64>,
    /// Instances of its revision that this rests on; with few, the revision before speaks as well.
    pub startup_samples: Option<u32>,
    /// Requests that wait for a first instance.
    pub held_requests: u64,
    /// Since when there has been nothing to do, where the count may go to 0.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub idle_since: Option<Timestamp>,
}

/// Something that is wrong with a metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConditionDto {
    /// `metric-stale`, `metric-invalid`, `metric-implausible`, `counter-reset` or `clock-jump`.
    pub condition: String,
    /// The metric.
    pub metric: String,
    /// In words.
    pub message: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}

impl From<&ScaleStatus> for ScaleDto {
    fn from(status: &ScaleStatus) -> Self {
        let conditions = status.conditions.iter().map(|found| ConditionDto {
            condition: found.fault.to_string(),
            metric: found.metric.clone(),
            message: found.message.clone(),
            since: found.since,
        });
        Self {
            policy: status.policy.to_string(),
            min: status.min,
            max: status.max,
            window: status.window.clone(),
            rule: status.rule.clone(),
            reason: status.reason.clone(),
            conditions: conditions.collect(),
            startup_seconds: status.startup.map(|startup| startup.seconds),
            startup_typical_seconds: status.startup.map(|startup| startup.typical_seconds),
            startup_samples: status.startup.map(|startup| startup.samples),
            held_requests: status.held,
            idle_since: status.idle_since,
        }
    }
}

/// What is to be known beyond the state of a service.
pub(super) fn notes(status: &ScaleStatus) -> Vec<String> {
    let mut notes: Vec<String> = status
        .conditions
        .iter()
        .map(|found| {
            let (fault, metric, since) = (found.fault, &found.metric, found.since);
            format!("{fault}: {metric}: {}; nothing is scaled down by it, since {since:.0}", found.message)
        })
        .collect();
    if status.held > 0 {
        notes.push(format!("{} requests wait for a first instance", status.held));
    }
    notes
}
