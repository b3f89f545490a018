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
use crate::domain::scale::{CountPolicyKind, MetricTarget, ScaleSpec};
use crate::domain::workload::{ServiceSpec, WorkloadName};
use crate::domain::world::{Workload, World};
use crate::scaling::joint::{Cause, Choice, JointAsk, Pair, Shape, decide};

/// The rule of decisions about both.
const RULE: &str = "size and count together";

/// Loads lately: the highest of each few minutes.
#[derive(Debug, Default)]
pub(super) struct RecentLoads(BTreeMap<WorkloadName, VecDeque<(Timestamp, f64)>>);

/// Seconds that one entry stands for.
const ENTRY_SECONDS: i64 = 60;
/// Entries of a service at most: the longest time that is looked back over.
const ENTRIES_MAX: usize = 24 * 60;

impl RecentLoads {
    fn note(&mut self, name: &WorkloadName, (at, load): (Timestamp, f64)) {
        let loads = self.0.entry(name.clone()).or_default();
        match loads.back_mut() {
            Some(last) if at.duration_since(last.0) < SignedDuration::from_secs(ENTRY_SECONDS) => {
                last.1 = last.1.max(load);
            }
            _ => loads.push_back((at, load)),
        }
        if loads.len() > ENTRIES_MAX {
            loads.pop_front();
        }
    }

    /// The highest load since an instant; none where nobody has looked for that long.
    fn highest(&self, name: &WorkloadName, since: Timestamp) -> Option<f64> {
        let loads = self.0.get(name)?;
        loads.front().filter(|first| first.0 <= since)?;
        Some(self.highest_seen(name, since))
    }

    /// The highest load since an instant, as far as anybody has looked.
    fn highest_seen(&self, name: &WorkloadName, since: Timestamp) -> f64 {
        let loads = self.0.get(name).into_iter().flatten();
        // An entry begins up to a minute before the load that it stands for.
        let counts = since - SignedDuration::from_secs(ENTRY_SECONDS);
        loads.filter(|(at, _)| *at >= counts).map(|(_, load)| *load).fold(0.0, f64::max)
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
/// known to follow load. Windows, counts down to zero and other policies of counts have rules of their own.
pub(super) fn utilization(scale: &ScaleSpec) -> Option<f64> {
    if scale.policy != CountPolicyKind::Hpa || !scale.windows.is_empty() || scale.reaches_zero() {
        return None;
    }
    let mut found = None;
    for metric in &scale.metrics {
        match metric {
            MetricTarget::Cpu { utilization } => found = Some(*utilization),
            MetricTarget::Requests { .. } => {}
            MetricTarget::Memory { .. } | MetricTarget::Prometheus { .. } | MetricTarget::Queue(_) => {
                return None;
            }
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

/// Times that decisions keep to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// A load that was measured longer ago is not known.
    pub(super) late: SignedDuration,
    /// A size stays in force so long, unless it is too small.
    pub(super) size_min_age: SignedDuration,
}

/// The decisions about a service whose size and count are decided together, the size first; none where they are
/// decided apart.
pub(super) fn proposals(
    world: &World,
    workload: &Workload,
    (analysis, recent): (&Analysis, &mut RecentLoads),
    (prices, times): (&Prices, &Times),
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
    let sample =
        analysis.load.get(&workload.name).filter(|sample| now.duration_since(sample.at) <= times.late)?;
    if model.revision != workload.revision || workload.count == 0 {
        return None;
    }
    recent.note(&workload.name, (sample.at, sample.requests_per_second));
    let shapes = shapes(world, service, &workload.name, prices);
    let recommended = analysis.recommendations.get(&workload.name);
    let asked = |load: f64| ask((world, workload, scale), model, recommended, load, &shapes);
    // A load that falls is followed as late as the owner's window says.
    let lately = recent.highest_seen(&workload.name, now - scale.down.stabilization);
    let by_count = JointAsk { fixed_size: true, ..asked(lately)? };
    if let Some((cause, choice)) = decide(&by_count) {
        return Some(worded(workload, &by_count, (cause, &choice), prices));
    }
    // Another size is for the load of hours, not of minutes: an hour of rest is no reason for a small one. Only a load
    // that no count of this size holds is answered at once.
    let settled = now - times.size_min_age;
    let of_hours = recent
        .highest(&workload.name, settled)
        .filter(|_| workload.size.as_ref().is_none_or(|size| size.since <= settled));
    let is_short = !by_count.is_held();
    let load = match of_hours {
        _ if is_short => lately,
        Some(highest) => highest.max(lately),
        None => return Some(Vec::new()),
    };
    let ask = asked(load)?;
    let Some((cause, choice)) = decide(&ask) else { return Some(Vec::new()) };
    if choice.pair.size == workload.size().request {
        return Some(Vec::new());
    }
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
