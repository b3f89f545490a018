//! `/v1/runs`: the runs of cron jobs and jobs.

use std::str::FromStr;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::caller::Writing;
use crate::api::dto::{Changed, MessageRequest, Problem, RunDto};
use crate::api::extract::{At, Body, Params};
use crate::api::names::{SizeWish, instant, resized, workload_name};
use crate::api::page::{self, Page, ROWS_DEFAULT};
use crate::api::requests::RunRequest;
use crate::api::{ApiState, present};
use crate::domain::intent::{Intent, RunOverrides};
use crate::domain::workload::EnvValue;
use crate::domain::world::{Run, RunKey};
use crate::ports::store::RunQuery;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(run)).routes(routes!(cancel))
}

/// Which runs are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct RunsQuery {
    /// Of this cron job or job only.
    workload: Option<String>,
    /// With this outcome only: `active`, `succeeded`, `failed`, `skipped`, `missed` or `cancelled`.
    outcome: Option<String>,
    /// Planned or asked for at this instant or later.
    from: Option<String>,
    /// Planned or asked for before this instant.
    to: Option<String>,
    /// Only those that someone asked for (`true`), or only those of the schedule.
    manual: Option<bool>,
    /// With this text in the name or in why it ended as it did.
    text: Option<String>,
    /// Rows of a page.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Where the page begins, as the page before told.
    cursor: Option<String>,
}

/// Runs, newest first.
#[utoipa::path(get, path = "/v1/runs", tag = "runs", operation_id = "runs", security(("token" = ["read"])),
    params(RunsQuery), responses((status = 200, description = "A page of runs", body = Vec<RunDto>)))]
async fn list(
    State(api): State<ApiState>,
    uri: Uri,
    Params(query): Params<RunsQuery>,
) -> Result<Page<RunDto>, Problem> {
    let limit = page::rows(query.limit, ROWS_DEFAULT)?;
    let wanted = RunQuery {
        workload: query.workload.as_deref().map(workload_name).transpose()?,
        outcomes: query.outcome.into_iter().collect(),
        from: instant("from", query.from.as_deref())?,
        to: instant("to", query.to.as_deref())?,
        manual: query.manual,
        text: query.text,
        before: page::place(query.cursor.as_deref())?.as_deref().map(key).transpose()?,
        limit: limit + 1,
    };
    let archive = api.archive;
    let mut found = tokio::task::spawn_blocking(move || archive.runs(&wanted)).await??;
    let next = page::cut(&mut found, limit, |run: &Run| {
        page::cursor(&format!("{} {}", run.key.at, run.key.workload))
    });
    let rows = found.iter().map(present::run).collect();
    Ok(Page::new(rows, &uri, next.map(|place| ("cursor", place))))
}

fn key(place: &str) -> Result<RunKey, Problem> {
    let (at, workload) = place.split_once(' ').ok_or_else(page::no_such_place)?;
    let at = Timestamp::from_str(at).map_err(|_| page::no_such_place())?;
    Ok(RunKey { workload: workload_name(workload)?, at })
}

/// Run a cron job or a job now.
#[utoipa::path(post, path = "/v1/workloads/{name}/run", tag = "runs", security(("token" = ["write"])),
    params(("name" = String, Path, description = "The cron job or job")), request_body = RunRequest,
    responses((status = 200, description = "What changed", body = Changed)))]
async fn run(
    State(api): State<ApiState>,
    writing: Writing,
    At(name): At<String>,
    Body(request): Body<RunRequest>,
) -> Result<Json<Changed>, Problem> {
    let workload = workload_name(&name)?;
    let mut size = None;
    if request.cpu.is_some() || request.memory.is_some() {
        let world = api.control.view().await.world;
        let found = world.workloads.get(&workload).ok_or_else(|| Problem::not_found("workload", &name))?;
        let wish = SizeWish { cpu: request.cpu, memory: request.memory, ..SizeWish::default() };
        size = Some(resized(found.size(), wish)?);
    }
    let env = request.env.into_iter().map(|(name, value)| (name, EnvValue::Plain(value))).collect();
    let overrides = Box::new(RunOverrides { args: request.args, env, size });
    writing.submit(&api, request.message, Intent::Run { workload, overrides }).await
}

/// Stop a run and close it as cancelled.
#[utoipa::path(post, path = "/v1/workloads/{name}/runs/{at}/cancel", tag = "runs",
    security(("token" = ["write"])),
    params(("name" = String, Path, description = "The cron job or job"),
        ("at" = String, Path, description = "The instant that it was planned or asked for")),
    request_body = MessageRequest, responses((status = 200, description = "What changed", body = Changed)))]
async fn cancel(
    State(api): State<ApiState>,
    writing: Writing,
    At((name, at)): At<(String, String)>,
    Body(request): Body<MessageRequest>,
) -> Result<Json<Changed>, Problem> {
    let at = Timestamp::from_str(&at).map_err(|_| Problem::not_found("run", &format!("{name} at {at}")))?;
    let run = RunKey { workload: workload_name(&name)?, at };
    writing.submit(&api, request.message, Intent::CancelRun(run)).await
}
