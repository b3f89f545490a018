//! What people and programs ask the engine to do.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::action::{ActionKey, Switch};
use crate::domain::node::{NodeName, PoolName, PoolSpec};
use crate::domain::policy::{Policy, PolicyName};
use crate::domain::quantity::TaskSize;
use crate::domain::quota::Quota;
use crate::domain::rollout::Actor;
use crate::domain::task::TaskId;
use crate::domain::workload::{EnvValue, WorkloadName, WorkloadSpec};
use crate::domain::world::RunKey;

/// Everything that a set of spec files declares.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Declared {
    /// Services, cron jobs and jobs.
    pub workloads: BTreeMap<WorkloadName, WorkloadSpec>,
    /// Node pools.
    pub pools: BTreeMap<PoolName, PoolSpec>,
    /// Policies.
    pub policies: BTreeMap<PolicyName, Policy>,
    /// Quotas by team.
    #[serde(default)]
    pub quotas: BTreeMap<String, Quota>,
}

/// What a run that is asked for has other than its workload's spec says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunOverrides {
    /// In place of the arguments after the program.
    #[serde(default)]
    pub args: Option<Vec<String>>,
    /// Added to the environment, or in place of a variable of it.
    #[serde(default)]
    pub env: BTreeMap<String, EnvValue>,
    /// In place of the size.
    #[serde(default)]
    pub size: Option<TaskSize>,
}

impl RunOverrides {
    /// Whether nothing is other than the spec says.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One thing that is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Intent {
    /// Make what is declared so; what is not named stays as it is.
    Apply(Box<Declared>),
    /// Stop a workload and forget it.
    Delete(WorkloadName),
    /// Forget a policy.
    DeletePolicy(PolicyName),
    /// Drain and remove all nodes of a pool.
    DeletePool(PoolName),
    /// Forget a team's quota.
    DeleteQuota(String),
    /// Another number of instances.
    Scale {
        /// The service.
        workload: WorkloadName,
        /// Instances wanted.
        count: u32,
        /// A drop of more than half the instances is meant.
        acknowledged: bool,
        /// After this it goes back to the count before.
        lasting: Option<SignedDuration>,
    },
    /// Another size.
    Resize {
        /// The workload.
        workload: WorkloadName,
        /// The size wanted.
        size: TaskSize,
    },
    /// One run now.
    Run {
        /// The cron job or job.
        workload: WorkloadName,
        /// What is other than the spec says.
        overrides: Box<RunOverrides>,
    },
    /// Take sizes from another policy: `NAME[:key=value]...`.
    SetSizePolicy(String),
    /// Take the sizes of one workload from a policy of its own.
    SetSizePolicyOf {
        /// The workload.
        workload: WorkloadName,
        /// The policy: `NAME[:key=value]...`.
        policy: String,
        /// After this its sizes come from the policy of all others again.
        lasting: Option<SignedDuration>,
    },
    /// Stop a run and close it as cancelled.
    CancelRun(RunKey),
    /// Stop one task; a service replaces it.
    StopTask(TaskId),
    /// Let a rollout that waits go on to its next step.
    AdvanceRollout(WorkloadName),
    /// Take a rollout back.
    AbortRollout(WorkloadName),
    /// Go back to an earlier revision: the given one, or the last healthy one before the one in force.
    Rollback {
        /// The service.
        workload: WorkloadName,
        /// The number of the revision.
        to: Option<u64>,
    },
    /// Replace instances by equal ones.
    Bounce {
        /// The service.
        workload: WorkloadName,
        /// One instance; all where absent.
        task: Option<TaskId>,
    },
    /// Want no task of a workload for a while.
    Pause {
        /// The workload.
        workload: WorkloadName,
        /// After this it is resumed.
        lasting: Option<SignedDuration>,
    },
    /// Want the tasks of a paused workload again.
    Resume(WorkloadName),
    /// Freeze a kind of change.
    Freeze {
        /// The kind.
        switch: Switch,
        /// After this it is lifted.
        lasting: Option<SignedDuration>,
    },
    /// Lift a freeze.
    Unfreeze(Switch),
    /// End an action and undo what it did.
    CancelAction(ActionKey),
    /// Move everything off a node; it stays, empty, until it is activated.
    Drain {
        /// The node.
        node: NodeName,
        /// After this it is activated.
        lasting: Option<SignedDuration>,
    },
    /// Let a drained node take tasks again.
    Activate(NodeName),
    /// The size that is advised is not wanted.
    DismissAdvice {
        /// The workload.
        workload: WorkloadName,
        /// The size that is advised.
        size: TaskSize,
        /// After this it is shown again; a month where absent.
        lasting: Option<SignedDuration>,
    },
    /// The size that is advised is to be applied later.
    ScheduleAdvice {
        /// The workload.
        workload: WorkloadName,
        /// The size that is advised.
        size: TaskSize,
        /// At this instant; with the next rollout where absent.
        at: Option<Timestamp>,
    },
}

/// An intent with its circumstances.
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    /// Who asks.
    pub by: Actor,
    /// Why, in words.
    pub message: String,
    /// What.
    pub intent: Intent,
    /// Names the request, so that sending it again does nothing twice.
    pub request: Option<String>,
    /// The workload must be at this generation.
    pub expected: Option<(WorkloadName, u64)>,
    /// Only tell what would change.
    pub dry_run: bool,
}

impl Submission {
    /// A submission that nothing more is said of.
    pub fn new(by: Actor, message: impl Into<String>, intent: Intent) -> Self {
        Self { by, message: message.into(), intent, request: None, expected: None, dry_run: false }
    }
}
