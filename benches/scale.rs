//! One tick of the engine as far as it is pure, at three sizes up to 50,000 nodes and 1,000,000 tasks: the plan,
//! the changes followed, and the effects. Prints the median of each, and the memory that the process held
//! at most with two copies of the world (readers keep the old one) and the observation. Then plans of
//! consolidation for clusters up to 4,000 nodes.
#![expect(clippy::print_stdout, reason = "a bench reports")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::SignedDuration;

use loadline::domain::change::Change;
use loadline::domain::money::{MicroCents, Prices};
use loadline::domain::node::{Node, NodeName};
use loadline::domain::observation::{NodeObservation, Observed, ProcessState};
use loadline::domain::quantity::{Bytes, Millicores, Resources, Share};
use loadline::domain::task::{ExitRecord, ExitStatus, Task, TaskId};
use loadline::domain::workload::WorkloadName;
use loadline::domain::world::{Workload, World};
use loadline::scaling::cluster::ClusterTerms;
use loadline::scaling::consolidation::plan as plan_consolidation;
use loadline::scheduling::{PlanSettings, effects, plan};

#[path = "common/mod.rs"]
mod common;

const SIZES: [u32; 3] = [500, 5_000, 50_000];
const TASKS_PER_NODE: u32 = 20;
const TURNS: usize = 5;
const BOUND: Duration = Duration::from_secs(1);
const BOUND_MIB: u64 = 4096;

/// Services of ten instances on different nodes; so many tasks on each node of the given size.
fn crowd(nodes: u32, per_node: u32, size: Resources) -> (World, Observed) {
    let (mut world, mut observed) = common::steady_on(10, 1);
    let (workload, node) = (world.workloads.values().next().cloned(), world.nodes.values().next().cloned());
    let (workload, mut node) = (workload.expect("a service"), node.expect("a node"));
    let tasks = std::mem::take(&mut world.tasks);
    let seen = observed.tasks.values().next().cloned().expect("a task");
    world.workloads.clear();
    world.nodes.clear();
    observed.tasks.clear();
    observed.nodes.clear();
    for pool in world.pools.values_mut() {
        pool.spec.size = size;
        (pool.spec.min, pool.spec.max, pool.target) = (nodes, nodes, nodes);
        pool.next_node = u64::from(nodes) + 1;
        node.size = pool.spec.size;
    }
    for number in 0..nodes {
        let name = NodeName::new(&format!("standard-{number}")).expect("a name");
        observed.nodes.insert(name.clone(), NodeObservation::Ready);
        world.nodes.insert(name.clone(), Node { name, ..node.clone() });
    }
    let names: Vec<NodeName> = world.nodes.keys().cloned().collect();
    for number in 0..nodes * per_node / common::INSTANCES {
        let name = WorkloadName::new(&format!("service-{number}")).expect("a name");
        for (index, task) in tasks.values().enumerate() {
            let id = TaskId::new(name.clone(), task.id.number());
            // Instances of a service are on different nodes.
            let on = (number as usize * common::INSTANCES as usize / per_node as usize
                + index * names.len() / common::INSTANCES as usize)
                % names.len();
            let task = Task { id: id.clone(), node: Some(names[on].clone()), ..task.clone() };
            // An agent tells of a task by a name of its own.
            let told: TaskId = id.to_string().parse().expect("an id");
            observed.tasks.insert(told, seen.clone());
            world.tasks.insert(id, task);
        }
        world.workloads.insert(name.clone(), Workload { name, ..workload.clone() });
    }
    (world, observed)
}

/// One task in a hundred has ended.
fn fail_some(observed: &mut Observed) {
    for seen in observed.tasks.values_mut().step_by(100) {
        seen.process = ProcessState::Exited(ExitRecord {
            status: Some(ExitStatus::Code(1)),
            at: common::start(),
            oom_kills: None,
            peak_memory: None,
            memory_limit: None,
            asked_to_stop: false,
            message: None,
        });
    }
}

