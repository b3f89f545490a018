//! `/v1/report` and `/v1/trace`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::accounting::facts::{Facts, PriceBook, TaskInterval, WorkloadFacts};
use crate::accounting::report::Report;
use crate::analytics::{AnalyticsError, TraceFormat};
use crate::api::ApiState;
use crate::api::dto::Problem;
use crate::api::extract::Params;
use crate::api::names::instant;
use crate::api::problem::chain;
use crate::domain::node::{NodeName, PoolName};
use crate::domain::recommendation::Estimate;
use crate::domain::task::{Task, TaskId};
use crate::domain::workload::WorkloadName;
use crate::domain::world::Workload;
use crate::ports::control::View;

/// The window of a report where none is asked for.
const WINDOW_DEFAULT: SignedDuration = SignedDuration::from_hours(24);

/// Tasks that a report looks at: the newest ones.
const TASKS_MAX: usize = 1_000_000;

/// No sample covers a longer interval (`domain::usage` cuts longer ones).
const SAMPLE_SPAN_MAX: SignedDuration = SignedDuration::from_mins(10);

/// From when to when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    /// From this instant on.
    from: Timestamp,
    /// Before this instant.
    to: Timestamp,
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(report)).routes(routes!(trace))
}

/// From when to when.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct WindowQuery {
    /// From this instant on, for example `2026-11-22T10:00:00Z`.
    from: Option<String>,
    /// Before this instant.
    to: Option<String>,
}

fn window(query: &WindowQuery, now: Timestamp) -> Result<Window, Problem> {
    let to = instant("to", query.to.as_deref())?.unwrap_or(now);
    let from = instant("from", query.from.as_deref())?;
    let from = from.or_else(|| to.checked_sub(WINDOW_DEFAULT).ok()).unwrap_or(Timestamp::MIN);
    if from >= to {
        return Err(Problem::bad_request(format!("`from` ({from}) is not before `to` ({to})")));
    }
    Ok(Window { from, to })
}

fn failed(error: &AnalyticsError) -> Problem {
    let status = match error {
        AnalyticsError::NotBuilt => StatusCode::NOT_IMPLEMENTED,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Problem::new(status, chain(error))
}

/// What was requested, used, recommended and idle, with prices.
#[utoipa::path(get, path = "/v1/report", tag = "reports", security(("token" = ["report"])),
    params(WindowQuery),
    responses((status = 200, description = "The report", body = serde_json::Value),
        (status = 501, description = "This build has no analytics", body = Problem,
            content_type = "application/problem+json")))]
async fn report(
    State(api): State<ApiState>,
    Params(query): Params<WindowQuery>,
) -> Result<Json<Report>, Problem> {
    let window = window(&query, api.clock.now())?;
    let view = api.control.view().await;
    tokio::task::spawn_blocking(move || make_report(&api, &view, window)).await?.map(Json)
}

fn make_report(api: &ApiState, view: &View, Window { from, to }: Window) -> Result<Report, Problem> {
    // A sample that ends after the window still tells of its last part.
    let until = to.checked_add(SAMPLE_SPAN_MAX).unwrap_or(to);
    let samples = api.history.usage(None, from, until)?;
    let load = api.history.load(None, from, to)?;
    let mut tasks: BTreeMap<TaskId, Task> =
        api.archive.tasks(None, TASKS_MAX)?.into_iter().map(|task| (task.id.clone(), task)).collect();
    tasks.extend(view.world.tasks.iter().map(|(id, task)| (id.clone(), task.clone())));
    let pool = |task: &Task| task.node.as_ref().and_then(|node| pool_of(view, node));
    let intervals: Vec<TaskInterval> =
        tasks.values().filter_map(|task| TaskInterval::of_record(task, pool(task))).collect();
    let prices = PriceBook::new(api.prices, view.world.pools.iter().map(|(name, pool)| (name, &pool.spec)));
    let facts = Facts {
        from,
        to,
        workloads: &workload_facts(view),
        tasks: &intervals,
        samples: &samples,
        load: &load,
        prices: &prices,
    };
    crate::analytics::report(&facts).map_err(|error| failed(&error))
}

fn workload_facts(view: &View) -> BTreeMap<WorkloadName, WorkloadFacts> {
    let facts = |name: &WorkloadName, workload: &Workload| WorkloadFacts {
        kind: workload.spec.kind(),
        owner: workload.spec.owner().clone(),
        recommended: match view.recommendations.get(name) {
            Some(Estimate::Recommended(found)) => Some(found.size.request),
            _ => None,
        },
    };
    view.world.workloads.iter().map(|(name, workload)| (name.clone(), facts(name, workload))).collect()
}

/// The pool of a node, also of one that is gone: its name is the pool's with a number.
fn pool_of(view: &View, node: &NodeName) -> Option<PoolName> {
    let present = view.world.nodes.get(node).map(|node| node.pool.clone());
    present.or_else(|| PoolName::new(node.as_str().rsplit_once('-')?.0).ok())
}

/// A trace's window, interval in seconds and format.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct TraceQuery {
    /// From this instant on, for example `2026-11-22T10:00:00Z`.
    from: Option<String>,
    /// Before this instant.
    to: Option<String>,
    /// Seconds from one row to the next.
    #[serde(default = "five_minutes")]
    #[param(minimum = 1, required = false)]
    interval: u32,
    /// `parquet` or `csv`.
    #[param(value_type = String)]
    format: TraceFormat,
}

fn five_minutes() -> u32 {
    300
}

/// What the tasks used, as a file.
#[utoipa::path(get, path = "/v1/trace", tag = "reports", security(("token" = ["report"])),
    params(TraceQuery),
    responses((status = 200, description = "The trace", content(
            (String = "text/csv"), (Vec<u8> = "application/vnd.apache.parquet"))),
        (status = 501, description = "This build has no analytics", body = Problem,
            content_type = "application/problem+json")))]
async fn trace(
    State(api): State<ApiState>,
    Params(query): Params<TraceQuery>,
) -> Result<impl IntoResponse, Problem> {
    if query.interval == 0 {
        return Err(Problem::bad_request("`interval` is 0, expected at least one second"));
    }
    let bounds = WindowQuery { from: query.from, to: query.to };
    let Window { from, to } = window(&bounds, api.clock.now())?;
    let interval = SignedDuration::from_secs(query.interval.into());
    let made = tokio::task::spawn_blocking(move || {
        let (usage, load) = (api.history.usage(None, from, to)?, api.history.load(None, from, to)?);
        crate::analytics::encode_trace(query.format, interval, &usage, &load).map_err(|error| failed(&error))
    });
    let kind = match query.format {
        TraceFormat::Parquet => "application/vnd.apache.parquet",
        TraceFormat::Csv => "text/csv; charset=utf-8",
    };
    Ok(([(header::CONTENT_TYPE, kind)], made.await??))
}
