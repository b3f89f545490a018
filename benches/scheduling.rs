//! What one pass of the scheduler costs: on a steady world, on one where a hundredth has changed, and the
//! search for a node. Speed only; how good the packing is, is another bench's question.

use std::collections::BTreeMap;

use divan::{Bencher, black_box};
use jiff::{SignedDuration, Timestamp};

use loadline::domain::change::{Change, RecordedChange};
use loadline::domain::cron::CronSchedule;
use loadline::domain::node::{Node, NodeState, PoolName, PoolSpec};
use loadline::domain::observation::{Health, NodeObservation, Observed, ProcessState, TaskObservation};
use loadline::domain::quantity::{Bytes, Millicores, Resources, Share, TaskSize};
use loadline::domain::rollout::Actor;
use loadline::domain::strategy::Strategy;
use loadline::domain::task::{ExitRecord, ExitStatus, TaskId, TaskState};
use loadline::domain::workload::{
    CatchUp, CronJobSpec, HealthChecks, OverlapPolicy, Owner, PlacementSpec, RestartPolicy, RolloutSpec,
    RunPolicy, ServiceSpec, TaskTemplate, WorkloadName, WorkloadSpec,
};
use loadline::domain::world::{RunKey, RunOutcome, World};
use loadline::placement::{Ask, Board, Resident, Residents, Slot};
use loadline::scheduling::{PlanSettings, effects, plan};

const INSTANCES: u32 = 10;

fn main() {
    divan::main();
}

fn start() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

fn small() -> TaskSize {
    TaskSize::of(Resources::new(Millicores::new(100), Bytes::mib(128)))
}

fn service() -> WorkloadSpec {
    let seconds = SignedDuration::from_secs;
    WorkloadSpec::Service(Box::new(ServiceSpec {
        owner: Owner::default(),
        template: TaskTemplate {
            command: vec!["serve".to_owned()],
            env: BTreeMap::new(),
            working_dir: None,
            user: None,
            size: small(),
            stop_grace: seconds(10),
            placement: PlacementSpec::default(),
            priority: 0,
        },
        ports: Vec::new(),
        checks: HealthChecks::default(),
        instances: INSTANCES,
        scale: None,
        restart: RestartPolicy {
            backoff: seconds(1),
            backoff_max: seconds(60),
            jitter: Share::new(0.2),
            reset_after: seconds(600),
        },
        rollout: RolloutSpec {
            strategy: Strategy::Rolling,
            max_surge: 1,
            deadline: seconds(600),
            max_failures: 3,
            min_ready: seconds(0),
        },
        drain_timeout: seconds(30),
        policy: None,
    }))
}

fn pool(nodes: u32) -> PoolSpec {
    let zero = SignedDuration::ZERO;
    PoolSpec {
        size: Resources::new(Millicores::new(1100), Bytes::mib(1500)),
        min: nodes,
        max: nodes,
        price_per_hour: None,
        attributes: BTreeMap::new(),
        reserved_for: Vec::new(),
        scale_down_below: Share::new(0.5),
        scale_down_after: zero,
        cooldown_up: zero,
        cooldown_down: zero,
    }
}

fn follow(world: &mut World, change: Change) {
    let reason = String::new();
    world.apply(&RecordedChange { at: start(), by: Actor::Engine, reason, request: None, change });
}

/// Plans until nothing is left to do, as the engine would.
fn settle(world: &mut World, observed: &mut Observed) {
    loop {
        let steps = plan(world, observed, &PlanSettings::default(), start()).steps;
        if steps.is_empty() {
            break;
        }
        for step in steps {
            follow(world, step.change);
        }
        for node in world.nodes.keys() {
            observed.nodes.insert(node.clone(), NodeObservation::Ready);
        }
        for task in world.tasks.values().filter(|task| task.state == TaskState::Launching) {
            observed.tasks.insert(task.id.clone(), running(task.size));
        }
    }
}

fn running(size: TaskSize) -> TaskObservation {
    TaskObservation {
        process: ProcessState::Running { pid: 1, started_at: start() },
        health: Health::Ready,
        in_flight: 0,
        size: Some(size),
        resize_refused: None,
    }
}

/// `tasks` instances of services of ten, on nodes that hold eleven each.
fn steady(tasks: u32) -> (World, Observed) {
    steady_on(tasks, (tasks / 10).max(1))
}

fn steady_on(tasks: u32, nodes: u32) -> (World, Observed) {
    let (mut world, mut observed) = (World::default(), Observed { can_resize: true, ..Observed::default() });
    follow(
        &mut world,
        Change::PoolApplied { pool: PoolName::new("standard").expect("a name"), spec: pool(nodes) },
    );
    for number in 0..tasks / INSTANCES {
        let workload = WorkloadName::new(&format!("service-{number}")).expect("a name");
        follow(&mut world, Change::WorkloadApplied { workload, spec: service() });
    }
    settle(&mut world, &mut observed);
    assert_eq!(world.tasks.values().filter(|task| task.state == TaskState::Running).count(), tasks as usize);
    (world, observed)
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
    let (world, _) = steady(nodes * 10);
    let nodes: Vec<Node> = world.nodes.into_values().collect();
    assert!(nodes.iter().all(|node| node.state == NodeState::Ready));
    let mixed = |at: u64| Resources::new(Millicores::new(at * 37 % 97 * 5), Bytes::mib(at * 53 % 89 * 8));
    let free = (0..nodes.len() as u64).map(mixed).collect();
    (nodes, free)
}

/// Fifty tasks of different sizes, of workloads without rules, each by itself.
#[divan::bench(args = [100, 1_000, 10_000])]
fn place_fifty_tasks(bencher: Bencher<'_, '_>, nodes: u32) {
    let (nodes, free) = gaps(nodes);
    let slots = nodes.iter().zip(&free).map(|(node, &free)| Slot {
        node,
        free,
        unused: free,
        crowded: false,
        reserved_for: &[],
    });
    let slots: Vec<Slot<'_>> = slots.collect();
    let name = WorkloadName::new("web").expect("a name");
    let ids: Vec<TaskId> = (1..=50).map(|number| TaskId::new(name.clone(), number)).collect();
    let (placement, repelled) = (PlacementSpec::default(), BTreeMap::new());
    let ask = |task| {
        let number = TaskId::number(task);
        let request = Resources::new(Millicores::new(20 + number), Bytes::mib(16 + number));
        Ask { task, team: None, revision: 1, priority: 0, request, expected: request, placement: &placement }
    };
    let asks: Vec<Ask<'_>> = ids.iter().map(ask).collect();
    bencher.with_inputs(|| Board::new(slots.clone(), &Empty, &repelled)).bench_local_refs(|board| {
        for ask in &asks {
            assert!(board.place(black_box(ask)).is_ok());
        }
    });
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
    let (mut world, observed) = steady_on(tasks, tasks.div_ceil(11));
    let WorkloadSpec::Service(mut spec) = service() else { return };
    spec.instances = 1;
    spec.template.priority = 1;
    spec.template.size = TaskSize::of(Resources::new(Millicores::new(500), Bytes::mib(500)));
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