fn most_resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a field");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") / 1024
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Plans, follows the plan on a copy that is there already, asks for effects. The copy is undone by hand.
fn ticks(what: &str, world: &World, observed: &Observed) -> Duration {
    let settings = PlanSettings::default();
    let (mut planning, mut following, mut asking) = (Vec::new(), Vec::new(), Vec::new());
    let mut steps = 0;
    for _ in 0..TURNS {
        let mut next = world.clone();
        let began = Instant::now();
        let plan = plan(world, observed, &settings, common::start());
        planning.push(began.elapsed());
        steps = plan.steps.len();
        let changes: Vec<Change> = plan.steps.into_iter().map(|step| step.change).collect();
        let began = Instant::now();
        for change in changes {
            common::follow(&mut next, change);
        }
        following.push(began.elapsed());
        let began = Instant::now();
        let found = effects(&next, observed);
        asking.push(began.elapsed());
        assert_eq!(found.is_empty(), steps == 0);
    }
    let (planning, following, asking) = (median(planning), median(following), median(asking));
    let total = planning + following + asking;
    println!(
        "{:>6} nodes {:>8} tasks, {what:<14}: {steps:>6} steps, plan {planning:>9.1?}, follow {following:>9.1?}, \
         effects {asking:>9.1?}, tick {total:>9.1?}",
        world.nodes.len(),
        world.tasks.len(),
    );
    total
}

/// A plan for a cluster of which each node is used by half, and one of which no node can go.
fn consolidate() {
    let prices = Prices { core_hour: MicroCents::from_units(0.04), gib_hour: MicroCents::from_units(0.004) };
    let terms = ClusterTerms { prices, headroom: None, overcommit: Arc::default() };
    for nodes in [250, 1_000, 4_000] {
        for (what, size) in [("half used", (6_000, 8_192)), ("full", (3_050, 4_000))] {
            let size = Resources::new(Millicores::new(size.0), Bytes::mib(size.1));
            let (mut world, _) = crowd(nodes, 30, size);
            for pool in world.pools.values_mut() {
                (pool.spec.min, pool.spec.scale_down_below) = (0, Share::new(1.0));
            }
            let now = common::start() + SignedDuration::from_hours(1);
            world.nodes.values_mut().for_each(|node| node.underused_since = Some(common::start()));
            let mut took = Vec::new();
            let mut gone = 0;
            for _ in 0..TURNS {
                let began = Instant::now();
                gone = plan_consolidation(&world, &[], &terms, now).emptied.len();
                took.push(began.elapsed());
            }
            let took = median(took);
            println!("{nodes:>6} nodes of 30 tasks, {what:<9}: {gone:>5} nodes can go, plan {took:>9.1?}");
            assert!(nodes > 1_000 || took < Duration::from_secs(2), "a plan takes {took:?}");
        }
    }
}

fn main() {
    // One size by name, for a profile; all of them otherwise.
    let only = std::env::args().find_map(|arg| arg.parse::<u32>().ok());
    if only.is_none() {
        consolidate();
    }
    for nodes in SIZES.into_iter().filter(|nodes| only.is_none_or(|only| only == *nodes)) {
        let (world, mut observed) =
            crowd(nodes, TASKS_PER_NODE, Resources::new(Millicores::new(2200), Bytes::mib(3000)));
        ticks("steady", &world, &observed);
        let whole = observed.nodes.clone();
        for seen in observed.nodes.values_mut().step_by(100) {
            *seen = NodeObservation::Lost;
        }
        let moved = ticks("1 % placed anew", &world, &observed);
        observed.nodes = whole;
        fail_some(&mut observed);
        let changed = ticks("1 % has failed", &world, &observed).max(moved);
        println!("       {} MiB at most so far", most_resident_mib());
        assert!(changed < BOUND, "a tick takes {changed:?}");
    }
    assert!(most_resident_mib() < BOUND_MIB, "{} MiB", most_resident_mib());
}
