//! What a service would need under another load.
//!
//! In: its load model, its count rule, size and count in force, node shapes, prices. Out: instances, size, nodes and
//! price for that load, with what decides them. Nothing is made up: what the model does not say is a note.

use crate::domain::load_model::LoadModel;
use crate::domain::money::{MicroCents, Prices};
use crate::domain::quantity::{Resources, TaskSize};
use crate::domain::scale::{MetricTarget, ScaleSpec};
use crate::domain::what_if::{Stand, WhatIf};
use crate::scaling::joint::{self, JointAsk, Shape, slots_of};

/// What is asked about.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// What is known of the service.
    pub model: Option<&'a LoadModel>,
    /// How its count follows load.
    pub scale: Option<&'a ScaleSpec>,
    /// The size and count in force.
    pub now: (TaskSize, u32),
    /// Requests per second now.
    pub load_now: f64,
    /// Requests per second then.
    pub load_then: f64,
    /// Where that comes from.
    pub load_from: String,
    /// What size and count together would be chosen from; none where nothing can be said about it.
    pub joint: Option<JointAsk<'a>>,
    /// Where instances can run.
    pub shapes: &'a [Shape],
    /// What resources cost.
    pub prices: Prices,
}

/// A count with what decides it.
struct Count {
    count: u32,
    rule: String,
}

/// Answers.
pub fn answer(question: &Question<'_>) -> WhatIf {
    let (size, count) = question.now;
    let mut notes = Vec::new();
    let found = count_then(question, &mut notes);
    let now = stand(question, question.load_now, count, size);
    let then = stand(question, question.load_then, found.count, size);
    if let Some(most) = question.model.and_then(|model| model.load_seen).map(|(_, most)| most) {
        let each = question.load_then / f64::from(found.count.max(1));
        if each > most * 1.05 {
            notes.push(format!(
                "an instance would have {each:.1} requests/s; the most that was observed is {most:.1}: the model is \
                 stretched"
            ));
        }
    }
    notes.extend(shortfall(question, &then));
    let best = question.joint.as_ref().and_then(|ask| {
        let ask = JointAsk { load: question.load_then, ..ask.clone() };
        let choice = joint::cheapest(&ask)?;
        let size = TaskSize::of(choice.pair.size);
        Some(stand(question, question.load_then, choice.pair.count, size))
    });
    WhatIf { now, then, best, rule: found.rule, load_from: question.load_from.clone(), notes }
}

/// What would be too little.
fn shortfall(question: &Question<'_>, then: &Stand) -> Vec<String> {
    let mut notes = Vec::new();
    let cores = then.size.cpu_limit.unwrap_or(then.size.request.cpu).cores();
    if let Some(cpu) = then.cpu.filter(|cpu| *cpu > cores && cores > 0.0) {
        notes.push(format!("an instance would want {cpu:.3} cores and may use {cores:.3}"));
    }
    if let Some(memory) = then.memory.filter(|memory| *memory > then.size.memory_limit.as_f64()) {
        notes.push(format!(
            "an instance would want {} and its limit is {}",
            crate::domain::quantity::Bytes::from_f64(memory),
            then.size.memory_limit
        ));
    }
    let each = then.load / f64::from(then.instances.max(1));
    let objective = question.model.and_then(|model| model.objective);
    if let Some((objective, at)) = objective.and_then(|objective| Some((objective, objective.breaks_at?)))
        && each > at.value
    {
        notes.push(format!(
            "p95 would exceed its objective of {:.0} ms, which holds up to {:.1} requests/s an instance",
            objective.latency * 1e3,
            at.value
        ));
    }
    notes
}

