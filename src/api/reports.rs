//! `/v1/report` and `/v1/trace`.

use std::collections::BTreeMap;
use std::str::FromStr;

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::accounting::facts::{Facts, PriceBook, TaskInterval, WorkloadFacts};
use crate::accounting::report::Report;
use crate::analytics::{AnalyticsError, TraceFormat};
use crate::api::ApiState;
use crate::api::dto::Problem;
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

pub(super) fn routes() -> Router<ApiState> {
    Router::new().route("/report", get(report)).route("/trace", get(trace))
}

/// Instants as RFC 3339, for example `2026-11-22T10:00:00Z`.
#[derive(Debug, Deserialize)]
struct WindowQuery {
    from: Option<String>,
    to: Option<String>,
}

fn instant(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    let read = |text: &str| {
        Timestamp::from_str(text).map_err(|_| {
            Problem::bad_request(format!(
                "`{name}` is `{text}`, expected an instant such as 2026-11-22T10:00:00Z"
            ))
        })
    };
    text.map(read).transpose()
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

async fn report(
    State(api): State<ApiState>,
    Query(query): Query<WindowQuery>,
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
#[derive(Debug, Deserialize)]
struct TraceQuery {
    from: Option<String>,
    to: Option<String>,
    #[serde(default = "five_minutes")]
    interval: u32,
    format: TraceFormat,
}

fn five_minutes() -> u32 {
    300
}

async fn trace(
    State(api): State<ApiState>,
    Query(query): Query<TraceQuery>,
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
