//! Asks tasks how they are.

use std::collections::BTreeMap;

use async_trait::async_trait;

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

/// Asks the health checks of tasks, each at its own interval, for as long as it is told to.
#[async_trait]
pub trait HealthSource: Send + Sync {
    /// The tasks to ask from now on: new ones begin, those not named end.
    fn watch(&self, targets: Vec<ProbeTarget>);

    /// The answers so far; a task without checks is not in it.
    fn health(&self) -> BTreeMap<TaskId, Health>;

    /// Returns when an answer changed a task's health since the last call.
    async fn changed(&self);
}
