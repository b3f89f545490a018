//! A world with something in every field, for whatever keeps or moves worlds.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use loadline::domain::cron::CronSchedule;
use loadline::domain::decision::DecisionId;
use loadline::domain::intent::RunOverrides;
use loadline::domain::money::MicroCents;
use loadline::domain::node::{Node, NodeName, NodePool, NodeSource, NodeState, PoolName, PoolSpec};
use loadline::domain::planned::{PlannedEvent, PlannedLoad};
use loadline::domain::policy::{Policy, PolicyMode, PolicyName};
use loadline::domain::quantity::{Bytes, Millicores, Resources, Share, TaskSize};
use loadline::domain::rollout::{Actor, Revision, Rollout, RolloutState, Stage, StageWait};
use loadline::domain::scale::{
    CountPolicyKind, MetricTarget, ScaleSpec, ScaleWindow, ScalingRules, WindowTimes, ZeroSpec,
};
use loadline::domain::strategy::{Acceptance, Comparison, Portion, Strategy};
use loadline::domain::task::{ExitRecord, ExitStatus, Task, TaskId, TaskOrigin, TaskState};
use loadline::domain::workload::{
    CatchUp, CatchUpPolicy, Constraint, CronJobSpec, EnvValue, HealthCheck, HealthChecks, HttpMethod,
    HttpOptions, JobSpec, OverlapPolicy, Owner, PlacementSpec, PortSpec, Probe, RestartPolicy, RolloutSpec,
    RunPolicy, SecretRef, ServiceSpec, TaskTemplate, WorkloadKind, WorkloadName, WorkloadSpec,
};
use loadline::domain::world::{
    JobState, NextRun, RestartState, Run, RunCause, RunKey, RunOrder, RunOutcome, RunPart, SizeOverride,
    Workload, World,
};

/// An instant with nanoseconds, `seconds` after the beginning of the examples.
pub(crate) fn at(seconds: i64) -> Timestamp {
    let first: Timestamp = "2026-11-22T10:00:00.123456789Z".parse().expect("an instant");
    first + SignedDuration::from_secs(seconds)
}

pub(crate) fn workload_name(text: &str) -> WorkloadName {
    WorkloadName::new(text).expect("a name")
}

pub(crate) fn task_id(text: &str) -> TaskId {
    text.parse().expect("a task id")
}

pub(crate) fn node_name(text: &str) -> NodeName {
    NodeName::new(text).expect("a name")
}

fn size(millicores: u64, mib: u64) -> TaskSize {
    TaskSize {
        request: Resources::new(Millicores::new(millicores), Bytes::mib(mib)),
        cpu_limit: Some(Millicores::new(millicores * 2)),
        memory_limit: Bytes::mib(mib + 1),
    }
}

fn template() -> TaskTemplate {
    TaskTemplate {
        command: vec!["/bin/web".to_owned(), "--greeting=\"héllo\"\n".to_owned()],
        env: BTreeMap::from([
            ("PLAIN".to_owned(), EnvValue::Plain("1".to_owned())),
            ("FILE".to_owned(), EnvValue::Secret(SecretRef::File("/run/secret".into()))),
            ("VARIABLE".to_owned(), EnvValue::Secret(SecretRef::Env("TOKEN".to_owned()))),
        ]),
        working_dir: Some("/srv".into()),
        user: Some("www".to_owned()),
        size: size(250, 64),
        stop_grace: SignedDuration::from_millis(1500),
        placement: PlacementSpec {
            constraints: vec![Constraint::is_in("pool", vec!["small".to_owned()])],
            ..PlacementSpec::default()
        },
        priority: -3,
    }
}

fn restart() -> RestartPolicy {
    RestartPolicy {
        backoff: SignedDuration::from_millis(100),
        backoff_max: SignedDuration::from_secs(60),
        jitter: Share::new(0.1),
        reset_after: SignedDuration::from_secs(600),
    }
}

fn owner() -> Owner {
    Owner { team: Some("shop".to_owned()), cost_centre: Some("4711".to_owned()) }
}

