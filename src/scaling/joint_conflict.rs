//! Shows, in a closed loop, how a count that follows CPU use over size and a size that follows CPU use run away
//! from each other, and that size and count decided together come to rest. The same service, the same load.

use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use crate::domain::decision::DecisionKind;
use crate::domain::load_model::{Estimated, KeptOut, Line, LoadModel, Relation};
use crate::domain::money::MicroCents;
use crate::domain::node::PoolName;
use crate::domain::policy::SizeBounds;
use crate::domain::quantity::{Bytes, Millicores, Resources};
use crate::domain::scale::{MetricTarget, ScaleSpec};
use crate::domain::task::TaskId;
use crate::domain::workload::WorkloadName;
use crate::scaling::horizontal::{
    self, HorizontalParameters, HorizontalState, InstanceReading, InstanceStatus, MetricReading,
    ServiceStatus, Verdict,
};
use crate::scaling::joint::{self, JointAsk, Pair, Shape};

const BASE: f64 = 0.05;
const SLOPE: f64 = 0.01;
const UTILIZATION: f64 = 0.7;
const MAX: u32 = 40;
const STEP: i64 = 15;
/// Two days of steps.
const STEPS: i64 = 2 * 86_400 / STEP;
/// The size is looked at every 10 minutes, over the last two hours.
const SIZE_EVERY: i64 = 600 / STEP;
const SIZE_WINDOW: usize = 7200 / STEP as usize;

/// What came of a run.
#[derive(Debug, Default)]
struct Outcome {
    count_changes: u32,
    size_changes: u32,
    most_instances: u32,
    least_cpu: f64,
    last: Option<Pair>,
    short_steps: u32,
    core_hours: f64,
}

/// From 100 to 300 requests a second and back over a day.
fn load(step: i64) -> f64 {
    200.0 - 100.0 * (step as f64 * STEP as f64 / 86_400.0 * std::f64::consts::TAU).cos()
}

/// What each of so many instances uses, a little unevenly.
fn used(step: i64, count: u32) -> f64 {
    let uneven = 1.0 + 0.03 * ((step * 7919 % 101) as f64 / 50.0 - 1.0);
    BASE + SLOPE * load(step) / f64::from(count) * uneven
}

fn run(mut decide: impl FnMut(i64, Pair) -> Pair) -> Outcome {
    let mut now = Pair { size: Resources::new(Millicores::new(1000), Bytes::mib(512)), count: 4 };
    let mut outcome = Outcome { least_cpu: f64::INFINITY, ..Outcome::default() };
    for step in 0..STEPS {
        let next = decide(step, now);
        outcome.count_changes += u32::from(next.count != now.count);
        outcome.size_changes += u32::from(next.size != now.size);
        now = next;
        outcome.most_instances = outcome.most_instances.max(now.count);
        outcome.least_cpu = outcome.least_cpu.min(now.size.cpu.cores());
        outcome.short_steps += u32::from(used(step, now.count) > now.size.cpu.cores());
        outcome.core_hours += now.size.cpu.cores() * f64::from(now.count) * STEP as f64 / 3600.0;
    }
    outcome.last = Some(now);
    outcome
}

/// HPA v2 on CPU, and a size of the 90th percentile of use and 15 % more, as VPA sets it.
fn separate() -> Outcome {
    let web = WorkloadName::new("web").expect("a name");
    let spec = ScaleSpec::new(2, MAX, vec![MetricTarget::Cpu { utilization: UTILIZATION }]);
    let (mut state, mut seen) = (HorizontalState::default(), VecDeque::new());
    run(|step, mut now| {
        let at = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_000_000 + step * STEP);
        let use_now = used(step, now.count);
        seen.push_back(use_now);
        if seen.len() > SIZE_WINDOW {
            seen.pop_front();
        }
        if step % SIZE_EVERY == SIZE_EVERY - 1 {
            let mut sorted: Vec<f64> = seen.iter().copied().collect();
            sorted.sort_by(f64::total_cmp);
            let wanted = sorted[sorted.len() * 9 / 10] * 1.15;
            // VPA changes nothing for less than 10 %.
            if (wanted / now.size.cpu.cores() - 1.0).abs() > 0.1 {
                now.size.cpu = Millicores::from_cores(wanted);
            }
        }
        let tasks = || (1..=u64::from(now.count)).map(|number| TaskId::new(web.clone(), number));
        let started = Timestamp::UNIX_EPOCH;
        let instances = tasks().map(|task| InstanceStatus {
            task,
            started_at: Some(started),
            ready: true,
            readiness_since: Some(started),
            request: now.size,
        });
        let window = SignedDuration::from_secs(STEP);
        let reading = InstanceReading { value: use_now, at, window };
        let status = ServiceStatus {
            workload: &web,
            count: now.count,
            stopped: false,
            instances: instances.collect(),
            readings: vec![MetricReading::PerInstance(
                tasks().map(|task| (task, reading)).collect::<BTreeMap<_, _>>(),
            )],
            instance_price: MicroCents::ZERO,
        };
        let parameters = HorizontalParameters::default();
        if let Verdict::Change(proposal) = horizontal::decide(&spec, &status, &parameters, &mut state, at)
            && let DecisionKind::Count { from, to, .. } = proposal.kind
        {
            state.applied(from, to, at);
            now.count = to;
        }
        now
    })
}

