//! `/v1/nodes` and `/v1/pools`.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::{get, post};
use axum::{Json, Router};

use crate::api::dto::{Changed, MessageRequest, NodeDto, PoolDto, Problem};
use crate::api::{ApiState, actor, present};
use crate::domain::intent::{Intent, Submission};
use crate::domain::node::NodeName;

pub(super) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/nodes", get(list))
        .route("/pools", get(pools))
        .route("/nodes/{name}/drain", post(drain))
        .route("/nodes/{name}/activate", post(activate))
        .route("/nodes/{name}/fail", post(fail))
}

async fn list(State(api): State<ApiState>) -> Json<Vec<NodeDto>> {
    Json(present::nodes(&api.control.view().await))
}

async fn pools(State(api): State<ApiState>) -> Json<Vec<PoolDto>> {
    let view = api.control.view().await;
    Json(view.world.pools.values().map(|pool| present::pool(&view, pool, &api.prices)).collect())
}

fn node_name(text: &str) -> Result<NodeName, Problem> {
    NodeName::new(text).map_err(|_| Problem::not_found("node", text))
}

async fn drain(
    State(api): State<ApiState>,
    headers: HeaderMap,
    Path(name): Path<String>,
    Json(request): Json<MessageRequest>,
) -> Result<Json<Changed>, Problem> {
    let intent = Intent::Drain { node: node_name(&name)?, lasting: None };
    let changes = api.control.submit(Submission::new(actor(&headers), request.message, intent)).await?;
    Ok(Json(Changed { changes }))
}

async fn activate(
    State(api): State<ApiState>,
    headers: HeaderMap,
    Path(name): Path<String>,
    Json(request): Json<MessageRequest>,
) -> Result<Json<Changed>, Problem> {
    let intent = Intent::Activate(node_name(&name)?);
    let changes = api.control.submit(Submission::new(actor(&headers), request.message, intent)).await?;
    Ok(Json(Changed { changes }))
}

async fn fail(
    State(api): State<ApiState>,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Result<Json<Changed>, Problem> {
    api.control.fail_node(actor(&headers), &node_name(&name)?).await?;
    Ok(Json(Changed { changes: vec![format!("node {name} has failed with everything on it")] }))
}