fn check(probe: Probe) -> HealthCheck {
    HealthCheck {
        probe,
        interval: SignedDuration::from_secs(5),
        timeout: SignedDuration::from_millis(900),
        failures: 3,
        passes: 1,
        delay: SignedDuration::from_millis(300),
    }
}

fn checks() -> HealthChecks {
    HealthChecks {
        startup: Some(check(Probe::Exec { command: vec!["true".to_owned()] })),
        readiness: Some(check(Probe::Http {
            path: "/ready?x=1".to_owned(),
            port: None,
            options: HttpOptions {
                method: HttpMethod::Head,
                headers: BTreeMap::from([("Host".to_owned(), "shop.example".to_owned())]),
                statuses: vec![200, 204],
                fatal_statuses: vec![500],
            },
        })),
        liveness: Some(check(Probe::Tcp { port: Some("http".to_owned()) })),
    }
}

/// The spec of a service with every option, and with numbers that binary fractions do not have.
pub(crate) fn service_spec() -> WorkloadSpec {
    WorkloadSpec::Service(Box::new(ServiceSpec {
        owner: owner(),
        template: template(),
        ports: vec![PortSpec { name: "http".to_owned(), front_door: Some(8080) }],
        checks: checks(),
        instances: 2,
        scale: Some(ScaleSpec {
            min: 1,
            max: 9,
            metrics: vec![
                MetricTarget::Cpu { utilization: 0.1 + 0.2 },
                MetricTarget::Memory { utilization: 1.0 / 3.0 },
                MetricTarget::Requests { per_instance: 1e-7 },
                MetricTarget::Prometheus {
                    metric: "queue_length".to_owned(),
                    port: None,
                    path: "/metrics".to_owned(),
                    per_instance: 9_007_199_254_740_993.0,
                },
            ],
            tolerance: 0.1,
            up: ScalingRules::default_up(),
            down: ScalingRules { tolerance: Some(Share::new(0.05)), ..ScalingRules::default_down() },
            policy: CountPolicyKind::Loadline,
            budget: 0.1 + 0.02,
            season: SignedDuration::from_mins(90),
            events: vec![PlannedEvent {
                name: "sale".to_owned(),
                from: Timestamp::UNIX_EPOCH,
                until: Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1),
                load: PlannedLoad::Factor(1.0 / 3.0),
            }],
            windows: vec![ScaleWindow {
                times: WindowTimes::Scheduled {
                    schedule: CronSchedule::new("0 20 * * FRI", "Europe/Berlin").expect("a schedule"),
                    duration: SignedDuration::from_hours(4),
                },
                min: Some(2),
                max: None,
            }],
            zero: ZeroSpec::default(),
        }),
        restart: restart(),
        rollout: RolloutSpec {
            strategy: Strategy::BlueGreen {
                wait: SignedDuration::from_secs(5),
                accept: Acceptance::Manual,
                hold: SignedDuration::from_secs(60),
            },
            max_surge: 1,
            deadline: SignedDuration::from_secs(120),
            max_failures: 3,
            min_ready: SignedDuration::from_secs(2),
        },
        drain_timeout: SignedDuration::from_secs(30),
        latency_objective: None,
        policy: Some(PolicyName::new("careful").expect("a name")),
    }))
}

fn run_policy() -> RunPolicy {
    RunPolicy::new(2, restart(), Some(SignedDuration::from_secs(90)))
}

fn cron_spec() -> WorkloadSpec {
    WorkloadSpec::CronJob(Box::new(CronJobSpec {
        owner: owner(),
        template: template(),
        schedule: CronSchedule::new("*/20 * * * * *", "Europe/Berlin").expect("a schedule"),
        overlap: OverlapPolicy::Replace,
        queue_max: 3,
        start_deadline: SignedDuration::from_secs(10),
        catch_up: CatchUp { policy: CatchUpPolicy::All, max: 4, deadline: SignedDuration::from_secs(60) },
        jitter: SignedDuration::from_secs(5),
        run: run_policy(),
        policy: None,
    }))
}

