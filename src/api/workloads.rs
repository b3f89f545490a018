//! `/v1/workloads`: what they are, and what is changed of one by hand.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, header};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::caller::{Caller, Writing};
use crate::api::dto::{Changed, MessageRequest, Problem, ScaleRequest, WorkloadDto};
use crate::api::extract::{At, Body, Params};
use crate::api::names::{SizeWish, lasting, resized, task_id, workload_name};
use crate::api::requests::{BounceRequest, LastingRequest, ResizeRequest};
use crate::api::{ApiState, present, stars};
use crate::domain::intent::Intent;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(one, remove))
        .routes(routes!(scale))
        .routes(routes!(resize))
        .routes(routes!(bounce))
        .routes(routes!(pause))
        .routes(routes!(resume))
}

/// Which workloads are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// Only those that the caller starred (`/v1/stars`).
    #[serde(default)]
    starred: bool,
}

/// All workloads.
#[utoipa::path(get, path = "/v1/workloads", tag = "workloads", security(("token" = ["read"])), params(ListQuery),
    responses((status = 200, description = "Each workload and where it stands", body = Vec<WorkloadDto>)))]
async fn list(
    State(api): State<ApiState>,
    caller: Caller,
    Params(query): Params<ListQuery>,
) -> Result<Json<Vec<WorkloadDto>>, Problem> {
    let stars = if query.starred { Some(stars::starred(&api, &caller).await?) } else { None };
    let (view, now) = (api.control.view().await, api.clock.now());
    let wanted = |name: &str| stars.as_ref().is_none_or(|stars| stars.contains(name));
    let found = view.world.workloads.values().filter(|each| wanted(each.name.as_str()));
    Ok(Json(found.map(|each| present::workload(&view, each, now)).collect()))
}

/// One workload.
#[utoipa::path(get, path = "/v1/workloads/{name}", tag = "workloads", operation_id = "workload",
    security(("token" = ["read"])), params(("name" = String, Path, description = "The workload")),
    responses((status = 200, description = "The workload; its `ETag` is its generation", body = WorkloadDto)))]
async fn one(
    State(api): State<ApiState>,
    At(name): At<String>,
) -> Result<([(HeaderName, String); 1], Json<WorkloadDto>), Problem> {
    let view = api.control.view().await;
    let found = view.world.workloads.get(&workload_name(&name)?);
    let found = found.ok_or_else(|| Problem::not_found("workload", &name))?;
    let tag = [(header::ETAG, format!("\"{}\"", found.generation))];
    Ok((tag, Json(present::workload(&view, found, api.clock.now()))))
}

/// Why, where a call has no body.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct MessageQuery {
    /// Why, in words.
    #[serde(default)]
    pub(super) message: String,
}

/// Stop a workload and forget it.
#[utoipa::path(delete, path = "/v1/workloads/{name}", tag = "workloads", operation_id = "delete_workload",
    security(("token" = ["write"])), params(("name" = String, Path, description = "The workload"), MessageQuery),
    responses((status = 200, description = "What changed", body = Changed)))]
async fn remove(
    State(api): State<ApiState>,
    writing: Writing,
    At(name): At<String>,
    Params(query): Params<MessageQuery>,
) -> Result<Json<Changed>, Problem> {
    writing.submit(&api, query.message, Intent::Delete(workload_name(&name)?)).await
}

/// Another number of instances of a service.
#[utoipa::path(post, path = "/v1/workloads/{name}/scale", tag = "workloads", security(("token" = ["write"])),
    params(("name" = String, Path, description = "The service")), request_body = ScaleRequest,
    responses((status = 200, description = "What changed", body = Changed)))]
async fn scale(
    State(api): State<ApiState>,
    writing: Writing,
    At(name): At<String>,
    Body(request): Body<ScaleRequest>,
) -> Result<Json<Changed>, Problem> {
    let intent = Intent::Scale {
        workload: workload_name(&name)?,
        count: request.count,
        acknowledged: request.acknowledged,
        lasting: lasting(request.for_seconds)?,
    };
    writing.submit(&api, request.message, intent).await
}

/// Another size of a task.
#[utoipa::path(post, path = "/v1/workloads/{name}/resize", tag = "workloads", security(("token" = ["write"])),
    params(("name" = String, Path, description = "The workload")), request_body = ResizeRequest,
    responses((status = 200, description = "What changed", body = Changed)))]
async fn resize(
    State(api): State<ApiState>,
    writing: Writing,
    At(name): At<String>,
    Body(request): Body<ResizeRequest>,
) -> Result<Json<Changed>, Problem> {
    let workload = workload_name(&name)?;
    let world = api.control.view().await.world;
    let found = world.workloads.get(&workload).ok_or_else(|| Problem::not_found("workload", &name))?;
    let wish = SizeWish {
        cpu: request.cpu,
        memory: request.memory,
        cpu_limit: request.cpu_limit,
        memory_limit: request.memory_limit,
    };
    let intent = Intent::Resize { workload, size: resized(found.size(), wish)? };
    writing.submit(&api, request.message, intent).await
}

/// Replace instances of a service by equal ones.
#[utoipa::path(post, path = "/v1/workloads/{name}/bounce", tag = "workloads", security(("token" = ["write"])),
    params(("name" = String, Path, description = "The service")), request_body = BounceRequest,
    responses((status = 200, description = "What changed", body = Changed)))]
async fn bounce(
    State(api): State<ApiState>,
    writing: Writing,
    At(name): At<String>,
    Body(request): Body<BounceRequest>,
) -> Result<Json<Changed>, Problem> {
    let (workload, task) = (workload_name(&name)?, request.task.as_deref().map(task_id).transpose()?);
    if let Some(task) = task.as_ref().filter(|task| *task.workload() != workload) {
        return Err(Problem::unprocessable(format!("{task} is not a task of {workload}")));
    }
    writing.submit(&api, request.message, Intent::Bounce { workload, task }).await
}

/// Want no task of a workload for a while.
#[utoipa::path(post, path = "/v1/workloads/{name}/pause", tag = "workloads", security(("token" = ["write"])),
    params(("name" = String, Path, description = "The workload")), request_body = LastingRequest,
    responses((status = 200, description = "What changed", body = Changed)))]
async fn pause(
    State(api): State<ApiState>,
    writing: Writing,
    At(name): At<String>,
    Body(request): Body<LastingRequest>,
) -> Result<Json<Changed>, Problem> {
    let intent = Intent::Pause { workload: workload_name(&name)?, lasting: lasting(request.for_seconds)? };
    writing.submit(&api, request.message, intent).await
}

/// Want the tasks of a paused workload again.
#[utoipa::path(post, path = "/v1/workloads/{name}/resume", tag = "workloads", security(("token" = ["write"])),
    params(("name" = String, Path, description = "The workload")), request_body = MessageRequest,
    responses((status = 200, description = "What changed", body = Changed)))]
async fn resume(
    State(api): State<ApiState>,
    writing: Writing,
    At(name): At<String>,
    Body(request): Body<MessageRequest>,
) -> Result<Json<Changed>, Problem> {
    writing.submit(&api, request.message, Intent::Resume(workload_name(&name)?)).await
}
