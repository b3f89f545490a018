//! `/v1/tasks`, their checks and their logs.

use std::str::FromStr;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::answers::CheckDto;
use crate::api::caller::Writing;
use crate::api::dto::{Changed, LogDto, MessageRequest, Problem, TaskDto};
use crate::api::extract::{At, Body, Params};
use crate::api::names::{task_id, workload_name};
use crate::api::page::{self, Page, ROWS_MAX};
use crate::api::{ApiState, present};
use crate::domain::intent::Intent;
use crate::domain::task::{Task, TaskId};
use crate::domain::workload::WorkloadName;
use crate::ports::control::View;
use crate::ports::health::CheckKind;
use crate::ports::logs::{LogChunk, LogPosition, LogStream};
use crate::ports::search::EndedQuery;

/// A piece of a log is at most this long.
const LOG_BYTES_MAX: usize = 256 << 10;
/// Lines of a log where nothing else is asked for.
const LOG_LINES_DEFAULT: usize = 100;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(one))
        .routes(routes!(logs))
        .routes(routes!(checks))
        .routes(routes!(stop))
        .routes(routes!(crate::api::exec::run))
        .routes(routes!(crate::api::environment::environment))
}

/// Which tasks are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct TasksQuery {
    /// Of this workload only.
    workload: Option<String>,
    /// Those that ended as well, after those that live, newest first.
    #[serde(default)]
    ended: bool,
    /// Rows of a page.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Where the page begins, as the page before told.
    cursor: Option<String>,
}

/// Where a page of tasks begins: those that live come by their identity, then those that ended.
enum Place {
    Live(TaskId),
    Ended(Option<(Timestamp, TaskId)>),
}

impl Place {
    fn read(text: &str) -> Result<Self, Problem> {
        let id = |text: &str| text.parse::<TaskId>().map_err(|_| page::no_such_place());
        match text.split(' ').collect::<Vec<_>>().as_slice() {
            ["live", task] => Ok(Self::Live(id(task)?)),
            ["ended"] => Ok(Self::Ended(None)),
            ["ended", at, task] => {
                let at = Timestamp::from_str(at).map_err(|_| page::no_such_place())?;
                Ok(Self::Ended(Some((at, id(task)?))))
            }
            _ => Err(page::no_such_place()),
        }
    }
}

/// Tasks.
#[utoipa::path(get, path = "/v1/tasks", tag = "tasks", operation_id = "tasks", security(("token" = ["read"])),
    params(TasksQuery), responses((status = 200, description = "A page of tasks", body = Vec<TaskDto>)))]
async fn list(
    State(api): State<ApiState>,
    uri: Uri,
    Params(query): Params<TasksQuery>,
) -> Result<Page<TaskDto>, Problem> {
    let limit = page::rows(query.limit, ROWS_MAX)?;
    let workload = query.workload.as_deref().map(workload_name).transpose()?;
    let place = page::place(query.cursor.as_deref())?.as_deref().map(Place::read).transpose()?;
    let view = api.control.view().await;
    let (mut rows, mut next, mut before) = (Vec::new(), None, None);
    match place {
        Some(Place::Ended(place)) => before = place,
        None | Some(Place::Live(_)) => {
            let after = if let Some(Place::Live(after)) = place { Some(after) } else { None };
            (rows, next) = live(&view, workload.as_ref(), after.as_ref(), limit);
        }
    }
    let left = limit - rows.len();
    if query.ended && next.is_none() {
        if left == 0 {
            next = Some("ended".to_owned());
        } else {
            let wanted = EndedQuery { workload, task: None, before, limit: left + 1 };
            let search = api.search;
            let mut ended = tokio::task::spawn_blocking(move || search.find_ended(&wanted)).await??;
            next =
                page::cut(&mut ended, left, |task: &Task| format!("ended {} {}", task.created_at, task.id));
            rows.extend(ended.iter().map(|task| present::task(&view, task)));
        }
    }
    Ok(Page::new(rows, &uri, next.map(|place| ("cursor", page::cursor(&place)))))
}

/// A page of the tasks that live, and where the next one begins.
fn live(
    view: &View,
    workload: Option<&WorkloadName>,
    after: Option<&TaskId>,
    limit: usize,
) -> (Vec<TaskDto>, Option<String>) {
    let mut found: Vec<&Task> = view
        .world
        .tasks
        .values()
        .filter(|task| !task.state.is_terminal() && after.is_none_or(|after| task.id > *after))
        .filter(|task| workload.is_none_or(|name| task.workload() == name))
        .take(limit + 1)
        .collect();
    let next = page::cut(&mut found, limit, |task| format!("live {}", task.id));
    (found.into_iter().map(|task| present::task(view, task)).collect(), next)
}

