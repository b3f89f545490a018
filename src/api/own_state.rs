//! `/v1/engine`: the engine's own parts: versions, loops, store.

use axum::Json;
use axum::extract::State;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::ApiState;
use crate::api::dto::Problem;
use crate::ports::own_state::{LoopState, RecordKind, StoreState};

/// Shorter than this, nothing is called late.
const BEHIND_SECONDS: f64 = 1.0;

/// The engine's own parts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EngineDto {
    /// The version of the binary.
    pub version: String,
    /// The version of the API.
    pub api: String,
    /// Whether the binary has reports and traces (cargo feature `analytics`).
    pub analytics: bool,
    /// When it started.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// Its loops, by name.
    pub loops: Vec<LoopDto>,
    /// Its store.
    pub store: StoreDto,
}

/// How a loop goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LoopDto {
    /// Its name.
    pub name: String,
    /// Seconds from one pass to the next without a signal.
    pub interval_seconds: f64,
    /// Passes since the engine started.
    pub passes: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// When the last one ended.
    #[schema(value_type = String, format = DateTime)]
    pub last_at: Timestamp,
    /// How long it took, in seconds.
    pub took_seconds: f64,
    /// How long after it was due it began, in seconds.
    pub late_seconds: f64,
    /// The longest pass since the engine started, in seconds.
    pub longest_seconds: f64,
    /// The latest beginning since the engine started, in seconds.
    pub latest_seconds: f64,
    /// For how long a pass has been overdue, in seconds; 0 where none is.
    pub overdue_seconds: f64,
}

/// How the store is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoreDto {
    /// Bytes of its file and of the log beside it.
    pub bytes: u64,
    /// Bytes in it that are free again.
    pub free_bytes: u64,
    /// Bytes that are left where it is.
    pub disk_free_bytes: Option<u64>,
    /// The version of its tables.
    pub schema: u32,
    /// Rows of a kind that are kept at most.
    pub rows_max: u64,
    /// What it keeps, by kind.
    pub records: Vec<RecordKindDto>,
    /// When something was last written.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_write_at: Option<Timestamp>,
}

/// A kind of record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordKindDto {
    /// Its name, for example `usage`.
    pub kind: String,
    /// The oldest one that is kept.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub oldest: Option<Timestamp>,
    /// The newest one.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub newest: Option<Timestamp>,
    /// How long they are kept, in seconds.
    pub kept_seconds: u64,
}

impl From<RecordKind> for RecordKindDto {
    fn from(kind: RecordKind) -> Self {
        let RecordKind { name, oldest, newest, kept } = kind;
        Self { kind: name.to_owned(), oldest, newest, kept_seconds: kept.unsigned_abs().as_secs() }
    }
}

impl LoopDto {
    /// Whether its passes come so late or take so long that it does not keep its interval.
    pub fn is_behind(&self) -> bool {
        self.late_seconds.max(self.overdue_seconds).max(self.took_seconds)
            > self.interval_seconds.max(BEHIND_SECONDS)
    }

    fn of(state: &LoopState, now: Timestamp) -> Self {
        let ago = SignedDuration::try_from(state.ended_ago).unwrap_or(SignedDuration::MAX);
        Self {
            name: state.name.to_owned(),
            interval_seconds: state.interval.as_secs_f64(),
            passes: state.passes,
            failed: state.failed,
            last_at: now.checked_sub(ago).unwrap_or(Timestamp::MIN),
            took_seconds: state.took.as_secs_f64(),
            late_seconds: state.late.as_secs_f64(),
            longest_seconds: state.worst.0.as_secs_f64(),
            latest_seconds: state.worst.1.as_secs_f64(),
            overdue_seconds: state.ended_ago.saturating_sub(state.interval).as_secs_f64(),
        }
    }
}

impl From<StoreState> for StoreDto {
    fn from(state: StoreState) -> Self {
        let last_write_at = state.records.iter().filter_map(|kind| kind.newest).max();
        Self {
            bytes: state.bytes,
            free_bytes: state.free,
            disk_free_bytes: state.disk_free,
            schema: state.schema,
            rows_max: state.rows_max as u64,
            records: state.records.into_iter().map(RecordKindDto::from).collect(),
            last_write_at,
        }
    }
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(engine))
}

/// The engine's own parts: versions, loops, store.
#[utoipa::path(get, path = "/v1/engine", tag = "engine", security(("token" = ["read"])),
    responses((status = 200, description = "Its versions, its loops and its store", body = EngineDto)))]
async fn engine(State(api): State<ApiState>) -> Result<Json<EngineDto>, Problem> {
    let now = api.clock.now();
    let health = api.control.view().await.engine;
    let own = std::sync::Arc::clone(&api.own);
    let store = tokio::task::spawn_blocking(move || own.store()).await??;
    Ok(Json(EngineDto {
        version: health.version,
        api: "v1".to_owned(),
        analytics: cfg!(feature = "analytics"),
        started_at: health.started_at,
        loops: api.own.loops().iter().map(|state| LoopDto::of(state, now)).collect(),
        store: store.into(),
    }))
}
