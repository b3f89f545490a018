//! `/v1/workloads`, `/v1/apply`, `/v1/runs`, `/v1/recommendations`.

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::Deserialize;

use crate::api::dto::{
    ApplyRequest, Changed, MessageRequest, Problem, RecommendationDto, RunDto, ScaleRequest, WorkloadDto,
};
use crate::api::{ApiState, actor, present};
use crate::config::{Known, parse_specs_with};
use crate::domain::intent::{Intent, Submission};
use crate::domain::node::PoolName;
use crate::domain::policy::PolicyName;
use crate::domain::workload::WorkloadName;
use crate::ports::store::RunQuery;

/// Rows of a listing where nothing else is asked for, and at most.
const ROWS_DEFAULT: usize = 100;
const ROWS_MAX: usize = 1_000;

pub(super) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/apply", post(apply))
        .route("/workloads", get(list))
        .route("/workloads/{name}", get(one).delete(remove))
        .route("/workloads/{name}/scale", post(scale))
        .route("/workloads/{name}/run", post(run))
        .route("/pools/{name}", delete(remove_pool))
        .route("/policies/{name}", delete(remove_policy))
        .route("/runs", get(runs))
        .route("/recommendations", get(recommendations))
}

/// Reads a workload's name from a path; a name that cannot be one does not exist.
pub(super) fn workload_name(text: &str) -> Result<WorkloadName, Problem> {
    WorkloadName::new(text).map_err(|_| Problem::not_found("workload", text))
}

async fn apply(
    State(api): State<ApiState>,
    headers: HeaderMap,
    Json(request): Json<ApplyRequest>,
) -> Result<Json<Changed>, Problem> {
    let sources: Vec<_> = request.files.into_iter().map(|file| (file.name, file.text)).collect();
    let world = api.control.view().await.world;
    let known = Known {
        policies: world.policies.keys().cloned().collect(),
        pools: world.pools.iter().map(|(name, pool)| (name.clone(), pool.spec.clone())).collect(),
    };
    let declared = parse_specs_with(&sources, &known).map_err(|errors| Problem {
        errors: errors.iter().map(ToString::to_string).collect(),
        ..Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!("{} errors in the specs; nothing was changed", errors.len()),
        )
    })?;
    let intent = Intent::Apply(Box::new(declared));
    let changes = api.control.submit(Submission::new(actor(&headers), request.message, intent)).await?;
    Ok(Json(Changed { changes }))
}

async fn list(State(api): State<ApiState>) -> Json<Vec<WorkloadDto>> {
    let (view, now) = (api.control.view().await, api.clock.now());
    Json(view.world.workloads.values().map(|each| present::workload(&view, each, now)).collect())
}

async fn one(State(api): State<ApiState>, Path(name): Path<String>) -> Result<Json<WorkloadDto>, Problem> {
    let view = api.control.view().await;
    let found = view.world.workloads.get(&workload_name(&name)?);
    let found = found.ok_or_else(|| Problem::not_found("workload", &name))?;
    Ok(Json(present::workload(&view, found, api.clock.now())))
}

async fn remove(
    State(api): State<ApiState>,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Result<Json<Changed>, Problem> {
    let intent = Intent::Delete(workload_name(&name)?);
    let changes = api.control.submit(Submission::new(actor(&headers), String::new(), intent)).await?;
    Ok(Json(Changed { changes }))
}

async fn remove_pool(
    State(api): State<ApiState>,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Result<Json<Changed>, Problem> {
    let pool = PoolName::new(&name).map_err(|_| Problem::not_found("pool", &name))?;
    let changes =
        api.control.submit(Submission::new(actor(&headers), String::new(), Intent::DeletePool(pool))).await?;
    Ok(Json(Changed { changes }))
}

async fn remove_policy(
    State(api): State<ApiState>,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Result<Json<Changed>, Problem> {
    let policy = PolicyName::new(&name).map_err(|_| Problem::not_found("policy", &name))?;
    let changes = api
        .control
        .submit(Submission::new(actor(&headers), String::new(), Intent::DeletePolicy(policy)))
        .await?;
    Ok(Json(Changed { changes }))
}

async fn scale(
    State(api): State<ApiState>,
    headers: HeaderMap,
    Path(name): Path<String>,
    Json(request): Json<ScaleRequest>,
) -> Result<Json<Changed>, Problem> {
    let intent = Intent::Scale {
        workload: workload_name(&name)?,
        count: request.count,
        acknowledged: true,
        lasting: None,
    };
    let changes = api.control.submit(Submission::new(actor(&headers), request.message, intent)).await?;
    Ok(Json(Changed { changes }))
}

async fn run(
    State(api): State<ApiState>,
    headers: HeaderMap,
    Path(name): Path<String>,
    Json(request): Json<MessageRequest>,
) -> Result<Json<Changed>, Problem> {
    let intent = Intent::Run { workload: workload_name(&name)?, overrides: Box::default() };
    let changes = api.control.submit(Submission::new(actor(&headers), request.message, intent)).await?;
    Ok(Json(Changed { changes }))
}

/// Which runs are wanted.
#[derive(Debug, Deserialize)]
struct RunsQuery {
    workload: Option<String>,
    limit: Option<usize>,
}

async fn runs(
    State(api): State<ApiState>,
    Query(query): Query<RunsQuery>,
) -> Result<Json<Vec<RunDto>>, Problem> {
    let workload = query.workload.as_deref().map(workload_name).transpose()?;
    let limit = query.limit.unwrap_or(ROWS_DEFAULT).min(ROWS_MAX);
    let archive = api.archive;
    let wanted = RunQuery { workload, limit, ..RunQuery::default() };
    let found = tokio::task::spawn_blocking(move || archive.runs(&wanted)).await??;
    Ok(Json(found.iter().map(present::run).collect()))
}

async fn recommendations(State(api): State<ApiState>) -> Json<Vec<RecommendationDto>> {
    Json(present::recommendations(&api.control.view().await))
}
