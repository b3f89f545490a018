//! When tasks count by their use, what nodes are predicted to need, and that the stated risk is kept to.

use std::collections::BTreeMap;
use std::ops::Range;

use super::*;
use crate::domain::node::{Node, NodeState, PoolName};
use crate::domain::quantity::{Bytes, Resources, TaskSize};
use crate::domain::task::{TaskOrigin, TaskState};
use crate::domain::workload::{WorkloadKind, WorkloadName};

const WINDOW: i64 = 300;

fn at(window: i64) -> Timestamp {
    Timestamp::from_second(3_000_000 + window * WINDOW).expect("a time")
}

fn settings(risk: f64) -> PeakSettings {
    PeakSettings {
        risk: Share::new(risk),
        most: 2.0,
        warm_up: SignedDuration::from_mins(30),
        window: SignedDuration::from_secs(WINDOW),
    }
}

fn id(number: u64) -> TaskId {
    TaskId::new(WorkloadName::new("w").expect("a name"), number)
}

fn node_name(number: u64) -> NodeName {
    NodeName::new(&format!("n-{number}")).expect("a name")
}

/// Nodes of four cores, each with so many tasks of one core.
fn world(nodes: u64, tasks: u64) -> World {
    let mut world = World::default();
    for number in 0..nodes {
        let node = Node {
            name: node_name(number),
            pool: PoolName::new("n").expect("a name"),
            size: Resources::new(Millicores::new(4000), Bytes::mib(1000)),
            attributes: BTreeMap::new(),
            state: NodeState::Ready,
            reason: String::new(),
            remove_when_empty: false,
            created_at: at(0),
            state_since: at(0),
            underused_since: None,
            made_for: String::new(),
        };
        world.nodes.insert(node.name.clone(), node);
        for one in 0..tasks {
            add(&mut world, number * tasks + one, number);
        }
    }
    world
}

fn add(world: &mut World, number: u64, node: u64) {
    let task = Task {
        id: id(number),
        kind: WorkloadKind::Service,
        revision: 1,
        origin: TaskOrigin::Instance,
        size: TaskSize::of(Resources::new(Millicores::new(1000), Bytes::mib(10))),
        state: TaskState::Running,
        reason: String::new(),
        node: Some(node_name(node)),
        ports: BTreeMap::new(),
        created_at: at(0),
        not_before: at(0),
        started_at: Some(at(0)),
        ready_at: None,
        state_since: at(0),
        exit: None,
        preempted_for: None,
    };
    world.tasks.insert(task.id.clone(), task);
}

fn sample(number: u64, window: i64, cores: f64) -> UsageSample {
    UsageSample {
        workload: id(number).workload().clone(),
        task: id(number),
        at: at(window + 1),
        interval_seconds: Some(WINDOW as f64),
        cpu_cores: Some(cores),
        throttled_share: None,
        memory: Bytes::mib(10),
        page_cache: None,
        request: Resources::ZERO,
        oom_kills: 0,
    }
}

/// What tasks count with after each of some windows in which each used so much.
fn after(
    peaks: &mut NodePeaks,
    world: &World,
    windows: Range<i64>,
    used: impl Fn(u64, i64) -> f64,
) -> Overcommit {
    let mut last = Overcommit::default();
    for window in windows {
        for task in world.tasks.keys() {
            peaks.observe(&sample(task.number(), window, used(task.number(), window)));
        }
        last = peaks.overcommit(world, at(window + 1));
    }
    last
}

#[test]
fn a_task_counts_with_its_request_until_it_is_known() {
    let (mut peaks, world) = (NodePeaks::new(settings(0.05), None), world(1, 2));
    assert!(after(&mut peaks, &world, 0..5, |_, _| 0.2).is_off(), "25 minutes are known");
    let known = after(&mut peaks, &world, 5..6, |_, _| 0.2);
    // Mean 0.4 and 4.36 deviations of at least 1 % of the 2 cores that are requested; half of it each.
    let each = known.charges[&id(0)].get();
    assert_eq!((each, known.charges[&id(1)].get()), (244, 244), "{known:?}");
    let mut grown = world.clone();
    add(&mut grown, 7, 0);
    let known = after(&mut peaks, &grown, 6..7, |_, _| 0.2);
    assert!(!known.charges.contains_key(&id(7)), "a newcomer counts with its request");
    assert!((known.most - 2.0).abs() < 1e-9);
}

#[test]
fn peaks_that_come_together_count_as_such() {
    let wave = |window: i64| if window % 2 == 0 { 0.1 } else { 0.5 };
    let (world, settings) = (world(1, 2), settings(0.05));
    let total = |used: &dyn Fn(u64, i64) -> f64| {
        let found = after(&mut NodePeaks::new(settings, None), &world, 0..24, used);
        found.charges.values().map(|charge| charge.cores()).sum::<f64>()
    };
    let together = total(&|_, window| wave(window));
    let in_turn = total(&|task, window| wave(window + i64::from(task == 1)));
    // After 24 windows, 18 of them predicted, 4.36 deviations have become 2.6.
    assert!((0.62..0.68).contains(&in_turn), "they always use 0.6 cores together: {in_turn}");
    assert!(together > 1.5, "0.6 cores and deviations of 0.4: {together}");
}

