//! What was measured: usage of a task at an instant, totals of a node. What the kernel did not tell is
//! absent, never zero.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::node::NodeName;
use crate::domain::quantity::{Bytes, Resources};
use crate::domain::task::TaskId;
use crate::domain::workload::WorkloadName;

/// The counters of one task as an agent reads them from the kernel. Counters count from the task's
/// start.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TaskCounters {
    /// CPU time used, in seconds.
    pub cpu_seconds: f64,
    /// Time in which the task was runnable but held back by its CPU limit, in seconds.
    pub throttled_seconds: Option<f64>,
    /// CPU bandwidth periods that passed while the task was runnable.
    pub periods: Option<u64>,
    /// Those of them in which it was held back.
    pub throttled_periods: Option<u64>,
    /// Memory that the kernel cannot simply take back: use less inactive file cache.
    pub working_set: Bytes,
    /// File cache charged to the task.
    pub page_cache: Option<Bytes>,
    /// The highest memory use so far, cache included.
    pub peak_memory: Option<Bytes>,
    /// Kills by the kernel for want of memory within the task's limit.
    pub oom_kills: Option<u64>,
    /// Bytes read from storage.
    pub disk_read: Option<Bytes>,
    /// Bytes written to storage.
    pub disk_written: Option<Bytes>,
    /// Bytes received over the network.
    pub network_received: Option<Bytes>,
    /// Bytes sent over the network.
    pub network_sent: Option<Bytes>,
    /// Threads now.
    pub threads: Option<u64>,
    /// Open files now.
    pub open_files: Option<u64>,
}

/// One reading of a task's counters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskReading {
    /// The task.
    pub task: TaskId,
    /// The node that it runs on.
    pub node: NodeName,
    /// When the agent read the kernel.
    pub at: Timestamp,
    /// The size in force at that instant, as far as the agent knows.
    pub request: Resources,
    /// The memory limit in force, if one is enforced.
    pub memory_limit: Option<Bytes>,
    /// What it read.
    pub counters: TaskCounters,
}

/// The totals of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeReading {
    /// The node.
    pub node: NodeName,
    /// When the agent read the kernel.
    pub at: Timestamp,
    /// What it offers.
    pub size: Resources,
    /// CPU time used by all its tasks, in seconds since it joined.
    pub cpu_seconds: f64,
    /// Working set of all its tasks.
    pub working_set: Bytes,
    /// Tasks that run on it.
    pub tasks: u64,
}

/// Everything that one agent read at one instant.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AgentReading {
    /// A reading a task.
    pub tasks: Vec<TaskReading>,
    /// A reading a node.
    pub nodes: Vec<NodeReading>,
}

/// Usage of one task over the interval that ends at `at`: the sample that everything is computed from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UsageSample {
    /// The workload.
    pub workload: WorkloadName,
    /// The task.
    pub task: TaskId,
    /// The end of the interval.
    pub at: Timestamp,
    /// The length of the interval in seconds; absent for a task's first sample.
    pub interval_seconds: Option<f64>,
    /// Cores in use, mean over the interval; absent for a task's first sample.
    pub cpu_cores: Option<f64>,
    /// Share of the interval's CPU periods in which it was throttled.
    pub throttled_share: Option<f64>,
    /// Working set at the end of the interval.
    pub memory: Bytes,
    /// File cache at the end of the interval.
    pub page_cache: Option<Bytes>,
    /// The request in force.
    pub request: Resources,
    /// Kills for want of memory during the interval.
    pub oom_kills: u64,
}
