//! The engine itself: `/v1/status`, `/v1/alarms`, `/v1/whoami`, `/metrics`, `/healthz`, `/readyz`.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use jiff::SignedDuration;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::answers::{AlarmDto, WhoAmI};
use crate::api::caller::Caller;
use crate::api::dto::StatusDto;
use crate::api::{ApiState, present};

/// The scheduler counts as stuck when it has not finished a pass for so long.
const SCHEDULER_LATE: SignedDuration = SignedDuration::from_secs(15);

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(status))
        .routes(routes!(alarms))
        .routes(routes!(whoami))
        .routes(routes!(metrics))
        .routes(routes!(healthz))
        .routes(routes!(readyz))
}

/// Everything at a glance.
#[utoipa::path(get, path = "/v1/status", tag = "engine", security(("token" = ["read"])),
    responses((status = 200, description = "The engine, its pools and its workloads", body = StatusDto)))]
async fn status(State(api): State<ApiState>) -> Json<StatusDto> {
    let view = api.control.view().await;
    let told = present::status(&view, &api.prices, api.clock.now());
    Json(StatusDto { price_this_month: api.totals.month.told(), ..told })
}

/// What wants a person's eye.
#[utoipa::path(get, path = "/v1/alarms", tag = "engine", security(("token" = ["read"])),
    responses((status = 200, description = "Each alarm", body = Vec<AlarmDto>)))]
async fn alarms(State(api): State<ApiState>) -> Json<Vec<AlarmDto>> {
    let view = api.control.view().await;
    let alarms = view.alarms.iter().map(|alarm| AlarmDto {
        kind: alarm.kind.clone(),
        workload: alarm.workload.as_ref().map(ToString::to_string),
        message: alarm.message.clone(),
        since: alarm.since,
    });
    Json(alarms.collect())
}

/// Who the caller is to the engine.
#[utoipa::path(get, path = "/v1/whoami", tag = "engine", security(("token" = ["read"])),
    responses((status = 200, description = "Name, role and team", body = WhoAmI)))]
async fn whoami(State(api): State<ApiState>, caller: Caller) -> Json<WhoAmI> {
    Json(WhoAmI {
        name: caller.name,
        role: caller.role.to_string(),
        team: caller.team,
        tokens_required: api.access.tokens_required(),
    })
}

/// The engine's own metrics.
#[utoipa::path(get, path = "/metrics", tag = "engine", security(("token" = ["read"])),
    responses((status = 200, description = "OpenMetrics text", body = String,
        content_type = "application/openmetrics-text")))]
async fn metrics(State(api): State<ApiState>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], (api.metrics)())
}

/// Whether the process answers.
#[utoipa::path(get, path = "/healthz", tag = "engine", security(()),
    responses((status = 200, description = "It does", body = String, content_type = "text/plain")))]
async fn healthz() -> &'static str {
    "ok\n"
}

/// Ready once the scheduler has made a pass, and for as long as it goes on making them.
#[utoipa::path(get, path = "/readyz", tag = "engine", security(()),
    responses((status = 200, description = "It does its work", body = String, content_type = "text/plain"),
        (status = 503, description = "The scheduler is late", body = String, content_type = "text/plain")))]
async fn readyz(State(api): State<ApiState>) -> (StatusCode, String) {
    let view = api.control.view().await;
    match view.engine.scheduled_at {
        None => (StatusCode::SERVICE_UNAVAILABLE, "the scheduler has not made a pass yet\n".to_owned()),
        Some(at) if api.clock.now().duration_since(at) > SCHEDULER_LATE => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("the scheduler made its last pass at {at}\n"))
        }
        Some(_) => (StatusCode::OK, "ready\n".to_owned()),
    }
}