#[test]
fn requests_count_while_use_is_unknown() {
    let (mut peaks, world) = (NodePeaks::new(settings(0.05), None), world(5, 2));
    assert!(!after(&mut peaks, &world, 0..12, |_, _| 0.2).is_off());
    // The agent of one node in five is silent for a window.
    for task in world.tasks.keys().filter(|task| task.number() >= 2) {
        peaks.observe(&sample(task.number(), 12, 0.2));
    }
    assert!(peaks.overcommit(&world, at(13)).is_off() && peaks.is_blind());
    assert!(!after(&mut peaks, &world, 13..14, |_, _| 0.2).is_off(), "it speaks again");
    // Nothing was heard for more than a day.
    assert!(peaks.overcommit(&world, at(500)).is_off());
    assert!(after(&mut peaks, &world, 500..503, |_, _| 0.2).is_off(), "what was long ago is of no use");
    assert!(!after(&mut peaks, &world, 503..506, |_, _| 0.2).is_off());
}

#[test]
fn where_a_task_leaves_those_that_stay_are_looked_at_anew() {
    let wave =
        |task: u64, window: i64| if (window.unsigned_abs() + task).is_multiple_of(2) { 0.1 } else { 0.5 };
    let (mut peaks, mut world) = (NodePeaks::new(settings(0.05), None), world(1, 2));
    let both = after(&mut peaks, &world, 0..24, wave);
    world.tasks.remove(&id(1));
    let left = peaks.overcommit(&world, at(24) + SignedDuration::from_secs(5));
    assert!(
        left.charges[&id(0)].cores() > 2.0 * both.charges[&id(0)].cores(),
        "by itself it varies: {both:?} {left:?}"
    );
    assert_eq!(left.charges.len(), 1);
}

#[test]
fn samples_of_any_length_fall_into_their_windows() {
    let (mut peaks, world) = (NodePeaks::new(settings(0.05), None), world(1, 1));
    // A minute each; 7 windows of which every other one is busy.
    for minute in 1..=35_i64 {
        let busy = ((minute - 1) / 5) % 2 == 0;
        let reading = UsageSample {
            at: at(0) + SignedDuration::from_mins(minute),
            interval_seconds: Some(60.0),
            ..sample(0, 0, if busy { 0.8 } else { 0.0 })
        };
        peaks.observe(&reading);
    }
    assert!(!peaks.overcommit(&world, at(7)).is_off());
    let course = &peaks.courses[&id(0)];
    let first = at(0).as_second() / WINDOW;
    let seen: Vec<f64> = (0..7).filter_map(|window| course.at(first + window)).collect();
    assert!(
        seen.iter().zip([0.8, 0.0, 0.8, 0.0, 0.8, 0.0, 0.8]).all(|(a, b)| (a - b).abs() < 1e-6),
        "{seen:?}"
    );
}

/// Numbers from a seed (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Heavy tails, a daily rhythm, and a level that doubles in the middle.
#[test]
fn in_the_long_run_the_stated_share_goes_beyond() {
    for risk in [0.01, 0.05] {
        let (mut peaks, world) = (NodePeaks::new(settings(risk), None), world(6, 3));
        let mut dice = Dice(11);
        let windows = 10 * 288;
        for window in 0..windows {
            let day = (window as f64 / 288.0 * std::f64::consts::TAU).sin() * 0.1;
            let level = if window < windows / 2 { 0.2 } else { 0.4 };
            for task in world.tasks.keys() {
                let tail = 0.02 / dice.unit().max(1e-3).sqrt();
                peaks.observe(&sample(task.number(), window, level + day + tail));
            }
            let _ = peaks.overcommit(&world, at(window + 1));
        }
        let learnt = peaks.calibration();
        let beyond = learnt.beyond as f64 / learnt.windows as f64;
        assert!(learnt.windows > 6 * 2800, "{learnt:?}");
        assert!((risk * 0.3..risk).contains(&beyond), "risk {risk}: {beyond}, {learnt:?}");
    }
}

#[test]
fn what_was_learnt_is_gone_on_with_for_the_same_risk_only() {
    let (mut peaks, world) = (NodePeaks::new(settings(0.05), None), world(1, 2));
    after(&mut peaks, &world, 0..60, |_, _| 0.2);
    let learnt = *peaks.calibration();
    assert!(learnt.multiplier() < 4.0 && learnt.windows > 0, "{learnt:?}");
    assert_eq!(*NodePeaks::new(settings(0.05), Some(learnt)).calibration(), learnt);
    let other = NodePeaks::new(settings(0.01), Some(learnt));
    assert!((other.calibration().multiplier() - 9.95).abs() < 0.01, "{other:?}");
}