fn stand(question: &Question<'_>, load: f64, instances: u32, size: TaskSize) -> Stand {
    let each = load / f64::from(instances.max(1));
    let all = |price: MicroCents, count: u32| MicroCents::new(price.get().saturating_mul(i64::from(count)));
    let on = |shape: &Shape| {
        let nodes = instances.div_ceil(slots_of(shape.size, size.request)?);
        Some((nodes, all(shape.price, nodes)))
    };
    let nodes = question.shapes.iter().filter_map(on).min_by_key(|(_, price)| *price);
    let known = |of: fn(&LoadModel, f64) -> Option<f64>| question.model.and_then(|model| of(model, each));
    Stand {
        load,
        instances,
        size,
        nodes: nodes.map(|(nodes, _)| nodes),
        price: all(question.prices.per_hour(size.request), instances),
        node_price: nodes.map(|(_, price)| price),
        cpu: known(|model, load| model.cpu.at(load)),
        memory: known(|model, load| model.memory.at(load)),
        latency: known(|model, load| {
            model.knee.map(|knee| knee.at(load)).filter(|seconds| seconds.is_finite())
        }),
    }
}

/// The count by the rule in force.
fn count_then(question: &Question<'_>, notes: &mut Vec<String>) -> Count {
    let (size, count) = question.now;
    let Some(scale) = question.scale else {
        notes.push("the service has no `scale`: its count does not follow load".to_owned());
        return Count { count, rule: "the declared count".to_owned() };
    };
    let mut best: Option<Count> = None;
    for metric in &scale.metrics {
        match asked_for(metric, question, size.request) {
            Ok(found) if best.as_ref().is_none_or(|best| found.count > best.count) => best = Some(found),
            Ok(_) => {}
            Err(why) => notes.push(why),
        }
    }
    let Some(found) = best else {
        notes.push("no metric of `scale` can be told from load: the count is left as it is".to_owned());
        return Count { count, rule: "the count in force".to_owned() };
    };
    if found.count > scale.max {
        notes.push(format!("{} instances would be wanted, `scale` allows {}", found.count, scale.max));
        return Count { count: scale.max, rule: format!("max = {}", scale.max) };
    }
    if found.count < scale.min {
        return Count { count: scale.min, rule: format!("min = {}", scale.min) };
    }
    found
}

