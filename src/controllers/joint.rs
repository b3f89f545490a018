//! In: a service, its load model, the load of the last minutes, the pools. Out: what `scaling::joint` and
//! `scaling::what_if` are asked with, and decisions about size and count together.
//!
//! Size and count are decided together where the policy makes both automatic, the owner scales on CPU, and CPU is
//! known to follow load. Then nobody else decides either. Everywhere else each has its own scaler.

use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use crate::controllers::analyst::Analysis;
use crate::domain::decision::{Candidate, DecisionKind, Proposal};
use crate::domain::load_model::LoadModel;
use crate::domain::money::{MicroCents, Prices};
use crate::domain::policy::PolicyMode;
use crate::domain::quantity::{Bytes, Millicores, TaskSize};
use crate::domain::recommendation::Estimate;
use crate::domain::scale::{MetricTarget, ScaleSpec};
use crate::domain::workload::{ServiceSpec, WorkloadName};
use crate::domain::world::{Workload, World};
use crate::scaling::joint::{Cause, Choice, JointAsk, Pair, Shape, decide};

/// The rule of decisions about both.
const RULE: &str = "size and count together";

/// The loads of the last minutes, of which the highest is held: a load that falls is followed as late as the owner's
/// stabilisation window says.
#[derive(Debug, Default)]
pub(super) struct RecentLoads(BTreeMap<WorkloadName, VecDeque<(Timestamp, f64)>>);

impl RecentLoads {
    fn highest(&mut self, name: &WorkloadName, seen: (Timestamp, f64), window: SignedDuration) -> f64 {
        let loads = self.0.entry(name.clone()).or_default();
        if loads.back().is_none_or(|last| last.0 < seen.0) {
            loads.push_back(seen);
        }
        while loads.front().is_some_and(|first| seen.0.duration_since(first.0) > window) {
            loads.pop_front();
        }
        loads.iter().map(|(_, load)| *load).fold(seen.1, f64::max)
    }

    /// Lets go what the world does not have.
    pub(super) fn retain(&mut self, world: &World) {
        self.0.retain(|name, _| world.workloads.contains_key(name));
    }

    /// The clock was set: what was seen then says nothing of now.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// The share of the CPU request that the owner aims at, where the owner scales on CPU and on nothing that is not
/// known to follow load.
pub(super) fn utilization(scale: &ScaleSpec) -> Option<f64> {
    let mut found = None;
    for metric in &scale.metrics {
        match metric {
            MetricTarget::Cpu { utilization } => found = Some(*utilization),
            MetricTarget::Requests { .. } => {}
            MetricTarget::Memory { .. } | MetricTarget::Prometheus { .. } => return None,
        }
    }
    found
}

/// Nodes that a service's instances can run on.
pub(super) fn shapes(
    world: &World,
    service: &ServiceSpec,
    name: &WorkloadName,
    prices: &Prices,
) -> Vec<Shape> {
    let team = service.owner.team.as_deref();
    let takes = |reserved: &[String]| {
        reserved.is_empty() || reserved.iter().any(|who| who == name.as_str() || Some(who.as_str()) == team)
    };
    let pools = world.pools.values().filter(|pool| !pool.deleted && pool.spec.max > 0);
    pools
        .filter(|pool| takes(&pool.spec.reserved_for))
        .map(|pool| Shape {
            pool: pool.name.clone(),
            size: pool.spec.size,
            price: pool.spec.price_per_hour.unwrap_or_else(|| prices.per_hour(pool.spec.size)),
        })
        .collect()
}

/// What size and count would be chosen from for a load; none where CPU is not known to follow load, or the owner
/// scales on something else.
pub(super) fn ask<'a>(
    (world, workload, scale): (&World, &Workload, &ScaleSpec),
    model: &'a LoadModel,
    recommended: Option<&Estimate>,
    load: f64,
    shapes: &'a [Shape],
) -> Option<JointAsk<'a>> {
    model.cpu.line()?;
    let mut least = f64::from(scale.min);
    for metric in &scale.metrics {
        if let MetricTarget::Requests { per_instance } = metric {
            least = least.max((load / per_instance).ceil());
        }
    }
    let size = workload.size();
    // The estimator knows how memory is used up and what a kill costs; its answer holds.
    let least_memory = match recommended {
        Some(Estimate::Recommended(found)) => found.size.request.memory,
        _ => size.request.memory,
    };
    let on_its_way = workload.size.as_ref().is_some_and(|size| !size.everywhere)
        || workload.rollout.as_ref().is_some_and(|rollout| rollout.state.is_open());
    Some(JointAsk {
        model,
        load,
        utilization: utilization(scale)?,
        least_memory,
        counts: (least.min(f64::from(scale.max)) as u32, scale.max),
        bounds: world.policy_of(workload).bounds,
        shapes,
        now: Pair { size: size.request, count: workload.count },
        fixed_size: on_its_way,
    })
}

