//! What the API says, and what programs can rely on: flat, named, with units in the names.
//! Not the domain: fields here change only with the version in the path.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::advice::AdviceActDto;
use crate::api::node_answers::NodeOutlookDto;
pub use crate::api::scaling::{ConditionDto, ScaleDto};
use crate::domain::advice::Confidence;
use crate::domain::decision::{Decision, DecisionId};
use crate::domain::node::NodeState;
use crate::domain::quantity::TaskSize;
use crate::domain::recommendation::Finding;
use crate::domain::rollout::Rollout;
use crate::domain::task::{ExitRecord, TaskState};
use crate::domain::workload::WorkloadKind;
use crate::domain::world::RunOutcome;
use crate::ports::control::EngineHealth;

/// A size: request and limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SizeDto {
    /// Cores reserved.
    pub cpu_request: f64,
    /// Bytes reserved.
    pub memory_request: u64,
    /// Cores at most; absent where not capped.
    pub cpu_limit: Option<f64>,
    /// Bytes at most.
    pub memory_limit: u64,
}

impl From<TaskSize> for SizeDto {
    fn from(size: TaskSize) -> Self {
        Self {
            cpu_request: size.request.cpu.cores(),
            memory_request: size.request.memory.get(),
            cpu_limit: size.cpu_limit.map(crate::domain::quantity::Millicores::cores),
            memory_limit: size.memory_limit.get(),
        }
    }
}

/// A workload and where it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WorkloadDto {
    /// Its name.
    pub name: String,
    /// Service, cron job or job.
    #[schema(value_type = String)]
    pub kind: WorkloadKind,
    /// The owning team.
    pub team: Option<String>,
    /// Where its cost is booked.
    pub cost_centre: Option<String>,
    /// One word: `healthy`, `starting`, `degraded`, `crash loop`, `rolling out`, `waiting`, `idle`,
    /// `deleting`.
    pub state: String,
    /// What is to be known beyond that word; empty when nothing is.
    pub notes: Vec<String>,
    /// The revision in force.
    pub revision: u64,
    /// Counts what people and decisions changed of it; the workload's `ETag`.
    #[serde(default)]
    pub generation: u64,
    /// Instances wanted (services).
    pub wanted: Option<u32>,
    /// Bounds of automatic counts, as they are now.
    pub scale_bounds: Option<(u32, u32)>,
    /// How its count stands, where it follows the load.
    #[serde(default)]
    pub scale: Option<ScaleDto>,
    /// Instances that are ready, or runs that are active.
    pub ready: u32,
    /// Tasks that hold resources or wait for them.
    pub tasks: u32,
    /// The size of a task.
    pub size: SizeDto,
    /// Cores in use over all its tasks, at the newest sample.
    pub cpu_used: Option<f64>,
    /// Bytes in use over all its tasks, at the newest sample.
    pub memory_used: Option<u64>,
    /// Requests per second through the front door.
    pub requests_per_second: Option<f64>,
    /// The 95th percentile of latency, in seconds.
    pub latency_p95: Option<f64>,
    /// What that is to stay under, in seconds, where the spec says so.
    #[serde(default)]
    pub latency_objective: Option<f64>,
    /// The stable addresses: number by port name.
    pub front_doors: BTreeMap<String, u16>,
    /// The schedule (cron jobs).
    pub schedule: Option<String>,
    /// When it is due next (cron jobs).
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_run: Option<Timestamp>,
    /// The last rollout (services).
    #[schema(value_type = Option<Object>)]
    pub rollout: Option<Rollout>,
}

