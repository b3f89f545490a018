//! `/v1/recommendations`: the sizes that tasks should have, with what they are checked against.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::SignedDuration;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::ApiState;
use crate::api::advice::AdviceActDto;
use crate::api::dto::{
    CandidateDto, ExplanationDto, FindingDto, Problem, RecommendationDto, SizeDto, UsagePartDto,
};
use crate::api::extract::{At, Params};
use crate::api::names::workload_name;
use crate::domain::action::ActionKey;
use crate::domain::advice::{Confidence, grounds, kills_per_month};
use crate::domain::money::Prices;
use crate::domain::quantity::{Millicores, Resources};
use crate::domain::recommendation::{Estimate, Recommendation};
use crate::domain::workload::WorkloadSpec;
use crate::domain::world::Workload;
use crate::ports::control::View;
use crate::ports::history::UsagePart;
use crate::ports::search::DecisionQuery;

/// Hours in a month as clouds bill them: 365 x 24 / 12.
const HOURS_PER_MONTH: f64 = 730.0;
/// The span of usage that is told where none is asked for, and at most: a week and a month.
const HOURS_DEFAULT: u32 = 168;
const HOURS_MAX: u32 = 744;
/// Parts of that span.
const PARTS_DEFAULT: u32 = 200;
const PARTS_MAX: u32 = 1_000;
/// Decisions that are told.
const DECISIONS: usize = 10;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(one))
}

/// Recommended sizes.
#[utoipa::path(get, path = "/v1/recommendations", tag = "workloads", operation_id = "recommendations",
    security(("token" = ["read"])),
    responses((status = 200, description = "The recommendation of each workload, or why there is none",
        body = Vec<RecommendationDto>)))]
async fn list(State(api): State<ApiState>) -> Json<Vec<RecommendationDto>> {
    let view = api.control.view().await;
    let workloads = view.world.workloads.values().filter(|workload| !workload.deleted);
    Json(workloads.map(|workload| recommendation(&view, workload, &api.prices)).collect())
}

/// How much usage is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct CourseQuery {
    /// Hours of usage, up to now; a week without it.
    #[param(minimum = 1, maximum = 744)]
    hours: Option<u32>,
    /// Parts that they are cut into; 200 without it.
    #[param(minimum = 1, maximum = 1000)]
    parts: Option<u32>,
}

/// A recommendation with usage, candidates and decisions.
#[utoipa::path(get, path = "/v1/recommendations/{name}", tag = "workloads", operation_id = "recommendation",
    security(("token" = ["read"])),
    params(("name" = String, Path, description = "The workload"), CourseQuery),
    responses((status = 200, description = "The recommendation, or why there is none, with what it can be \
        checked against", body = ExplanationDto)))]
