//! `/v1/nodes` and `/v1/pools`.

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::caller::Writing;
use crate::api::dto::{Changed, MessageRequest, NodeDto, PoolDto, Problem};
use crate::api::extract::{At, Body, Params};
use crate::api::names::{lasting, node_name};
use crate::api::node_answers::PlannedChangeDto;
use crate::api::requests::LastingRequest;
use crate::api::workloads::MessageQuery;
use crate::api::{ApiState, present};
use crate::domain::intent::Intent;
use crate::domain::node::PoolName;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(planned))
        .routes(routes!(drain))
        .routes(routes!(activate))
        .routes(routes!(fail))
        .routes(routes!(pools))
        .routes(routes!(remove_pool))
}

/// All nodes.
#[utoipa::path(get, path = "/v1/nodes", tag = "nodes", operation_id = "nodes", security(("token" = ["read"])),
    responses((status = 200, description = "Each node", body = Vec<NodeDto>)))]
async fn list(State(api): State<ApiState>) -> Json<Vec<NodeDto>> {
    Json(present::nodes(&api.control.view().await))
}

/// Changes of nodes that are decided and not done yet: asked for, joining, being emptied, being removed.
#[utoipa::path(get, path = "/v1/nodes/planned", tag = "nodes", operation_id = "planned_nodes",
    security(("token" = ["read"])),
    responses((status = 200, description = "Each change", body = Vec<PlannedChangeDto>)))]
async fn planned(State(api): State<ApiState>) -> Json<Vec<PlannedChangeDto>> {
    Json(present::planned(&api.control.view().await))
}

/// All pools.
#[utoipa::path(get, path = "/v1/pools", tag = "nodes", security(("token" = ["read"])),
    responses((status = 200, description = "Each pool", body = Vec<PoolDto>)))]
async fn pools(State(api): State<ApiState>) -> Json<Vec<PoolDto>> {
    let view = api.control.view().await;
    Json(view.world.pools.values().map(|pool| present::pool(&view, pool, &api.prices)).collect())
}

/// Move everything off a node.
#[utoipa::path(post, path = "/v1/nodes/{name}/drain", tag = "nodes", security(("token" = ["operate"])),
    params(("name" = String, Path, description = "The node")), request_body = LastingRequest,
    responses((status = 200, description = "What changed", body = Changed)))]
async fn drain(
    State(api): State<ApiState>,
    writing: Writing,
    At(name): At<String>,
    Body(request): Body<LastingRequest>,
) -> Result<Json<Changed>, Problem> {
    let intent = Intent::Drain { node: node_name(&name)?, lasting: lasting(request.for_seconds)? };
    writing.submit(&api, request.message, intent).await
}

/// Let a drained node take tasks again.
#[utoipa::path(post, path = "/v1/nodes/{name}/activate", tag = "nodes", security(("token" = ["operate"])),
    params(("name" = String, Path, description = "The node")), request_body = MessageRequest,
    responses((status = 200, description = "What changed", body = Changed)))]
async fn activate(
    State(api): State<ApiState>,
    writing: Writing,
    At(name): At<String>,
    Body(request): Body<MessageRequest>,
) -> Result<Json<Changed>, Problem> {
    writing.submit(&api, request.message, Intent::Activate(node_name(&name)?)).await
}

/// Fail a node with everything on it, as a machine would.
#[utoipa::path(post, path = "/v1/nodes/{name}/fail", tag = "nodes", security(("token" = ["operate"])),
    params(("name" = String, Path, description = "The node")), request_body = MessageRequest,
    responses((status = 200, description = "What changed", body = Changed)))]
async fn fail(
    State(api): State<ApiState>,
    writing: Writing,
    At(name): At<String>,
    Body(MessageRequest { .. }): Body<MessageRequest>,
) -> Result<Json<Changed>, Problem> {
    api.control.fail_node(writing.caller.actor(), &node_name(&name)?).await?;
    Ok(Json(Changed { changes: vec![format!("node {name} has failed with everything on it")] }))
}

/// Drain and remove all nodes of a pool.
#[utoipa::path(delete, path = "/v1/pools/{name}", tag = "nodes", operation_id = "delete_pool",
    security(("token" = ["operate"])), params(("name" = String, Path, description = "The pool"), MessageQuery),
    responses((status = 200, description = "What changed", body = Changed)))]
async fn remove_pool(
    State(api): State<ApiState>,
    writing: Writing,
    At(name): At<String>,
    Params(query): Params<MessageQuery>,
) -> Result<Json<Changed>, Problem> {
    let pool = PoolName::new(&name).map_err(|_| Problem::not_found("pool", &name))?;
    writing.submit(&api, query.message, Intent::DeletePool(pool)).await
}
