//! What runs tasks.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::SignedDuration;

use crate::domain::node::NodeName;
use crate::domain::observation::{NodeObservation, TaskObservation};
use crate::domain::quantity::TaskSize;
use crate::domain::task::{Task, TaskId};
use crate::domain::workload::TaskTemplate;

/// A task to be started, with everything that its agent needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Launch {
    /// The task, placed on a node.
    pub task: Task,
    /// What runs.
    pub template: TaskTemplate,
    /// The names of the ports that it wants numbers for, in order.
    pub ports: Vec<String>,
}

/// Why the cluster did not do something.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The node is not there.
    #[error("node {0} is not there")]
    NoSuchNode(NodeName),
    /// The task is not there.
    #[error("task {0} is not there")]
    NoSuchTask(TaskId),
    /// A secret could not be read. The message names the reference, never a value.
    #[error("secret for {variable}: {message}")]
    Secret {
        /// The environment variable that it is for.
        variable: String,
        /// What went wrong.
        message: String,
    },
    /// An operation on the machine failed.
    #[error("cannot {operation}")]
    Io {
        /// What was tried, for example `create cgroup web.3`.
        operation: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The cluster refused.
    #[error("{0}")]
    Refused(String),
    /// There is no machine to be had for a node, and asking again soon is of no use.
    #[error("{0}")]
    NoMachine(String),
}

/// Whether a size came into force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resized {
    /// It holds.
    InForce,
    /// The cluster cannot do it in place; the old size still holds.
    Refused(String),
}

/// Starts, stops and resizes tasks. Every call may be repeated: the loops call again until the
/// observation shows the effect.
#[async_trait]
pub trait TaskRunner: Send + Sync {
    /// Starts a task unless it is known already, and tells the numbers of its ports. When it returns,
    /// the task outlives the caller.
    async fn launch(&self, launch: &Launch) -> Result<BTreeMap<String, u16>, ClusterError>;

    /// Asks a task to end: the polite signal now, the kill of all its processes after `grace`. Returns
    /// at once; a task that is not there is no error.
    async fn stop(&self, task: &TaskId, grace: SignedDuration) -> Result<(), ClusterError>;

    /// Puts a size in force while the task runs.
    async fn resize(&self, task: &TaskId, size: &TaskSize) -> Result<Resized, ClusterError>;

    /// Drops what is kept of a task that ended, its logs excepted. A task that still runs is refused.
    async fn forget(&self, task: &TaskId) -> Result<(), ClusterError>;
}

/// What a cluster says of itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClusterObservation {
    /// Tasks, those that ended and are not forgotten included. `health` and `in_flight` are not the
    /// cluster's to know; it gives `Health::Starting` and 0.
    pub tasks: BTreeMap<TaskId, TaskObservation>,
    /// Nodes.
    pub nodes: BTreeMap<NodeName, NodeObservation>,
    /// Whether sizes can change in place.
    pub can_resize: bool,
}

/// Shows what runs.
#[async_trait]
pub trait ClusterObserver: Send + Sync {
    /// Everything as it is now.
    async fn observe(&self) -> Result<ClusterObservation, ClusterError>;

    /// Returns when something has changed since the last call, for example a task ended. It may return
    /// too often, never too seldom.
    async fn changed(&self);

    /// What the cluster does not enforce and why, for people; empty where everything is enforced.
    fn limitations(&self) -> Vec<String>;
}