/// A task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskDto {
    /// Its identity.
    pub id: String,
    /// Its workload.
    pub workload: String,
    /// The revision that it was made from.
    pub revision: u64,
    /// Where it is in its life.
    #[schema(value_type = String)]
    pub state: TaskState,
    /// Why it is there.
    pub reason: String,
    /// Its node.
    pub node: Option<String>,
    /// Its process id, while it runs.
    pub pid: Option<u32>,
    /// Its health, while it runs.
    pub health: Option<String>,
    /// Its size.
    pub size: SizeDto,
    /// Cores in use at the newest sample.
    pub cpu_used: Option<f64>,
    /// Share of CPU periods in which it was throttled, at the newest sample.
    pub throttled_share: Option<f64>,
    /// Working set in bytes at the newest sample.
    pub memory_used: Option<u64>,
    /// File cache in bytes at the newest sample.
    pub page_cache: Option<u64>,
    /// Port numbers by name.
    pub ports: BTreeMap<String, u16>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When its process was first seen.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it entered its state.
    #[schema(value_type = String, format = DateTime)]
    pub state_since: Timestamp,
    /// How it ended.
    #[schema(value_type = Option<Object>)]
    pub exit: Option<ExitRecord>,
    /// Why it has no node, in total and per node.
    pub waiting: Vec<String>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeDto {
    /// Its name.
    pub name: String,
    /// Its pool.
    pub pool: String,
    /// Where it is in its life.
    #[schema(value_type = String)]
    pub state: NodeState,
    /// Why it is there.
    pub reason: String,
    /// Tasks on it.
    pub tasks: u32,
    /// Cores that it offers.
    pub cpu: f64,
    /// Cores requested by its tasks.
    pub cpu_requested: f64,
    /// Cores in use by its tasks.
    pub cpu_used: f64,
    /// Bytes that it offers.
    pub memory: u64,
    /// Bytes requested by its tasks.
    pub memory_requested: u64,
    /// Bytes in use by its tasks.
    pub memory_used: u64,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Why it was asked for.
    #[serde(default)]
    pub made_for: String,
    /// What is to become of it, as the last decision about nodes saw it; absent where it is newer.
    #[serde(default)]
    pub outlook: Option<NodeOutlookDto>,
}

/// A pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PoolDto {
    /// Its name.
    pub name: String,
    /// Never fewer nodes.
    pub min: u32,
    /// Never more nodes.
    pub max: u32,
    /// Nodes wanted now.
    pub target: u32,
    /// Nodes that take tasks.
    pub ready: u32,
    /// Cores of one node.
    pub cpu: f64,
    /// Bytes of one node.
    pub memory: u64,
    /// Price of one node and hour, in currency units.
    pub price_per_hour: f64,
}

/// A run of a cron job or a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunDto {
    /// The cron job or job.
    pub workload: String,
    /// The instant that it was planned or asked for.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Whether someone asked for it.
    pub manual: bool,
    /// What became of it.
    #[schema(value_type = serde_json::Value)]
    pub outcome: RunOutcome,
    /// Its tries.
    pub tasks: Vec<String>,
    /// When its first try was made.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When its outcome became final.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
}

/// A recommendation, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RecommendationDto {
    /// The workload.
    pub workload: String,
    /// The size now.
    pub current: SizeDto,
    /// The size recommended.
    pub recommended: Option<SizeDto>,
    /// Below this (cores, bytes) a request is too small.
    pub lower: Option<(f64, u64)>,
    /// Above this (cores, bytes) a request is too large.
    pub upper: Option<(f64, u64)>,
    /// Samples that it rests on.
    pub samples: u64,
    /// Days of history that it rests on.
    pub confidence_days: f64,
    /// What all its instances would cost more per month of 730 hours, in currency units; negative is a
    /// saving.
    pub price_per_month: f64,
    /// Why this size, or why none.
    pub reason: String,
    /// What the policy does with it.
    pub mode: String,
    /// Instances that prices and expected kills are multiplied by: the count of a service, else 1.
    #[serde(default)]
    pub instances: u32,
    /// What its instances cost per month at the size now.
    #[serde(default)]
    pub current_price_per_month: f64,
    /// What they would cost at the size recommended.
    #[serde(default)]
    pub recommended_price_per_month: Option<f64>,
    /// Kills for want of memory per task-day that are expected at the size recommended, where the
    /// estimator knows.
    #[serde(default)]
    pub risk: Option<f64>,
    /// `low`, `fair` or `high`; absent where nothing is recommended.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub confidence: Option<Confidence>,
    /// What the confidence rests on, in words.
    #[serde(default)]
    pub grounds: String,
    /// The reasons that matter most, the weightiest first.
    #[serde(default)]
    pub reasons: Vec<String>,
    /// Other memory requests and what is expected of them, ascending.
    #[serde(default)]
    pub candidates: Vec<CandidateDto>,
    /// What its usage shows besides a size.
    #[serde(default)]
    pub findings: Vec<FindingDto>,
    /// That somebody dismissed it, where somebody did.
    #[serde(default)]
    pub dismissed: Option<AdviceActDto>,
    /// That it is to be applied later, where it is.
    #[serde(default)]
    pub scheduled: Option<AdviceActDto>,
}

