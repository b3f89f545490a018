//! What one pass of the scheduler costs: on a steady world, on one where a hundredth has changed, and the
//! search for a node. Speed only; how good the packing is, is another bench's question.

use std::collections::BTreeMap;

use divan::{Bencher, black_box};

use jiff::SignedDuration;
use loadline::domain::change::Change;
use loadline::domain::cron::CronSchedule;
use loadline::domain::node::{Node, NodeState, PoolName, PoolSpec};
use loadline::domain::observation::{NodeObservation, Observed, ProcessState};
use loadline::domain::placement::{Neighbour, SpreadOver, Strategy};
use loadline::domain::quantity::{Bytes, Millicores, Resources, TaskSize};
use loadline::domain::task::{ExitRecord, ExitStatus, TaskId};
use loadline::domain::workload::{
    CatchUp, CronJobSpec, OverlapPolicy, Owner, PlacementSpec, RunPolicy, WorkloadName, WorkloadSpec,
};
use loadline::domain::world::{RunKey, RunOutcome, World};
use loadline::placement::{Ask, Board, Resident, Residents, Slot};
use loadline::scheduling::{PlanSettings, effects, plan};

#[path = "common/mod.rs"]
mod common;

use common::{follow, pool, service, settle, start, steady, steady_on};

fn main() {
    divan::main();
}

/// One task in a hundred has ended.
fn with_failures(tasks: u32) -> (World, Observed) {
    let (world, mut observed) = steady(tasks);
    for seen in observed.tasks.values_mut().step_by(100) {
        seen.process = ProcessState::Exited(ExitRecord {
            status: Some(ExitStatus::Code(1)),
            at: start(),
            oom_kills: None,
            peak_memory: None,
            memory_limit: None,
            asked_to_stop: false,
            message: None,
        });
    }
    (world, observed)
}

#[divan::bench(args = [1_000, 10_000])]
fn plan_steady(bencher: Bencher<'_, '_>, tasks: u32) {
    let (world, observed) = steady(tasks);
    bencher.bench(|| plan(black_box(&world), &observed, &PlanSettings::default(), start()));
}

#[divan::bench(args = [1_000, 10_000])]
fn plan_one_percent_failed(bencher: Bencher<'_, '_>, tasks: u32) {
    let (world, observed) = with_failures(tasks);
    assert!(!plan(&world, &observed, &PlanSettings::default(), start()).steps.is_empty());
    bencher.bench(|| plan(black_box(&world), &observed, &PlanSettings::default(), start()));
}

/// One percent of the tasks, placed anew without a wait: their nodes are lost.
#[divan::bench(args = [1_000, 10_000])]
fn plan_one_percent_of_nodes_lost(bencher: Bencher<'_, '_>, tasks: u32) {
    let (world, mut observed) = steady(tasks);
    for seen in observed.nodes.values_mut().step_by(100) {
        *seen = NodeObservation::Lost;
    }
    bencher.bench(|| plan(black_box(&world), &observed, &PlanSettings::default(), start()));
}

#[divan::bench(args = [1_000, 10_000])]
fn effects_steady(bencher: Bencher<'_, '_>, tasks: u32) {
    let (world, observed) = steady(tasks);
    bencher.bench(|| effects(black_box(&world), &observed));
}

/// Nobody is anywhere yet.
struct Empty;

impl Residents for Empty {
    fn of(&self, _: &WorkloadName) -> Vec<Resident<'_>> {
        Vec::new()
    }
}

/// Ready nodes, and what is free on each of them: the same mix of gaps whatever their number.
fn gaps(nodes: u32) -> (Vec<Node>, Vec<Resources>) {
    let (world, _) = steady_on(0, nodes);
    let nodes: Vec<Node> = world.nodes.into_values().collect();
    assert!(nodes.iter().all(|node| node.state == NodeState::Ready));
    let mixed = |at: u64| Resources::new(Millicores::new(at * 37 % 97 * 5), Bytes::mib(at * 53 % 89 * 8));
    let free = (0..nodes.len() as u64).map(mixed).collect();
    (nodes, free)
}