fn job_spec() -> WorkloadSpec {
    WorkloadSpec::Job(Box::new(JobSpec {
        owner: Owner::default(),
        template: template(),
        run_on_apply: true,
        run: run_policy(),
        policy: None,
    }))
}

/// A workload in the middle of a rollout, with a size of its own.
pub(crate) fn workload(name: &str, spec: WorkloadSpec) -> Workload {
    Workload {
        name: workload_name(name),
        revision: 2,
        revisions: [1, 2]
            .map(|number| {
                let by = if number == 1 { Actor::User("engine".to_owned()) } else { Actor::Engine };
                (number, Revision { number, spec: spec.clone(), at: at(1), by, healthy: true })
            })
            .into(),
        spec,
        last_revision: 2,
        count: 3,
        size: Some(SizeOverride {
            size: size(300, 80),
            previous: size(250, 64),
            decision: Some(DecisionId(1)),
            since: at(2),
            canary: Some(TaskId::new(workload_name(name), 2)),
            canary_since: Some(at(2)),
            everywhere: false,
        }),
        next_task: 8,
        restart: RestartState {
            failures: 4,
            last_failure: Some(at(3)),
            not_before: Some(at(4)),
            crash_loop: true,
        },
        rollout: Some(Rollout {
            from: Some(1),
            to: 2,
            state: RolloutState::RolledBack { reason: "not healthy".to_owned() },
            started_at: at(1),
            progressed_at: at(2),
            failures: 1,
            ended_at: Some(at(3)),
            strategy: Strategy::Canary {
                groups: vec![Portion::Count(1), Portion::Share(Share::new(0.25))],
                wait: SignedDuration::from_secs(5),
                accept: Acceptance::Metric(Comparison::default()),
            },
            stage: Some(Stage {
                index: 1,
                instances: 1,
                waits: StageWait::Metric { until: at(3) },
                since: at(2),
                advanced: false,
                verdict: Some("slower".to_owned()),
            }),
        }),
        cron_cursor: Some(at(5)),
        deleted: true,
        generation: 3,
        jobs: JobState {
            next: NextRun::At { planned: at(6), due: at(7) },
            last_success: Some(at(4)),
            last_begun: Some(at(3)),
            missed_since: Some(at(5)),
            took: vec![SignedDuration::from_secs(9)],
        },
    }
}

/// A task of a service in `state`, made at `created_at`.
pub(crate) fn task(id: &str, state: TaskState, created_at: Timestamp) -> Task {
    Task {
        id: task_id(id),
        kind: WorkloadKind::Service,
        revision: 2,
        origin: TaskOrigin::Instance,
        size: size(250, 64),
        state,
        reason: "for a test".to_owned(),
        node: Some(node_name("small-1")),
        ports: BTreeMap::from([("http".to_owned(), 41_000)]),
        created_at,
        not_before: created_at,
        started_at: Some(created_at),
        ready_at: None,
        state_since: created_at,
        exit: None,
        preempted_for: None,
    }
}

/// The record of a kill for want of memory.
pub(crate) fn exit(at: Timestamp) -> ExitRecord {
    ExitRecord {
        status: Some(ExitStatus::Signal(9)),
        at,
        oom_kills: Some(1),
        peak_memory: Some(Bytes::mib(64)),
        memory_limit: Some(Bytes::mib(64)),
        asked_to_stop: false,
        message: Some("killed".to_owned()),
    }
}

