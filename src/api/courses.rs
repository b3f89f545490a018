//! `/v1/totals`, `/v1/usage`, `/v1/workloads/{name}/load` and `/v1/workloads/{name}/forecast`: what was, and what is
//! expected, over time.

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
use crate::api::extract::{At, Params};
use crate::api::names::workload_name;
use crate::api::totals::TotalsDto;
use crate::api::usage_courses::UsageCoursesDto;
use crate::domain::load::LoadSample;
use crate::domain::load_forecast::LoadForecast;

/// Hours that are told where none are asked for, and at most.
const HOURS_DEFAULT: u32 = 1;
const HOURS_MAX: u32 = 168;
/// Parts of them.
const PARTS_DEFAULT: u32 = 120;
const PARTS_MAX: u32 = 1_000;
/// Hours ahead that are told where none are asked for, and at most: forecasts reach no further.
const AHEAD_DEFAULT: u32 = 6;
const AHEAD_MAX: u32 = 48;
/// Parts of them.
const AHEAD_PARTS: u32 = 60;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(totals))
        .routes(routes!(load))
        .routes(routes!(forecast))
        .routes(routes!(usage))
}

/// How far back.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct TotalsQuery {
    /// Hours, up to now; one without it.
    #[param(minimum = 1, maximum = 168)]
    hours: Option<u32>,
}

/// Sums over the cluster, as they were.
#[utoipa::path(get, path = "/v1/totals", tag = "engine", operation_id = "totals",
    security(("token" = ["read"])), params(TotalsQuery),
    responses((status = 200, description = "Oldest first, since the engine started at most: every 10 s for an \
        hour, every 5 min before", body = Vec<TotalsDto>)))]
async fn totals(
    State(api): State<ApiState>,
    Params(query): Params<TotalsQuery>,
) -> Result<Json<Vec<TotalsDto>>, Problem> {
    let hours = within("hours", query.hours, HOURS_DEFAULT, HOURS_MAX)?;
    let from = api.clock.now().checked_sub(SignedDuration::from_hours(hours.into()));
    Ok(Json(api.totals.since(from.unwrap_or(Timestamp::MIN))))
}

/// How much of the load is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct LoadQuery {
    /// Hours, up to now; one without it.
    #[param(minimum = 1, maximum = 168)]
    hours: Option<u32>,
    /// Parts that they are cut into; 120 without it.
    #[param(minimum = 1, maximum = 1000)]
    parts: Option<u32>,
}

/// The load on a service in a part of a span of time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LoadPartDto {
    /// When the part begins.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Mean requests per second.
    pub requests_per_second: f64,
    /// Mean errors per second.
    pub errors_per_second: f64,
    /// The worst 95th percentile of latency in seconds; absent without answers.
    pub latency_p95: Option<f64>,
    /// Mean instances that were ready.
    pub ready: f64,
}

/// The load on a service to come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ForecastDto {
    /// The service.
    pub workload: String,
    /// Expected values with a band, and what they rest on.
    #[schema(value_type = Object)]
    pub forecast: LoadForecast,
}

/// The load on a service over time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LoadCourseDto {
    /// From when on.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// Until when.
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    /// Seconds of a part.
    pub part_seconds: u64,
    /// Load by parts; those without a sample are left out.
    pub parts: Vec<LoadPartDto>,
}

/// The load on a service, as it was.
#[utoipa::path(get, path = "/v1/workloads/{name}/load", tag = "workloads", operation_id = "load",
    security(("token" = ["read"])),
    params(("name" = String, Path, description = "The service"), LoadQuery),
    responses((status = 200, description = "Requests, errors, latency and ready instances by parts",
        body = LoadCourseDto)))]