fn slots<'a>(nodes: &'a [Node], free: &[Resources]) -> Vec<Slot<'a>> {
    let slots = nodes.iter().zip(free).map(|(node, &free)| Slot {
        node,
        free,
        lent: Millicores::ZERO,
        unused: free,
        crowded: false,
        reserved_for: &[],
    });
    slots.collect()
}

/// Fifty tasks of different sizes on a board that is there, each by itself: divide by fifty.
fn place_fifty(bencher: Bencher<'_, '_>, (nodes, free): &(Vec<Node>, Vec<Resources>), rules: &PlacementSpec) {
    let name = WorkloadName::new("web").expect("a name");
    let ids: Vec<TaskId> = (1..=50).map(|number| TaskId::new(name.clone(), number)).collect();
    let repelled = BTreeMap::new();
    let ask = |task| {
        let number = TaskId::number(task);
        let request = Resources::new(Millicores::new(20 + number), Bytes::mib(16 + number));
        Ask { task, team: None, revision: 1, priority: 0, request, expected: request, placement: rules }
    };
    let asks: Vec<Ask<'_>> = ids.iter().map(ask).collect();
    bencher.with_inputs(|| Board::new(slots(nodes, free), &Empty, &repelled)).bench_local_refs(|board| {
        for ask in &asks {
            assert!(board.place(black_box(ask)).is_ok());
        }
    });
}

#[divan::bench(args = [100, 1_000, 10_000, 50_000])]
fn place_fifty_tasks(bencher: Bencher<'_, '_>, nodes: u32) {
    place_fifty(bencher, &gaps(nodes), &PlacementSpec::default());
}

/// Nodes that nearly all lack memory and have CPU left, as full clusters do.
#[divan::bench(args = [1_000, 10_000, 50_000])]
fn place_fifty_tasks_where_one_part_is_full(bencher: Bencher<'_, '_>, nodes: u32) {
    let (nodes, mut free) = gaps(nodes);
    for (at, free) in free.iter_mut().enumerate() {
        if at % 10 != 0 {
            free.memory = Bytes::mib(at as u64 % 17);
        }
    }
    place_fifty(bencher, &(nodes, free), &PlacementSpec::default());
}

/// One on each node, and even over three zones.
#[divan::bench(args = [1_000, 10_000, 50_000])]
fn place_fifty_tasks_with_rules(bencher: Bencher<'_, '_>, nodes: u32) {
    let (mut nodes, free) = gaps(nodes);
    for (at, node) in nodes.iter_mut().enumerate() {
        node.attributes.insert("zone".to_owned(), ["a", "b", "c"][at % 3].to_owned());
    }
    let alone = Neighbour {
        workload: WorkloadName::new("web").expect("a name"),
        by: "node".to_owned(),
        required: true,
    };
    let rules = PlacementSpec {
        spread_over: Some(SpreadOver { by: "zone".to_owned(), max_skew: 1 }),
        anti_affinity: vec![alone],
        ..PlacementSpec::default()
    };
    place_fifty(bencher, &(nodes, free), &rules);
}

#[divan::bench(args = [1_000, 10_000, 50_000])]
fn place_fifty_tasks_spread(bencher: Bencher<'_, '_>, nodes: u32) {
    let rules = PlacementSpec { strategy: Strategy::Spread, ..PlacementSpec::default() };
    place_fifty(bencher, &gaps(nodes), &rules);
}

/// What a pass of placement pays before its first task.
#[divan::bench(args = [1_000, 10_000, 50_000])]
fn build_the_board(bencher: Bencher<'_, '_>, nodes: u32) {
    let (nodes, free) = gaps(nodes);
    let repelled = BTreeMap::new();
    bencher
        .with_inputs(|| slots(&nodes, &free))
        .bench_local_values(|slots| Board::new(slots, &Empty, &repelled));
}

