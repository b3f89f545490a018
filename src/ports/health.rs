//! Asks tasks how they are.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::observation::Health;
use crate::domain::task::TaskId;
use crate::domain::workload::{HealthChecks, TaskTemplate};

/// A task whose checks are to be asked.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeTarget {
    /// The task.
    pub task: TaskId,
    /// Its checks.
    pub checks: HealthChecks,
    /// The number of each of its ports.
    pub ports: BTreeMap<String, u16>,
    /// The name of its first port.
    pub first_port: Option<String>,
    /// For checks by command: the folder, user and environment.
    pub template: TaskTemplate,
}

/// Which of a task's checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckKind {
    /// The start-up check.
    Startup,
    /// The readiness check.
    Readiness,
    /// The liveness check.
    Liveness,
}

impl fmt::Display for CheckKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Startup => "start-up",
            Self::Readiness => "readiness",
            Self::Liveness => "liveness",
        })
    }
}

/// One answer of a health check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeResult {
    /// When it was asked.
    pub at: Timestamp,
    /// Which check.
    pub check: CheckKind,
    /// Whether it passed.
    pub passed: bool,
    /// How long the answer took.
    pub took: SignedDuration,
    /// What happened, in words.
    pub message: String,
    /// The beginning of what was answered: of the body, or of what the command printed.
    pub body: String,
}

/// Asks the health checks of tasks, each at its own interval, for as long as it is told to.
#[async_trait]
pub trait HealthSource: Send + Sync {
    /// The tasks to ask from now on: new ones begin, those not named end.
    fn watch(&self, targets: Vec<ProbeTarget>);

    /// The answers so far; a task without checks is not in it.
    fn health(&self) -> BTreeMap<TaskId, Health>;

    /// The newest answers of a task's checks, oldest first; none for a task that is not watched.
    fn results(&self, task: &TaskId) -> Vec<ProbeResult>;

    /// Returns when an answer changed a task's health since the last call.
    async fn changed(&self);
}
