//! `/v1/cron/ahead` and `/v1/runs/usage`: when cron jobs are due and how long they will take, and what past runs used.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::ApiState;
use crate::api::dto::Problem;
use crate::api::extract::Params;
use crate::api::names::workload_name;
use crate::api::page;
use crate::domain::reducer::due;
use crate::domain::task::TaskId;
use crate::domain::workload::WorkloadName;
use crate::domain::world::{Run, Workload, World};
use crate::ports::history::History;
use crate::ports::store::{RunQuery, StoreError};

/// Hours that are told where none are asked for, and at most.
const HOURS_DEFAULT: u32 = 24;
const HOURS_MAX: u32 = 168;
/// Occurrences of one job that are told.
const OCCURRENCES_MAX: usize = 96;
/// A job without a run so far is taken to last so long.
const UNKNOWN: SignedDuration = SignedDuration::from_mins(1);
/// Runs whose usage is told where nothing else is asked for.
const RUNS_DEFAULT: usize = 20;
/// Of a longer run the beginning is told.
const RUN_MAX: SignedDuration = SignedDuration::from_hours(1);

/// When cron jobs are due.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CronAheadDto {
    /// From when on.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// Until when.
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    /// Each cron job that is due in that time.
    pub jobs: Vec<JobAheadDto>,
    /// The most runs that go on at one time, if they take as long as usual.
    pub most_at_once: u32,
    /// When that is first.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub most_at: Option<Timestamp>,
}

/// When a cron job is due.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobAheadDto {
    /// The job.
    pub workload: String,
    /// When it is due, in order, at most 96 times.
    #[schema(value_type = Vec<String>)]
    pub due: Vec<Timestamp>,
    /// Whether it is due more often than is told.
    pub more: bool,
    /// How long its runs usually take, in seconds; absent before the first.
    pub takes_seconds: Option<f64>,
    /// Whether it is paused: then none of them starts.
    pub paused: bool,
}

/// What a past run used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunUsageDto {
    /// When it was planned or asked for.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Mean cores of its tasks together, while they were measured; of a run over an hour, in its first one.
    pub cpu_mean: Option<f64>,
    /// Highest memory of one of its tasks, in bytes.
    pub memory_max: Option<u64>,
    /// Samples that this rests on.
    pub samples: u64,
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(ahead)).routes(routes!(run_usage))
}

/// How far ahead.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct AheadQuery {
    /// Hours, from now on; a day without it.
    #[param(minimum = 1, maximum = 168)]
    hours: Option<u32>,
}

/// When cron jobs are due, and how many runs go on at a time.
#[utoipa::path(get, path = "/v1/cron/ahead", tag = "runs", operation_id = "cron_ahead",
    security(("token" = ["read"])), params(AheadQuery),
    responses((status = 200, description = "Each cron job with its occurrences", body = CronAheadDto)))]
async fn ahead(
    State(api): State<ApiState>,
    Params(query): Params<AheadQuery>,
) -> Result<Json<CronAheadDto>, Problem> {
    let hours = query.hours.unwrap_or(HOURS_DEFAULT);
    if !(1..=HOURS_MAX).contains(&hours) {
        return Err(Problem::bad_request(format!("expected `hours` from 1 to {HOURS_MAX}")));
    }
    let world = api.control.view().await.world;
    Ok(Json(look_ahead(&world, api.clock.now(), SignedDuration::from_hours(hours.into()))))
}

fn look_ahead(world: &World, from: Timestamp, span: SignedDuration) -> CronAheadDto {
    let to = from.checked_add(span).unwrap_or(Timestamp::MAX);
    let crons = world.workloads.values().filter(|workload| !workload.deleted);
    let mut jobs: Vec<JobAheadDto> = crons.filter_map(|workload| job(world, workload, from, to)).collect();
    jobs.sort_by(|a, b| (a.due.first(), &a.workload).cmp(&(b.due.first(), &b.workload)));
    let (most_at_once, most_at) = busiest(&jobs);
    CronAheadDto { from, to, jobs, most_at_once, most_at }
}

fn job(world: &World, workload: &Workload, from: Timestamp, to: Timestamp) -> Option<JobAheadDto> {
    let cron = workload.spec.as_cron()?;
    let planned: Vec<Timestamp> = cron.schedule.after(from).take(OCCURRENCES_MAX + 2).collect();
    let mut dues: Vec<Timestamp> = planned
        .iter()
        .enumerate()
        .map(|(place, at)| due(&workload.name, cron, *at, planned.get(place + 1).copied()))
        .filter(|at| *at < to)
        .collect();
    let more = dues.len() > OCCURRENCES_MAX;
    dues.truncate(OCCURRENCES_MAX);
    let mut took = workload.jobs.took.clone();
    took.sort();
    (!dues.is_empty()).then(|| JobAheadDto {
        workload: workload.name.to_string(),
        due: dues,
        more,
        takes_seconds: took.get(took.len().saturating_sub(1) / 2).map(SignedDuration::as_secs_f64),
        paused: world.paused(&workload.name).is_some(),
    })
}

