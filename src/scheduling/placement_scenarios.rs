//! Placement in stories: who makes room for whom, and what a task that waits is told.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::domain::change::Change;
use crate::domain::node::NodeName;
use crate::domain::observation::Usage;
use crate::domain::placement::{Neighbour, SpreadOver};
use crate::domain::plan::{WaitKind, Waiting};
use crate::domain::quantity::Millicores;
use crate::domain::quota::Quota;
use crate::domain::task::TaskState;
use crate::domain::workload::{ServiceSpec, WorkloadSpec};
use crate::scheduling::simulation::{Simulation, job, name, pool_spec, service, service_spec, size};

fn with(edit: impl FnOnce(&mut ServiceSpec)) -> WorkloadSpec {
    let mut spec = service_spec("serve 0", 1);
    edit(&mut spec);
    WorkloadSpec::Service(Box::new(spec))
}

fn of_priority(priority: i32, millicores: u64) -> WorkloadSpec {
    with(|spec| {
        spec.template.priority = priority;
        spec.template.size = size(millicores, 100);
    })
}

/// One node, filled by four instances of the service `low`.
fn full_of_low() -> Simulation {
    let mut sim = Simulation::with_nodes(1);
    sim.apply(
        "low",
        with(|spec| {
            spec.instances = 4;
            spec.template.size = size(250, 100);
        }),
    );
    sim.run_for(5);
    sim
}

/// The only task that waits.
fn waiting(sim: &Simulation) -> &Waiting {
    assert_eq!(sim.plan.waiting.len(), 1, "{:#?}\n{}", sim.plan.waiting, sim.tail());
    &sim.plan.waiting[0]
}

/// How many tasks were asked to make room.
fn preempted(sim: &Simulation) -> usize {
    let told = sim.journal.iter().filter(|line| line.contains("it makes room for"));
    told.filter_map(|line| line.split_whitespace().nth(1)).collect::<BTreeSet<_>>().len()
}

#[test]
fn a_task_of_higher_priority_gets_room_and_nobody_leaves_in_vain() {
    let mut sim = full_of_low();
    sim.apply("high", of_priority(5, 200));
    sim.look();
    let told = sim.plan.waiting.iter().find(|waiting| *waiting.task.workload() == name("high"));
    let told = told.expect("it waits");
    assert_eq!(told.kind, WaitKind::Preemption);
    assert_eq!(told.reason, "low.1 of lower priority on small-1 make room for it");
    sim.assert_says("low.1: it makes room for high.1, which has priority 5 over 0");
    sim.run_for(6);
    assert_eq!((sim.ready("high"), sim.ready("low")), (1, 3), "{}", sim.tail());
    assert_eq!(preempted(&sim), 1, "{}", sim.tail());
    assert_eq!(waiting(&sim).reason, "0 of 1 node fits: 1 is short of cpu");
    assert_eq!(sim.world.workloads[&name("low")].restart.failures, 0);
}

#[test]
fn nobody_makes_room_for_a_task_of_equal_priority() {
    let mut sim = Simulation::with_nodes(1);
    sim.apply("first", of_priority(5, 800));
    sim.run_for(5);
    sim.apply("second", of_priority(5, 300));
    sim.run_for(5);
    assert_eq!(sim.ready("first"), 1);
    assert_eq!(waiting(&sim).kind, WaitKind::Room);
}

#[test]
fn a_service_gives_no_more_instances_than_its_budget() {
    let mut sim = full_of_low();
    sim.apply("high", of_priority(5, 500));
    sim.run_for(10);
    assert_eq!((sim.ready("high"), sim.ready("low"), preempted(&sim)), (0, 4, 0), "{}", sim.tail());
    assert_eq!(waiting(&sim).kind, WaitKind::Room);
}

#[test]
fn a_run_that_made_room_is_made_again_and_has_not_failed() {
    let mut sim = Simulation::with_nodes(1);
    let mut spec = job("work 20", true, 0);
    spec.template.size = size(800, 100);
    sim.apply("load", WorkloadSpec::Job(Box::new(spec)));
    sim.run_for(5);
    sim.apply("high", of_priority(1, 500));
    sim.run_for(5);
    assert_eq!(sim.ready("high"), 1, "{}", sim.tail());
    assert_eq!(sim.in_state("load", TaskState::Pending).len(), 1, "{}", sim.tail());
    sim.assert_says("try 1 again, it makes room for high.1, which has priority 1 over 0");
    sim.change(Change::WorkloadDeleted { workload: name("high") });
    sim.run_for(30);
    let run = sim.world.runs.values().next().expect("a run");
    assert_eq!(
        (run.outcome.as_str(), run.tasks.len(), run.part(0).preempted),
        ("succeeded", 2, 1),
        "{}",
        sim.tail()
    );
}

