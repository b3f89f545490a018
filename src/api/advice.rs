//! `/v1/recommendations/{name}/...`: what people make of advice: applied, wanted later, not wanted. Undone under
//! `/v1/actions`.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::ApiState;
use crate::api::caller::Writing;
use crate::api::dto::{Changed, MessageRequest, Problem};
use crate::api::extract::{At, Body};
use crate::api::names::{instant, lasting, workload_name};
use crate::api::requests::LastingRequest;
use crate::domain::action::{Action, Due};
use crate::domain::intent::Intent;
use crate::domain::quantity::TaskSize;
use crate::domain::recommendation::Estimate;
use crate::domain::workload::WorkloadName;

/// That somebody dismissed advice, or said when it is to be applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AdviceActDto {
    /// Who.
    pub by: String,
    /// Why, in words.
    pub message: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// When the advice is shown again.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// When it is applied.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub due: Option<Timestamp>,
    /// Whether it is applied with the next rollout.
    pub with_rollout: bool,
}

impl From<&Action> for AdviceActDto {
    fn from(action: &Action) -> Self {
        let (due, with_rollout) = match action.due {
            Some(Due::At(at)) => (Some(at), false),
            Some(Due::Rollout { .. }) => (None, true),
            None => (None, false),
        };
        Self {
            by: action.by.to_string(),
            message: action.message.clone(),
            at: action.at,
            until: action.until,
            due,
            with_rollout,
        }
    }
}

/// When advice is to be applied: one of the two.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleRequest {
    /// At this instant, for example `2026-11-22T02:00:00Z`.
    #[serde(default)]
    pub at: Option<String>,
    /// With the service's next rollout.
    #[serde(default)]
    pub next_rollout: bool,
    /// Why, in words.
    #[serde(default)]
    pub message: String,
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(apply)).routes(routes!(dismiss)).routes(routes!(schedule))
}

/// The size that is advised for a workload now.
async fn advised(api: &ApiState, writing: &Writing, name: &str) -> Result<(WorkloadName, TaskSize), Problem> {
    let workload = workload_name(name)?;
    let view = api.control.view().await;
    if view.world.workloads.get(&workload).is_none_or(|found| found.deleted) {
        return Err(Problem::not_found("workload", name));
    }
    writing.caller.owns(&view.world, &workload)?;
    let nothing = |why: String| Problem::unprocessable(format!("nothing is advised for {name}: {why}"));
    match view.recommendations.get(&workload) {
        Some(Estimate::Recommended(found)) => Ok((workload, found.size)),
        Some(Estimate::Withheld(why)) => Err(nothing(why.to_string())),
        None => Err(nothing("nothing measured yet".to_owned())),
    }
}

/// Apply the advised size now.
#[utoipa::path(post, path = "/v1/recommendations/{name}/apply", tag = "workloads", operation_id = "apply_advice",
    security(("token" = ["write"])), params(("name" = String, Path, description = "The workload")),
    request_body = MessageRequest,
    responses((status = 200, description = "What changed, with the decision that it is; empty where the size is so \
        already", body = Changed)))]
async fn apply(
    State(api): State<ApiState>,
    writing: Writing,
    At(name): At<String>,
    Body(request): Body<MessageRequest>,
) -> Result<Json<Changed>, Problem> {
    writing.apply_advice(&api, request.message, workload_name(&name)?).await
}

/// Dismiss the advised size, for a month or as long as is said.
#[utoipa::path(post, path = "/v1/recommendations/{name}/dismiss", tag = "workloads", operation_id = "dismiss_advice",
    security(("token" = ["write"])), params(("name" = String, Path, description = "The workload")),
    request_body = LastingRequest, responses((status = 200, description = "What changed", body = Changed)))]
async fn dismiss(
    State(api): State<ApiState>,
    writing: Writing,
    At(name): At<String>,
    Body(request): Body<LastingRequest>,
) -> Result<Json<Changed>, Problem> {
    let lasting = lasting(request.for_seconds)?;
    let (workload, size) = advised(&api, &writing, &name).await?;
    writing.submit(&api, request.message, Intent::DismissAdvice { workload, size, lasting }).await
}

/// Apply the advised size later, unless the advice is withdrawn or another one by then.
#[utoipa::path(post, path = "/v1/recommendations/{name}/schedule", tag = "workloads",
    operation_id = "schedule_advice", security(("token" = ["write"])),
    params(("name" = String, Path, description = "The workload")), request_body = ScheduleRequest,
    responses((status = 200, description = "What changed", body = Changed)))]
async fn schedule(
    State(api): State<ApiState>,
    writing: Writing,
    At(name): At<String>,
    Body(request): Body<ScheduleRequest>,
) -> Result<Json<Changed>, Problem> {
    let (workload, size) = advised(&api, &writing, &name).await?;
    if request.at.is_some() == request.next_rollout {
        return Err(Problem::unprocessable("expected either `at`, an instant, or `next_rollout`"));
    }
    let at = instant("at", request.at.as_deref())?;
    writing.submit(&api, request.message, Intent::ScheduleAdvice { workload, size, at }).await
}