/// The most runs at a time, and when.
fn busiest(jobs: &[JobAheadDto]) -> (u32, Option<Timestamp>) {
    let mut steps: Vec<(Timestamp, i32)> = Vec::new();
    for job in jobs.iter().filter(|job| !job.paused) {
        let takes = job.takes_seconds.map_or(UNKNOWN, SignedDuration::from_secs_f64);
        for at in &job.due {
            steps.push((*at, 1));
            steps.push((at.checked_add(takes).unwrap_or(Timestamp::MAX), -1));
        }
    }
    // One that ends as another one begins is not beside it.
    steps.sort_unstable();
    let (mut now, mut most, mut when) = (0, 0, None);
    for (at, step) in steps {
        now += step;
        if now > most {
            (most, when) = (now, Some(at));
        }
    }
    (u32::try_from(most).unwrap_or(0), when)
}

/// Whose runs.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct RunUsageQuery {
    /// The cron job or job.
    workload: String,
    /// How many of its newest runs.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// What past runs used, newest first.
#[utoipa::path(get, path = "/v1/runs/usage", tag = "runs", operation_id = "run_usage",
    security(("token" = ["read"])), params(RunUsageQuery),
    responses((status = 200, description = "Each run that began", body = Vec<RunUsageDto>)))]
async fn run_usage(
    State(api): State<ApiState>,
    Params(query): Params<RunUsageQuery>,
) -> Result<Json<Vec<RunUsageDto>>, Problem> {
    let limit = page::rows(query.limit, RUNS_DEFAULT)?;
    let workload = workload_name(&query.workload)?;
    let (archive, history, now) = (Arc::clone(&api.archive), Arc::clone(&api.history), api.clock.now());
    let told = tokio::task::spawn_blocking(move || {
        let wanted = RunQuery { workload: Some(workload.clone()), limit, ..RunQuery::default() };
        let runs = archive.runs(&wanted)?;
        let used = runs.iter().filter(|run| run.started_at.is_some());
        used.map(|run| usage_of(history.as_ref(), &workload, run, now))
            .collect::<Result<Vec<_>, StoreError>>()
    });
    Ok(Json(told.await??))
}

fn usage_of(
    history: &dyn History,
    workload: &WorkloadName,
    run: &Run,
    now: Timestamp,
) -> Result<RunUsageDto, StoreError> {
    let from = run.started_at.unwrap_or(run.key.at);
    // The last sample of a task comes a moment after its end.
    let margin = SignedDuration::from_secs(10);
    let to = run.ended_at.map_or(now, |ended| ended + margin).min(from + RUN_MAX);
    let samples = history.usage(Some(workload), from, to.max(from))?;
    let own: Vec<_> = samples.iter().filter(|sample| run.tasks.contains(&sample.task)).collect();
    // The mean of each task; tasks beside each other add up.
    let mut tasks: BTreeMap<&TaskId, (f64, f64)> = BTreeMap::new();
    for sample in &own {
        if let Some((cpu, seconds)) = sample.cpu_cores.zip(sample.interval_seconds) {
            let sum = tasks.entry(&sample.task).or_default();
            sum.0 += cpu * seconds;
            sum.1 += seconds;
        }
    }
    let took =
        run.ended_at.unwrap_or(now).duration_since(from).as_secs_f64().clamp(0.001, RUN_MAX.as_secs_f64());
    let (busy, measured) =
        tasks.values().fold((0.0, 0.0_f64), |(busy, most), (cpu, seconds)| (busy + cpu, most.max(*seconds)));
    Ok(RunUsageDto {
        at: run.key.at,
        cpu_mean: (measured > 0.0).then(|| busy / took.max(measured)),
        memory_max: own.iter().map(|sample| sample.memory.get()).max(),
        samples: own.len() as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_go_on_at_a_time_are_counted() {
        let at = |minute: i64| Timestamp::from_second(minute * 60).expect("an instant");
        let job = |name: &str, due: &[i64], minutes: Option<f64>| JobAheadDto {
            workload: name.to_owned(),
            due: due.iter().map(|minute| at(*minute)).collect(),
            more: false,
            takes_seconds: minutes.map(|minutes| minutes * 60.0),
            paused: false,
        };
        let mut jobs =
            vec![job("a", &[0, 60], Some(10.0)), job("b", &[10, 65], Some(1.0)), job("c", &[65], None)];
        assert_eq!(busiest(&jobs), (3, Some(at(65))));
        jobs[2].paused = true;
        assert_eq!(busiest(&jobs), (2, Some(at(65))));
        jobs[0].due.truncate(1);
        assert_eq!(busiest(&jobs), (1, Some(at(0))), "one begins as another one ends");
        assert_eq!(busiest(&[]), (0, None));
    }
}
