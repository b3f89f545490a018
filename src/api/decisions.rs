//! `/v1/decisions` and `/v1/events`.

use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;

use crate::api::dto::{Approved, Problem};
use crate::api::{ApiState, actor};
use crate::domain::decision::{Decision, DecisionId};

/// Rows of a listing where nothing else is asked for, and at most.
const ROWS_DEFAULT: usize = 50;
const ROWS_MAX: usize = 1_000;

pub(super) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/decisions", get(list))
        .route("/decisions/{id}", get(one))
        .route("/decisions/{id}/approve", post(approve))
}

/// Which decisions are wanted.
#[derive(Debug, Deserialize)]
struct DecisionsQuery {
    subject: Option<String>,
    limit: Option<usize>,
}

async fn list(
    State(api): State<ApiState>,
    Query(query): Query<DecisionsQuery>,
) -> Result<Json<Vec<Decision>>, Problem> {
    let limit = query.limit.unwrap_or(ROWS_DEFAULT).min(ROWS_MAX);
    let log = api.decisions;
    let found = tokio::task::spawn_blocking(move || log.decisions(query.subject.as_deref(), limit)).await??;
    Ok(Json(found))
}

async fn one(State(api): State<ApiState>, Path(id): Path<u64>) -> Result<Json<Decision>, Problem> {
    let log = api.decisions;
    let found = tokio::task::spawn_blocking(move || log.decision(DecisionId(id))).await??;
    found.map(Json).ok_or_else(|| Problem::not_found("decision", &id.to_string()))
}

async fn approve(
    State(api): State<ApiState>,
    headers: HeaderMap,
    Path(id): Path<u64>,
) -> Result<Json<Approved>, Problem> {
    let decision = DecisionId(id);
    api.control.approve(actor(&headers), decision).await?;
    Ok(Json(Approved { decision }))
}
