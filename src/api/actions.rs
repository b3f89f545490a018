//! `/v1/actions` and `/v1/freezes`: what is in force by hand, or by the engine in an emergency.

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::ApiState;
use crate::api::answers::{ActionDto, FreezeDto};
use crate::api::caller::Writing;
use crate::api::dto::{Changed, Problem};
use crate::api::extract::{At, Body, Params};
use crate::api::names::lasting;
use crate::api::requests::LastingRequest;
use crate::api::workloads::MessageQuery;
use crate::domain::action::{Action, ActionKey, Due, Switch};
use crate::domain::intent::Intent;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(cancel))
        .routes(routes!(freezes))
        .routes(routes!(freeze, unfreeze))
}

fn present(action: &Action) -> ActionDto {
    let key = action.key.to_string();
    let (kind, subject) = key.split_once('/').unwrap_or((&key, ""));
    ActionDto {
        kind: kind.to_owned(),
        subject: subject.to_owned(),
        by: action.by.to_string(),
        message: action.message.clone(),
        at: action.at,
        until: action.until,
        count_before: action.count_before,
        task: action.task.as_ref().map(ToString::to_string),
        policy: action.policy.clone(),
        size: action.size.map(|size| size.to_string()),
        due: match action.due {
            Some(Due::At(at)) => Some(at),
            Some(Due::Rollout { .. }) | None => None,
        },
    }
}

/// What is in force.
#[utoipa::path(get, path = "/v1/actions", tag = "actions", operation_id = "actions",
    security(("token" = ["read"])),
    responses((status = 200, description = "Each action", body = Vec<ActionDto>)))]
async fn list(State(api): State<ApiState>) -> Json<Vec<ActionDto>> {
    Json(api.control.view().await.world.actions.values().map(present).collect())
}

/// End an action and undo what it did.
#[utoipa::path(delete, path = "/v1/actions/{kind}/{subject}", tag = "actions", operation_id = "cancel_action",
    security(("token" = ["write"])),
    params(("kind" = String, Path, description = "`scale`, `pause`, `bounce`, `drain`, `freeze`, `dismiss`, \
            `schedule` or `size-policy`"),
        ("subject" = String, Path, description = "The workload, the node or the kind of change"),
        MessageQuery),
    responses((status = 200, description = "What changed", body = Changed)))]
async fn cancel(
    State(api): State<ApiState>,
    writing: Writing,
    At((kind, subject)): At<(String, String)>,
    Params(query): Params<MessageQuery>,
) -> Result<Json<Changed>, Problem> {
    let name = format!("{kind}/{subject}");
    let key: ActionKey = name.parse().map_err(|_| Problem::not_found("action", &name))?;
    writing.submit(&api, query.message, Intent::CancelAction(key)).await
}

/// What can be frozen, and what is.
#[utoipa::path(get, path = "/v1/freezes", tag = "actions", security(("token" = ["read"])),
    responses((status = 200, description = "Each kind of change", body = Vec<FreezeDto>)))]
async fn freezes(State(api): State<ApiState>) -> Json<Vec<FreezeDto>> {
    let world = api.control.view().await.world;
    let present = |switch: Switch| {
        let action = world.frozen(switch);
        FreezeDto {
            switch: switch.to_string(),
            frozen: action.is_some(),
            by: action.map(|action| action.by.to_string()),
            message: action.map(|action| action.message.clone()),
            since: action.map(|action| action.at),
            until: action.and_then(|action| action.until),
        }
    };
    Json(Switch::ALL.into_iter().map(present).collect())
}

fn switch(text: &str) -> Result<Switch, Problem> {
    text.parse().map_err(|why: String| Problem::new(axum::http::StatusCode::NOT_FOUND, why))
}

/// Freeze a kind of change.
#[utoipa::path(put, path = "/v1/freezes/{switch}", tag = "actions", security(("token" = ["operate"])),
    params(("switch" = String, Path, description = "`deploys`, `scaling`, `draining` or `cron`")),
    request_body = LastingRequest, responses((status = 200, description = "What changed", body = Changed)))]
async fn freeze(
    State(api): State<ApiState>,
    writing: Writing,
    At(name): At<String>,
    Body(request): Body<LastingRequest>,
) -> Result<Json<Changed>, Problem> {
    let intent = Intent::Freeze { switch: switch(&name)?, lasting: lasting(request.for_seconds)? };
    writing.submit(&api, request.message, intent).await
}

/// Lift a freeze.
#[utoipa::path(delete, path = "/v1/freezes/{switch}", tag = "actions", security(("token" = ["operate"])),
    params(("switch" = String, Path, description = "`deploys`, `scaling`, `draining` or `cron`"), MessageQuery),
    responses((status = 200, description = "What changed", body = Changed)))]
async fn unfreeze(
    State(api): State<ApiState>,
    writing: Writing,
    At(name): At<String>,
    Params(query): Params<MessageQuery>,
) -> Result<Json<Changed>, Problem> {
    writing.submit(&api, query.message, Intent::Unfreeze(switch(&name)?)).await
}
