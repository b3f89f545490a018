//! The HTTP interface: one file a resource. Handlers read the view and write intents; they decide
//! nothing and know no adapter.

pub mod client;
pub mod dto;
pub mod exec;
pub mod present;
pub mod problem;

mod decisions;
mod nodes;
mod reports;
mod tasks;
mod workloads;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, http::HeaderMap};
use jiff::SignedDuration;
use tower_http::timeout::TimeoutLayer;

use crate::api::dto::StatusDto;
use crate::domain::money::Prices;
use crate::domain::rollout::Actor;
use crate::ports::clock::Clock;
use crate::ports::control::Control;
use crate::ports::history::History;
use crate::ports::logs::LogSource;
use crate::ports::store::{Archive, DecisionLog};

/// The largest body that a call may send: a folder of specs fits many times over.
const BODY_BYTES_MAX: usize = 4 << 20;
/// A call that takes longer is answered with 408.
const CALL_TIME_MAX: Duration = Duration::from_mins(1);
/// The header in which a caller says who acts; until there are tokens, everyone on this machine is
/// believed.
pub const USER_HEADER: &str = "x-loadline-user";
/// The scheduler counts as stuck when it has not finished a pass for so long.
const SCHEDULER_LATE: SignedDuration = SignedDuration::from_secs(15);

/// What the handlers need.
#[derive(Clone)]
pub struct ApiState {
    /// The engine.
    pub control: Arc<dyn Control>,
    /// Tasks and runs that ended.
    pub archive: Arc<dyn Archive>,
    /// Decisions.
    pub decisions: Arc<dyn DecisionLog>,
    /// Samples.
    pub history: Arc<dyn History>,
    /// What tasks print.
    pub logs: Arc<dyn LogSource>,
    /// The engine's own metrics as Prometheus text.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What resources cost.
    pub prices: Prices,
}

/// All routes.
pub fn router(state: ApiState) -> Router {
    let v1 = Router::new()
        .route("/status", get(status))
        .merge(workloads::routes())
        .merge(tasks::routes())
        .merge(nodes::routes())
        .merge(decisions::routes())
        .merge(reports::routes());
    Router::new()
        .nest("/v1", v1)
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .fallback(problem::no_such_route)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, CALL_TIME_MAX))
        .with_state(state)
}

async fn status(State(api): State<ApiState>) -> Json<StatusDto> {
    let view = api.control.view().await;
    Json(present::status(&view, &api.prices, api.clock.now()))
}

async fn metrics(State(api): State<ApiState>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], (api.metrics)())
}

/// Ready once the scheduler has made a pass, and for as long as it goes on making them.
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

/// Who acts.
fn actor(headers: &HeaderMap) -> Actor {
    let name = headers.get(USER_HEADER).and_then(|value| value.to_str().ok()).filter(|name| !name.is_empty());
    Actor::User(name.unwrap_or("unknown").to_owned())
}
