//! Worlds for benches: services of ten instances on nodes that hold eleven.
#![allow(dead_code, reason = "each bench uses a part of it")]

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use loadline::domain::change::{Change, RecordedChange};
use loadline::domain::node::{NodeSource, PoolName, PoolSpec};
use loadline::domain::observation::{Health, NodeObservation, Observed, ProcessState, TaskObservation};
use loadline::domain::quantity::{Bytes, Millicores, Resources, Share, TaskSize};
use loadline::domain::rollout::Actor;
use loadline::domain::strategy::Strategy;
use loadline::domain::task::TaskState;
use loadline::domain::usage::UsageSample;
use loadline::domain::workload::{
    HealthChecks, Owner, PlacementSpec, RestartPolicy, RolloutSpec, ServiceSpec, TaskTemplate, WorkloadName,
    WorkloadSpec,
};
use loadline::domain::world::World;
use loadline::ports::control::{EngineHealth, View};
use loadline::scheduling::{PlanSettings, plan};

/// Instances of each service.
pub(crate) const INSTANCES: u32 = 10;

pub(crate) fn start() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

pub(crate) fn small() -> TaskSize {
    TaskSize::of(Resources::new(Millicores::new(100), Bytes::mib(128)))
}

pub(crate) fn service() -> WorkloadSpec {
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
        latency_objective: None,
        policy: None,
    }))
}

pub(crate) fn pool(nodes: u32) -> PoolSpec {
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
        source: NodeSource::default(),
    }
}

pub(crate) fn follow(world: &mut World, change: Change) {
    let reason = String::new();
    world.apply(&RecordedChange { at: start(), by: Actor::Engine, reason, request: None, change });
}

/// Plans until nothing is left to do, as the engine would.
pub(crate) fn settle(world: &mut World, observed: &mut Observed) {
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

pub(crate) fn running(size: TaskSize) -> TaskObservation {
    TaskObservation {
        process: ProcessState::Running { pid: 1, started_at: start() },
        health: Health::Ready,
        in_flight: 0,
        size: Some(size),
        resize_refused: None,
    }
}

/// `tasks` instances of services of ten, on nodes that hold eleven each.
pub(crate) fn steady(tasks: u32) -> (World, Observed) {
    let (world, observed) = steady_on(tasks, (tasks / 10).max(1));
    assert_eq!(world.tasks.values().filter(|task| task.state == TaskState::Running).count(), tasks as usize);
    (world, observed)
}

pub(crate) fn steady_on(tasks: u32, nodes: u32) -> (World, Observed) {
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
    (world, observed)
}

/// An engine's view of such a world, with a sample of each task; what finds no room waits.
pub(crate) fn view(tasks: u32, nodes: u32) -> View {
    let (world, observed) = steady_on(tasks, nodes);
    let waiting = plan(&world, &observed, &PlanSettings::default(), start()).waiting;
    let sample = |id: &loadline::domain::task::TaskId| UsageSample {
        workload: id.workload().clone(),
        task: id.clone(),
        at: start(),
        interval_seconds: Some(5.0),
        cpu_cores: Some(0.08),
        throttled_share: Some(0.0),
        memory: Bytes::mib(100),
        page_cache: Some(Bytes::mib(1)),
        request: small().request,
        oom_kills: 0,
    };
    let running = world.tasks.values().filter(|task| task.state == TaskState::Running);
    let usage = running.map(|task| (task.id.clone(), sample(&task.id))).collect();
    View {
        world: Arc::new(world),
        observed: Arc::new(observed),
        waiting: Arc::new(waiting),
        alarms: Arc::default(),
        recommendations: Arc::default(),
        usage: Arc::new(usage),
        load: Arc::default(),
        models: Arc::default(),
        scaling: Arc::default(),
        outlook: Arc::default(),
        front_doors: Arc::default(),
        engine: EngineHealth {
            version: "bench".to_owned(),
            started_at: start(),
            scheduled_at: Some(start()),
            limitations: Vec::new(),
            size_policy: "vpa".to_owned(),
            scrapes: Vec::new(),
            problems: Vec::new(),
        },
    }
}
