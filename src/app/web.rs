//! What is behind the address of the API: the API, the pages around it, and the sums that charts are drawn from.

use std::sync::Arc;

use axum::Router;

use crate::api::month::MonthCost;
use crate::api::{ApiState, router, totals};
use crate::app::loops::Loops;

/// Everything that a browser or a program can ask for at `port`.
pub(super) fn everything(api: ApiState, port: u16, tls: bool, loops: &mut Loops) -> anyhow::Result<Router> {
    record(&api, loops);
    let clock = Arc::clone(&api.clock);
    Ok(crate::web::router(router(api)?, clock, port, tls))
}

/// Notes the sums of the cluster until the engine ends.
fn record(api: &ApiState, loops: &mut Loops) {
    let (control, kept, clock) = (Arc::clone(&api.control), Arc::clone(&api.totals), Arc::clone(&api.clock));
    let (prices, shutdown, api) = (api.prices, loops.shutdown(), api.clone());
    loops.spawn(async move {
        let mut due = tokio::time::interval(totals::INTERVAL.unsigned_abs());
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = due.tick() => {
                    let view = control.view().await;
                    kept.record(&view, &prices, clock.now());
                    if let Err(problem) = MonthCost::keep(&api, &view).await {
                        tracing::warn!(problem = %problem.detail, "what this month cost is not known");
                    }
                }
            }
        }
    });
}
