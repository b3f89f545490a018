//! `/v1/size-policies`: the policies that sizes can come from, and which one is in force.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::ApiState;
use crate::api::caller::Writing;
use crate::api::dto::{Changed, Problem};
use crate::api::extract::{At, Body};
use crate::api::names::{lasting, workload_name};
use crate::domain::action::{Action, ActionKey};
use crate::domain::intent::Intent;

/// What there is to choose from, and what was chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SizePoliciesDto {
    /// The policy that sizes come from now, as it was written.
    pub in_force: String,
    /// The policy that was chosen; it comes in force at the next analysis. Absent where nobody chose one.
    pub chosen: Option<String>,
    /// Who chose it.
    pub by: Option<String>,
    /// When.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Each policy.
    pub policies: Vec<SizePolicyDto>,
    /// Workloads whose sizes come from a policy of their own; undone as actions of the kind `size-policy`.
    #[serde(default)]
    pub own: Vec<OwnPolicyDto>,
}

/// A workload whose sizes come from a policy of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OwnPolicyDto {
    /// The workload.
    pub workload: String,
    /// The policy as it was written.
    pub policy: String,
    /// Who chose it.
    pub by: String,
    /// Why, in words.
    pub message: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// When it ends by itself; never where absent.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
}

/// Another policy for one workload.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnPolicyRequest {
    /// The policy as `NAME[:key=value]...`, for example `krr:margin=1.3`.
    pub policy: String,
    /// Why, in words.
    #[serde(default)]
    pub message: String,
    /// Seconds after which its sizes come from the policy of all others again; until it is undone where absent.
    #[serde(default)]
    pub for_seconds: Option<u64>,
}

/// A policy that sizes can come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SizePolicyDto {
    /// Its name.
    pub name: String,
    /// Its keys with the values that they have unless said otherwise.
    pub keys: BTreeMap<String, f64>,
    /// The key that trades cost against risk.
    pub knob: String,
}

/// Another policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SizePolicyRequest {
    /// The policy as `NAME[:key=value]...`, for example `krr:margin=1.3`.
    pub policy: String,
    /// Why, in words.
    #[serde(default)]
    pub message: String,
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(size_policies, set_size_policy)).routes(routes!(set_own_policy))
}

/// The policies that sizes can come from.
#[utoipa::path(get, path = "/v1/size-policies", tag = "rules", security(("token" = ["read"])),
    responses((status = 200, description = "Each policy, and the one in force", body = SizePoliciesDto)))]
async fn size_policies(State(api): State<ApiState>) -> Json<SizePoliciesDto> {
    let view = api.control.view().await;
    let choice = view.world.size_policy.as_ref();
    let policies = api.control.size_policies().into_iter();
    Json(SizePoliciesDto {
        in_force: view.engine.size_policy,
        chosen: choice.map(|choice| choice.policy.clone()),
        by: choice.map(|choice| choice.by.to_string()),
        since: choice.map(|choice| choice.since),
        policies: policies
            .map(|entry| SizePolicyDto { name: entry.name, keys: entry.keys, knob: entry.knob })
            .collect(),
        own: view.world.actions.values().filter_map(own).collect(),
    })
}

fn own(action: &Action) -> Option<OwnPolicyDto> {
    let ActionKey::SizePolicy(workload) = &action.key else { return None };
    Some(OwnPolicyDto {
        workload: workload.to_string(),
        policy: action.policy.clone()?,
        by: action.by.to_string(),
        message: action.message.clone(),
        since: action.at,
        until: action.until,
    })
}

/// Take the sizes of one workload from a policy of its own, from the next analysis on.
#[utoipa::path(put, path = "/v1/workloads/{name}/size-policy", tag = "workloads", security(("token" = ["write"])),
    params(("name" = String, Path, description = "The service")), request_body = OwnPolicyRequest,
    responses((status = 200, description = "What changed; undone under `/v1/actions/size-policy/{name}`", body = Changed),
        (status = 422, description = "There is no such policy, or not with these values", body = Problem,
            content_type = "application/problem+json")))]
async fn set_own_policy(
    State(api): State<ApiState>,
    writing: Writing,
    At(name): At<String>,
    Body(request): Body<OwnPolicyRequest>,
) -> Result<Json<Changed>, Problem> {
    let intent = Intent::SetSizePolicyOf {
        workload: workload_name(&name)?,
        policy: request.policy,
        lasting: lasting(request.for_seconds)?,
    };
    writing.submit(&api, request.message, intent).await
}

/// Take sizes from another policy, from the next analysis on.
#[utoipa::path(put, path = "/v1/size-policies", tag = "rules", security(("token" = ["operate"])),
    request_body = SizePolicyRequest,
    responses((status = 200, description = "What changed", body = Changed),
        (status = 422, description = "There is no such policy, or not with these values", body = Problem,
            content_type = "application/problem+json")))]
async fn set_size_policy(
    State(api): State<ApiState>,
    writing: Writing,
    Body(request): Body<SizePolicyRequest>,
) -> Result<Json<Changed>, Problem> {
    writing.submit(&api, request.message, Intent::SetSizePolicy(request.policy)).await
}