async fn one(
    State(api): State<ApiState>,
    At(name): At<String>,
    Params(query): Params<CourseQuery>,
) -> Result<Json<ExplanationDto>, Problem> {
    let hours = within("hours", query.hours, HOURS_DEFAULT, HOURS_MAX)?;
    let parts = within("parts", query.parts, PARTS_DEFAULT, PARTS_MAX)?;
    let workload = workload_name(&name)?;
    let view = api.control.view().await;
    let found = view.world.workloads.get(&workload).filter(|found| !found.deleted);
    let recommendation =
        recommendation(&view, found.ok_or_else(|| Problem::not_found("workload", &name))?, &api.prices);
    // Parts end with the present one, and their bounds stay where they are from one call to the next.
    let part = (i64::from(hours) * 3600 / i64::from(parts)).max(1);
    let to = (api.clock.now().as_second().div_euclid(part) + 1) * part;
    let at = |second: i64| jiff::Timestamp::from_second(second).unwrap_or(jiff::Timestamp::MIN);
    let (from, to) = (at(to - i64::from(parts) * part), at(to));
    let (history, search) = (Arc::clone(&api.history), Arc::clone(&api.search));
    let decided = DecisionQuery { subject: Some(name), before: None, limit: DECISIONS };
    let (usage, decisions) = tokio::task::spawn_blocking(move || {
        let usage = history.usage_course(&workload, from, to, SignedDuration::from_secs(part))?;
        Ok::<_, Problem>((usage, search.find_decisions(&decided)?))
    })
    .await??;
    Ok(Json(ExplanationDto {
        recommendation,
        from,
        to,
        part_seconds: part.unsigned_abs(),
        usage: usage.iter().map(UsagePartDto::from).collect(),
        decisions,
    }))
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

impl From<&UsagePart> for UsagePartDto {
    fn from(part: &UsagePart) -> Self {
        Self {
            at: part.at,
            samples: part.samples,
            cpu_mean: part.cpu_mean,
            cpu_max: part.cpu_max,
            memory_mean: part.memory_mean.get(),
            memory_max: part.memory_max.get(),
        }
    }
}

fn recommendation(view: &View, workload: &Workload, prices: &Prices) -> RecommendationDto {
    let instances = instances(workload);
    let per_month =
        |request: Resources| prices.per_hour(request).units() * HOURS_PER_MONTH * f64::from(instances);
    let mut dto = RecommendationDto {
        workload: workload.name.to_string(),
        current: workload.size().into(),
        recommended: None,
        lower: None,
        upper: None,
        samples: 0,
        confidence_days: 0.0,
        price_per_month: 0.0,
        reason: "nothing measured yet".to_owned(),
        mode: view.world.policy_of(workload).size.to_string(),
        instances,
        current_price_per_month: per_month(workload.size().request),
        recommended_price_per_month: None,
        risk: None,
        confidence: None,
        grounds: String::new(),
        reasons: Vec::new(),
        candidates: Vec::new(),
        findings: Vec::new(),
        dismissed: act(view, &ActionKey::Dismiss(workload.name.clone())),
        scheduled: act(view, &ActionKey::Schedule(workload.name.clone())),
    };
    match view.recommendations.get(&workload.name) {
        None => {}
        Some(Estimate::Withheld(why)) => dto.reason = why.to_string(),
        Some(Estimate::Recommended(found)) => fill(&mut dto, found, per_month),
    }
    dto
}

fn act(view: &View, key: &ActionKey) -> Option<AdviceActDto> {
    view.world.actions.get(key).map(AdviceActDto::from)
}

fn fill(dto: &mut RecommendationDto, found: &Recommendation, per_month: impl Fn(Resources) -> f64) {
    let pair = |resources: Resources| (Millicores::cores(resources.cpu), resources.memory.get());
    dto.recommended = Some(SizeDto::from(found.size));
    dto.lower = Some(pair(found.lower));
    dto.upper = Some(pair(found.upper));
    dto.samples = found.samples;
    dto.confidence_days = found.confidence_days;
    dto.reason.clone_from(&found.reason);
    dto.price_per_month = found.price_effect.units() * HOURS_PER_MONTH * f64::from(dto.instances);
    dto.recommended_price_per_month = Some(per_month(found.size.request));
    dto.risk = found.risk;
    dto.confidence = Some(Confidence::of(found));
    dto.grounds = grounds(found);
    dto.reasons.clone_from(&found.reasons);
    let candidate = |candidate: &crate::domain::recommendation::Candidate| CandidateDto {
        memory: candidate.memory.get(),
        risk: candidate.risk,
        oom_kills_per_month: kills_per_month(candidate.risk, f64::from(dto.instances)),
        price_per_month: per_month(Resources::new(found.size.request.cpu, candidate.memory)),
    };
    dto.candidates = found.candidates.iter().map(candidate).collect();
    let finding = |finding: &crate::domain::recommendation::Finding| FindingDto {
        words: finding.words(),
        advice: finding.advice(found.size),
        finding: *finding,
    };
    dto.findings = found.findings.iter().map(finding).collect();
}

/// Instances that a price per instance is multiplied by: a job is counted as one.
fn instances(workload: &Workload) -> u32 {
    match &workload.spec {
        WorkloadSpec::Service(_) => workload.count,
        _ => 1,
    }
}