async fn load(
    State(api): State<ApiState>,
    At(name): At<String>,
    Params(query): Params<LoadQuery>,
) -> Result<Json<LoadCourseDto>, Problem> {
    let hours = within("hours", query.hours, HOURS_DEFAULT, HOURS_MAX)?;
    let parts = within("parts", query.parts, PARTS_DEFAULT, PARTS_MAX)?;
    let workload = workload_name(&name)?;
    if !api.control.view().await.world.workloads.contains_key(&workload) {
        return Err(Problem::not_found("workload", &name));
    }
    // Parts end with the present one, and their bounds stay where they are from one call to the next.
    let width = (i64::from(hours) * 3600 / i64::from(parts)).max(1);
    let end = (api.clock.now().as_second().div_euclid(width) + 1) * width;
    let at = |second: i64| Timestamp::from_second(second).unwrap_or(Timestamp::MIN);
    let (from, to) = (at(end - i64::from(parts) * width), at(end));
    let history = Arc::clone(&api.history);
    let samples = tokio::task::spawn_blocking(move || history.load(Some(&workload), from, to)).await??;
    let parts = samples.chunk_by(|a, b| part_of(a, from, width) == part_of(b, from, width));
    let parts =
        parts.map(|samples| part(samples, at(from.as_second() + part_of(&samples[0], from, width) * width)));
    Ok(Json(LoadCourseDto { from, to, part_seconds: width.unsigned_abs(), parts: parts.collect() }))
}

/// How far ahead.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ForecastQuery {
    /// Hours, from now on; six without it.
    #[param(minimum = 1, maximum = 48)]
    hours: Option<u32>,
    /// Parts that they are cut into; 60 without it.
    #[param(minimum = 1, maximum = 1000)]
    parts: Option<u32>,
}

/// The load on a service, as it is forecast.
#[utoipa::path(get, path = "/v1/workloads/{name}/forecast", tag = "workloads", operation_id = "forecast",
    security(("token" = ["read"])),
    params(("name" = String, Path, description = "The service"), ForecastQuery),
    responses((status = 200, description = "Expected requests per second with the 5 % and 95 % quantiles, no further \
        ahead than the past that is known; or why there are none", body = ForecastDto),
        (status = 422, description = "It is no service", body = Problem,
            content_type = "application/problem+json")))]
async fn forecast(
    State(api): State<ApiState>,
    At(name): At<String>,
    Params(query): Params<ForecastQuery>,
) -> Result<Json<ForecastDto>, Problem> {
    let hours = within("hours", query.hours, AHEAD_DEFAULT, AHEAD_MAX)?;
    let parts = within("parts", query.parts, AHEAD_PARTS, PARTS_MAX)?;
    let workload = workload_name(&name)?;
    let ahead = SignedDuration::from_hours(hours.into());
    let step = SignedDuration::from_secs((i64::from(hours) * 3600 / i64::from(parts)).max(1));
    let forecast = api.control.forecast(&workload, ahead, step).await?;
    Ok(Json(ForecastDto { workload: name, forecast }))
}

/// Whose usage is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct UsageQuery {
    /// Workloads, with commas between them; all without it.
    workloads: Option<String>,
}

/// What workloads used lately, for small charts.
#[utoipa::path(get, path = "/v1/usage", tag = "workloads", operation_id = "usage",
    security(("token" = ["read"])), params(UsageQuery),
    responses((status = 200, description = "Cores and bytes over all tasks of each workload, at the same 64 instants at \
        most since the engine started, the newest last", body = UsageCoursesDto)))]
async fn usage(State(api): State<ApiState>, Params(query): Params<UsageQuery>) -> Json<UsageCoursesDto> {
    let names = query.workloads.as_deref().map(|names| names.split(',').collect::<Vec<_>>());
    Json(api.totals.courses(names.as_deref()))
}

fn part_of(sample: &LoadSample, from: Timestamp, width: i64) -> i64 {
    (sample.at.as_second() - from.as_second()).div_euclid(width)
}

fn part(samples: &[LoadSample], at: Timestamp) -> LoadPartDto {
    let mean = |of: fn(&LoadSample) -> f64| samples.iter().map(of).sum::<f64>() / samples.len().max(1) as f64;
    LoadPartDto {
        at,
        requests_per_second: mean(|sample| sample.requests_per_second),
        errors_per_second: mean(|sample| sample.errors_per_second),
        latency_p95: samples.iter().filter_map(|sample| sample.latency_p95).reduce(f64::max),
        ready: mean(|sample| f64::from(sample.ready)),
    }
}

fn within(name: &str, asked: Option<u32>, default: u32, most: u32) -> Result<u32, Problem> {
    match asked {
        None => Ok(default),
        Some(asked) if (1..=most).contains(&asked) => Ok(asked),
        Some(asked) => {
            Err(Problem::bad_request(format!("`{name}` is {asked}, expected a number from 1 to {most}")))
        }
    }
}
