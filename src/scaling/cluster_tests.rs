//! What is decided about nodes, on worlds built in few words.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use crate::domain::action::{Action, ActionKey, Switch};
use crate::domain::change::Change;
use crate::domain::decision::DecisionKind;
use crate::domain::money::{MicroCents, Prices};
use crate::domain::node::{JoinState, Node, NodeName, NodePool, NodeSource, NodeState, PoolName, PoolSpec};
use crate::domain::node_outlook::{Blocker, PlannedKind, Prospect};
use crate::domain::plan::{Step, WaitKind, Waiting};
use crate::domain::quantity::{Bytes, Millicores, Resources, Share, TaskSize};
use crate::domain::rollout::{Actor, Revision};
use crate::domain::task::{Task, TaskId, TaskOrigin, TaskState};
use crate::domain::workload::{
    Constraint, JobSpec, Owner, PlacementSpec, RestartPolicy, RunPolicy, TaskTemplate, WorkloadKind,
    WorkloadName, WorkloadSpec,
};
use crate::domain::world::{RestartState, Run, RunKey, RunOrder, Workload, World};
use crate::scaling::cluster::{ClusterTerms, ClusterVerdict, decide, node_use};
use crate::scaling::node_outlook::outlook;

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1000)
}

fn ago(seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

fn prices() -> Prices {
    Prices { core_hour: MicroCents::from_units(0.04), gib_hour: MicroCents::from_units(0.004) }
}

fn terms() -> ClusterTerms {
    ClusterTerms { prices: prices(), headroom: None }
}

fn resources(cpu: u64, mib: u64) -> Resources {
    Resources::new(Millicores::new(cpu), Bytes::mib(mib))
}

/// Builds worlds in few words.
#[derive(Default)]
struct Build(World);

impl Build {
    /// A pool of 1 to 5 nodes that shrinks under 50 % after 60 s.
    fn pool(mut self, name: &str, size: Resources, target: u32) -> Self {
        let name = PoolName::new(name).expect("a name");
        let spec = PoolSpec {
            size,
            min: 1,
            max: 5,
            price_per_hour: None,
            attributes: BTreeMap::from([("disk".to_owned(), "ssd".to_owned())]),
            reserved_for: Vec::new(),
            scale_down_below: Share::new(0.5),
            scale_down_after: SignedDuration::from_secs(60),
            cooldown_up: SignedDuration::from_secs(30),
            cooldown_down: SignedDuration::from_secs(60),
            source: NodeSource::default(),
        };
        let pool = NodePool {
            name: name.clone(),
            spec,
            target,
            next_node: 1,
            grown_at: None,
            shrunk_at: None,
            deleted: false,
            joins: JoinState::default(),
            regrown: 0,
            grown_for: String::new(),
        };
        self.0.pools.insert(name, pool);
        self
    }

    fn node(mut self, pool: &str, number: u64, state: NodeState) -> Self {
        let pool = self.0.pools[&PoolName::new(pool).expect("a name")].clone();
        let name = NodeName::new(&format!("{}-{number}", pool.name)).expect("a name");
        let node = Node {
            name: name.clone(),
            pool: pool.name,
            size: pool.spec.size,
            attributes: pool.spec.attributes,
            state,
            reason: String::new(),
            remove_when_empty: state == NodeState::Draining,
            created_at: ago(9000),
            state_since: ago(9000),
            underused_since: None,
            made_for: String::new(),
        };
        self.0.nodes.insert(name, node);
        self
    }

    fn task(mut self, name: &str, number: u64, request: Resources, node: Option<&str>) -> Self {
        let workload = WorkloadName::new(name).expect("a name");
        let id = TaskId::new(workload, number);
        let task = Task {
            id: id.clone(),
            kind: WorkloadKind::Service,
            revision: 1,
            origin: TaskOrigin::Instance,
            size: TaskSize::of(request),
            state: if node.is_some() { TaskState::Running } else { TaskState::Pending },
            reason: String::new(),
            node: node.map(|node| NodeName::new(node).expect("a name")),
            ports: BTreeMap::new(),
            created_at: ago(9000),
            not_before: ago(9000),
            started_at: None,
            ready_at: None,
            state_since: ago(9000),
            exit: None,
            preempted_for: None,
        };
        self.0.tasks.insert(id, task);
        self
    }

    /// Everything is underused for as long as it takes, where its requests say so.
    fn rested(mut self) -> Self {
        for change in node_use(&self.0, ago(3600)) {
            let Change::NodeUse { node, underused_since } = change else { panic!("{change:?}") };
            self.0.nodes.get_mut(&node).expect("a node").underused_since = underused_since;
        }
        self
    }

    fn edit(mut self, edit: impl FnOnce(&mut World)) -> Self {
        edit(&mut self.0);
        self
    }

    fn pool_mut(&mut self, name: &str) -> &mut NodePool {
        self.0.pools.get_mut(&PoolName::new(name).expect("a name")).expect("a pool")
    }

    fn decide(&self) -> ClusterVerdict {
        let waiting: Vec<Waiting> = self
            .0
            .tasks
            .values()
            .filter(|task| task.state == TaskState::Pending)
            .map(|task| Waiting {
                task: task.id.clone(),
                request: task.size.request,
                kind: WaitKind::Room,
                reason: String::new(),
                nodes: Arc::default(),
                narrowed: Arc::default(),
            })
            .collect();
        decide(&self.0, &waiting, &terms(), now())
    }
}

/// The pool, its target before and after, and the rule.
fn change(verdict: &ClusterVerdict) -> Option<(String, u32, u32, String)> {
    let proposal = &verdict.decision.as_ref()?.proposal;
    let DecisionKind::Pool { pool, from, to } = &proposal.kind else { panic!("not a pool") };
    Some((pool.to_string(), *from, *to, proposal.rule.clone()))
}

fn grown(pool: &str, from: u32, to: u32) -> (String, u32, u32, String) {
    (pool.to_owned(), from, to, "least waste".to_owned())
}

fn small_full() -> Build {
    Build::default().pool("small", resources(1000, 1024), 1).node("small", 1, NodeState::Ready).task(
        "web",
        1,
        resources(900, 900),
        Some("small-1"),
    )
}

/// A workload with constraints, for tasks of revision 1.
fn with_constraints(world: &mut World, name: &str, constraints: &[(&str, &str)]) {
    let constraints = constraints
        .iter()
        .map(|(attribute, value)| Constraint::is_in(attribute, vec![(*value).to_owned()]))
        .collect();
    let restart = RestartPolicy {
        backoff: SignedDuration::from_secs(1),
        backoff_max: SignedDuration::from_secs(1),
        jitter: Share::new(0.0),
        reset_after: SignedDuration::from_secs(1),
    };
    let spec = WorkloadSpec::Job(Box::new(JobSpec {
        owner: Owner::default(),
        template: TaskTemplate {
            command: vec!["true".to_owned()],
            env: BTreeMap::new(),
            working_dir: None,
            user: None,
            size: TaskSize::of(resources(100, 100)),
            stop_grace: SignedDuration::from_secs(1),
            placement: PlacementSpec { constraints, ..PlacementSpec::default() },
            priority: 0,
        },
        run_on_apply: false,
        run: RunPolicy::new(0, restart, None),
        policy: None,
    }));
    let name = WorkloadName::new(name).expect("a name");
    let revision =
        Revision { number: 1, spec: spec.clone(), at: ago(9000), by: Actor::Engine, healthy: true };
    let workload = Workload {
        name: name.clone(),
        spec,
        revision: 1,
        revisions: BTreeMap::from([(1, revision)]),
        last_revision: 1,
        count: 0,
        size: None,
        next_task: 1,
        restart: RestartState::default(),
        rollout: None,
        cron_cursor: None,
        deleted: false,
        generation: 0,
        jobs: crate::domain::world::JobState::default(),
    };
    world.workloads.insert(name, workload);
}

#[test]
fn a_pool_grows_by_the_nodes_that_the_waiting_tasks_need() {
    // 600 + 600 + 400 + 400: two nodes, largest first, not three.
    let build = [400, 600, 400, 600]
        .into_iter()
        .enumerate()
        .fold(small_full(), |build, (i, cpu)| build.task("api", i as u64, resources(cpu, 100), None));
    let verdict = build.decide();
    assert_eq!(change(&verdict), Some(grown("small", 1, 3)));
    let decision = verdict.decision.expect("a decision");
    let target =
        Change::PoolTargetSet { pool: PoolName::new("small").expect("a name"), target: 3, decision: None };
    assert_eq!(decision.steps.iter().map(|step| &step.change).collect::<Vec<_>>(), [&target]);
    assert_eq!(decision.proposal.price_after - decision.proposal.price_before, MicroCents::from_units(0.088));
    assert!(
        decision.proposal.reason.contains("api.1, api.3, api.0, 1 more found no node"),
        "{}",
        decision.proposal.reason
    );
}

#[test]
fn the_pool_that_wastes_least_grows() {
    let build = || small_full().pool("big", resources(4000, 4096), 0).pool("lean", resources(1000, 2048), 0);
    let small_task = build().task("api", 1, resources(900, 1000), None).decide();
    assert_eq!(change(&small_task), Some(grown("small", 1, 2)));
    let large_task = build().task("api", 1, resources(3000, 500), None).decide();
    assert_eq!(change(&large_task), Some(grown("big", 0, 1)));
    let memory = build().task("api", 1, resources(900, 2000), None).decide();
    assert_eq!(change(&memory), Some(grown("lean", 0, 1)));
    let candidates = memory.decision.expect("a decision").proposal.candidates;
    assert_eq!(candidates.iter().map(|c| c.chosen).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn nodes_on_their_way_are_counted_on() {
    let build =
        small_full().task("api", 1, resources(600, 100), None).task("api", 2, resources(300, 100), None);
    let joining = build.edit(|world| world.pools.values_mut().for_each(|pool| pool.target = 2));
    let waits = |build: &Build| {
        let verdict = build.decide();
        assert!(verdict.decision.is_none() && verdict.unserved.is_empty() && verdict.kept.is_empty());
        verdict.held.map(|held| held.by)
    };
    assert_eq!(waits(&joining), Some(Blocker::TasksWait), "the target is set, the node not made yet");
    let joining = joining.node("small", 2, NodeState::Joining);
    assert_eq!(waits(&joining), Some(Blocker::TasksWait));
    let more = joining.task("api", 3, resources(600, 100), None);
    assert_eq!(change(&more.decide()), Some(grown("small", 2, 3)));
    // A node that is being removed is no room, and a lost one will be made anew.
    let leaving = more.edit(|world| {
        world.nodes.values_mut().for_each(|node| {
            node.state = if node.state == NodeState::Joining { NodeState::Removing } else { NodeState::Lost };
        });
    });
    assert_eq!(change(&leaving.decide()), None, "two wanted, none there: both are on their way");
}

#[test]
fn bounds_and_cooldown_hold_growth_back_and_say_so() {
    let mut build = (1..=3).fold(small_full(), |build, i| build.task("api", i, resources(900, 100), None));
    build.pool_mut("small").spec.max = 3;
    let verdict = build.decide();
    assert_eq!(change(&verdict), Some(("small".to_owned(), 1, 3, "max nodes".to_owned())));
    build.pool_mut("small").spec.max = 1;
    let verdict = build.decide();
    assert_eq!((change(&verdict), verdict.unserved.len()), (None, 3));
    assert_eq!(verdict.unserved[0].reason, "pool small has its most of 1 nodes");
    build.pool_mut("small").spec.max = 5;
    build.pool_mut("small").grown_at = Some(ago(10));
    let verdict = build.decide();
    assert_eq!(change(&verdict), None);
    assert!(verdict.unserved[0].reason.contains("waits 20 s"), "{}", verdict.unserved[0].reason);
    build.pool_mut("small").grown_at = Some(ago(30));
    assert!(change(&build.decide()).is_some());
}

#[test]
fn a_task_that_fits_no_node_is_reported_and_grows_nothing() {
    let verdict = small_full().task("api", 1, resources(1001, 100), None).decide();
    assert_eq!(change(&verdict), None);
    assert!(verdict.unserved[0].fits_nowhere);
    assert!(
        verdict.unserved[0].reason.contains("a node of pool small has 1 cores"),
        "{}",
        verdict.unserved[0].reason
    );
}

#[test]
fn constraints_choose_the_pool() {
    let build =
        || small_full().pool("big", resources(4000, 4096), 0).task("api", 1, resources(900, 1000), None);
    for (constraints, expected) in [
        (&[("pool", "big")][..], Some(grown("big", 0, 1))),
        (&[("disk", "ssd")], Some(grown("small", 1, 2))),
        (&[("disk", "ssd"), ("pool", "big")], Some(grown("big", 0, 1))),
        (&[("zone", "a")], None),
    ] {
        let verdict = build().edit(|world| with_constraints(world, "api", constraints)).decide();
        assert_eq!(change(&verdict), expected, "{constraints:?}");
    }
}

/// A pool whose nodes did not come, with a wait of 100 s.
fn failing(build: &mut Build, pool: &str) {
    build.pool_mut(pool).joins = JoinState {
        failures: 1,
        since: Some(now()),
        not_before: Some(now() + SignedDuration::from_secs(100)),
        why: "out of stock".to_owned(),
    };
}

#[test]
fn where_a_pools_nodes_do_not_come_another_pool_grows() {
    let both =
        || small_full().pool("big", resources(4000, 4096), 0).task("api", 1, resources(900, 1000), None);
    let mut build = both();
    failing(&mut build, "small");
    assert_eq!(change(&build.decide()), Some(grown("big", 0, 1)));
    // What the pool lacks is not on its way: tasks do not count on it.
    build.pool_mut("small").target = 2;
    assert_eq!(change(&build.decide()), Some(grown("big", 0, 1)));
    failing(&mut build, "big");
    let verdict = build.decide();
    assert_eq!(change(&verdict), None);
    let reason = &verdict.unserved[0].reason;
    assert!(reason.contains("nodes of pool big did not come (out of stock); it waits 100 s"), "{reason}");
    // A wait that is over is none.
    for pool in ["small", "big"] {
        build.pool_mut(pool).joins.not_before = Some(now());
    }
    build.pool_mut("small").target = 1;
    assert_eq!(change(&build.decide()), Some(grown("small", 1, 2)));
}

#[test]
fn a_pool_whose_machines_run_no_tasks_does_not_grow_for_them() {
    let mut build = small_full().task("api", 1, resources(900, 1000), None);
    build.pool_mut("small").spec.source.provider = Some("vms".to_owned());
    let verdict = build.decide();
    assert_eq!(change(&verdict), None);
    let reason = &verdict.unserved[0].reason;
    assert!(reason.contains("no agent runs tasks on the machines of pool small"), "{reason}");
    build.pool_mut("small").spec.source.rehearse = true;
    assert_eq!(change(&build.decide()), Some(grown("small", 1, 2)));
}

fn two_with_room() -> Build {
    Build::default()
        .pool("small", resources(1000, 1024), 2)
        .node("small", 1, NodeState::Ready)
        .node("small", 2, NodeState::Ready)
        .task("web", 1, resources(500, 500), Some("small-1"))
        .task("web", 2, resources(200, 100), Some("small-2"))
        .rested()
}

#[test]
fn an_underused_node_goes_when_its_tasks_fit_elsewhere() {
    let verdict = two_with_room().decide();
    assert_eq!(change(&verdict), Some(("small".to_owned(), 2, 1, "underused node".to_owned())));
    let decision = verdict.decision.expect("a decision");
    assert!(decision.proposal.reason.contains("web.2 to small-1"), "{}", decision.proposal.reason);
    let drained = decision.steps.iter().find_map(|step| match &step.change {
        Change::NodeMoved { node, state: NodeState::Draining, remove_when_empty: true, .. } => {
            Some(node.as_str())
        }
        _ => None,
    });
    assert_eq!(drained, Some("small-2"));
    assert!(decision.proposal.price_after < decision.proposal.price_before);
}

#[test]
fn a_node_stays_while_its_tasks_have_no_other_place() {
    let verdict = two_with_room().task("api", 1, resources(100, 500), Some("small-1")).decide();
    assert_eq!(change(&verdict), None);
    assert!(verdict.kept[0].block.reason.contains("web.2"), "{}", verdict.kept[0].block.reason);
    // Room is there, yet for a task that waits for its backoff.
    let mut build = two_with_room();
    build = build.task("job", 1, resources(400, 100), None);
    let verdict = decide(&build.0, &[], &terms(), now());
    assert_eq!(change(&verdict), None);
    // The constraint keeps it where it is.
    let build = two_with_room().edit(|world| {
        world.nodes.values_mut().take(1).for_each(|node| node.attributes.clear());
        with_constraints(world, "web", &[("disk", "ssd")]);
    });
    assert_eq!(change(&build.decide()), None);
}

#[test]
fn nothing_shrinks_too_soon_too_far_or_twice_at_a_time() {
    let unchanged = |build: &Build, why: &str| {
        let verdict = build.decide();
        assert_eq!(change(&verdict), None, "{why}");
        verdict.kept.first().map_or(String::new(), |kept| kept.block.reason.clone())
    };
    let mut build = two_with_room();
    build.pool_mut("small").shrunk_at = Some(ago(59));
    assert!(unchanged(&build, "changed lately").contains("waits 1 s"));
    let mut build = two_with_room();
    build.pool_mut("small").spec.min = 2;
    assert!(unchanged(&build, "at its least").contains("least of 2"));
    let build = two_with_room().edit(|world| {
        world.nodes.values_mut().for_each(|node| node.underused_since = Some(ago(59)));
    });
    assert_eq!(unchanged(&build, "not for long enough"), "");
    let build = two_with_room().node("small", 3, NodeState::Draining);
    unchanged(&build, "another one is leaving");
    let build = two_with_room().task("api", 1, resources(900, 900), None);
    let verdict = build.decide();
    assert_eq!(change(&verdict), Some(grown("small", 2, 3)), "a task waits: it grows instead");
    let build = two_with_room().edit(|world| {
        world.tasks.values_mut().for_each(|task| task.kind = WorkloadKind::Job);
    });
    assert!(unchanged(&build, "a run is going on").contains("begin again"));
}

/// Nodes of a core with one task each: its service, and what it asks for.
fn nodes_with(tasks: &[(&str, u64)]) -> Build {
    let mut build = Build::default().pool("small", resources(1000, 1024), tasks.len() as u32);
    for (number, (name, cpu)) in tasks.iter().enumerate() {
        let node = format!("small-{}", number + 1);
        build = build.node("small", number as u64 + 1, NodeState::Ready);
        build = build.task(name, number as u64 + 1, resources(*cpu, 100), Some(&node));
    }
    build.rested()
}

#[test]
fn several_nodes_go_together_as_far_as_no_service_is_on_two_of_them() {
    let verdict = nodes_with(&[("web", 400), ("api", 200), ("db", 100)]).decide();
    assert_eq!(change(&verdict), Some(("small".to_owned(), 3, 1, "underused nodes".to_owned())));
    let inputs = verdict.decision.expect("a decision").proposal.inputs;
    assert_eq!((inputs["tasks moved"].as_str(), inputs["saves"].as_str()), ("2", "0.088000 an hour"));
    let verdict = nodes_with(&[("web", 400), ("web", 200), ("web", 100)]).decide();
    assert_eq!(change(&verdict), Some(("small".to_owned(), 3, 2, "underused node".to_owned())));
}

#[test]
fn a_cheaper_node_takes_the_place_of_one_that_cannot_be_emptied() {
    let mut build = Build::default()
        .pool("big", resources(4000, 4096), 1)
        .pool("small", resources(1000, 1024), 0)
        .node("big", 1, NodeState::Ready)
        .task("web", 1, resources(300, 300), Some("big-1"))
        .rested();
    build.pool_mut("big").spec.min = 0;
    build.pool_mut("small").spec.min = 0;
    let verdict = build.decide();
    assert_eq!(change(&verdict), Some(("small".to_owned(), 0, 1, "cheaper node".to_owned())));
    let proposal = verdict.decision.expect("a decision").proposal;
    assert!(proposal.reason.contains("takes the place of big-1"), "{}", proposal.reason);
    assert!(proposal.price_after < proposal.price_before);
    // It is awaited; then the other one goes, and nothing more happens.
    build.pool_mut("small").target = 1;
    build.pool_mut("small").grown_at = Some(ago(10));
    assert_eq!(change(&build.decide()), None);
    // One that has just joined stays until it had time to be of use.
    let joined = |world: &mut World| {
        for node in world.nodes.values_mut().filter(|node| node.pool.as_str() == "small") {
            node.state_since = ago(5);
        }
    };
    let build = build.node("small", 1, NodeState::Ready).rested().edit(joined);
    let verdict = build.decide();
    assert_eq!(change(&verdict), Some(("big".to_owned(), 1, 0, "cheaper node".to_owned())));
    let drains =
        |step: &Step| matches!(&step.change, Change::NodeMoved { node, .. } if node.as_str() == "big-1");
    assert!(verdict.decision.expect("a decision").steps.iter().any(drains));
    // Others still have to make way for it: it does not go in the meantime.
    let mut waits = build.edit(|world| {
        for node in world.nodes.values_mut().filter(|node| node.pool.as_str() == "small") {
            node.state_since = ago(300);
        }
    });
    waits.pool_mut("big").shrunk_at = Some(ago(5));
    let verdict = waits.decide();
    assert_eq!(change(&verdict), None);
    let held = verdict.kept.iter().find(|kept| kept.node.as_str() == "small-1").expect("small-1 stays");
    assert!(held.block.reason.contains("take the place"), "{}", held.block.reason);
    // In the end it goes all the same.
    let gives_up = waits.edit(|world| {
        for node in world.nodes.values_mut().filter(|node| node.pool.as_str() == "small") {
            node.state_since = ago(901);
        }
    });
    assert_eq!(change(&gives_up.decide()), Some(("small".to_owned(), 1, 0, "underused node".to_owned())));
    let build = gives_up;
    // One that costs as much is no reason to move.
    let mut build = build.edit(|world| {
        world.nodes.retain(|name, _| name.as_str() == "big-1");
    });
    build.pool_mut("small").target = 0;
    build.pool_mut("small").grown_at = None;
    build.pool_mut("small").spec.price_per_hour = Some(MicroCents::from_units(0.175));
    assert_eq!(change(&build.decide()), None);
}

/// Two nodes with an instance each; a run has been on the second for so many seconds of the usual 600.
fn with_a_run(began: i64) -> Build {
    two_with_room().task("job", 7, resources(50, 50), Some("small-2")).edit(|world| {
        with_constraints(world, "job", &[]);
        let name = WorkloadName::new("job").expect("a name");
        let jobs = &mut world.workloads.get_mut(&name).expect("a job").jobs;
        jobs.took = vec![SignedDuration::from_secs(600)];
        for task in world.tasks.values_mut().filter(|task| *task.workload() == name) {
            (task.kind, task.started_at) = (WorkloadKind::Job, Some(ago(began)));
        }
    })
}

#[test]
fn a_node_is_left_where_its_runs_are_about_to_end() {
    let verdict = with_a_run(301).decide();
    assert_eq!(change(&verdict), Some(("small".to_owned(), 2, 1, "underused node".to_owned())));
    let decision = verdict.decision.expect("a decision");
    assert_eq!(decision.proposal.inputs["tasks moved"], "1", "the run ends where it is");
    assert!(decision.proposal.reason.contains("web.2 to small-1"), "{}", decision.proposal.reason);
    // With more time to go, or where it takes much longer than usual, the node stays.
    for began in [299, 901] {
        let verdict = with_a_run(began).decide();
        assert_eq!(change(&verdict), None, "{began}");
        assert!(verdict.kept.iter().any(|kept| kept.block.reason.contains("begin again")));
    }
}

#[test]
fn a_node_stays_for_runs_that_come_often_where_a_risk_is_said() {
    let build = with_a_run(301).edit(|world| {
        let name = WorkloadName::new("job").expect("a name");
        for turn in 1..=10 {
            let key = RunKey { workload: name.clone(), at: ago(turn * 6) };
            world.runs.insert(key.clone(), Run::opened(key, true, RunOrder::default(), 1));
        }
    });
    assert_eq!(change(&build.decide()).map(|change| change.2), Some(1));
    let kept = ClusterTerms { headroom: Some(Share::new(0.05)), ..terms() };
    let verdict = decide(&build.0, &[], &kept, now());
    assert_eq!(change(&verdict), None);
    let why = &verdict.kept.first().expect("a node that stays").block.reason;
    assert!(why.contains("job.") && why.contains("no room"), "{why}");
}

#[test]
fn a_node_that_was_to_go_stays_where_tasks_wait_again() {
    let leaving =
        |size| small_full().node("small", 2, NodeState::Draining).task("api", 1, resources(size, 500), None);
    let verdict = leaving(500).decide();
    assert_eq!(change(&verdict), Some(("small".to_owned(), 1, 2, "taken back".to_owned())));
    let steps = verdict.decision.expect("a decision").steps;
    let stays = |step: &Step| {
        let Change::NodeMoved { node, state, remove_when_empty, .. } = &step.change else { return false };
        node.as_str() == "small-2" && *state == NodeState::Ready && !remove_when_empty
    };
    assert!(steps.iter().any(stays), "{steps:?}");
    // One that is told to go by a person, or is too dear for what waits, does not come back.
    let told = leaving(500).edit(|world| {
        world.nodes.values_mut().for_each(|node| node.remove_when_empty = false);
    });
    assert_eq!(change(&told.decide()).map(|change| change.3), Some("least waste".to_owned()));
    let mut dear = leaving(500).pool("tiny", resources(600, 600), 0);
    dear.pool_mut("tiny").spec.min = 0;
    assert_eq!(change(&dear.decide()), Some(grown("tiny", 0, 1)));
}

/// What is said to become of a node, in words: where it is going, and the kinds of what keeps it.
fn prospects(build: &Build, node: &str) -> (Prospect, Vec<Blocker>, Option<Timestamp>) {
    let told = outlook(&build.0, &build.decide(), now());
    let found = &told.nodes[&NodeName::new(node).expect("a name")];
    (found.prospect, found.blocks.iter().map(|block| block.by).collect(), found.not_before)
}

#[test]
fn what_is_said_of_a_node_is_what_is_decided_about_it() {
    use Blocker::{Minimum, NoRoom, Resting, Run, Settling, TasksWait, Turn, Used};
    use Prospect::{Leaves, Stays};
    // The one that the decision drains leaves, the one that takes its task stays.
    assert_eq!(prospects(&two_with_room(), "small-2"), (Leaves, Vec::new(), None));
    assert_eq!(prospects(&two_with_room(), "small-1"), (Stays, vec![Used], None));
    let full = two_with_room().task("api", 1, resources(100, 500), Some("small-1"));
    assert_eq!(prospects(&full, "small-2"), (Stays, vec![NoRoom], None));
    let mut settling = two_with_room();
    settling.pool_mut("small").shrunk_at = Some(ago(20));
    let until = Some(now() + SignedDuration::from_secs(40));
    assert_eq!(prospects(&settling, "small-2"), (Stays, vec![Settling], until));
    let young = two_with_room().edit(|world| {
        world.nodes.values_mut().for_each(|node| node.underused_since = Some(ago(50)));
    });
    let until = Some(now() + SignedDuration::from_secs(10));
    assert_eq!(prospects(&young, "small-2"), (Stays, vec![Resting], until));
    let mut least = young;
    least.pool_mut("small").spec.min = 2;
    assert_eq!(prospects(&least, "small-2"), (Stays, vec![Resting, Minimum], None));
    let mut least = two_with_room();
    least.pool_mut("small").spec.min = 2;
    assert_eq!(prospects(&least, "small-2"), (Stays, vec![Minimum], None), "said once");
    let waits = two_with_room().task("api", 1, resources(900, 900), None);
    assert_eq!(prospects(&waits, "small-2"), (Stays, vec![TasksWait], None));
    let runs = two_with_room().edit(|world| {
        world.tasks.values_mut().for_each(|task| task.kind = WorkloadKind::Job);
    });
    assert_eq!(prospects(&runs, "small-2"), (Stays, vec![Run], None));
    // Two of one service: one after the other.
    let turn = nodes_with(&[("web", 400), ("web", 200), ("web", 100)]);
    let told = ["small-1", "small-2", "small-3"].map(|node| prospects(&turn, node).1);
    assert!(
        told.contains(&Vec::new()) && told.iter().any(|by| *by == [Turn] || *by == [Minimum]),
        "{told:?}"
    );
}

#[test]
fn freezes_and_drains_by_hand_are_said_to_keep_nodes() {
    let until = now() + SignedDuration::from_mins(5);
    let freeze = |build: Build| {
        build.edit(|world| {
            let key = ActionKey::Freeze(Switch::Scaling);
            let by = Actor::User("ann".to_owned());
            let action = Action { until: Some(until), ..Action::new(key.clone(), by, "an audit", now()) };
            world.actions.insert(key, action);
        })
    };
    let frozen = freeze(two_with_room());
    assert_eq!(prospects(&frozen, "small-2"), (Prospect::Stays, vec![Blocker::Frozen], Some(until)));
    let drained = two_with_room().node("small", 3, NodeState::Draining).edit(|world| {
        world.nodes.values_mut().for_each(|node| node.remove_when_empty = false);
    });
    assert_eq!(prospects(&drained, "small-3"), (Prospect::Stays, vec![Blocker::ByHand], None));
}

#[test]
fn changes_of_nodes_under_way_are_told_with_the_time_that_others_took() {
    let mut build = small_full().node("small", 2, NodeState::Joining).node("small", 3, NodeState::Draining);
    build.pool_mut("small").target = 3;
    let build = build.task("web", 2, resources(100, 100), Some("small-3")).edit(|world| {
        for node in world.nodes.values_mut() {
            match node.state {
                NodeState::Ready => node.state_since = node.created_at + SignedDuration::from_secs(30),
                _ => node.created_at = ago(10),
            }
        }
    });
    let told = outlook(&build.0, &build.decide(), now()).planned;
    let found: Vec<_> = told.iter().map(|one| (one.kind, one.nodes, one.tasks, one.expected_at)).collect();
    let after = |seconds| Some(now() + SignedDuration::from_secs(seconds));
    assert_eq!(
        found,
        [
            (PlannedKind::Ask, 1, 0, after(30)),
            (PlannedKind::Join, 1, 0, after(20)),
            (PlannedKind::Empty, 1, 1, None)
        ]
    );
}

#[test]
fn a_pool_that_had_to_grow_again_stays_the_longer() {
    let mut build = two_with_room();
    let pool = build.pool_mut("small");
    (pool.regrown, pool.shrunk_at) = (1, Some(ago(100)));
    let verdict = build.decide();
    assert_eq!(change(&verdict), None);
    assert!(verdict.kept[0].block.reason.contains("waits 20 s"), "{}", verdict.kept[0].block.reason);
}

#[test]
fn a_task_that_fits_nowhere_keeps_no_node() {
    let verdict = two_with_room().task("api", 1, resources(9000, 100), None).decide();
    assert_eq!(change(&verdict).map(|change| change.3), Some("underused node".to_owned()));
    assert_eq!(verdict.unserved.len(), 1);
}

#[test]
fn node_use_notes_both_crossings_once() {
    let build = Build::default()
        .pool("small", resources(1000, 1024), 2)
        .node("small", 1, NodeState::Ready)
        .node("small", 2, NodeState::Ready)
        .task("web", 1, resources(100, 512), Some("small-1"));
    let changes = node_use(&build.0, now());
    let second =
        Change::NodeUse { node: NodeName::new("small-2").expect("a name"), underused_since: Some(now()) };
    assert_eq!(changes, [second], "half is not under half");
    let build = build.rested();
    assert_eq!(node_use(&build.0, now()), []);
    let build = build.task("web", 2, resources(600, 1), Some("small-2"));
    assert!(matches!(node_use(&build.0, now())[..], [Change::NodeUse { underused_since: None, .. }]));
}

proptest! {
    /// Growing until nothing changes ends with no task waiting that any node would take, within the bounds.
    #[test]
    fn growth_places_everything_that_fits(
        requests in proptest::collection::vec((50_u64..1300, 50_u64..1300), 1..30),
    ) {
        let mut build = Build::default().pool("small", resources(1000, 1024), 0);
        build.pool_mut("small").spec.max = 30;
        for (i, (cpu, mib)) in requests.iter().enumerate() {
            build = build.task("api", i as u64, resources(*cpu, *mib), None);
        }
        let fits = requests.iter().filter(|(cpu, mib)| *cpu <= 1000 && *mib <= 1024).count();
        let first = build.decide();
        if let Some((_, from, to, _)) = change(&first) {
            prop_assert!(from < to && to as usize <= fits);
            build.pool_mut("small").target = to;
        }
        let second = build.decide();
        prop_assert_eq!(change(&second), None);
        prop_assert_eq!(second.unserved.len(), requests.len() - fits);
    }
}
