//! `/v1/backtests`: what the recorded usage would have come to under other sizing policies, replayed beside the
//! engine.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::ApiState;
use crate::api::caller::Caller;
use crate::api::dto::Problem;
use crate::api::extract::{At, Body};
use crate::api::names::{instant, workload_name};
use crate::api::workloads::MessageQuery;
use crate::ports::access::Role;
use crate::ports::backtests::{BacktestError, BacktestOrder, BacktestResult, BacktestState};

/// Replayed where no window is asked for: what samples are kept by default.
const WINDOW_DEFAULT: SignedDuration = SignedDuration::from_hours(8 * 24);
/// Seconds of a step where none is asked for.
const STEP_DEFAULT: i64 = 300;

/// What is to be replayed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BacktestRequest {
    /// These workloads; all that were recorded where none is named.
    #[serde(default)]
    pub workloads: Vec<String>,
    /// From this instant on; 8 days before `to` where absent.
    #[serde(default)]
    pub from: Option<String>,
    /// Before this instant; now where absent.
    #[serde(default)]
    pub to: Option<String>,
    /// Seconds of a step, 10 to 3600; 300 where absent.
    #[serde(default)]
    pub step_seconds: Option<i64>,
    /// Policies as `NAME[:key=value]...`, for example `krr:margin=1.3`; `oracle` is one.
    pub policies: Vec<String>,
    /// Replay each policy as it is asked for only: sooner done, without curves.
    #[serde(default)]
    pub no_sweep: bool,
    /// Why, in words.
    #[serde(default)]
    pub message: String,
}

/// A backtest and how far it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BacktestDto {
    /// Its number, counted from 1 since the engine started.
    pub id: u64,
    /// The workloads; all that were recorded where empty.
    pub workloads: Vec<String>,
    /// From this instant on.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// Before this instant.
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    /// Seconds of a step.
    pub step_seconds: i64,
    /// The policies.
    pub policies: Vec<String>,
    /// Who asked for it.
    pub by: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub asked_at: Timestamp,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// `waiting`, `reading`, `replaying`, `done`, `cancelled` or `failed`.
    pub phase: String,
    /// Whether nothing follows.
    pub ended: bool,
    /// The share of the replays that is done.
    pub done: f64,
    /// Why it failed.
    pub problem: Option<String>,
    /// What it came to, by resource: tables, curves and numbers. Not in lists.
    #[schema(value_type = Option<Object>)]
    pub result: Option<BacktestResult>,
}

impl From<BacktestState> for BacktestDto {
    fn from(state: BacktestState) -> Self {
        let BacktestOrder { workloads, from, to, step, policies, .. } = state.order;
        Self {
            id: state.id,
            workloads,
            from,
            to,
            step_seconds: step,
            policies,
            by: state.by,
            asked_at: state.asked_at,
            ended_at: state.ended_at,
            phase: state.phase.as_str().to_owned(),
            ended: state.phase.is_final(),
            done: state.done,
            problem: state.problem,
            result: state.result.map(|result| BacktestResult::clone(&result)),
        }
    }
}

impl From<BacktestError> for Problem {
    fn from(error: BacktestError) -> Self {
        let status = match error {
            BacktestError::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            BacktestError::Busy(_) => StatusCode::CONFLICT,
            BacktestError::Unknown(_) => StatusCode::NOT_FOUND,
        };
        Self::new(status, error.to_string())
    }
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list, start)).routes(routes!(one, cancel))
}

/// Backtests since the engine started, the newest first, without results.
#[utoipa::path(get, path = "/v1/backtests", tag = "rules", operation_id = "backtests",
    security(("token" = ["read"])),
    responses((status = 200, description = "Those that wait or run, and the last that ended", body = Vec<BacktestDto>)))]
async fn list(State(api): State<ApiState>) -> Json<Vec<BacktestDto>> {
    Json(api.backtests.all().into_iter().map(BacktestDto::from).collect())
}

/// Replay what was recorded past sizing policies. It goes on in the background.
#[utoipa::path(post, path = "/v1/backtests", tag = "rules", operation_id = "start_backtest",
    security(("token" = ["write"])), request_body = BacktestRequest,
    responses((status = 202, description = "It is taken", body = BacktestDto),
        (status = 409, description = "Too many wait", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "There is no such policy or window", body = Problem,
            content_type = "application/problem+json")))]
async fn start(
    State(api): State<ApiState>,
    caller: Caller,
    Body(request): Body<BacktestRequest>,
) -> Result<(StatusCode, Json<BacktestDto>), Problem> {
    let names = request.workloads.iter().filter(|name| !name.is_empty());
    let workloads = names.map(|name| workload_name(name).map(|name| name.to_string()));
    let to = instant("to", request.to.as_deref())?.unwrap_or_else(|| api.clock.now());
    let from = instant("from", request.from.as_deref())?;
    let order = BacktestOrder {
        workloads: workloads.collect::<Result<_, _>>()?,
        from: from.or_else(|| to.checked_sub(WINDOW_DEFAULT).ok()).unwrap_or(Timestamp::UNIX_EPOCH),
        to,
        step: request.step_seconds.unwrap_or(STEP_DEFAULT),
        policies: request.policies,
        sweep: !request.no_sweep,
    };
    Ok((StatusCode::ACCEPTED, Json(api.backtests.start(order, &caller.name)?.into())))
}

/// One backtest with its result.
#[utoipa::path(get, path = "/v1/backtests/{id}", tag = "rules", operation_id = "backtest",
    security(("token" = ["read"])), params(("id" = u64, Path, description = "Its number")),
    responses((status = 200, description = "How far it is, and what it came to", body = BacktestDto)))]
async fn one(State(api): State<ApiState>, At(id): At<u64>) -> Result<Json<BacktestDto>, Problem> {
    Ok(Json(api.backtests.one(id)?.into()))
}

/// Call a backtest off. One that has ended stays as it is.
#[utoipa::path(delete, path = "/v1/backtests/{id}", tag = "rules", operation_id = "cancel_backtest",
    security(("token" = ["write"])), params(("id" = u64, Path, description = "Its number"), MessageQuery),
    responses((status = 200, description = "How it stands now", body = BacktestDto)))]
async fn cancel(
    State(api): State<ApiState>,
    caller: Caller,
    At(id): At<u64>,
) -> Result<Json<BacktestDto>, Problem> {
    let found = api.backtests.one(id)?;
    if caller.role != Role::Operator && found.by != caller.name {
        let detail = format!("backtest {id} is of {}: operators and who began it call it off", found.by);
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    Ok(Json(api.backtests.cancel(id)?.into()))
}
