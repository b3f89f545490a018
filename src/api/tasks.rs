//! `/v1/tasks` and their logs.

use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;

use crate::api::dto::{LogDto, Problem, TaskDto};
use crate::api::workloads::workload_name;
use crate::api::{ApiState, present};
use crate::domain::task::TaskId;
use crate::ports::logs::{LogChunk, LogPosition, LogStream};

/// Rows of a listing where nothing else is asked for, and at most.
const ROWS_DEFAULT: usize = 100;
const ROWS_MAX: usize = 1_000;
/// A piece of a log is at most this long.
const LOG_BYTES_MAX: usize = 256 << 10;
/// Lines of a log where nothing else is asked for.
const LOG_LINES_DEFAULT: usize = 100;

pub(super) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/tasks", get(list))
        .route("/tasks/{id}", get(one))
        .route("/tasks/{id}/logs", get(logs))
        .route("/tasks/{id}/exec", post(crate::api::exec::run))
}

/// Which tasks are wanted.
#[derive(Debug, Deserialize)]
struct TasksQuery {
    workload: Option<String>,
    /// Those that ended as well, newest first.
    #[serde(default)]
    ended: bool,
    limit: Option<usize>,
}

async fn list(
    State(api): State<ApiState>,
    Query(query): Query<TasksQuery>,
) -> Result<Json<Vec<TaskDto>>, Problem> {
    let view = api.control.view().await;
    let name = query.workload.as_deref().map(workload_name).transpose()?;
    let wanted = |task: &&crate::domain::task::Task| name.as_ref().is_none_or(|name| task.workload() == name);
    let live = view.world.tasks.values().filter(|task| !task.state.is_terminal()).filter(wanted);
    let mut found: Vec<TaskDto> = live.map(|task| present::task(&view, task)).collect();
    if query.ended {
        let limit = query.limit.unwrap_or(ROWS_DEFAULT).min(ROWS_MAX);
        let (archive, name) = (api.archive, name.clone());
        let ended = tokio::task::spawn_blocking(move || archive.tasks(name.as_ref(), limit)).await??;
        let ended = ended.iter().filter(|task| task.state.is_terminal());
        found.extend(ended.map(|task| present::task(&view, task)));
    }
    Ok(Json(found))
}

fn task_id(text: &str) -> Result<TaskId, Problem> {
    text.parse().map_err(|_| Problem::not_found("task", text))
}

async fn one(State(api): State<ApiState>, Path(id): Path<String>) -> Result<Json<TaskDto>, Problem> {
    let view = api.control.view().await;
    let wanted = task_id(&id)?;
    if let Some(task) = view.world.tasks.get(&wanted) {
        return Ok(Json(present::task(&view, task)));
    }
    let (archive, workload) = (api.archive, wanted.workload().clone());
    let ended = tokio::task::spawn_blocking(move || archive.tasks(Some(&workload), ROWS_MAX)).await??;
    let found = ended.iter().find(|task| task.id == wanted);
    found.map(|task| Json(present::task(&view, task))).ok_or_else(|| Problem::not_found("task", &id))
}

/// Which part of a log is wanted: after an earlier piece (its `next`; empty for the beginning), or the last lines.
#[derive(Debug, Deserialize)]
struct LogQuery {
    #[serde(default = "stdout")]
    stream: LogStream,
    after: Option<String>,
    tail: Option<usize>,
}

fn stdout() -> LogStream {
    LogStream::Stdout
}

async fn logs(
    State(api): State<ApiState>,
    Path(id): Path<String>,
    Query(query): Query<LogQuery>,
) -> Result<Json<LogDto>, Problem> {
    let from = match query.after {
        Some(place) if place.is_empty() => LogPosition::Start,
        Some(place) => LogPosition::After(place),
        None => LogPosition::Tail(query.tail.unwrap_or(LOG_LINES_DEFAULT)),
    };
    let LogChunk { text, next } = api.logs.read(&task_id(&id)?, query.stream, from, LOG_BYTES_MAX).await?;
    Ok(Json(LogDto { text, next }))
}
