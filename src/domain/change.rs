//! The ways in which the world changes. Plans are lists of these, so are the acts of people; the store
//! keeps them as the record of everything that happened.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::action::{Action, ActionEnd, ActionKey};
use crate::domain::decision::DecisionId;
use crate::domain::load_model::CostChange;
use crate::domain::node::{JoinState, NodeName, NodeState, PoolName, PoolSpec};
use crate::domain::policy::{Policy, PolicyName};
use crate::domain::quantity::TaskSize;
use crate::domain::quota::Quota;
use crate::domain::rollout::{Actor, RolloutState, Stage};
use crate::domain::task::{ExitRecord, Task, TaskId, TaskState};
use crate::domain::workload::{WorkloadName, WorkloadSpec};
use crate::domain::world::{EntityKey, RestartState, RunKey, RunOrder, RunOutcome};

/// One change of the world.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum Change {
    /// A workload was declared, or declared anew.
    WorkloadApplied {
        /// Its name.
        workload: WorkloadName,
        /// The spec.
        spec: WorkloadSpec,
    },
    /// A workload is to go.
    WorkloadDeleted {
        /// Its name.
        workload: WorkloadName,
    },
    /// A deleted workload has no tasks left.
    WorkloadForgotten {
        /// Its name.
        workload: WorkloadName,
    },
    /// A service is to have another number of instances.
    CountSet {
        /// The service.
        workload: WorkloadName,
        /// Instances wanted.
        count: u32,
        /// The decision behind it; absent where a person did it, or nodes that did not come are given up.
        decision: Option<DecisionId>,
    },
    /// The tasks of a workload are to have another size.
    SizeSet {
        /// The workload.
        workload: WorkloadName,
        /// The size.
        size: TaskSize,
        /// The decision behind it; absent where a person did it.
        decision: Option<DecisionId>,
    },
    /// A smaller memory is tried on one task first.
    SizeCanaryChosen {
        /// The workload.
        workload: WorkloadName,
        /// The task.
        task: TaskId,
    },
    /// A size is to hold for every task.
    SizeConfirmed {
        /// The workload.
        workload: WorkloadName,
    },
    /// A size did harm and is taken back.
    SizeReverted {
        /// The workload.
        workload: WorkloadName,
        /// Why.
        reason: String,
    },
    /// A revision was found to use more or less CPU than the one before it.
    CostChanged {
        /// The service.
        workload: WorkloadName,
        /// How much.
        cost: CostChange,
    },
    /// A rollout made progress or ended.
    RolloutMoved {
        /// The service.
        workload: WorkloadName,
        /// Where it stands now.
        state: RolloutState,
        /// Tasks of the new revision that failed so far.
        failures: u32,
        /// When an instance of the new revision last became ready.
        progressed_at: Timestamp,
    },
    /// A rollout by groups or by a switch came to another step, or waits for something else in it.
    RolloutStaged {
        /// The service.
        workload: WorkloadName,
        /// The step.
        stage: Stage,
    },
    /// Failures and backoff of a workload changed.
    RestartNoted {
        /// The workload.
        workload: WorkloadName,
        /// The new state.
        restart: RestartState,
    },
    /// A task is wanted.
    TaskCreated {
        /// The task, pending.
        task: Box<Task>,
    },
    /// A node was found for a pending task.
    TaskPlaced {
        /// The task.
        task: TaskId,
        /// The node.
        node: NodeName,
    },
    /// A task entered another state.
    TaskMoved {
        /// The task.
        task: TaskId,
        /// The new state.
        state: TaskState,
        /// Why.
        reason: String,
        /// How it ended, if it did.
        exit: Option<ExitRecord>,
    },
    /// A task has to make room for one of higher priority; that it leaves is a change of its own.
    TaskPreempted {
        /// The task.
        task: TaskId,
        /// The task that it makes room for.
        by: TaskId,
    },
    /// The ports that the agent gave a task.
    TaskPorts {
        /// The task.
        task: TaskId,
        /// Port numbers by name.
        ports: BTreeMap<String, u16>,
    },
    /// A running task has, or is to have, another size in place.
    TaskResized {
        /// The task.
        task: TaskId,
        /// The size.
        size: TaskSize,
    },
    /// A task that ended is no longer needed for planning; its record stays in the store.
    TaskForgotten {
        /// The task.
        task: TaskId,
    },
    /// A run was asked for, or an occurrence became due.
    RunOpened {
        /// Its identity.
        run: RunKey,
        /// Whether someone asked for it.
        manual: bool,
        /// What it is to be.
        #[serde(default)]
        order: Box<RunOrder>,
    },
    /// One of several tasks of a run has ended well.
    RunPartDone {
        /// The run.
        run: RunKey,
        /// Which one.
        index: u32,
    },
    /// A run has its outcome.
    RunClosed {
        /// Its identity.
        run: RunKey,
        /// What became of it.
        outcome: RunOutcome,
    },
    /// Occurrences of a cron job up to an instant are accounted for.
    CronAdvanced {
        /// The cron job.
        workload: WorkloadName,
        /// The instant.
        to: Timestamp,
    },
    /// A pool was declared, or declared anew.
    PoolApplied {
        /// Its name.
        pool: PoolName,
        /// What its nodes are.
        spec: PoolSpec,
    },
    /// A pool is to go.
    PoolDeleted {
        /// Its name.
        pool: PoolName,
    },
    /// A deleted pool has no nodes left.
    PoolForgotten {
        /// Its name.
        pool: PoolName,
    },
    /// A pool is to have another number of nodes.
    PoolTargetSet {
        /// The pool.
        pool: PoolName,
        /// Nodes wanted.
        target: u32,
        /// The decision behind it; absent where a person did it.
        decision: Option<DecisionId>,
    },
    /// Nodes of a pool did not come or did not join in time, or that is forgotten.
    PoolJoinNoted {
        /// The pool.
        pool: PoolName,
        /// The new state.
        joins: JoinState,
    },
    /// A node is wanted.
    NodeCreated {
        /// Its name.
        node: NodeName,
        /// Its pool.
        pool: PoolName,
    },
    /// A node entered another state.
    NodeMoved {
        /// The node.
        node: NodeName,
        /// The new state.
        state: NodeState,
        /// Why.
        reason: String,
        /// Whether it goes for good once it is empty.
        remove_when_empty: bool,
    },
    /// The use of a node fell under, or rose over, its pool's threshold for removal.
    NodeUse {
        /// The node.
        node: NodeName,
        /// Since when it has been under it.
        underused_since: Option<Timestamp>,
    },
    /// A node is gone.
    NodeForgotten {
        /// The node.
        node: NodeName,
    },
    /// A policy was declared, or declared anew.
    PolicyApplied {
        /// Its name.
        policy: PolicyName,
        /// Its rules.
        rules: Policy,
    },
    /// An action is in force.
    ActionBegun {
        /// The action.
        action: Box<Action>,
    },
    /// An action is no longer in force. What undoing it takes are changes of their own.
    ActionEnded {
        /// The action.
        action: ActionKey,
        /// How.
        end: ActionEnd,
    },
    /// A team's quota was declared, or declared anew.
    QuotaApplied {
        /// The team.
        team: String,
        /// The bounds.
        quota: Quota,
    },
    /// A team's quota is no more.
    QuotaDeleted {
        /// The team.
        team: String,
    },
    /// Sizes are to come from another policy.
    SizePolicySet {
        /// The policy as it was written: `NAME[:key=value]...`.
        policy: String,
    },
    /// The machine's clock was set. What is counted from an instant or until one goes on as it was.
    ClockMoved {
        /// By so much, forwards or back.
        by: SignedDuration,
    },
    /// A policy is no more; workloads that name it fall back on the default one.
    PolicyDeleted {
        /// Its name.
        policy: PolicyName,
    },
}

