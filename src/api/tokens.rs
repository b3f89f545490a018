//! `/v1/tokens` and `/v1/audit`: who may call, and what was written.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::ApiState;
use crate::api::answers::{AuditDto, NewTokenDto, TokenDto};
use crate::api::caller::Writing;
use crate::api::dto::{Changed, Problem};
use crate::api::extract::{At, Body, Params};
use crate::api::page::{self, Page, ROWS_DEFAULT};
use crate::api::requests::TokenRequest;
use crate::api::workloads::MessageQuery;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(revoke)).routes(routes!(audit))
}

/// All tokens, those that were revoked included.
#[utoipa::path(get, path = "/v1/tokens", tag = "access", operation_id = "tokens",
    security(("token" = ["operate"])),
    responses((status = 200, description = "Each token, without its secret", body = Vec<TokenDto>)))]
async fn list(State(api): State<ApiState>) -> Json<Vec<TokenDto>> {
    Json(api.access.list())
}

/// Make a token. Its secret is shown this once.
#[utoipa::path(post, path = "/v1/tokens", tag = "access", operation_id = "create_token",
    security(("token" = ["operate"])), request_body = TokenRequest,
    responses((status = 201, description = "The token with its secret", body = NewTokenDto)))]
async fn create(
    State(api): State<ApiState>,
    writing: Writing,
    Body(request): Body<TokenRequest>,
) -> Result<(StatusCode, Json<NewTokenDto>), Problem> {
    let (access, by, now) = (Arc::clone(&api.access), writing.caller.name, api.clock.now());
    let made = tokio::task::spawn_blocking(move || access.create(&request, &by, now)).await??;
    Ok((StatusCode::CREATED, Json(made)))
}

/// Make a token invalid.
#[utoipa::path(delete, path = "/v1/tokens/{id}", tag = "access", operation_id = "revoke_token",
    security(("token" = ["operate"])),
    params(("id" = u64, Path, description = "The token's number"), MessageQuery),
    responses((status = 200, description = "What changed", body = Changed)))]
async fn revoke(
    State(api): State<ApiState>,
    _writing: Writing,
    At(id): At<u64>,
    _query: Params<MessageQuery>,
) -> Result<Json<Changed>, Problem> {
    let (access, now) = (Arc::clone(&api.access), api.clock.now());
    let revoked = tokio::task::spawn_blocking(move || access.revoke(id, now)).await??;
    Ok(Json(revoked))
}

/// Which writes are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct AuditQuery {
    /// Rows of a page.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Where the page begins, as the page before told.
    cursor: Option<String>,
}

/// Every write, carried out or refused, newest first.
#[utoipa::path(get, path = "/v1/audit", tag = "access", security(("token" = ["operate"])), params(AuditQuery),
    responses((status = 200, description = "A page of writes", body = Vec<AuditDto>)))]
async fn audit(
    State(api): State<ApiState>,
    uri: Uri,
    Params(query): Params<AuditQuery>,
) -> Result<Page<AuditDto>, Problem> {
    let limit = page::rows(query.limit, ROWS_DEFAULT)?;
    let before = page::place(query.cursor.as_deref())?.map(|place| place.parse()).transpose();
    let before = before.map_err(|_| page::no_such_place())?;
    let log = Arc::clone(&api.access.audit);
    let mut found = tokio::task::spawn_blocking(move || log.audited(before, limit + 1)).await??;
    let next = page::cut(&mut found, limit, |(number, _)| page::cursor(&number.to_string()));
    let row = |(number, entry): (u64, crate::ports::access::AuditEntry)| AuditDto {
        number,
        at: entry.at,
        by: entry.by,
        role: entry.role.map(|role| role.to_string()),
        address: entry.address,
        method: entry.method,
        path: entry.path,
        status: entry.status,
        message: entry.message,
        request_id: entry.request_id,
    };
    Ok(Page::new(found.into_iter().map(row).collect(), &uri, next.map(|place| ("cursor", place))))
}
