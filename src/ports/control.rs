//! The engine as its edges see it: a view of everything, and a way to ask for changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::cron_advice::CronAdvice;
use crate::domain::decision::DecisionId;
use crate::domain::intent::Submission;
use crate::domain::load::LoadSample;
use crate::domain::load_forecast::LoadForecast;
use crate::domain::load_model::LoadModel;
use crate::domain::node::NodeName;
use crate::domain::node_outlook::NodesOutlook;
use crate::domain::observation::Observed;
use crate::domain::plan::{Alarm, Waiting};
use crate::domain::recommendation::Estimate;
use crate::domain::rollout::Actor;
use crate::domain::scale_status::ScaleStatus;
use crate::domain::task::{Task, TaskId};
use crate::domain::usage::UsageSample;
use crate::domain::what_if::{OtherLoad, WhatIf};
use crate::domain::workload::{TaskTemplate, WorkloadName};
use crate::domain::world::World;
use crate::ports::exec::ExecOutput;
use crate::ports::health::ProbeResult;
use crate::ports::store::{NumberedChange, StoreError};

/// How reading an agent goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrapeHealth {
    /// The agent's address.
    pub agent: String,
    /// Answers that came in time and could be read.
    pub succeeded: u64,
    /// Answers that did not come or could not be read.
    pub failed: u64,
    /// Answers that did not come in time.
    pub late: u64,
    /// When the last good answer came.
    pub last_success: Option<Timestamp>,
    /// What went wrong last, until an answer is good again.
    pub last_error: Option<String>,
}

/// How the engine itself is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EngineHealth {
    /// The version of the binary.
    pub version: String,
    /// When the engine started.
    pub started_at: Timestamp,
    /// When the scheduler last finished a pass.
    pub scheduled_at: Option<Timestamp>,
    /// What the cluster does not enforce, and why.
    pub limitations: Vec<String>,
    /// Agents.
    pub scrapes: Vec<ScrapeHealth>,
    /// What is wrong now, in words; empty when all is well.
    pub problems: Vec<String>,
    /// The policy that sizes come from now.
    #[serde(default)]
    pub size_policy: String,
}

/// A policy that sizes can come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SizePolicyEntry {
    /// Its name.
    pub name: String,
    /// Its keys with the values that they have unless said otherwise.
    pub keys: BTreeMap<String, f64>,
    /// The key that trades cost against risk.
    pub knob: String,
}

/// A question about another load.
#[derive(Debug, Clone, PartialEq)]
pub struct WhatIfAsked {
    /// The service.
    pub workload: WorkloadName,
    /// The load; the one that is usual at `peak` without it.
    pub load: Option<OtherLoad>,
    /// When; now without it.
    pub peak: Option<Timestamp>,
}

/// Advice that is to be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdviceAsked {
    /// Who asks.
    pub by: Actor,
    /// Why, in words.
    pub message: String,
    /// The workload.
    pub workload: WorkloadName,
    /// Names the request, so that sending it again does nothing twice.
    pub request: Option<String>,
    /// The workload must be at this generation.
    pub expected: Option<u64>,
}

/// Everything as it is now. Parts are shared, so a view costs little.
#[derive(Debug, Clone)]
pub struct View {
    /// What was told and set in motion.
    pub world: Arc<World>,
    /// What was observed at the last pass of the scheduler.
    pub observed: Arc<Observed>,
    /// Tasks without a node, and why; in order of id.
    pub waiting: Arc<Vec<Waiting>>,
    /// What wants a person's eye.
    pub alarms: Arc<Vec<Alarm>>,
    /// The newest recommendation of each workload.
    pub recommendations: Arc<BTreeMap<WorkloadName, Estimate>>,
    /// The newest usage sample of each task.
    pub usage: Arc<BTreeMap<TaskId, UsageSample>>,
    /// The newest load sample of each service.
    pub load: Arc<BTreeMap<WorkloadName, LoadSample>>,
    /// What instances of each service use as functions of their load.
    pub models: Arc<BTreeMap<WorkloadName, LoadModel>>,
    /// How the counts of services stand that scale.
    pub scaling: Arc<BTreeMap<WorkloadName, ScaleStatus>>,
    /// What is to become of nodes, as the last decision about them saw it.
    pub outlook: Arc<NodesOutlook>,
    /// The stable addresses of each service: number by port name.
    pub front_doors: Arc<BTreeMap<WorkloadName, BTreeMap<String, u16>>>,
    /// The engine itself.
    pub engine: EngineHealth,
}

/// Why the engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It does not exist.
    #[error("{0}")]
    NotFound(String),
    /// It cannot be done as things stand.
    #[error("{0}")]
    Refused(String),
    /// What was said cannot be read.
    #[error("{0}")]
    Invalid(String),
    /// The workload is not as the asker saw it.
    #[error("{0}")]
    Conflict(String),
    /// It could not be written down, so it was not done.
    #[error("cannot record the change; nothing was changed")]
    Store(#[from] StoreError),
}

/// The engine as its edges see it.
#[async_trait]
pub trait Control: Send + Sync {
    /// Everything as it is now.
    async fn view(&self) -> View;

    /// Asks for something. When it returns without error, the change is on disk; the answer says in
    /// words what changed, and is empty where nothing had to. A request that was made before is not
    /// carried out again: its answer is given again.
    async fn submit(&self, submission: Submission) -> Result<Vec<String>, ControlError>;

    /// The policies that sizes can come from.
    fn size_policies(&self) -> Vec<SizePolicyEntry>;

    /// What a service would need under another load.
    async fn what_if(&self, asked: WhatIfAsked) -> Result<WhatIf, ControlError>;

    /// Applies the size that is advised for a workload, as a decision of its own; the answer is as `submit`'s.
    async fn apply_advice(&self, asked: AdviceAsked) -> Result<Vec<String>, ControlError>;

    /// The load of a service as it is forecast from now on, over `ahead` in steps of `step`.
    async fn forecast(
        &self,
        workload: &WorkloadName,
        ahead: SignedDuration,
        step: SignedDuration,
    ) -> Result<LoadForecast, ControlError>;

    /// Which schedules, moved by at most so much, need fewer nodes.
    async fn cron_advice(&self, most: SignedDuration) -> Result<CronAdvice, ControlError>;

    /// The number of the newest change; 0 before the first one.
    fn last_change(&self) -> u64;

    /// Changes with a higher number than `after`, oldest first, at most `limit`; waits until there is one.
    async fn changes_after(&self, after: u64, limit: usize) -> Result<Vec<NumberedChange>, StoreError>;

    /// What a task was started with, or is going to be; none where its workload is gone.
    async fn template(&self, task: &Task) -> Option<TaskTemplate>;

    /// The newest answers of a task's health checks, oldest first.
    fn probe_results(&self, task: &TaskId) -> Vec<ProbeResult>;

    /// Carries out a decision that waits for approval.
    async fn approve(&self, by: Actor, decision: DecisionId) -> Result<(), ControlError>;

    /// Runs a command in a task to its end, at most for `time`.
    async fn exec(
        &self,
        by: Actor,
        task: &TaskId,
        command: &[String],
        time: SignedDuration,
    ) -> Result<ExecOutput, ControlError>;

    /// Fails a node as a machine would, to see what the engine makes of it.
    async fn fail_node(&self, by: Actor, node: &NodeName) -> Result<(), ControlError>;
}