impl Change {
    /// What it is about: every entity that it names, the one that it changes first.
    pub fn subjects(&self) -> Vec<EntityKey> {
        match self {
            Self::WorkloadApplied { workload, .. }
            | Self::WorkloadDeleted { workload }
            | Self::WorkloadForgotten { workload }
            | Self::CountSet { workload, .. }
            | Self::SizeSet { workload, .. }
            | Self::SizeCanaryChosen { workload, .. }
            | Self::SizeConfirmed { workload }
            | Self::SizeReverted { workload, .. }
            | Self::CostChanged { workload, .. }
            | Self::RolloutMoved { workload, .. }
            | Self::RolloutStaged { workload, .. }
            | Self::RestartNoted { workload, .. }
            | Self::CronAdvanced { workload, .. } => vec![EntityKey::Workload(workload.clone())],
            Self::TaskCreated { task } => {
                let mut keys =
                    vec![EntityKey::Task(task.id.clone()), EntityKey::Workload(task.workload().clone())];
                keys.extend(task.run().map(EntityKey::Run));
                keys
            }
            Self::TaskPlaced { task, .. }
            | Self::TaskMoved { task, .. }
            | Self::TaskPreempted { task, .. }
            | Self::TaskPorts { task, .. }
            | Self::TaskResized { task, .. }
            | Self::TaskForgotten { task } => vec![EntityKey::Task(task.clone())],
            Self::RunOpened { run, .. } | Self::RunPartDone { run, .. } => vec![EntityKey::Run(run.clone())],
            Self::RunClosed { run, .. } => {
                vec![EntityKey::Run(run.clone()), EntityKey::Workload(run.workload.clone())]
            }
            Self::PoolApplied { pool, .. }
            | Self::PoolDeleted { pool }
            | Self::PoolForgotten { pool }
            | Self::PoolJoinNoted { pool, .. }
            | Self::PoolTargetSet { pool, .. } => vec![EntityKey::Pool(pool.clone())],
            Self::NodeCreated { node, pool } => {
                vec![EntityKey::Node(node.clone()), EntityKey::Pool(pool.clone())]
            }
            Self::NodeMoved { node, .. } | Self::NodeUse { node, .. } | Self::NodeForgotten { node } => {
                vec![EntityKey::Node(node.clone())]
            }
            Self::SizePolicySet { .. } => vec![EntityKey::SizePolicy],
            // It is about everything: the reducer tells what it touched.
            Self::ClockMoved { .. } => Vec::new(),
            Self::ActionBegun { action } => action_subjects(&action.key),
            Self::ActionEnded { action, .. } => action_subjects(action),
            Self::QuotaApplied { team, .. } | Self::QuotaDeleted { team } => {
                vec![EntityKey::Quota(team.clone())]
            }
            Self::PolicyApplied { policy, .. } | Self::PolicyDeleted { policy } => {
                vec![EntityKey::Policy(policy.clone())]
            }
        }
    }
}

/// An action comes with the workload that it is about, so that it is found in that one's history.
fn action_subjects(key: &ActionKey) -> Vec<EntityKey> {
    let mut keys = vec![EntityKey::Action(key.clone())];
    if let ActionKey::Drain(node) = key {
        keys.push(EntityKey::Node(node.clone()));
    }
    keys.extend(key.workload().cloned().map(EntityKey::Workload));
    keys
}

/// A change with its circumstances, as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordedChange {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: Actor,
    /// Why, in words; a person's message or the plan's reason.
    pub reason: String,
    /// The request that asked for it, where it came with an idempotency key.
    #[serde(default)]
    pub request: Option<String>,
    /// What.
    pub change: Change,
}