/// A memory request that could be chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CandidateDto {
    /// Bytes.
    pub memory: u64,
    /// Kills for want of memory per task-day.
    pub risk: f64,
    /// Those that all instances may expect per month of 730 hours.
    pub oom_kills_per_month: f64,
    /// What all instances would cost per month, with the CPU recommended.
    pub price_per_month: f64,
}

/// What the usage of a workload shows that its owner should know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FindingDto {
    /// What was seen, in words.
    pub words: String,
    /// What to do about it.
    pub advice: String,
    /// The finding: its `kind` (`leak`, `trend`, `plateau`, `startup_peak`, `daily`) and numbers.
    #[schema(value_type = Object)]
    pub finding: Finding,
}

/// What the tasks of a workload used in a part of a span of time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UsagePartDto {
    /// When the part begins.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Samples in it.
    pub samples: u64,
    /// Mean cores of a task.
    pub cpu_mean: Option<f64>,
    /// Highest cores of a task.
    pub cpu_max: Option<f64>,
    /// Mean working set of a task in bytes.
    pub memory_mean: u64,
    /// Highest working set of a task in bytes.
    pub memory_max: u64,
}

/// A recommendation with what it can be checked against.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExplanationDto {
    /// The recommendation, or why there is none.
    pub recommendation: RecommendationDto,
    /// From when on usage is told.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// Until when.
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    /// Seconds of a part.
    pub part_seconds: u64,
    /// Usage by parts; those without a sample are left out.
    pub usage: Vec<UsagePartDto>,
    /// The newest decisions about it, newest first.
    #[schema(value_type = Vec<Object>)]
    pub decisions: Vec<Decision>,
}

/// Everything at a glance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StatusDto {
    /// The engine.
    #[schema(value_type = Object)]
    pub engine: EngineHealth,
    /// Workloads.
    pub workloads: Vec<WorkloadDto>,
    /// Pools.
    pub pools: Vec<PoolDto>,
    /// Tasks without a node, and why.
    pub waiting: Vec<WaitingDto>,
    /// What the nodes that are there cost per hour, in currency units.
    pub price_per_hour: f64,
    /// What the nodes cost in this month of UTC so far, by their prices; absent before it was first looked at.
    #[serde(default)]
    pub price_this_month: Option<f64>,
}

/// A task without a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WaitingDto {
    /// The task.
    pub task: String,
    /// What it waits for, in a word, as in the metrics.
    #[serde(default)]
    pub kind: String,
    /// Why, in total.
    pub reason: String,
    /// Why, per node; empty where many tasks wait.
    pub nodes: BTreeMap<String, String>,
}

/// Spec files to be applied.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyRequest {
    /// Name and text of each file; names appear in error messages and give relative paths a place.
    pub files: Vec<SpecFile>,
    /// Why, in words.
    #[serde(default)]
    pub message: String,
    /// Only tell what would change.
    #[serde(default)]
    pub dry_run: bool,
}

/// A spec file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SpecFile {
    /// Its path as the sender sees it.
    pub name: String,
    /// Its content.
    pub text: String,
}

/// What a call changed, in words; empty where everything was so already.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Changed {
    /// A line a change.
    pub changes: Vec<String>,
}

/// Another number of instances.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScaleRequest {
    /// Instances wanted.
    pub count: u32,
    /// Why, in words.
    #[serde(default)]
    pub message: String,
    /// A drop of more than half the instances is meant.
    #[serde(default)]
    pub acknowledged: bool,
    /// After so many seconds it goes back to the count before.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 31_536_000)]
    pub for_seconds: Option<u64>,
}

/// Why, for calls that need nothing else.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MessageRequest {
    /// Why, in words.
    #[serde(default)]
    pub message: String,
}

/// An answer to a decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Approved {
    /// The decision.
    #[schema(value_type = u64)]
    pub decision: DecisionId,
}

/// A piece of a log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LogDto {
    /// The text; bytes that are not UTF-8 are replaced.
    pub text: String,
    /// Where the next piece begins: the `after` of the next call.
    pub next: String,
    /// Where each line of the text begins, to read from it again (`after`); only where asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<String>,
}

/// What went wrong (RFC 9457).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A few words that are the same for every problem of its kind.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// A line an error, where there are several (spec errors).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// After so many seconds it may be tried again; the header `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}
