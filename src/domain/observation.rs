//! The world as the cluster, the health checks and the front door report it at one instant.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::load::RequestCounters;
use crate::domain::node::NodeName;
use crate::domain::overcommit::Overcommit;
use crate::domain::quantity::{Bytes, Resources, TaskSize};
use crate::domain::rollout::StageKey;
use crate::domain::task::{ExitRecord, TaskId};
use crate::domain::workload::WorkloadName;

/// What the cluster knows of a task's process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessState {
    /// The supervisor is there, the process not yet.
    Starting,
    /// The process runs.
    Running {
        /// Its process id.
        pid: u32,
        /// When it started.
        started_at: Timestamp,
    },
    /// The process ended and its end is on record.
    Exited(ExitRecord),
    /// The supervisor is gone without a record, and the process with it.
    Lost,
}

/// The answers of a task's health checks so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// The start-up check has not passed yet, or nothing has been asked yet.
    Starting,
    /// Ready for requests; a task without checks is ready once its process runs.
    Ready,
    /// The readiness check fails: alive, but no requests for now.
    Unready {
        /// What the check said.
        message: String,
    },
    /// The start-up or the liveness check failed for good: to be restarted.
    Failed {
        /// Which check, and what it said.
        message: String,
    },
}

/// What is known of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskObservation {
    /// Its process.
    pub process: ProcessState,
    /// Its health checks.
    pub health: Health,
    /// Requests that the front door has given it and that are not answered yet.
    pub in_flight: u64,
    /// The size in force where the cluster enforces one.
    pub size: Option<TaskSize>,
    /// Why a change of its size in place was refused, until it is resized or replaced.
    pub resize_refused: Option<String>,
}

/// What is known of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeObservation {
    /// It is there.
    Ready,
    /// It does not answer, and nothing on it does.
    Lost,
    /// Its provider was asked for it, or has begun to make it; it has not joined.
    Arriving,
}

/// Why a node could not be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreationFailure {
    /// What the provider said last.
    pub reason: String,
    /// Whether asking again soon is of no use: there are no machines, or no more are allowed.
    pub definite: bool,
    /// How many calls in a row failed.
    pub calls: u32,
}

/// What the instances of one revision did while a step of a rollout was judged.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RevisionLoad {
    /// Requests that they answered.
    pub requests: RequestCounters,
    /// CPU time that they used, in seconds; absent where it was not measured.
    pub cpu_seconds: Option<f64>,
}

/// Two revisions behind the same front door over the same time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SideBySide {
    /// The step in which it was measured.
    pub stage: StageKey,
    /// The revision that was there before.
    pub old: RevisionLoad,
    /// The one that is to come.
    pub new: RevisionLoad,
}

/// How the command of a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandVerdict {
    /// The step that it judged.
    pub stage: StageKey,
    /// It ended with exit status 0.
    pub accepted: bool,
    /// How it ended, and the beginning of what it printed.
    pub message: String,
}

/// Everything observed at one instant. A task or node of which nothing is said does not exist.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// Tasks that the cluster knows, those that ended and are not forgotten yet included.
    pub tasks: BTreeMap<TaskId, TaskObservation>,
    /// Nodes that the cluster knows.
    pub nodes: BTreeMap<NodeName, NodeObservation>,
    /// Nodes that were asked for and could not be made.
    #[serde(default)]
    pub not_created: BTreeMap<NodeName, CreationFailure>,
    /// Whether a change of size in place is possible in this cluster.
    pub can_resize: bool,
    /// Services whose rollouts are judged by metrics.
    #[serde(default)]
    pub compared: BTreeMap<WorkloadName, SideBySide>,
    /// Services whose rollouts were judged by commands.
    #[serde(default)]
    pub judged: BTreeMap<WorkloadName, CommandVerdict>,
    /// What is really used.
    #[serde(skip)]
    pub usage: Arc<Usage>,
    /// Memory limits, ascending, that a retry of a run climbs after a kill for want of memory; none where
    /// too little is known of the workload's runs.
    #[serde(skip)]
    pub rungs: Arc<BTreeMap<WorkloadName, Vec<Bytes>>>,
}

/// What tasks really use, as far as that is known from samples that are not too old.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Usage {
    /// The newest sample of each task; none where there is no fresh one.
    pub tasks: BTreeMap<TaskId, Resources>,
    /// What a new task of a workload is likely to use.
    pub expected: BTreeMap<WorkloadName, Resources>,
    /// Nodes whose memory is nearly used up: they take no tasks until it is well below that again.
    pub crowded: BTreeSet<NodeName>,
    /// What tasks count with instead of their requests for CPU, where overcommit is on.
    pub overcommit: Arc<Overcommit>,
}
