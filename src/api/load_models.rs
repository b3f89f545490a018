//! `/v1/workloads/{name}/model` and `/v1/workloads/{name}/what-if`: what a service uses as a function of its load, and
//! what it would need under another one.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::ApiState;
use crate::api::dto::Problem;
use crate::api::extract::{At, Params};
use crate::api::names::{instant, workload_name};
use crate::domain::load_model::LoadModel;
use crate::domain::what_if::WhatIf;
use crate::ports::control::WhatIfAsked;

/// The load model of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LoadModelDto {
    /// The service.
    pub workload: String,
    /// The model in sentences, the most telling first.
    pub words: Vec<String>,
    /// Its figures; absent before anything was observed.
    #[schema(value_type = Option<Object>)]
    pub model: Option<LoadModel>,
}

/// What a service would need.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WhatIfDto {
    /// The service.
    pub workload: String,
    /// Instances, size, nodes and price, now and then, and what the answer rests on.
    #[schema(value_type = Object)]
    pub answer: WhatIf,
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(model)).routes(routes!(what_if))
}

/// What an instance of a service uses as a function of its load.
#[utoipa::path(get, path = "/v1/workloads/{name}/model", tag = "workloads", operation_id = "load_model",
    security(("token" = ["read"])), params(("name" = String, Path, description = "The service")),
    responses((status = 200, description = "The model, as far as it is known", body = LoadModelDto)))]
async fn model(State(api): State<ApiState>, At(name): At<String>) -> Result<Json<LoadModelDto>, Problem> {
    let workload = workload_name(&name)?;
    let view = api.control.view().await;
    let found = view.world.workloads.get(&workload).filter(|found| !found.deleted);
    let found = found.ok_or_else(|| Problem::not_found("workload", &name))?;
    let model = view.models.get(&workload).cloned();
    let words = match &model {
        Some(model) => model.words(),
        None if found.spec.as_service().is_none() => vec!["it is no service: it has no load".to_owned()],
        None => {
            vec!["nothing was observed yet: an instance counts once it has been ready for a while".to_owned()]
        }
    };
    Ok(Json(LoadModelDto { workload: name, words, model }))
}

/// Which load is meant.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct WhatIfQuery {
    /// `x2`, `+30%`, `-20%` or `250/s`.
    load: Option<String>,
    /// The load that is forecast for this instant; that of its hour of the week where there is no forecast.
    peak: Option<String>,
}

/// What a service would need under another load.
#[utoipa::path(get, path = "/v1/workloads/{name}/what-if", tag = "workloads", operation_id = "what_if",
    security(("token" = ["read"])),
    params(("name" = String, Path, description = "The service"), WhatIfQuery),
    responses((status = 200, description = "Instances, size, nodes and price", body = WhatIfDto)))]
async fn what_if(
    State(api): State<ApiState>,
    At(name): At<String>,
    Params(query): Params<WhatIfQuery>,
) -> Result<Json<WhatIfDto>, Problem> {
    let workload = workload_name(&name)?;
    let load = query.load.as_deref().map(str::parse).transpose().map_err(Problem::bad_request)?;
    let peak: Option<Timestamp> = instant("peak", query.peak.as_deref())?;
    if load.is_none() && peak.is_none() {
        return Err(Problem::bad_request("expected `load`, such as x2, or `peak`, an instant"));
    }
    let answer = api.control.what_if(WhatIfAsked { workload, load, peak }).await?;
    Ok(Json(WhatIfDto { workload: name, answer }))
}
