//! The pages, one file a room.

mod backtest;
mod bills;
mod console;
mod cron;
mod decisions;
mod engine;
mod logs;
mod nodes;
mod overview;
mod recommendations;
mod reports;
mod search;
mod task;
mod workload;
mod workload_charts;
mod workload_parts;
mod workloads;

use axum::Router;
use axum::routing::get;

use crate::web::Web;

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route("/", get(overview::show))
        .route("/workloads", get(workloads::show))
        .route("/workloads/{name}", get(workload::show))
        .route("/tasks/{id}", get(task::show))
        .route("/tasks/{id}/exec", get(console::show).post(console::run))
        .route("/logs", get(logs::show))
        .route("/cron", get(cron::show))
        .route("/nodes", get(nodes::show))
        .route("/recommendations", get(recommendations::show))
        .route("/decisions", get(decisions::list))
        .route("/decisions/{id}", get(decisions::one))
        .route("/reports", get(reports::show))
        .route("/reports.csv", get(reports::csv))
        .route("/backtest", get(backtest::show))
        .route("/engine", get(engine::show))
        .route("/search", get(search::show))
}
