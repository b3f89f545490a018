//! `/v1/policies` and `/v1/quotas`: what bounds the others.

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::ApiState;
use crate::api::answers::{PolicyDto, QuotaDto};
use crate::api::caller::Writing;
use crate::api::dto::{Changed, Problem};
use crate::api::extract::{At, Params};
use crate::api::workloads::MessageQuery;
use crate::domain::intent::Intent;
use crate::domain::policy::PolicyName;
use crate::domain::quantity::{Bytes, Millicores, Resources};
use crate::domain::task::Task;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(policies))
        .routes(routes!(remove_policy))
        .routes(routes!(quotas))
        .routes(routes!(remove_quota))
}

/// All policies.
#[utoipa::path(get, path = "/v1/policies", tag = "rules", security(("token" = ["read"])),
    responses((status = 200, description = "Each policy", body = Vec<PolicyDto>)))]
async fn policies(State(api): State<ApiState>) -> Result<Json<Vec<PolicyDto>>, Problem> {
    let world = api.control.view().await.world;
    let mut all = Vec::new();
    for (name, rules) in &world.policies {
        let governed = world.workloads.values().filter(|workload| workload.spec.policy() == Some(name));
        all.push(PolicyDto {
            name: name.to_string(),
            rules: serde_json::to_value(rules)?,
            workloads: governed.map(|workload| workload.name.to_string()).collect(),
        });
    }
    Ok(Json(all))
}

/// Forget a policy.
#[utoipa::path(delete, path = "/v1/policies/{name}", tag = "rules", operation_id = "delete_policy",
    security(("token" = ["operate"])),
    params(("name" = String, Path, description = "The policy"), MessageQuery),
    responses((status = 200, description = "What changed", body = Changed)))]
async fn remove_policy(
    State(api): State<ApiState>,
    writing: Writing,
    At(name): At<String>,
    Params(query): Params<MessageQuery>,
) -> Result<Json<Changed>, Problem> {
    let policy = PolicyName::new(&name).map_err(|_| Problem::not_found("policy", &name))?;
    writing.submit(&api, query.message, Intent::DeletePolicy(policy)).await
}

/// All quotas.
#[utoipa::path(get, path = "/v1/quotas", tag = "rules", security(("token" = ["read"])),
    responses((status = 200, description = "Each team's quota and what it uses of it", body = Vec<QuotaDto>)))]
async fn quotas(State(api): State<ApiState>) -> Json<Vec<QuotaDto>> {
    let world = api.control.view().await.world;
    let owned = |task: &&Task, team: &str| {
        let workload = world.workloads.get(task.workload());
        task.state.holds_resources()
            && workload.is_some_and(|workload| workload.spec.owner().team.as_deref() == Some(team))
    };
    let quotas = world.quotas.iter().map(|(team, quota)| {
        let tasks: Vec<&Task> = world.tasks.values().filter(|task| owned(task, team)).collect();
        let used: Resources = tasks.iter().map(|task| task.size.request).sum();
        QuotaDto {
            team: team.clone(),
            cpu: quota.cpu.map(Millicores::cores),
            memory: quota.memory.map(Bytes::get),
            tasks: quota.tasks,
            cpu_used: used.cpu.cores(),
            memory_used: used.memory.get(),
            tasks_used: u32::try_from(tasks.len()).unwrap_or(u32::MAX),
        }
    });
    Json(quotas.collect())
}

/// Forget a team's quota.
#[utoipa::path(delete, path = "/v1/quotas/{team}", tag = "rules", operation_id = "delete_quota",
    security(("token" = ["operate"])),
    params(("team" = String, Path, description = "The team"), MessageQuery),
    responses((status = 200, description = "What changed", body = Changed)))]
async fn remove_quota(
    State(api): State<ApiState>,
    writing: Writing,
    At(team): At<String>,
    Params(query): Params<MessageQuery>,
) -> Result<Json<Changed>, Problem> {
    writing.submit(&api, query.message, Intent::DeleteQuota(team)).await
}