/// The service's model, as exact as its load is known.
pub(super) fn model() -> LoadModel {
    let line = |base: f64, slope: f64| {
        let (base, slope) = (Estimated::around(base, 0.0), Estimated::around(slope, 0.0));
        Relation::Clear(Line { base, slope, band: 0.02, explained: 1.0 })
    };
    LoadModel {
        revision: 1,
        at: None,
        observations: 1000,
        kept_out: KeptOut::default(),
        outliers: 0,
        prior_weight: 0.0,
        load_seen: Some((1.0, 100.0)),
        cpu: line(BASE, SLOPE),
        memory: Relation::Unclear { why: "it does not".to_owned(), mean: Some(100.0 * 1_048_576.0) },
        knee: None,
        no_knee: None,
        saturation: None,
        objective: None,
        points: Vec::new(),
        change: None,
    }
}

pub(super) fn shapes() -> Vec<Shape> {
    vec![Shape {
        pool: PoolName::new("pool").expect("a name"),
        size: Resources::new(Millicores::new(4000), Bytes::mib(8192)),
        price: MicroCents::from_units(0.2),
    }]
}

fn together() -> Outcome {
    let (model, shapes) = (model(), shapes());
    let mut loads: VecDeque<f64> = VecDeque::new();
    run(|step, now| {
        loads.push_back(load(step));
        if loads.len() > 300 / STEP as usize {
            loads.pop_front();
        }
        let ask = JointAsk {
            model: &model,
            load: loads.iter().copied().fold(0.0, f64::max),
            utilization: UTILIZATION,
            least_memory: Bytes::mib(128),
            counts: (2, MAX),
            bounds: SizeBounds::default(),
            shapes: &shapes,
            now,
            fixed_size: false,
        };
        joint::decide(&ask).map_or(now, |(_, choice)| choice.pair)
    })
}

#[test]
fn separate_scalers_run_away_and_one_decision_comes_to_rest() {
    let (separate, together) = (separate(), together());
    println!("separate: {separate:?}\ntogether: {together:?}");
    // Use over size is 1 / 1.15 whatever the count is, above the target for ever: the count climbs to its end and
    // sizes shrink to nothing.
    assert_eq!(separate.last.expect("a pair").count, MAX, "{separate:?}");
    assert!(separate.size_changes >= 10, "{separate:?}");
    assert!(together.size_changes <= 2, "{together:?}");
    assert!(together.count_changes <= 40 && together.most_instances <= 10, "{together:?}");
    assert_eq!(together.short_steps, 0, "{together:?}");
    assert!(together.core_hours < separate.core_hours, "{} {}", together.core_hours, separate.core_hours);
}

fn ask<'a>(model: &'a LoadModel, shapes: &'a [Shape], load: f64, now: Pair) -> JointAsk<'a> {
    JointAsk {
        model,
        load,
        utilization: UTILIZATION,
        least_memory: Bytes::mib(128),
        counts: (2, MAX),
        bounds: SizeBounds::default(),
        shapes,
        now,
        fixed_size: false,
    }
}

#[test]
fn slots_fill_whole_nodes_and_the_cheapest_holds() {
    let (model, shapes) = (model(), shapes());
    let now = Pair { size: Resources::new(Millicores::new(900), Bytes::mib(512)), count: 3 };
    for load in [10.0, 100.0, 500.0, 2000.0] {
        let best = joint::cheapest(&ask(&model, &shapes, load, now)).expect("a choice");
        let each = load / f64::from(best.pair.count);
        assert!(BASE + SLOPE * each <= best.pair.size.cpu.cores() * UTILIZATION + 1e-6, "{best:?}");
        let unused = 4000 - best.pair.size.cpu.get() * u64::from(best.slots);
        assert!(unused < u64::from(best.slots), "a node is not filled: {best:?}");
        // No pair on any slot is cheaper.
        for slots in 1..=64_u32 {
            let cpu = f64::from(4000 / slots) / 1000.0;
            let most = (cpu * UTILIZATION - BASE) / SLOPE;
            if most > 0.0 {
                let count = (load / most).ceil().max(2.0);
                let price = count * 0.2 / f64::from(slots);
                let fits = slots <= 64 && count <= f64::from(MAX) && 8192 / slots >= 128;
                assert!(!fits || best.price <= price + 1e-9, "{slots}: {price} under {best:?}");
            }
        }
    }
}

#[test]
fn a_change_has_to_pay_for_itself_and_a_shortage_does_not() {
    let (model, shapes) = (model(), shapes());
    let good = joint::cheapest(&ask(&model, &shapes, 200.0, Pair { size: shapes[0].size, count: 2 }));
    let good = good.expect("a choice").pair;
    assert_eq!(joint::decide(&ask(&model, &shapes, 198.0, good)), None, "a little less is no reason");
    let short = joint::decide(&ask(&model, &shapes, 400.0, good)).expect("a change");
    assert_eq!(short.0, joint::Cause::Short);
    let fixed = JointAsk { fixed_size: true, ..ask(&model, &shapes, 400.0, good) };
    let (_, choice) = joint::decide(&fixed).expect("a change");
    assert_eq!(choice.pair.size, good.size);
    let wasteful = Pair { size: shapes[0].size, count: 10 };
    let (cause, choice) = joint::decide(&ask(&model, &shapes, 200.0, wasteful)).expect("a change");
    assert_eq!(cause, joint::Cause::Saves);
    assert!(choice.price < 1.0, "{choice:?}");
    // Nothing holds what is more than everything.
    assert_eq!(joint::decide(&ask(&model, &shapes, 1e9, good)), None);
}
