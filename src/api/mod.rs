//! The HTTP interface: one file a resource. Every call comes through the gate (`gate`), which knows who
//! may do what from the description that the handlers make of themselves (`openapi`). Handlers read the
//! view and write intents; they decide nothing and know no adapter. For people: `docs/api.md`.

pub mod access;
pub mod advice;
pub mod answers;
pub mod backtests;
pub mod client;
#[expect(unused_qualifications, reason = "in the code that `utoipa::path` makes")]
pub mod cron_advice;
#[expect(unused_qualifications, reason = "in the code that `utoipa::path` makes")]
pub mod cron_ahead;
pub mod dto;
pub mod environment;
pub mod exec;
pub mod idempotency;
#[expect(unused_qualifications, reason = "in the code that `utoipa::path` makes")]
pub mod load_models;
pub mod month;
pub mod node_answers;
pub mod own_state;
pub mod present;
pub mod problem;
pub mod requests;
mod scaling;
pub mod server;
pub mod size_policies;
pub mod stars;
pub mod totals;
pub mod usage_courses;

mod actions;
#[expect(unused_qualifications, reason = "in the code that `utoipa::path` makes")]
pub mod bill;
mod bill_page;
mod bill_source;
mod caller;
#[expect(unused_qualifications, reason = "in the code that `utoipa::path` makes")]
pub mod courses;
#[expect(unused_qualifications, reason = "in the code that `utoipa::path` makes")]
mod decisions;
mod deploys;
mod diff;
mod engine;
#[expect(unused_qualifications, reason = "in the code that `utoipa::path` makes")]
mod events;
mod extract;
mod gate;
mod names;
mod nodes;
mod openapi;
mod origin;
mod page;
mod past;
#[expect(unused_qualifications, reason = "in the code that `utoipa::path` makes")]
mod recommendations;
#[expect(unused_qualifications, reason = "in the code that `utoipa::path` makes")]
mod reports;
mod rules;
#[expect(unused_qualifications, reason = "in the code that `utoipa::path` makes")]
mod runs;
pub mod savings;
mod secret;
#[expect(unused_qualifications, reason = "in the code that `utoipa::path` makes")]
mod tasks;
#[expect(unused_qualifications, reason = "in the code that `utoipa::path` makes")]
mod tokens;
#[expect(unused_qualifications, reason = "in the code that `utoipa::path` makes")]
mod workloads;

use std::sync::Arc;

use axum::routing::get;
use axum::{Json, Router, middleware};
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;

use crate::api::access::Access;
use crate::api::gate::Gate;
use crate::api::stars::Stars;
use crate::api::totals::Totals;
use crate::domain::money::Prices;
use crate::ports::backtests::Backtests;
use crate::ports::clock::Clock;
use crate::ports::control::Control;
use crate::ports::history::History;
use crate::ports::logs::LogSource;
use crate::ports::own_state::OwnState;
use crate::ports::search::Search;
use crate::ports::store::{Archive, DecisionLog, Store};
use crate::ports::task_times::TaskTimeFiles;

/// The header in which a caller says who acts, on a machine where no token was ever made: there every
/// program is believed.
pub const USER_HEADER: &str = "x-loadline-user";

/// The header in which a file tells what its report warns of; there may be several.
pub const WARNING_HEADER: &str = "x-loadline-warning";

/// What the handlers need.
#[derive(Clone)]
pub struct ApiState {
    /// The engine.
    pub control: Arc<dyn Control>,
    /// The record of changes.
    pub events: Arc<dyn Store>,
    /// Tasks and runs that ended.
    pub archive: Arc<dyn Archive>,
    /// What is kept, by page.
    pub search: Arc<dyn Search>,
    /// Decisions.
    pub decisions: Arc<dyn DecisionLog>,
    /// Samples.
    pub history: Arc<dyn History>,
    /// What tasks had and used before that; absent where this build keeps none.
    pub task_times: Option<Arc<dyn TaskTimeFiles>>,
    /// What tasks print.
    pub logs: Arc<dyn LogSource>,
    /// The engine's own metrics as Prometheus text.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What resources cost.
    pub prices: Prices,
    /// The currency that they are in.
    pub currency: String,
    /// Backtests beside the engine.
    pub backtests: Arc<dyn Backtests>,
    /// The engine's own parts.
    pub own: Arc<dyn OwnState>,
    /// Who may call.
    pub access: Arc<Access>,
    /// Which workloads callers keep in sight.
    pub stars: Arc<Stars>,
    /// Sums over the cluster, as they were lately.
    pub totals: Arc<Totals>,
}

/// All routes with their descriptions.
fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .merge(engine::routes())
        .merge(own_state::routes())
        .merge(workloads::routes())
        .merge(recommendations::routes())
        .merge(advice::routes())
        .merge(load_models::routes())
        .merge(cron_advice::routes())
        .merge(cron_ahead::routes())
        .merge(courses::routes())
        .merge(deploys::routes())
        .merge(runs::routes())
        .merge(tasks::routes())
        .merge(nodes::routes())
        .merge(actions::routes())
        .merge(rules::routes())
        .merge(size_policies::routes())
        .merge(backtests::routes())
        .merge(decisions::routes())
        .merge(events::routes())
        .merge(tokens::routes())
        .merge(stars::routes())
        .merge(reports::routes())
        .merge(bill::routes())
}

/// The API behind its gate.
pub fn router(state: ApiState) -> Result<Router, serde_json::Error> {
    let (router, generated) = routes().split_for_parts();
    let (document, rules) = openapi::complete(&generated)?;
    let document = Arc::new(document);
    let gate = Gate { api: state.clone(), rules: Arc::new(rules) };
    Ok(router
        .route(openapi::PATH, get(move || async move { Json(Value::clone(&document)) }))
        .fallback(problem::no_such_route)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(middleware::from_fn_with_state(gate, gate::gate))
        .with_state(state))
}
