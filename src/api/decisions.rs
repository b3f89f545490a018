//! `/v1/decisions`.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::ApiState;
use crate::api::caller::Writing;
use crate::api::dto::{Approved, MessageRequest, Problem};
use crate::api::extract::{At, Body, Params};
use crate::api::page::{self, Page, ROWS_DEFAULT};
use crate::domain::decision::{Decision, DecisionId};
use crate::ports::access::Role;
use crate::ports::search::DecisionQuery;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(one)).routes(routes!(approve))
}

/// Which decisions are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct DecisionsQuery {
    /// About this workload or pool only.
    subject: Option<String>,
    /// Rows of a page.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Where the page begins, as the page before told.
    cursor: Option<String>,
}

/// Decisions, newest first.
#[utoipa::path(get, path = "/v1/decisions", tag = "decisions", operation_id = "decisions",
    security(("token" = ["read"])), params(DecisionsQuery),
    responses((status = 200, description = "A page of decisions", body = Vec<serde_json::Value>)))]
async fn list(
    State(api): State<ApiState>,
    uri: Uri,
    Params(query): Params<DecisionsQuery>,
) -> Result<Page<Decision>, Problem> {
    let limit = page::rows(query.limit, ROWS_DEFAULT)?;
    let place = page::place(query.cursor.as_deref())?;
    let before = place.map(|place| place.parse().map(DecisionId)).transpose();
    let before = before.map_err(|_| page::no_such_place())?;
    let wanted = DecisionQuery { subject: query.subject, before, limit: limit + 1 };
    let search = api.search;
    let mut found = tokio::task::spawn_blocking(move || search.find_decisions(&wanted)).await??;
    let next = page::cut(&mut found, limit, |decision| page::cursor(&decision.id.to_string()));
    Ok(Page::new(found, &uri, next.map(|place| ("cursor", place))))
}

async fn find(api: &ApiState, id: u64) -> Result<Decision, Problem> {
    let log = std::sync::Arc::clone(&api.decisions);
    let found = tokio::task::spawn_blocking(move || log.decision(DecisionId(id))).await??;
    found.ok_or_else(|| Problem::not_found("decision", &id.to_string()))
}

/// One decision with what it was decided from.
#[utoipa::path(get, path = "/v1/decisions/{id}", tag = "decisions", operation_id = "decision",
    security(("token" = ["read"])), params(("id" = u64, Path, description = "The decision's number")),
    responses((status = 200, description = "The decision", body = serde_json::Value)))]
async fn one(State(api): State<ApiState>, At(id): At<u64>) -> Result<Json<Decision>, Problem> {
    Ok(Json(find(&api, id).await?))
}

/// Carry out a decision that waits for approval.
#[utoipa::path(post, path = "/v1/decisions/{id}/approve", tag = "decisions", security(("token" = ["write"])),
    params(("id" = u64, Path, description = "The decision's number")), request_body = MessageRequest,
    responses((status = 200, description = "It is carried out", body = Approved)))]
async fn approve(
    State(api): State<ApiState>,
    writing: Writing,
    At(id): At<u64>,
    Body(MessageRequest { .. }): Body<MessageRequest>,
) -> Result<Json<Approved>, Problem> {
    if writing.caller.role != Role::Operator {
        let found = find(&api, id).await?;
        let Some(workload) = found.proposal.kind.workload() else {
            let detail = "only operators approve decisions about pools";
            return Err(Problem::new(axum::http::StatusCode::FORBIDDEN, detail));
        };
        writing.caller.owns(&api.control.view().await.world, workload)?;
    }
    let decision = DecisionId(id);
    api.control.approve(writing.caller.actor(), decision).await?;
    Ok(Json(Approved { decision }))
}