#[test]
fn the_lowest_priority_leaves_first_then_the_fewest_and_the_youngest() {
    let mut sim = Simulation::with_nodes(1);
    sim.apply("old", of_priority(1, 300));
    sim.run_for(3);
    sim.apply("young", of_priority(1, 300));
    sim.run_for(3);
    sim.apply("lowest", of_priority(0, 200));
    sim.run_for(3);
    sim.apply("small", of_priority(7, 350));
    sim.run_for(5);
    // 200 are free: the lowest is enough together with them.
    assert_eq!(["old", "young", "lowest", "small"].map(|name| sim.ready(name)), [1, 1, 0, 1]);
    sim.apply("large", of_priority(7, 300));
    sim.run_for(5);
    assert_eq!(
        ["old", "young", "small", "large"].map(|name| sim.ready(name)),
        [1, 0, 1, 1],
        "{}",
        sim.tail()
    );
}

#[test]
fn a_quota_keeps_tasks_waiting_even_during_a_rollout() {
    let mut sim = Simulation::with_nodes(2);
    let quota = Quota { cpu: Some(Millicores::new(500)), ..Quota::default() };
    sim.change(Change::QuotaApplied { team: "shop".to_owned(), quota });
    let owned = |command: &str, instances| {
        with(|spec| {
            spec.instances = instances;
            spec.owner.team = Some("shop".to_owned());
            spec.template.command = command.split(' ').map(str::to_owned).collect();
        })
    };
    sim.apply("web", owned("serve 0", 3));
    sim.run_for(4);
    assert_eq!(sim.ready("web"), 2);
    let told = waiting(&sim);
    let reason = "team shop may have 0.5 cores reserved, and has 0.5 cores, 200.0 MiB in 2 tasks";
    assert_eq!((told.kind, told.reason.as_str()), (WaitKind::Quota, reason));
    sim.change(Change::QuotaDeleted { team: "shop".to_owned() });
    sim.run_for(3);
    assert_eq!(sim.ready("web"), 3);
    let quota = Quota { tasks: Some(3), ..Quota::default() };
    sim.change(Change::QuotaApplied { team: "shop".to_owned(), quota });
    sim.apply("web", owned("serve 1", 3));
    sim.run_for(5);
    assert_eq!(sim.ready("web"), 3, "the surge finds no room in the quota");
    assert!(waiting(&sim).reason.starts_with("team shop may have 3 tasks reserved, and has"));
}

#[test]
fn reserved_nodes_and_neighbours_and_evenness_are_told() {
    let mut sim = Simulation::with_nodes(0);
    let mut kept = pool_spec(1, 1);
    kept.reserved_for = vec!["data".to_owned()];
    kept.attributes.insert("zone".to_owned(), "a".to_owned());
    sim.pool("kept", kept);
    sim.run_for(7);
    sim.apply("web", service("serve 0", 1));
    sim.run_for(2);
    let told = waiting(&sim);
    assert_eq!(
        (told.kind, told.reason.as_str()),
        (WaitKind::Reserved, "0 of 1 node fits: 1 is reserved for others")
    );
    assert_eq!(told.nodes[0].1.to_string(), "is reserved for data");

    sim.apply(
        "web",
        with(|spec| {
            spec.owner.team = Some("data".to_owned());
            let db = Neighbour { workload: name("db"), by: "zone".to_owned(), required: true };
            spec.template.placement.affinity = vec![db];
        }),
    );
    sim.run_for(2);
    assert_eq!(waiting(&sim).reason, "0 of 1 node fits: 1 is without db on the same zone");

    let mut other = pool_spec(1, 1);
    other.attributes.insert("zone".to_owned(), "b".to_owned());
    sim.pool("other", other);
    sim.apply(
        "web",
        with(|spec| {
            spec.instances = 3;
            let spread_over = Some(SpreadOver { by: "zone".to_owned(), max_skew: 1 });
            spec.owner.team = Some("data".to_owned());
            spec.template.placement.spread_over = spread_over;
            spec.template.size = size(600, 100);
        }),
    );
    sim.run_for(20);
    assert_eq!(sim.ready("web"), 2, "{}", sim.tail());
    assert_eq!(waiting(&sim).reason, "0 of 2 nodes fit: 2 are short of cpu");
    sim.drain(&NodeName::new("other-1").expect("a name"), false);
    sim.run_for(2);
    assert!(sim.plan.waiting.iter().all(|waiting| !waiting.reason.is_empty()));
}

#[test]
fn a_crowded_node_takes_nothing_and_a_failed_task_waits_for_its_time() {
    let mut sim = Simulation::with_nodes(1);
    let crowded = [NodeName::new("small-1").expect("a name")].into();
    sim.cluster.usage = Arc::new(Usage { crowded, ..Usage::default() });
    sim.apply("web", service("serve 0", 1));
    sim.run_for(1);
    let told = waiting(&sim);
    let reason = "0 of 1 node fits: 1 is using nearly all their memory";
    assert_eq!((told.kind, told.reason.as_str()), (WaitKind::Crowded, reason));
    sim.cluster.usage = Arc::default();
    sim.run_for(3);
    assert_eq!(sim.ready("web"), 1);
    sim.kill(&"web.1".parse().expect("an id"));
    sim.run_for(1);
    let told = waiting(&sim);
    assert_eq!(told.kind, WaitKind::Backoff);
    assert!(told.reason.contains("is not started before 2026-11-22T10:00:"), "{}", told.reason);
}