fn asked_for(metric: &MetricTarget, question: &Question<'_>, request: Resources) -> Result<Count, String> {
    let load = question.load_then;
    let count = |wanted: f64| (wanted - 1e-9).ceil().clamp(0.0, f64::from(u32::MAX)) as u32;
    match metric {
        MetricTarget::Requests { per_instance } => Ok(Count {
            count: count(load / per_instance),
            rule: format!("requests: {load:.1} / {per_instance} for each"),
        }),
        MetricTarget::Cpu { utilization } => {
            let model = question.model.ok_or("CPU: there is no load model yet")?;
            let Some(line) = model.cpu.line() else {
                return Err(model
                    .words()
                    .into_iter()
                    .find(|said| said.starts_with("CPU"))
                    .unwrap_or_default());
            };
            let free = request.cpu.cores() * utilization - line.base.value;
            if free <= 0.0 {
                return Err(format!(
                    "CPU: {:.3} cores are used without load, more than {:.0} % of {} cores: no count is enough",
                    line.base.value,
                    utilization * 100.0,
                    request.cpu
                ));
            }
            Ok(Count {
                count: count(line.slope.value * load / free),
                rule: format!(
                    "CPU: {:.1} requests/s for each at {:.0} %",
                    free / line.slope.value,
                    utilization * 100.0
                ),
            })
        }
        MetricTarget::Queue(_) => Err("queue: its length does not follow from load".to_owned()),
        MetricTarget::Memory { utilization } => {
            let model = question.model.ok_or("memory: there is no load model yet")?;
            let Some(line) = model.memory.line() else {
                return Err("memory: it does not follow load, so load changes no count by it".to_owned());
            };
            let free = request.memory.as_f64() * utilization - line.base.value;
            if free <= 0.0 {
                return Err(
                    "memory: more is used without load than is aimed at: no count is enough".to_owned()
                );
            }
            Ok(Count { count: count(line.slope.value * load / free), rule: "memory".to_owned() })
        }
        MetricTarget::Prometheus { metric, .. } => {
            Err(format!("{metric}: how it follows requests is not modelled, so it is left out"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::load_model::{Estimated, Line, Relation};
    use crate::domain::node::PoolName;
    use crate::domain::quantity::{Bytes, Millicores};
    use crate::scaling::joint_conflict;

    pub(super) fn model() -> LoadModel {
        let line = |base: f64, slope: f64| Line {
            base: Estimated::around(base, 0.0),
            slope: Estimated::around(slope, 0.0),
            band: 0.0,
            explained: 1.0,
        };
        LoadModel {
            load_seen: Some((1.0, 50.0)),
            cpu: Relation::Clear(line(0.1, 0.01)),
            memory: Relation::Unclear { why: "flat".to_owned(), mean: Some(1e8) },
            ..joint_conflict::model()
        }
    }

    fn scale(metrics: Vec<MetricTarget>, max: u32) -> ScaleSpec {
        ScaleSpec::new(1, max, metrics)
    }

    fn shapes() -> Vec<Shape> {
        vec![Shape {
            pool: PoolName::new("small").expect("a name"),
            size: Resources::new(Millicores::new(4000), Bytes::mib(8192)),
            price: MicroCents::from_units(0.2),
        }]
    }

    fn asked(scale: Option<&ScaleSpec>, model: Option<&LoadModel>, load_then: f64) -> WhatIf {
        let size = TaskSize::of(Resources::new(Millicores::new(1000), Bytes::mib(512)));
        answer(&Question {
            model,
            scale,
            now: (size, 2),
            load_now: 80.0,
            load_then,
            load_from: "asked".to_owned(),
            joint: None,
            shapes: &shapes(),
            prices: Prices { core_hour: MicroCents::from_units(0.04), gib_hour: MicroCents::ZERO },
        })
    }

    #[test]
    fn twice_the_load_by_cpu_is_the_models_arithmetic() {
        let rule = scale(vec![MetricTarget::Cpu { utilization: 0.6 }], 20);
        // 0.6 - 0.1 = 0.5 cores for load: 50 requests/s each; 400 / 50 = 8.
        let found = asked(Some(&rule), Some(&model()), 400.0);
        assert_eq!((found.then.instances, found.then.nodes), (8, Some(2)), "{found:?}");
        assert_eq!(found.then.price, MicroCents::from_units(0.32));
        assert_eq!(found.then.node_price, Some(MicroCents::from_units(0.4)));
        assert!((found.then.cpu.expect("cores") - 0.6).abs() < 1e-9 && found.notes.is_empty(), "{found:?}");
        let bounded = asked(Some(&scale(rule.metrics, 5)), Some(&model()), 400.0);
        assert_eq!((bounded.then.instances, bounded.rule.as_str()), (5, "max = 5"));
        assert!(bounded.notes.iter().any(|note| note.contains("the model is stretched")), "{bounded:?}");
    }

    #[test]
    fn what_is_not_known_is_said_and_not_made_up() {
        let rule = scale(vec![MetricTarget::Cpu { utilization: 0.6 }], 20);
        let found = asked(Some(&rule), None, 400.0);
        assert_eq!(found.then.instances, 2);
        assert!(found.notes[0].contains("no load model yet"), "{found:?}");
        let requests = scale(vec![MetricTarget::Requests { per_instance: 100.0 }], 20);
        assert_eq!(asked(Some(&requests), None, 401.0).then.instances, 5);
        assert!(asked(None, Some(&model()), 400.0).notes[0].contains("does not follow load"));
        let short = asked(None, Some(&model()), 400.0);
        assert!(short.notes.iter().any(|note| note.contains("would want 2.100 cores")), "{short:?}");
    }
}
