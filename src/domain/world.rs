//! Everything that Loadline was told and everything that it has set in motion: the state that plans are
//! made from. It changes by `Change`s alone, so that what is stored and what is in memory agree.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::action::{Action, ActionKey, Switch};
use crate::domain::decision::DecisionId;
use crate::domain::intent::RunOverrides;
use crate::domain::node::{Node, NodeName, NodePool, PoolName};
use crate::domain::policy::{Policy, PolicyName};
use crate::domain::quantity::TaskSize;
use crate::domain::quota::Quota;
use crate::domain::rollout::{Revision, Rollout};
use crate::domain::size_policy::SizePolicyChoice;
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
    /// What its runs leave behind (cron jobs and jobs).
    #[serde(default)]
    pub jobs: JobState,
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

    /// Whether the front door may send requests to a task of it: not while it waits for the switch of a
    /// rollout, or was switched away from.
    pub fn takes_traffic(&self, task: &Task) -> bool {
        self.rollout.as_ref().is_none_or(|rollout| rollout.takes_traffic(task.revision))
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
    /// Not started, because something said so: a pause, a freeze, a full queue.
    Skipped {
        /// What.
        reason: String,
    },
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
            Self::SkippedOverlap | Self::Skipped { .. } => "skipped",
            Self::Missed { .. } => "missed",
            Self::Cancelled { .. } => "cancelled",
        }
    }
}

/// Why a run was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunCause {
    /// It was asked for, its schedule said so, or its workload was applied.
    #[default]
    Due,
    /// It was due while no engine ran.
    CatchUp,
    /// What it comes after has succeeded.
    Upstream,
}

/// What a run is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunOrder {
    /// Why it was opened.
    #[serde(default)]
    pub cause: RunCause,
    /// What it has other than the spec says.
    #[serde(default)]
    pub overrides: RunOverrides,
    /// The occurrences that it accounts for: more than one where a record stands for many.
    #[serde(default = "one")]
    pub occurrences: u64,
}

fn one() -> u64 {
    1
}

fn one_task() -> u32 {
    1
}

impl Default for RunOrder {
    fn default() -> Self {
        Self { cause: RunCause::default(), overrides: RunOverrides::default(), occurrences: 1 }
    }
}

/// One of the tasks of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunPart {
    /// How often it was tried.
    pub tries: u32,
    /// How many of these tries had to make room for another task: they are no failures.
    #[serde(default)]
    pub preempted: u32,
    /// It ended well.
    pub done: bool,
}

/// When a cron job is due next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NextRun {
    /// Not looked up: the world is that of an earlier version.
    #[default]
    Unknown,
    /// The next occurrence.
    At {
        /// The instant that the schedule names.
        planned: Timestamp,
        /// When it is to start, which jitter makes later.
        due: Timestamp,
    },
    /// Its schedule has no more.
    Finished,
}

/// What the runs of a cron job or job leave behind.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct JobState {
    /// When it is due next (cron jobs).
    #[serde(default)]
    pub next: NextRun,
    /// When a run of it last succeeded.
    #[serde(default)]
    pub last_success: Option<Timestamp>,
    /// When a run of it last began.
    #[serde(default)]
    pub last_begun: Option<Timestamp>,
    /// Since when its occurrences have been missed; absent once one has begun.
    #[serde(default)]
    pub missed_since: Option<Timestamp>,
    /// How long its runs took that succeeded as the spec says, the newest ones, oldest first.
    #[serde(default)]
    pub took: Vec<SignedDuration>,
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
    /// What became of it.
    pub outcome: RunOutcome,
    /// When its first task was made.
    pub started_at: Option<Timestamp>,
    /// When its outcome became final.
    pub ended_at: Option<Timestamp>,
    /// What it is to be.
    #[serde(default)]
    pub order: RunOrder,
    /// Its tasks, as many as its spec said when it was opened.
    #[serde(default = "one_task")]
    pub count: u32,
    /// Where each of its tasks stands, by index; none for those not begun.
    #[serde(default)]
    pub parts: BTreeMap<u32, RunPart>,
}

impl Run {
    /// A run that was just opened.
    pub fn opened(key: RunKey, manual: bool, order: RunOrder, count: u32) -> Self {
        Self {
            key,
            manual,
            tasks: Vec::new(),
            outcome: RunOutcome::Active,
            started_at: None,
            ended_at: None,
            order,
            count,
            parts: BTreeMap::new(),
        }
    }

    /// Where one of its tasks stands.
    pub fn part(&self, index: u32) -> RunPart {
        // Runs of earlier versions had one task and did not count.
        let uncounted =
            || RunPart { tries: if index == 0 { self.tasks.len() as u32 } else { 0 }, ..RunPart::default() };
        self.parts.get(&index).copied().unwrap_or_else(uncounted)
    }

    /// Whether nothing of it was begun.
    pub fn waits(&self) -> bool {
        !self.outcome.is_final() && self.tasks.is_empty()
    }
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
    /// The policy that sizes come from, where somebody chose one.
    pub size_policy: Option<SizePolicyChoice>,
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
    /// The policy that sizes come from.
    SizePolicy,
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

    /// The policy that somebody chose for the sizes of this workload alone.
    pub fn size_policy_of(&self, workload: &WorkloadName) -> Option<&str> {
        if self.actions.is_empty() {
            return None;
        }
        self.actions.get(&ActionKey::SizePolicy(workload.clone()))?.policy.as_deref()
    }

    /// Whether somebody dismissed what is advised for a workload's size, or said when it is to be applied: then nobody
    /// else applies it.
    pub fn advice_is_settled(&self, workload: &WorkloadName) -> bool {
        let has = |key| self.actions.contains_key(&key);
        !self.actions.is_empty()
            && (has(ActionKey::Dismiss(workload.clone())) || has(ActionKey::Schedule(workload.clone())))
    }

    /// Whether somebody paused the workload, or set its count to 0.
    pub fn stopped_by_hand(&self, workload: &Workload) -> bool {
        let scaled = || self.actions.get(&ActionKey::Scale(workload.name.clone()));
        self.paused(&workload.name).is_some()
            || (workload.count == 0 && scaled().is_some_and(|action| action.count == Some(0)))
    }

    /// The policy that governs a workload: the one that it names, or the default one.
    pub fn policy_of(&self, workload: &Workload) -> Policy {
        workload.spec.policy().and_then(|name| self.policies.get(name)).cloned().unwrap_or_default()
    }
}
