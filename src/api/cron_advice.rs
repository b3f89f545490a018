//! `/v1/cron/advice`: which schedules, moved by minutes, need fewer nodes.

use axum::Json;
use axum::extract::State;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::ApiState;
use crate::api::dto::Problem;
use crate::api::extract::Params;
use crate::domain::cron_advice::CronAdvice;

/// A schedule is moved by at most so many minutes where nothing else is said, ...
const MINUTES_DEFAULT: u32 = 30;
/// ... and where more is asked for.
const MINUTES_MAX: u32 = 720;

/// Moves of schedules.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CronAdviceDto {
    /// Nodes at the peak and what the nodes of the next day cost, before and after the moves, and the moves.
    #[schema(value_type = Object)]
    pub advice: CronAdvice,
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(advice))
}

/// How far schedules may be moved.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct AdviceQuery {
    /// Minutes, to either side.
    #[param(minimum = 1, maximum = 720)]
    minutes: Option<u32>,
}

/// Which schedules, moved by minutes, lower the peak of nodes, and what that saves.
#[utoipa::path(get, path = "/v1/cron/advice", tag = "runs", operation_id = "cron_advice",
    security(("token" = ["read"])), params(AdviceQuery),
    responses((status = 200, description = "The moves", body = CronAdviceDto)))]
async fn advice(
    State(api): State<ApiState>,
    Params(query): Params<AdviceQuery>,
) -> Result<Json<CronAdviceDto>, Problem> {
    let minutes = query.minutes.unwrap_or(MINUTES_DEFAULT);
    if !(1..=MINUTES_MAX).contains(&minutes) {
        return Err(Problem::bad_request(format!("expected `minutes` from 1 to {MINUTES_MAX}")));
    }
    let advice = api.control.cron_advice(SignedDuration::from_mins(i64::from(minutes))).await?;
    Ok(Json(CronAdviceDto { advice }))
}