/// A run of `cron` planned at `at`.
pub(crate) fn run(at: Timestamp, outcome: RunOutcome) -> Run {
    let ended_at = outcome.is_final().then_some(at + SignedDuration::from_secs(1));
    Run {
        key: RunKey { workload: workload_name("cron"), at },
        manual: false,
        tasks: vec![task_id("cron.1"), task_id("cron.2")],
        outcome,
        started_at: Some(at),
        ended_at,
        order: RunOrder {
            cause: RunCause::CatchUp,
            overrides: RunOverrides {
                args: Some(vec!["--all".to_owned()]),
                env: BTreeMap::from([("LEVEL".to_owned(), EnvValue::Plain("debug".to_owned()))]),
                size: Some(size(100, 32)),
            },
            occurrences: 1,
        },
        count: 2,
        parts: BTreeMap::from([
            (0, RunPart { tries: 2, preempted: 1, done: true }),
            (1, RunPart { tries: 1, preempted: 0, done: false }),
        ]),
    }
}

fn node(name: &str) -> Node {
    Node {
        name: node_name(name),
        pool: PoolName::new("small").expect("a name"),
        size: size(500, 512).request,
        attributes: BTreeMap::from([("zone".to_owned(), "a".to_owned())]),
        state: NodeState::Draining,
        reason: "under-used".to_owned(),
        remove_when_empty: true,
        created_at: at(0),
        state_since: at(6),
        underused_since: Some(at(5)),
        made_for: "pool small grew".to_owned(),
    }
}

fn pool() -> NodePool {
    NodePool {
        name: PoolName::new("small").expect("a name"),
        spec: PoolSpec {
            size: size(500, 512).request,
            min: 1,
            max: 4,
            price_per_hour: Some(MicroCents::from_units(0.017)),
            attributes: BTreeMap::new(),
            reserved_for: vec!["shop".to_owned()],
            scale_down_below: Share::new(0.5),
            scale_down_after: SignedDuration::from_secs(60),
            cooldown_up: SignedDuration::from_secs(10),
            cooldown_down: SignedDuration::from_secs(30),
            source: NodeSource {
                provider: Some("vms".to_owned()),
                group: Some("workers".to_owned()),
                rehearse: true,
                join_timeout: Some(SignedDuration::from_secs(90)),
            },
        },
        target: 2,
        next_node: 3,
        grown_at: Some(at(1)),
        shrunk_at: None,
        deleted: false,
        joins: loadline::domain::node::JoinState::default(),
        regrown: 0,
        grown_for: "a task waited".to_owned(),
    }
}

/// A world with something of everything.
pub(crate) fn world() -> World {
    let mut world = World::default();
    for workload in
        [workload("web", service_spec()), workload("cron", cron_spec()), workload("job", job_spec())]
    {
        world.workloads.insert(workload.name.clone(), workload);
    }
    let mut failed = task("web.2", TaskState::Failed, at(2));
    failed.exit = Some(exit(at(9)));
    let mut occurrence = task("cron.1", TaskState::Running, at(3));
    occurrence.kind = WorkloadKind::CronJob;
    occurrence.origin = TaskOrigin::Occurrence { planned_for: at(3), attempt: 1, index: 4 };
    let mut asked = task("job.1", TaskState::Finished, at(4));
    asked.kind = WorkloadKind::Job;
    asked.origin = TaskOrigin::Run { asked_at: at(4), attempt: 0, index: 0 };
    for task in [task("web.1", TaskState::Pending, at(1)), failed, occurrence, asked] {
        world.tasks.insert(task.id.clone(), task);
    }
    let outcomes = [
        RunOutcome::Active,
        RunOutcome::Succeeded,
        RunOutcome::Failed { reason: "exit status 1".to_owned() },
        RunOutcome::SkippedOverlap,
        RunOutcome::Missed { reason: "the engine was down".to_owned() },
        RunOutcome::Cancelled { reason: "replaced".to_owned() },
    ];
    for (number, outcome) in (0..).zip(outcomes) {
        let run = run(at(20 * number), outcome);
        world.runs.insert(run.key.clone(), run);
    }
    world.nodes.insert(node_name("small-1"), node("small-1"));
    world.pools.insert(PoolName::new("small").expect("a name"), pool());
    let careful = Policy { size: PolicyMode::Approve, ..Policy::default() };
    world.policies.insert(PolicyName::new("careful").expect("a name"), careful);
    world
}