/// The decisions about a service whose size and count are decided together, the size first; none where they are
/// decided apart.
pub(super) fn proposals(
    world: &World,
    workload: &Workload,
    (analysis, recent): (&Analysis, &mut RecentLoads),
    (prices, late): (&Prices, SignedDuration),
    now: Timestamp,
) -> Option<Vec<Proposal>> {
    let policy = world.policy_of(workload);
    let service = workload.spec.as_service()?;
    let scale = service.scale.as_ref()?;
    let model = analysis.models.get(&workload.name)?;
    if policy.size != PolicyMode::Auto || policy.count != PolicyMode::Auto {
        return None;
    }
    // A load that is not known, or a revision that is not known yet, is left to scalers that need neither.
    let sample = analysis.load.get(&workload.name).filter(|sample| now.duration_since(sample.at) <= late)?;
    if model.revision != workload.revision || workload.count == 0 {
        return None;
    }
    let seen = (sample.at, sample.requests_per_second);
    let load = recent.highest(&workload.name, seen, scale.down.stabilization);
    let shapes = shapes(world, service, &workload.name, prices);
    let recommended = analysis.recommendations.get(&workload.name);
    let ask = ask((world, workload, scale), model, recommended, load, &shapes)?;
    let Some((cause, choice)) = decide(&ask) else { return Some(Vec::new()) };
    Some(worded(workload, &ask, (cause, &choice), prices))
}

fn worded(
    workload: &Workload,
    ask: &JointAsk<'_>,
    (cause, choice): (Cause, &Choice),
    prices: &Prices,
) -> Vec<Proposal> {
    let (before, after) = (ask.now, choice.pair);
    let each = ask.load / f64::from(after.count.max(1));
    let why = match cause {
        Cause::Short => "what is in force does not hold the load",
        Cause::Saves => "what is in force costs more than the load needs",
    };
    let cpu = ask.model.cpu.at(each).unwrap_or_default();
    let reason = format!(
        "{why}: {:.1} requests/s at most lately, {each:.1} for each of {} instances of {}, {cpu:.3} cores of use by the \
         load model; {} fill a node of {}",
        ask.load, after.count, after.size, choice.slots, choice.pool
    );
    let from = workload.size();
    let to = resized(from, after);
    let price = |size: TaskSize, count: u32| {
        MicroCents::new(prices.per_hour(size.request).get().saturating_mul(i64::from(count)))
    };
    let proposal = |kind: DecisionKind| Proposal {
        kind,
        rule: RULE.to_owned(),
        reason: reason.clone(),
        inputs: BTreeMap::from([
            ("load".to_owned(), format!("{:.2} requests/s", ask.load)),
            ("CPU per request".to_owned(), per_request(ask.model)),
            ("utilization".to_owned(), ask.utilization.to_string()),
            ("least memory".to_owned(), ask.least_memory.to_string()),
            ("counts".to_owned(), format!("{} to {}", ask.counts.0, ask.counts.1)),
        ]),
        candidates: vec![
            Candidate {
                source: "in force".to_owned(),
                answer: format!("{} x {}", before.count, before.size),
                chosen: false,
            },
            Candidate {
                source: RULE.to_owned(),
                answer: format!("{} x {}", after.count, after.size),
                chosen: true,
            },
        ],
        price_before: price(from, before.count),
        price_after: price(to, after.count),
    };
    let workload = &workload.name;
    let mut all = Vec::new();
    if to != from {
        all.push(proposal(DecisionKind::Size { workload: workload.clone(), from, to }));
    }
    if after.count != before.count {
        let kind = DecisionKind::Count { workload: workload.clone(), from: before.count, to: after.count };
        all.push(proposal(kind));
    }
    all
}

fn per_request(model: &LoadModel) -> String {
    let slope = model.cpu.line().map(|line| line.slope);
    slope.map_or_else(
        || "not known".to_owned(),
        |slope| format!("{:.3} ms ({:.3} to {:.3})", slope.value * 1e3, slope.low * 1e3, slope.high * 1e3),
    )
}

/// Another request, with limits in the same ratio to it as before.
fn resized(from: TaskSize, to: Pair) -> TaskSize {
    if from.request == to.size {
        return from;
    }
    let ratio = |limit: f64, request: f64| if request > 0.0 { (limit / request).max(1.0) } else { 1.0 };
    let cpu_limit = from.cpu_limit.map(|limit| {
        Millicores::from_cores(to.size.cpu.cores() * ratio(limit.cores(), from.request.cpu.cores()))
    });
    let memory = ratio(from.memory_limit.as_f64(), from.request.memory.as_f64());
    let memory_limit = Bytes::from_f64(to.size.memory.as_f64() * memory);
    TaskSize { request: to.size, cpu_limit, memory_limit }
}
