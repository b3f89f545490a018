//! `/v1/report` and `/v1/trace`.

use std::str::FromStr;

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::accounting::report::Report;
use crate::api::ApiState;
use crate::api::dto::Problem;
use crate::ports::control::View;

/// The window of a report where none is asked for.
const WINDOW_DEFAULT: SignedDuration = SignedDuration::from_hours(24);

/// The file format of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TraceFormat {
    /// Apache Parquet.
    Parquet,
    /// Comma-separated values with a header.
    Csv,
}

/// From when to when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// From this instant on.
    pub from: Timestamp,
    /// Before this instant.
    pub to: Timestamp,
}

/// Makes reports and traces of what was recorded. Calls block.
pub trait Analytics: Send + Sync {
    /// Requested, used, recommended and idle by workload and owner, with prices.
    fn report(&self, view: &View, window: Window) -> anyhow::Result<Report>;

    /// Recorded usage as a trace file, resampled to `interval` seconds.
    fn trace(&self, window: Window, interval: u32, format: TraceFormat) -> anyhow::Result<Vec<u8>>;
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
        Timestamp::from_str(text)
            .map_err(|_| Problem::bad_request(format!("`{name}` is `{text}`, expected an instant such as 2026-11-22T10:00:00Z")))
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

fn analytics(api: &ApiState) -> Result<std::sync::Arc<dyn Analytics>, Problem> {
    let absent = "this binary was built without the feature `analytics`";
    api.analytics.clone().ok_or_else(|| Problem::new(StatusCode::NOT_IMPLEMENTED, absent))
}

fn failed(error: &anyhow::Error) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}"))
}

async fn report(
    State(api): State<ApiState>,
    Query(query): Query<WindowQuery>,
) -> Result<Json<Report>, Problem> {
    let (analytics, window) = (analytics(&api)?, window(&query, api.clock.now())?);
    let view = api.control.view().await;
    let made = tokio::task::spawn_blocking(move || analytics.report(&view, window)).await?;
    made.map(Json).map_err(|error| failed(&error))
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
    let (analytics, window) = (analytics(&api)?, window(&bounds, api.clock.now())?);
    let made =
        tokio::task::spawn_blocking(move || analytics.trace(window, query.interval, query.format)).await?;
    let kind = match query.format {
        TraceFormat::Parquet => "application/vnd.apache.parquet",
        TraceFormat::Csv => "text/csv; charset=utf-8",
    };
    Ok(([(header::CONTENT_TYPE, kind)], made.map_err(|error| failed(&error))?))
}
