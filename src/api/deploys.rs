//! `/v1/apply`, revisions and rollouts: how a workload gets from one spec to the next.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::answers::{Applied, RevisionDto};
use crate::api::caller::Writing;
use crate::api::dto::{ApplyRequest, Changed, MessageRequest, Problem};
use crate::api::extract::{At, Body};
use crate::api::names::workload_name;
use crate::api::requests::RollbackRequest;
use crate::api::{ApiState, diff};
use crate::config::{Known, parse_specs_with};
use crate::domain::intent::Intent;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(apply))
        .routes(routes!(revisions))
        .routes(routes!(settings))
        .routes(routes!(advance))
        .routes(routes!(abort))
        .routes(routes!(rollback))
}

/// Make what specs declare so; what they do not name stays as it is.
#[utoipa::path(post, path = "/v1/apply", tag = "deploys", security(("token" = ["write"])),
    request_body = ApplyRequest,
    responses((status = 200, description = "What changed, or would with `dry_run`", body = Applied)))]
async fn apply(
    State(api): State<ApiState>,
    writing: Writing,
    Body(request): Body<ApplyRequest>,
) -> Result<Json<Applied>, Problem> {
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
    let diffs = diff::declared(&world, &declared);
    let intent = Intent::Apply(Box::new(declared));
    let changes = writing.ask(&api, request.message, intent, request.dry_run).await?;
    Ok(Json(Applied { changes, diffs }))
}

/// Everything that the spec of a workload says, with what it leaves to the engine; secrets are not shown.
#[utoipa::path(get, path = "/v1/workloads/{name}/settings", tag = "deploys", security(("token" = ["read"])),
    params(("name" = String, Path, description = "The workload")),
    responses((status = 200, description = "A line a field, for example `instances: 2`", body = Vec<String>)))]
async fn settings(State(api): State<ApiState>, At(name): At<String>) -> Result<Json<Vec<String>>, Problem> {
    let workload = workload_name(&name)?;
    let world = api.control.view().await.world;
    let found = world.workloads.get(&workload).filter(|found| !found.deleted);
    let found = found.ok_or_else(|| Problem::not_found("workload", &name))?;
    Ok(Json(diff::specs(None, &found.spec)))
}

/// The revisions of a workload that are still known.
#[utoipa::path(get, path = "/v1/workloads/{name}/revisions", tag = "deploys", security(("token" = ["read"])),
    params(("name" = String, Path, description = "The workload")),
    responses((status = 200, description = "Oldest first, each with what changed", body = Vec<RevisionDto>)))]
async fn revisions(
    State(api): State<ApiState>,
    At(name): At<String>,
) -> Result<Json<Vec<RevisionDto>>, Problem> {
    let world = api.control.view().await.world;
    let found = world.workloads.get(&workload_name(&name)?);
    let found = found.ok_or_else(|| Problem::not_found("workload", &name))?;
    let mut before = None;
    let mut all = Vec::new();
    for revision in found.revisions.values() {
        all.push(RevisionDto {
            number: revision.number,
            at: revision.at,
            by: revision.by.to_string(),
            in_force: revision.number == found.revision,
            lines: diff::specs(before, &revision.spec),
        });
        before = Some(&revision.spec);
    }
    Ok(Json(all))
}

/// Let a rollout that waits go on.
#[utoipa::path(post, path = "/v1/workloads/{name}/rollout/advance", tag = "deploys",
    security(("token" = ["write"])), params(("name" = String, Path, description = "The service")),
    request_body = MessageRequest, responses((status = 200, description = "What changed", body = Changed)))]
async fn advance(
    State(api): State<ApiState>,
    writing: Writing,
    At(name): At<String>,
    Body(request): Body<MessageRequest>,
) -> Result<Json<Changed>, Problem> {
    writing.submit(&api, request.message, Intent::AdvanceRollout(workload_name(&name)?)).await
}

/// Take a rollout back.
#[utoipa::path(post, path = "/v1/workloads/{name}/rollout/abort", tag = "deploys",
    security(("token" = ["write"])), params(("name" = String, Path, description = "The service")),
    request_body = MessageRequest, responses((status = 200, description = "What changed", body = Changed)))]
async fn abort(
    State(api): State<ApiState>,
    writing: Writing,
    At(name): At<String>,
    Body(request): Body<MessageRequest>,
) -> Result<Json<Changed>, Problem> {
    writing.submit(&api, request.message, Intent::AbortRollout(workload_name(&name)?)).await
}

/// Go back to an earlier revision.
#[utoipa::path(post, path = "/v1/workloads/{name}/rollback", tag = "deploys", security(("token" = ["write"])),
    params(("name" = String, Path, description = "The service")), request_body = RollbackRequest,
    responses((status = 200, description = "What changed", body = Changed)))]
async fn rollback(
    State(api): State<ApiState>,
    writing: Writing,
    At(name): At<String>,
    Body(request): Body<RollbackRequest>,
) -> Result<Json<Changed>, Problem> {
    let intent = Intent::Rollback { workload: workload_name(&name)?, to: request.to };
    writing.submit(&api, request.message, intent).await
}