/// The task as it stands, or as it ended.
pub(super) async fn find(api: &ApiState, view: &View, id: &str) -> Result<Task, Problem> {
    let wanted = task_id(id)?;
    if let Some(task) = view.world.tasks.get(&wanted) {
        return Ok(task.clone());
    }
    let search = std::sync::Arc::clone(&api.search);
    let query = EndedQuery { task: Some(wanted), limit: 1, ..EndedQuery::default() };
    let found = tokio::task::spawn_blocking(move || search.find_ended(&query)).await??;
    found.into_iter().next().ok_or_else(|| Problem::not_found("task", id))
}

/// One task, also one that ended.
#[utoipa::path(get, path = "/v1/tasks/{id}", tag = "tasks", operation_id = "task",
    security(("token" = ["read"])), params(("id" = String, Path, description = "The task")),
    responses((status = 200, description = "The task", body = TaskDto)))]
async fn one(State(api): State<ApiState>, At(id): At<String>) -> Result<Json<TaskDto>, Problem> {
    let view = api.control.view().await;
    Ok(Json(present::task(&view, &find(&api, &view, &id).await?)))
}

/// Which part of a log is wanted: after an earlier piece (its `next`; empty for the beginning), or the
/// last lines.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct LogQuery {
    /// `stdout` or `stderr`.
    #[serde(default = "stdout")]
    #[param(value_type = Option<String>)]
    stream: LogStream,
    /// After an earlier piece: its `next`.
    after: Option<String>,
    /// So many lines before the present end.
    #[param(maximum = 100_000)]
    tail: Option<usize>,
    /// Say where each line begins.
    #[serde(default)]
    #[param(required = false)]
    places: bool,
}

fn stdout() -> LogStream {
    LogStream::Stdout
}

/// What a task printed.
#[utoipa::path(get, path = "/v1/tasks/{id}/logs", tag = "tasks", security(("token" = ["read"])),
    params(("id" = String, Path, description = "The task"), LogQuery),
    responses((status = 200, description = "A piece of its log", body = LogDto)))]
async fn logs(
    State(api): State<ApiState>,
    At(id): At<String>,
    Params(query): Params<LogQuery>,
) -> Result<Json<LogDto>, Problem> {
    let from = match query.after {
        Some(place) if place.is_empty() => LogPosition::Start,
        Some(place) => LogPosition::After(place),
        None => LogPosition::Tail(query.tail.unwrap_or(LOG_LINES_DEFAULT)),
    };
    let read = api.logs.read(&task_id(&id)?, query.stream, from, LOG_BYTES_MAX).await?;
    let LogChunk { text, next, places } = read;
    Ok(Json(LogDto { text, next, places: if query.places { places } else { Vec::new() } }))
}

/// The newest answers of a task's health checks.
#[utoipa::path(get, path = "/v1/tasks/{id}/checks", tag = "tasks", security(("token" = ["read"])),
    params(("id" = String, Path, description = "The task")),
    responses((status = 200, description = "Oldest first", body = Vec<CheckDto>)))]
async fn checks(State(api): State<ApiState>, At(id): At<String>) -> Result<Json<Vec<CheckDto>>, Problem> {
    let task = find(&api, &api.control.view().await, &id).await?;
    let kind = |check| match check {
        CheckKind::Startup => "startup",
        CheckKind::Readiness => "readiness",
        CheckKind::Liveness => "liveness",
    };
    let results = api.control.probe_results(&task.id).into_iter();
    Ok(Json(
        results
            .map(|result| CheckDto {
                at: result.at,
                check: kind(result.check).to_owned(),
                passed: result.passed,
                took: result.took.as_secs_f64(),
                message: result.message,
                body: result.body,
            })
            .collect(),
    ))
}

/// Stop one task; a service replaces it.
#[utoipa::path(post, path = "/v1/tasks/{id}/stop", tag = "tasks", security(("token" = ["write"])),
    params(("id" = String, Path, description = "The task")), request_body = MessageRequest,
    responses((status = 200, description = "What changed", body = Changed)))]
async fn stop(
    State(api): State<ApiState>,
    writing: Writing,
    At(id): At<String>,
    Body(request): Body<MessageRequest>,
) -> Result<Json<Changed>, Problem> {
    writing.submit(&api, request.message, Intent::StopTask(task_id(&id)?)).await
}
