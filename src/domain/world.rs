//! Everything that Loadline was told and everything that it has set in motion: the state that plans are
//! made from. It changes by `Change`s alone, so that what is stored and what is in memory agree.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::action::{Action, ActionKey, Switch};
use crate::domain::decision::DecisionId;
use crate::domain::node::{Node, NodeName, NodePool, PoolName};
use crate::domain::policy::{Policy, PolicyName};
use crate::domain::quantity::TaskSize;
use crate::domain::quota::Quota;
use crate::domain::rollout::{Revision, Rollout};
use crate::domain::task::{Task, TaskId};
use crate::domain::workload::{WorkloadName, WorkloadSpec};

/// How often the tasks of a workload failed lately, and what follows for the next one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartState {
    /// Failures in a row, without a task in between that lived for `reset_after`.
    pub failures: u32,
    /// When the last one was.
    pub last_failure: Option<Timestamp>,
    /// The next task is not placed before this.
    pub not_before: Option<Timestamp>,
    /// The failures have become a crash loop: said in status, and cleared when a task lives.
    pub crash_loop: bool,
}

/// A size that an applied decision put in force in place of the spec's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeOverride {
    /// The size.
    pub size: TaskSize,
    /// The size before, to go back to.
    pub previous: TaskSize,
    /// The decision that asked for it.
    pub decision: Option<DecisionId>,
    /// When.
    pub since: Timestamp,
    /// The one task that has the size so far, where memory decreases; the others follow once it has
    /// lived with it for a while.
    pub canary: Option<TaskId>,
    /// Since when that task is the canary.
    pub canary_since: Option<Timestamp>,
    /// Whether every task is to have it.
    pub everywhere: bool,
}

/// A workload and where it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    /// Its name.
    pub name: WorkloadName,
    /// The spec in force.
    pub spec: WorkloadSpec,
    /// The number of the revision in force.
    pub revision: u64,
    /// Revisions that tasks may still be of, and a few for going back; by number.
    pub revisions: BTreeMap<u64, Revision>,
    /// The number of the newest revision ever given.
    pub last_revision: u64,
    /// Instances wanted now (services).
    pub count: u32,
    /// A size in place of the spec's.
    pub size: Option<SizeOverride>,
    /// The number that the next task gets; never given twice.
    pub next_task: u64,
    /// Failures and backoff.
    pub restart: RestartState,
    /// The last rollout (services).
    pub rollout: Option<Rollout>,
    /// Occurrences up to this instant are accounted for (cron jobs).
    pub cron_cursor: Option<Timestamp>,
    /// Its tasks are to be stopped, then it is forgotten.
    pub deleted: bool,
    /// Counts what people and decisions changed of it, so that a writer can tell whether it acts on what
    /// it saw.
    #[serde(default)]
    pub generation: u64,
}

impl Workload {
    /// The size that a new task gets.
    pub fn size(&self) -> TaskSize {
        match &self.size {
            Some(size) if size.everywhere => size.size,
            Some(size) => size.previous,
            None => self.spec.template().size,
        }
    }
}

/// What became of a planned occurrence of a cron job, or of a run that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunOutcome {
    /// A task of it is wanted or runs.
    Active,
    /// A task of it ended with status 0.
    Succeeded,
    /// Its last try failed.
    Failed {
        /// Why.
        reason: String,
    },
    /// Not started, because the run before it was still going on.
    SkippedOverlap,
    /// Not started in time.
    Missed {
        /// Why.
        reason: String,
    },
    /// Stopped before it ended: replaced by a later run, or its workload was deleted.
    Cancelled {
        /// Why.
        reason: String,
    },
}

impl RunOutcome {
    /// Whether nothing can follow.
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Active)
    }

    /// The word in tables.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Succeeded => "succeeded",
            Self::Failed { .. } => "failed",
            Self::SkippedOverlap => "skipped",
            Self::Missed { .. } => "missed",
            Self::Cancelled { .. } => "cancelled",
        }
    }
}

/// The identity of a run: its workload and the instant that it was planned or asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunKey {
    /// The cron job or job.
    pub workload: WorkloadName,
    /// The planned instant, or the instant of the request.
    pub at: Timestamp,
}

/// A planned occurrence of a cron job, or a run that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its identity.
    pub key: RunKey,
    /// Whether someone asked for it, or the schedule.
    pub manual: bool,
    /// The tries so far, oldest first.
    pub tasks: Vec<TaskId>,
    /// How many of them had to make room for another task: these are no failures.
    #[serde(default)]
    pub preempted: u32,
    /// What became of it.
    pub outcome: RunOutcome,
    /// When its first task was made.
    pub started_at: Option<Timestamp>,
    /// When its outcome became final.
    pub ended_at: Option<Timestamp>,
}

/// The state that plans are made from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct World {
    /// Workloads, deleted ones included until their tasks are gone.
    pub workloads: BTreeMap<WorkloadName, Workload>,
    /// Tasks that are not forgotten.
    pub tasks: BTreeMap<TaskId, Task>,
    /// Runs that are active, and the newest final ones of each workload.
    pub runs: BTreeMap<RunKey, Run>,
    /// Nodes.
    pub nodes: BTreeMap<NodeName, Node>,
    /// Pools.
    pub pools: BTreeMap<PoolName, NodePool>,
    /// Policies.
    pub policies: BTreeMap<PolicyName, Policy>,
    /// Actions in force.
    pub actions: BTreeMap<ActionKey, Action>,
    /// Quotas by team.
    pub quotas: BTreeMap<String, Quota>,
}

/// What a change touched: the rows that a store must write.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntityKey {
    /// A workload.
    Workload(WorkloadName),
    /// A task.
    Task(TaskId),
    /// A run.
    Run(RunKey),
    /// A node.
    Node(NodeName),
    /// A pool.
    Pool(PoolName),
    /// A policy.
    Policy(PolicyName),
    /// An action.
    Action(ActionKey),
    /// A team's quota.
    Quota(String),
}

impl World {
    /// The runs of a cron job or job, oldest first.
    pub fn runs_of<'a>(&'a self, workload: &'a WorkloadName) -> impl Iterator<Item = &'a Run> {
        let first = RunKey { workload: workload.clone(), at: Timestamp::MIN };
        self.runs.range(first..).map(|(_, run)| run).take_while(move |run| run.key.workload == *workload)
    }

    /// The tasks of a workload.
    pub fn tasks_of<'a>(&'a self, workload: &'a WorkloadName) -> impl Iterator<Item = &'a Task> {
        let first = TaskId::new(workload.clone(), 0);
        self.tasks.range(first..).map(|(_, task)| task).take_while(move |task| task.workload() == workload)
    }

    /// What froze a kind of change, if something did.
    pub fn frozen(&self, switch: Switch) -> Option<&Action> {
        self.actions.get(&ActionKey::Freeze(switch))
    }

    /// What paused a workload, if something did.
    pub fn paused(&self, workload: &WorkloadName) -> Option<&Action> {
        if self.actions.is_empty() {
            return None;
        }
        self.actions.get(&ActionKey::Pause(workload.clone()))
    }

    /// The policy that governs a workload: the one that it names, or the default one.
    pub fn policy_of(&self, workload: &Workload) -> Policy {
        workload.spec.policy().and_then(|name| self.policies.get(name)).cloned().unwrap_or_default()
    }
}
