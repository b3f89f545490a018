//! What the API says of actions, freezes, events, revisions, quotas, tokens and itself.
//! Not here: workloads, tasks, nodes and runs (`dto`).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What specs changed, or would.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Applied {
    /// A line a change; empty where everything was so already.
    pub changes: Vec<String>,
    /// What is other than before, field by field.
    pub diffs: Vec<DiffDto>,
}

/// What is other than before in one thing that was declared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DiffDto {
    /// `service`, `cron`, `job`, `pool`, `policy` or `quota`.
    pub kind: String,
    /// Its name.
    pub workload: String,
    /// A line a field, for example `instances: 2 -> 3`; secrets are not shown.
    pub lines: Vec<String>,
}

/// One version of a workload's spec.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RevisionDto {
    /// Counted from 1.
    pub number: u64,
    /// When it came.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Who brought it.
    pub by: String,
    /// Whether it is the one in force.
    pub in_force: bool,
    /// What is other than in the revision before it that is still known.
    pub lines: Vec<String>,
}

/// Something that is in force by hand, or by the engine in an emergency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ActionDto {
    /// `scale`, `pause`, `bounce`, `drain`, `freeze`, `dismiss`, `schedule` or `size-policy`.
    pub kind: String,
    /// The workload, the node or the kind of change.
    pub subject: String,
    /// Who did it.
    pub by: String,
    /// Why, in words.
    pub message: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// When it ends by itself; never where absent.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// The count that a scaled service goes back to.
    pub count_before: Option<u32>,
    /// The one instance that is bounced.
    pub task: Option<String>,
    /// The size that was advised, in words, of advice that is dismissed or scheduled.
    #[serde(default)]
    pub size: Option<String>,
    /// When scheduled advice is applied; with the next rollout where absent.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub due: Option<Timestamp>,
    /// The policy that the workload's sizes come from.
    #[serde(default)]
    pub policy: Option<String>,
}

/// A kind of change that can be frozen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FreezeDto {
    /// `deploys`, `scaling`, `draining` or `cron`.
    pub switch: String,
    /// Whether it is frozen.
    pub frozen: bool,
    /// Who froze it.
    pub by: Option<String>,
    /// Why, in words.
    pub message: Option<String>,
    /// Since when.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// When it ends by itself; never where absent.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
}

/// What the tasks of one team may have reserved together, and what they have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QuotaDto {
    /// The team.
    pub team: String,
    /// Cores at most.
    pub cpu: Option<f64>,
    /// Bytes at most.
    pub memory: Option<u64>,
    /// Tasks at most.
    pub tasks: Option<u32>,
    /// Cores reserved now.
    pub cpu_used: f64,
    /// Bytes reserved now.
    pub memory_used: u64,
    /// Tasks that hold resources now.
    pub tasks_used: u32,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PolicyDto {
    /// Its name.
    pub name: String,
    /// Its rules as they are stored.
    #[schema(value_type = Object)]
    pub rules: serde_json::Value,
    /// The workloads that it governs.
    pub workloads: Vec<String>,
}

/// One recorded change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventDto {
    /// Counted from 1 over the life of the store.
    pub number: u64,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// Why, in words.
    pub reason: String,
    /// The kind of change, for example `task_moved`.
    pub kind: String,
    /// The workload that it is about.
    pub workload: Option<String>,
    /// The task that it is about.
    pub task: Option<String>,
    /// The change as it is stored.
    #[schema(value_type = Object)]
    pub change: serde_json::Value,
}

/// Something that wants a person's eye.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AlarmDto {
    /// What it is, in a word or two.
    pub kind: String,
    /// The workload that it is about, if it is about one.
    pub workload: Option<String>,
    /// In words.
    pub message: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}

/// One answer of a health check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CheckDto {
    /// When it was asked.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// `startup`, `readiness` or `liveness`.
    pub check: String,
    /// Whether it passed.
    pub passed: bool,
    /// How long the answer took, in seconds.
    pub took: f64,
    /// What happened, in words.
    pub message: String,
    /// The beginning of what was answered.
    pub body: String,
}

/// A token, without what proves it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TokenDto {
    /// Its number.
    pub id: u64,
    /// Whose it is.
    pub name: String,
    /// `viewer`, `developer`, `operator` or `finance`.
    pub role: String,
    /// The team whose workloads a developer may change.
    pub team: Option<String>,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// From when on it is no longer valid.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to within ten minutes.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Timestamp>,
}

/// A token that was just made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NewTokenDto {
    /// What proves it: shown this once, kept nowhere.
    pub secret: String,
    /// What is kept of it.
    pub token: TokenDto,
}

/// Who a caller is to the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhoAmI {
    /// The name in records.
    pub name: String,
    /// The role.
    pub role: String,
    /// The team of a developer.
    pub team: Option<String>,
    /// Whether calls need a token.
    pub tokens_required: bool,
}

/// A write, carried out or refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditDto {
    /// Counted from 1.
    pub number: u64,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Who; absent where nobody proved to be anybody.
    pub by: Option<String>,
    /// The role.
    pub role: Option<String>,
    /// From where.
    pub address: String,
    /// The HTTP method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The status of the answer.
    pub status: u16,
    /// Why, in words.
    pub message: String,
    /// The answer's `X-Request-Id`.
    pub request_id: String,
}
