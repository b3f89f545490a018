//! One running instance of a workload, from the wish to have it to the record of how it ended.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::node::NodeName;
use crate::domain::quantity::{Bytes, TaskSize};
use crate::domain::workload::{WorkloadKind, WorkloadName};
use crate::domain::world::RunKey;

/// The identity of a task: `WORKLOAD.NUMBER`; numbers of a workload are never given twice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskId {
    workload: WorkloadName,
    number: u64,
}

impl TaskId {
    /// The `number`-th task of `workload`.
    pub fn new(workload: WorkloadName, number: u64) -> Self {
        Self { workload, number }
    }

    /// The workload that it belongs to.
    pub fn workload(&self) -> &WorkloadName {
        &self.workload
    }

    /// Its number, counted from 1 over the life of the workload.
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}", self.workload, self.number))
    }
}

impl TryFrom<String> for TaskId {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl std::str::FromStr for TaskId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || format!("`{text}` is not a task id such as `web.3`");
        let (workload, number) = text.rsplit_once('.').ok_or_else(invalid)?;
        Ok(Self {
            workload: WorkloadName::new(workload).map_err(|_| invalid())?,
            number: number.parse().map_err(|_| invalid())?,
        })
    }
}

impl From<TaskId> for String {
    fn from(id: TaskId) -> Self {
        id.to_string()
    }
}

/// Where a task is in its life. The order is the order of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Wanted, without a node so far.
    Pending,
    /// Placed; the agent is asked to start it.
    Launching,
    /// Its process runs; it is not ready yet.
    Starting,
    /// Ready: it counts as capacity, the front door sends to it.
    Running,
    /// It still runs, but the front door sends nothing new to it.
    Retiring,
    /// Told to stop.
    Stopping,
    /// It ended by itself with status 0.
    Finished,
    /// It ended in any way that nobody asked for.
    Failed,
    /// It ended because it was told to.
    Stopped,
    /// Its node or its supervisor is gone, and with it what became of it.
    Lost,
}

impl TaskState {
    /// Whether nothing can follow.
    pub fn is_terminal(self) -> bool {
        self >= Self::Finished
    }

    /// Whether it holds resources of a node.
    pub fn holds_resources(self) -> bool {
        matches!(self, Self::Launching | Self::Starting | Self::Running | Self::Retiring | Self::Stopping)
    }

    /// Whether it is capacity or on its way to be: neither leaving nor gone.
    pub fn is_active(self) -> bool {
        self <= Self::Running
    }

    /// The word in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Launching => "launching",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Retiring => "retiring",
            Self::Stopping => "stopping",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Lost => "lost",
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    /// With a status of its own.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

/// What the supervisor put on disk when the task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// How the process ended; absent where it could not even be started (`message` says why).
    pub status: Option<ExitStatus>,
    /// When.
    pub at: Timestamp,
    /// Kills by the kernel for want of memory within the task's cgroup; absent without a cgroup.
    pub oom_kills: Option<u64>,
    /// The highest memory use that the kernel counted; absent without a cgroup.
    pub peak_memory: Option<Bytes>,
    /// The memory limit in force at the end; absent where none was enforced.
    pub memory_limit: Option<Bytes>,
    /// Whether it had been told to stop.
    pub asked_to_stop: bool,
    /// What went wrong, where the status does not tell.
    pub message: Option<String>,
}

impl ExitRecord {
    /// Whether the kernel killed it for exceeding its memory limit. A shell in front of the hog
    /// reports the kill as status 137.
    pub fn is_oom(&self) -> bool {
        self.oom_kills.unwrap_or(0) > 0
            && matches!(self.status, Some(ExitStatus::Signal(9) | ExitStatus::Code(137)))
    }

    /// The end in words for a person.
    pub fn describe(&self) -> String {
        if self.is_oom() {
            let amount = |bytes: Option<Bytes>| bytes.map_or_else(|| "unknown".to_owned(), |b| b.to_string());
            return format!(
                "OOM: killed by the kernel at its memory limit of {}, peak {}",
                amount(self.memory_limit),
                amount(self.peak_memory)
            );
        }
        match (self.status, &self.message) {
            (Some(ExitStatus::Code(code)), _) => format!("exit status {code}"),
            (Some(ExitStatus::Signal(signal)), _) => format!("killed by signal {signal}"),
            (None, Some(message)) => message.clone(),
            (None, None) => "did not start".to_owned(),
        }
    }
}

/// Why a task was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskOrigin {
    /// One of a service's instances.
    Instance,
    /// A planned occurrence of a cron job.
    Occurrence {
        /// The instant that the schedule names.
        planned_for: Timestamp,
        /// 0 for the first try.
        attempt: u32,
        /// Which of the run's tasks it is, from 0.
        #[serde(default)]
        index: u32,
    },
    /// A run of a job, or of a cron job out of schedule.
    Run {
        /// When the run was asked for.
        asked_at: Timestamp,
        /// 0 for the first try.
        attempt: u32,
        /// Which of the run's tasks it is, from 0.
        #[serde(default)]
        index: u32,
    },
}

/// One running instance of a workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its identity.
    pub id: TaskId,
    /// The kind of its workload.
    pub kind: WorkloadKind,
    /// The revision that it was made from.
    pub revision: u64,
    /// Why it was made.
    pub origin: TaskOrigin,
    /// The size in force, or to be in force at launch.
    pub size: TaskSize,
    /// Where it is in its life.
    pub state: TaskState,
    /// Why it is there, in words.
    pub reason: String,
    /// Where it runs or ran.
    pub node: Option<NodeName>,
    /// The number that each of its ports has on the node.
    pub ports: BTreeMap<String, u16>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Not placed before this instant (restart backoff).
    pub not_before: Timestamp,
    /// When its process was first seen.
    pub started_at: Option<Timestamp>,
    /// When it first became ready.
    pub ready_at: Option<Timestamp>,
    /// When it entered the state that it is in.
    pub state_since: Timestamp,
    /// How it ended.
    pub exit: Option<ExitRecord>,
    /// The task of higher priority that it has to make room for.
    #[serde(default)]
    pub preempted_for: Option<TaskId>,
}

impl Task {
    /// The workload that it belongs to.
    pub fn workload(&self) -> &WorkloadName {
        self.id.workload()
    }

    /// The run that it is a try of; none for instances.
    pub fn run(&self) -> Option<RunKey> {
        match self.origin {
            TaskOrigin::Instance => None,
            TaskOrigin::Occurrence { planned_for: at, .. } | TaskOrigin::Run { asked_at: at, .. } => {
                Some(RunKey { workload: self.workload().clone(), at })
            }
        }
    }

    /// How often this run was tried before; 0 for instances.
    pub fn attempt(&self) -> u32 {
        match self.origin {
            TaskOrigin::Instance => 0,
            TaskOrigin::Occurrence { attempt, .. } | TaskOrigin::Run { attempt, .. } => attempt,
        }
    }

    /// Which of its run's tasks it is, from 0; 0 for instances.
    pub fn index(&self) -> u32 {
        match self.origin {
            TaskOrigin::Instance => 0,
            TaskOrigin::Occurrence { index, .. } | TaskOrigin::Run { index, .. } => index,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back() {
        let id: TaskId = "web-2.17".parse().expect("an id");
        assert_eq!((id.workload().as_str(), id.number()), ("web-2", 17));
        assert_eq!(id.to_string(), "web-2.17");
        assert!("web".parse::<TaskId>().is_err());
        assert!("../x.1".parse::<TaskId>().is_err());
    }
}
