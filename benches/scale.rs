//! One tick of the engine as far as it is pure, at three sizes up to 50,000 nodes and 1,000,000 tasks: the plan,
//! the changes followed, and the effects. Prints the median of each, and the memory that the process held
//! at most with two copies of the world (readers keep the old one) and the observation.
#![expect(clippy::print_stdout, reason = "a bench reports")]

use std::time::{Duration, Instant};

use loadline::domain::change::Change;
use loadline::domain::node::{Node, NodeName};
use loadline::domain::observation::{NodeObservation, Observed, ProcessState};
use loadline::domain::quantity::{Bytes, Millicores, Resources};
use loadline::domain::task::{ExitRecord, ExitStatus, Task, TaskId};
use loadline::domain::workload::WorkloadName;
use loadline::domain::world::{Workload, World};
use loadline::scheduling::{PlanSettings, effects, plan};

#[path = "common/mod.rs"]
mod common;

const SIZES: [u32; 3] = [500, 5_000, 50_000];
const TASKS_PER_NODE: u32 = 20;
const TURNS: usize = 5;
const BOUND: Duration = Duration::from_secs(1);
const BOUND_MIB: u64 = 4096;

/// Services of ten instances, two on each node, which has room for two tasks more.
fn crowd(nodes: u32) -> (World, Observed) {
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
        pool.spec.size = Resources::new(Millicores::new(2200), Bytes::mib(3000));
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
    for number in 0..nodes * TASKS_PER_NODE / common::INSTANCES {
        let name = WorkloadName::new(&format!("service-{number}")).expect("a name");
        for (index, task) in tasks.values().enumerate() {
            let id = TaskId::new(name.clone(), task.id.number());
            // Instances of a service are on different nodes.
            let on = (number as usize / 2 + index * names.len() / common::INSTANCES as usize) % names.len();
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

fn main() {
    for nodes in SIZES {
        let (world, mut observed) = crowd(nodes);
        ticks("steady", &world, &observed);
        fail_some(&mut observed);
        let changed = ticks("1 % has failed", &world, &observed);
        println!("       {} MiB at most so far", most_resident_mib());
        assert!(changed < BOUND, "a tick takes {changed:?}");
    }
    assert!(most_resident_mib() < BOUND_MIB, "{} MiB", most_resident_mib());
}