/// Services of five instances in nine sizes, none of them started, on nodes that have joined.
fn large(services: u64, nodes: u32) -> (World, Observed) {
    let (mut world, mut observed) = (World::default(), Observed { can_resize: true, ..Observed::default() });
    let size = Resources::new(Millicores::new(8_000), Bytes::mib(16_384));
    let spec = PoolSpec { size, ..pool(nodes) };
    follow(&mut world, Change::PoolApplied { pool: PoolName::new("standard").expect("a name"), spec });
    settle(&mut world, &mut observed);
    for number in 0..services {
        let workload = WorkloadName::new(&format!("service-{number}")).expect("a name");
        let WorkloadSpec::Service(mut spec) = service() else { continue };
        spec.instances = 5;
        let step = number % 9 + 1;
        spec.template.size =
            TaskSize::of(Resources::new(Millicores::new(step * 150), Bytes::mib((10 - step) * 250)));
        follow(&mut world, Change::WorkloadApplied { workload, spec: WorkloadSpec::Service(spec) });
    }
    (world, observed)
}

/// 22,500 instances of 4,500 services on 2,500 nodes, from nothing until nothing is pending: every pass,
/// and every change followed.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn place_22_500_on_2_500_nodes(bencher: Bencher<'_, '_>) {
    let (world, observed) = large(4_500, 2_500);
    bencher.with_inputs(|| world.clone()).bench_local_refs(|world| {
        loop {
            let plan = plan(world, &observed, &PlanSettings::default(), start());
            if plan.steps.is_empty() {
                assert!(plan.waiting.is_empty());
                break;
            }
            for step in plan.steps {
                follow(world, step.change);
            }
        }
        assert_eq!(world.tasks.values().filter(|task| task.node.is_some()).count(), 22_500);
    });
}

/// A task of higher priority on a full cluster: somebody has to make room.
#[divan::bench(args = [1_000, 10_000])]
fn plan_one_preemption(bencher: Bencher<'_, '_>, tasks: u32) {
    let (mut world, observed) = steady_on(tasks, tasks / 11);
    let WorkloadSpec::Service(mut spec) = service() else { return };
    spec.instances = 1;
    spec.template.priority = 1;
    spec.template.size = TaskSize::of(Resources::new(Millicores::new(200), Bytes::mib(200)));
    let workload = WorkloadName::new("urgent").expect("a name");
    follow(&mut world, Change::WorkloadApplied { workload, spec: WorkloadSpec::Service(spec) });
    let steps = plan(&world, &observed, &PlanSettings::default(), start()).steps;
    assert!(steps.iter().any(|step| matches!(step.change, Change::TaskPreempted { .. })));
    bencher.bench(|| plan(black_box(&world), &observed, &PlanSettings::default(), start()));
}

/// Cron jobs that are not due, each with the records of twenty runs.
#[divan::bench(args = [1_000])]
fn plan_idle_cron_jobs(bencher: Bencher<'_, '_>, jobs: u32) {
    let (mut world, observed) = (World::default(), Observed::default());
    for number in 0..jobs {
        let workload = WorkloadName::new(&format!("cron-{number}")).expect("a name");
        let WorkloadSpec::Service(service) = service() else { unreachable!("a service") };
        let spec = WorkloadSpec::CronJob(Box::new(CronJobSpec {
            owner: Owner::default(),
            template: service.template,
            schedule: CronSchedule::new("0 6 * * *", "Europe/Berlin").expect("a schedule"),
            overlap: OverlapPolicy::Forbid,
            queue_max: 10,
            start_deadline: SignedDuration::from_secs(60),
            catch_up: CatchUp::default(),
            jitter: SignedDuration::ZERO,
            run: RunPolicy::new(0, service.restart, None),
            policy: None,
        }));
        follow(&mut world, Change::WorkloadApplied { workload: workload.clone(), spec });
        for second in 0..20 {
            let run = RunKey { workload: workload.clone(), at: start() + SignedDuration::from_secs(second) };
            let order = Box::default();
            follow(&mut world, Change::RunOpened { run: run.clone(), manual: true, order });
            follow(&mut world, Change::RunClosed { run, outcome: RunOutcome::Succeeded });
        }
    }
    let settings = PlanSettings::default();
    assert!(plan(&world, &observed, &settings, start()).steps.is_empty());
    bencher.bench(|| plan(black_box(&world), &observed, &settings, start()));
}
