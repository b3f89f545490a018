//! `/v1/events`: everything that changed, as pages and as a stream.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, StreamExt, stream};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::ApiState;
use crate::api::answers::EventDto;
use crate::api::caller::Caller;
use crate::api::dto::Problem;
use crate::api::extract::Params;
use crate::api::names::{task_id, workload_name};
use crate::api::page::{self, Page, ROWS_DEFAULT};
use crate::domain::world::EntityKey;
use crate::ports::store::{EventQuery, NumberedChange};

/// A stream that has nothing to tell says so this often, so that both sides notice a dead connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Changes that a stream reads from the store at once.
const BATCH: usize = 100;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(follow))
}

/// Which events are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct EventsQuery {
    /// About this workload only.
    workload: Option<String>,
    /// About this task only.
    task: Option<String>,
    /// With a lower number than this.
    before: Option<u64>,
    /// With a higher number than this; then the oldest come first.
    after: Option<u64>,
    /// Rows of a page.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// What changed.
#[utoipa::path(get, path = "/v1/events", tag = "events", operation_id = "events",
    security(("token" = ["read"])), params(EventsQuery),
    responses((status = 200, description = "A page of changes, newest first unless `after` is given",
        body = Vec<EventDto>)))]
async fn list(
    State(api): State<ApiState>,
    uri: Uri,
    Params(query): Params<EventsQuery>,
) -> Result<Page<EventDto>, Problem> {
    let limit = page::rows(query.limit, ROWS_DEFAULT)?;
    let wanted = EventQuery {
        workload: query.workload.as_deref().map(workload_name).transpose()?,
        task: query.task.as_deref().map(task_id).transpose()?,
        request: None,
        before: query.before,
        after: query.after,
        limit: limit + 1,
    };
    let forward = if wanted.after.is_some() { "after" } else { "before" };
    let events = Arc::clone(&api.events);
    let mut found = tokio::task::spawn_blocking(move || events.events(&wanted)).await??;
    let next = page::cut(&mut found, limit, |change| change.number.to_string());
    let rows = found.into_iter().map(present).collect::<Result<_, _>>()?;
    Ok(Page::new(rows, &uri, next.map(|place| (forward, place))))
}

fn present(NumberedChange { number, recorded }: NumberedChange) -> Result<EventDto, serde_json::Error> {
    let mut change = serde_json::to_value(&recorded.change)?;
    let kind = change.as_object_mut().and_then(|fields| fields.remove("change"));
    let kind = kind.and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default();
    let (mut workload, mut task) = (None, None);
    for subject in recorded.change.subjects() {
        match subject {
            EntityKey::Task(id) => {
                workload.get_or_insert_with(|| id.workload().to_string());
                task.get_or_insert_with(|| id.to_string());
            }
            EntityKey::Run(run) => {
                workload.get_or_insert_with(|| run.workload.to_string());
            }
            EntityKey::Workload(name) => {
                workload.get_or_insert_with(|| name.to_string());
            }
            _ => {}
        }
    }
    let (at, by, reason) = (recorded.at, recorded.by.to_string(), recorded.reason);
    Ok(EventDto { number, at, by, reason, kind, workload, task, change })
}

/// Where a stream begins.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct FollowQuery {
    /// After the change with this number; `Last-Event-ID` says the same. From now on where neither is
    /// given.
    after: Option<u64>,
}

/// What changes, as it happens: server-sent events whose `id` is the change's number.
#[utoipa::path(get, path = "/v1/events/stream", tag = "events", security(("token" = ["read"])),
    params(FollowQuery, ("Last-Event-ID" = Option<u64>, Header, description = "The last event that was seen")),
    responses((status = 200, description = "Events named `change`, each an event as in `/v1/events`",
        body = String, content_type = "text/event-stream")))]
async fn follow(
    State(api): State<ApiState>,
    caller: Caller,
    headers: HeaderMap,
    Params(query): Params<FollowQuery>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let permit = Arc::clone(&api.access.streams).try_acquire_owned().map_err(|_| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many streams are open: try again later")
    })?;
    let seen = headers.get("last-event-id").map(|value| {
        let number = value.to_str().ok().and_then(|text| text.parse().ok());
        number.ok_or_else(|| Problem::bad_request("`Last-Event-ID` is not the number of an event"))
    });
    let after = seen.transpose()?.or(query.after).unwrap_or_else(|| api.control.last_change());
    let batches = stream::unfold((api, caller, after, permit), |(api, caller, after, permit)| async move {
        let (events, last) = batch(&api, &caller, after).await?;
        Some((stream::iter(events), (api, caller, last, permit)))
    });
    Ok(Sse::new(batches.flatten()).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// The next changes and the number of the last one; none where the stream is to end: the engine ends,
/// the caller's token is no longer valid, or the store cannot be read. The client resumes where it was.
async fn batch(api: &ApiState, caller: &Caller, after: u64) -> Option<(Vec<Result<Event, Infallible>>, u64)> {
    let mut recheck = tokio::time::interval(KEEP_ALIVE);
    let changes = api.control.changes_after(after, BATCH);
    tokio::pin!(changes);
    let changes = loop {
        tokio::select! {
            changes = &mut changes => break changes.ok()?,
            () = api.access.closing.cancelled() => return None,
            _ = recheck.tick() => {}
        }
        if !api.access.still_valid(caller, api.clock.now()) {
            return None;
        }
    };
    let last = changes.last().map_or(after, |change| change.number);
    let events = changes.into_iter().filter_map(|change| {
        let event = present(change).ok()?;
        let made = Event::default().id(event.number.to_string()).event("change").json_data(&event);
        made.ok().map(Ok)
    });
    let events: Vec<_> = events.collect();
    // Whatever was read is told only to who may still read it.
    api.access.still_valid(caller, api.clock.now()).then_some((events, last))
}
