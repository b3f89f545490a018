//! What the scheduler does in a story: an action, some time, and what came of it.

use jiff::SignedDuration;

use crate::domain::change::Change;
use crate::domain::node::{NodeName, NodeState, PoolName};
use crate::domain::rollout::RolloutState;
use crate::domain::task::TaskState;
use crate::domain::workload::{Constraint, WorkloadSpec};
use crate::scheduling::simulation::{Simulation, name, pool_spec, seconds, service, service_spec, size};

fn node(text: &str) -> NodeName {
    NodeName::new(text).expect("a name")
}

fn states(sim: &Simulation, workload: &str) -> Vec<String> {
    let workload = name(workload);
    sim.world.tasks_of(&workload).map(|task| format!("{} {}", task.id, task.state)).collect()
}

fn rollout(sim: &Simulation, workload: &str) -> RolloutState {
    sim.world.workloads[&name(workload)].rollout.clone().expect("a rollout").state
}

#[test]
fn a_service_comes_up_and_its_rollout_is_done() {
    let mut sim = Simulation::with_nodes(1);
    sim.apply("web", service("serve 2", 2));
    sim.run_for(6);
    assert_eq!(states(&sim, "web"), ["web.1 running", "web.2 running"]);
    assert_eq!(rollout(&sim, "web"), RolloutState::Done);
    sim.look();
    assert!(sim.plan.steps.is_empty());
    assert_eq!(sim.ready("web"), 2);
}

#[test]
fn a_killed_task_is_replaced_after_its_backoff() {
    let mut sim = Simulation::with_nodes(1);
    sim.apply("web", service("serve 0", 2));
    sim.run_for(5);
    sim.kill(&"web.1".parse().expect("an id"));
    sim.run_for(1);
    assert_eq!(states(&sim, "web"), ["web.2 running", "web.3 pending"]);
    sim.assert_says("web.3: replaces web.1, which failed: killed by signal 9; failure 1, waits 2s");
    sim.run_for(3);
    assert_eq!(sim.ready("web"), 2, "{}", sim.tail());
}

#[test]
fn failures_in_a_row_become_a_crash_loop_and_a_life_ends_it() {
    let mut sim = Simulation::with_nodes(1);
    sim.apply("web", service("crash 1", 1));
    sim.run_for(60);
    let workload = &sim.world.workloads[&name("web")];
    assert!(workload.restart.crash_loop, "{:?}", workload.restart);
    assert!(matches!(rollout(&sim, "web"), RolloutState::Failing { .. }));
    sim.assert_says(
        "crash loop: 5 failures in a row, the last one web.5 (exit status 1); the next try is in 32s",
    );
    sim.apply("web", service("serve 0", 1));
    sim.run_for(10);
    assert_eq!(sim.ready("web"), 1, "{}", sim.tail());
    assert_eq!(sim.world.workloads[&name("web")].restart.failures, 0);
}

#[test]
fn instances_that_fail_together_are_one_failure_and_a_long_life_is_forgiven() {
    let mut sim = Simulation::with_nodes(2);
    sim.apply("web", service("serve 0", 4));
    sim.run_for(5);
    for task in sim.in_state("web", TaskState::Running) {
        sim.kill(&task);
    }
    sim.run_for(1);
    assert_eq!(sim.world.workloads[&name("web")].restart.failures, 1);
    sim.run_for(130);
    assert_eq!(sim.world.workloads[&name("web")].restart.failures, 0);
    sim.assert_says("has lived for 2m: earlier failures are forgotten");
}

#[test]
fn a_service_that_ends_well_has_failed_all_the_same() {
    let mut sim = Simulation::with_nodes(1);
    sim.apply("web", service("work 1", 1));
    sim.run_for(4);
    sim.assert_says("it ended though it is a service");
}

#[test]
fn an_instance_whose_check_fails_is_stopped_and_replaced() {
    let mut sim = Simulation::with_nodes(1);
    sim.apply("web", service("sick 3", 1));
    sim.run_for(6);
    sim.assert_says(
        "web.2: replaces web.1, which failed: its health check failed: HTTP 500; failure 1, waits 2s",
    );
}

#[test]
fn a_lost_node_has_its_tasks_run_elsewhere_without_waiting() {
    let mut sim = Simulation::with_nodes(2);
    sim.apply("web", service("serve 0", 2));
    sim.run_for(5);
    let lost = sim.world.tasks_of(&name("web")).next().and_then(|task| task.node.clone()).expect("a node");
    sim.fail_node(&lost);
    sim.run_for(3);
    assert_eq!(sim.ready("web"), 2, "{}", sim.tail());
    sim.assert_says(&format!("replaces web.1, which was lost: its node {lost} is lost"));
    assert!(!sim.world.nodes.contains_key(&lost));
    sim.run_for(8);
    assert_eq!(sim.world.nodes.len(), 2, "the pool is filled up again");
}

#[test]
fn a_drained_node_is_emptied_without_losing_capacity() {
    let mut sim = Simulation::with_nodes(2);
    sim.apply("web", service("serve 2", 3));
    sim.run_for(8);
    sim.drain(&node("small-1"), true);
    sim.run_for(40);
    assert_eq!(sim.ready("web"), 3);
    assert!(!sim.world.nodes.contains_key(&node("small-1")), "{}", sim.tail());
    assert!(sim.world.nodes.contains_key(&node("small-3")), "the pool keeps its target");
    sim.assert_says("which is on small-1, which is to be emptied");
}

#[test]
fn a_rollout_replaces_one_by_one_under_surge() {
    let mut sim = Simulation::with_nodes(2);
    sim.apply("web", service("serve 1", 3));
    sim.run_for(8);
    sim.apply("web", service("serve 2", 3));
    let mut most = 0;
    for _ in 0..40 {
        sim.run_for(1);
        most = most.max(sim.world.tasks.values().filter(|task| task.state.is_active()).count());
        assert!(sim.ready("web") >= 3);
    }
    assert_eq!(most, 4);
    assert_eq!(rollout(&sim, "web"), RolloutState::Done);
    assert!(sim.world.tasks.values().all(|task| task.revision == 2));
    sim.assert_says("web.4: replaces web.1, which is of revision 1, not 2");
    sim.assert_says("web.1: it is of revision 1, not 2; 3 others are ready");
}

#[test]
fn a_revision_that_fails_is_rolled_back() {
    let mut sim = Simulation::with_nodes(2);
    sim.apply("web", service("serve 0", 3));
    sim.run_for(6);
    sim.apply("web", service("crash 0", 3));
    sim.run_for(60);
    sim.assert_says(
        "web: 3 tasks of revision 2 failed, the last one web.6: exit status 1; back to revision 1",
    );
    assert!(matches!(rollout(&sim, "web"), RolloutState::RolledBack { .. }));
    let workload = &sim.world.workloads[&name("web")];
    assert_eq!((workload.revision, workload.restart.failures), (1, 0));
    assert_eq!(sim.ready("web"), 3);
}

#[test]
fn a_revision_that_is_never_ready_is_rolled_back_at_the_deadline() {
    let mut sim = Simulation::with_nodes(2);
    sim.apply("web", service("serve 0", 2));
    sim.run_for(6);
    sim.apply("web", service("hang", 2));
    sim.run_for(118);
    assert_eq!(rollout(&sim, "web"), RolloutState::InProgress);
    sim.run_for(10);
    sim.assert_says("no instance of revision 2 became ready for 2m; back to revision 1");
    assert_eq!(states(&sim, "web"), ["web.1 running", "web.2 running"]);
}

#[test]
fn a_retired_instance_is_stopped_when_its_requests_are_answered() {
    let mut sim = Simulation::with_nodes(1);
    sim.apply("web", service("serve 0", 2));
    sim.run_for(5);
    sim.change(Change::CountSet { workload: name("web"), count: 1, decision: None });
    sim.look();
    assert_eq!(states(&sim, "web"), ["web.1 running", "web.2 retiring"], "the youngest leaves");
    sim.look();
    assert_eq!(states(&sim, "web")[1], "web.2 retiring");
    sim.run_for(1);
    assert_eq!(states(&sim, "web")[1], "web.2 stopping");
    sim.run_for(2);
    assert_eq!(states(&sim, "web"), ["web.1 running"]);
}

#[test]
fn a_size_that_the_cluster_refuses_in_place_is_reached_by_replacement() {
    let mut sim = Simulation::with_nodes(2);
    sim.cluster.refuses_sizes = true;
    sim.apply("web", service("serve 0", 2));
    sim.run_for(5);
    sim.change(Change::SizeSet { workload: name("web"), size: size(260, 200), decision: None });
    sim.run_for(20);
    assert_eq!(sim.ready("web"), 2);
    assert!(sim.observed.tasks.values().all(|seen| seen.size == Some(size(260, 200))), "{}", sim.tail());
}

#[test]
fn a_rollout_goes_on_after_the_engine_was_away_for_longer_than_its_deadline() {
    let mut sim = Simulation::with_nodes(2);
    sim.apply("web", service("serve 1", 3));
    sim.run_for(8);
    sim.apply("web", service("serve 2", 3));
    // The outage begins while one more instance than declared is ready: nothing is awaited then.
    let between = (0..30).any(|_| {
        sim.run_for(1);
        sim.ready("web") == 4
    });
    assert!(between, "{}", sim.tail());
    sim.tick(SignedDuration::from_hours(1));
    sim.run_for(30);
    assert_eq!(rollout(&sim, "web"), RolloutState::Done, "{}", sim.tail());
}

#[test]
fn a_size_grows_in_place() {
    let mut sim = Simulation::with_nodes(1);
    sim.apply("web", service("serve 0", 2));
    sim.run_for(5);
    sim.change(Change::SizeSet { workload: name("web"), size: size(300, 200), decision: None });
    sim.run_for(2);
    assert!(sim.observed.tasks.values().all(|seen| seen.size == Some(size(300, 200))));
    assert_eq!(states(&sim, "web"), ["web.1 running", "web.2 running"]);
}

#[test]
fn a_size_that_does_not_fit_on_the_node_is_reached_by_replacement() {
    let mut sim = Simulation::with_nodes(2);
    sim.apply("web", service("serve 0", 2));
    sim.run_for(5);
    sim.change(Change::SizeSet { workload: name("web"), size: size(900, 200), decision: None });
    sim.run_for(20);
    assert_eq!(sim.ready("web"), 2);
    let sizes: Vec<_> = sim.world.tasks.values().map(|task| task.size).collect();
    assert_eq!(sizes, [size(900, 200); 2], "{}", sim.tail());
}

#[test]
fn less_memory_is_tried_on_one_instance_first() {
    let mut sim = Simulation::with_nodes(1);
    sim.apply("web", service("hog 40", 2));
    sim.run_for(5);
    sim.change(Change::SizeSet { workload: name("web"), size: size(250, 50), decision: None });
    sim.run_for(30);
    let limits = |sim: &Simulation| -> Vec<_> { sim.world.tasks.values().map(|task| task.size).collect() };
    assert_eq!(limits(&sim), [size(250, 50), size(250, 100)]);
    sim.run_for(40);
    assert_eq!(limits(&sim), [size(250, 50), size(250, 50)], "{}", sim.tail());
    assert_eq!(states(&sim, "web"), ["web.1 running", "web.2 running"]);
}

#[test]
fn a_size_that_kills_the_first_instance_is_taken_back() {
    let mut sim = Simulation::with_nodes(1);
    sim.apply("web", service("hog 80", 2));
    sim.run_for(5);
    sim.change(Change::SizeSet { workload: name("web"), size: size(250, 50), decision: None });
    sim.run_for(20);
    sim.assert_says("had 0.25 cores, 50.0 MiB on trial and failed: OOM: killed");
    assert_eq!(sim.world.workloads[&name("web")].size, None);
    assert_eq!(sim.ready("web"), 2);
    assert!(sim.world.tasks.values().all(|task| task.size == size(250, 100)));
}

#[test]
fn without_resizing_in_place_the_trial_is_a_replacement() {
    let mut sim = Simulation::with_nodes(2);
    sim.cluster.can_resize = false;
    sim.apply("web", service("serve 1", 3));
    sim.run_for(8);
    sim.change(Change::SizeSet { workload: name("web"), size: size(250, 50), decision: None });
    sim.run_for(30);
    let small = |sim: &Simulation| {
        sim.world.tasks.values().filter(|task| task.size == size(250, 50) && task.state.is_active()).count()
    };
    assert_eq!(small(&sim), 1, "{}", sim.tail());
    assert_eq!(sim.ready("web"), 3);
    sim.run_for(90);
    assert_eq!(small(&sim), 3, "{}", sim.tail());
}

#[test]
fn what_does_not_fit_waits_with_a_reason_until_there_is_room() {
    let mut sim = Simulation::with_nodes(1);
    let mut big = service_spec("serve 0", 1);
    big.template.size = size(800, 100);
    sim.apply("web", service("serve 0", 2));
    sim.run_for(4);
    sim.apply("zoo", WorkloadSpec::Service(Box::new(big)));
    sim.run_for(2);
    assert_eq!(sim.plan.waiting[0].reason, "0 of 1 node fits: 1 is short of cpu");
    let pool = PoolName::new("small").expect("a name");
    sim.change(Change::PoolTargetSet { pool, target: 2, decision: None });
    sim.run_for(10);
    assert_eq!(sim.ready("zoo"), 1);
}

#[test]
fn higher_priority_is_placed_first() {
    let mut sim = Simulation::with_nodes(1);
    let spec = |priority| {
        let mut spec = service_spec("serve 0", 1);
        spec.template.size = size(800, 100);
        spec.template.priority = priority;
        WorkloadSpec::Service(Box::new(spec))
    };
    sim.apply("aaa", spec(0));
    sim.apply("zzz", spec(5));
    sim.run_for(3);
    assert_eq!((sim.ready("aaa"), sim.ready("zzz")), (0, 1));
}

#[test]
fn a_pool_shrinks_from_its_least_loaded_node() {
    let mut sim = Simulation::new();
    sim.pool("small", pool_spec(1, 3));
    let pool = PoolName::new("small").expect("a name");
    sim.change(Change::PoolTargetSet { pool: pool.clone(), target: 3, decision: None });
    sim.run_for(7);
    sim.apply("web", service("serve 0", 5));
    sim.run_for(5);
    sim.change(Change::PoolTargetSet { pool, target: 2, decision: None });
    sim.run_for(10);
    sim.assert_says(
        "small-3: pool small is to have 2 nodes, and this is its least loaded one (0 % reserved)",
    );
    assert_eq!(sim.world.nodes.len(), 2);
    assert_eq!(sim.ready("web"), 5);
}

#[test]
fn a_deleted_pool_is_emptied_removed_and_forgotten() {
    let mut sim = Simulation::with_nodes(1);
    sim.pool("other", pool_spec(2, 4));
    sim.apply("web", service("serve 0", 2));
    sim.run_for(8);
    sim.change(Change::PoolDeleted { pool: PoolName::new("small").expect("a name") });
    sim.run_for(30);
    assert_eq!(sim.world.pools.len(), 1, "{}", sim.tail());
    assert!(sim.world.nodes.keys().all(|name| name.as_str().starts_with("other")));
    assert_eq!(sim.ready("web"), 2);
}

#[test]
fn constraints_hold_and_the_reason_names_them() {
    let mut sim = Simulation::with_nodes(1);
    let mut spec = service_spec("serve 0", 1);
    spec.template.placement.constraints = vec![Constraint::is_in("pool", vec!["large".to_owned()])];
    sim.apply("web", WorkloadSpec::Service(Box::new(spec)));
    sim.run_for(3);
    assert_eq!(sim.plan.waiting[0].reason, "0 of 1 node fits: 1 is not pool = large");
}

#[test]
fn after_a_restart_with_the_same_world_nothing_is_started_twice() {
    let mut sim = Simulation::with_nodes(1);
    sim.apply("web", service("serve 0", 3));
    sim.run_for(6);
    let steps = sim.journal.len();
    sim.tick(SignedDuration::from_hours(1));
    assert_eq!(sim.journal.len(), steps, "{}", sim.tail());
    assert!(super::effects(&sim.world, &sim.observed).is_empty());
}

#[test]
fn strays_are_stopped_and_forgotten() {
    let mut sim = Simulation::with_nodes(1);
    sim.apply("web", service("serve 0", 1));
    sim.run_for(5);
    let newer = sim.world.clone();
    sim.world.tasks.clear();
    sim.world.workloads.clear();
    sim.world.nodes.clear();
    sim.world.pools.clear();
    sim.run_for(5);
    assert!(sim.observed.tasks.is_empty() && sim.observed.nodes.is_empty());
    assert_eq!(newer.nodes[&node("small-1")].state, NodeState::Ready);
}

#[test]
fn a_node_that_does_not_join_is_given_up_and_asked_for_again_ever_more_seldom() {
    let mut sim = Simulation::new();
    // Shorter than the five seconds that a node takes to join here.
    sim.settings.join_timeout = seconds(3);
    sim.pool("small", pool_spec(2, 4));
    sim.run_for(600);
    let asked: u64 = sim.world.pools.values().map(|pool| pool.next_node - 1).sum();
    // Waits of 30, 60, 120, 240 and 480 s, each with three seconds of hope, for two nodes each.
    assert!((8..=12).contains(&asked), "{asked} nodes\n{}", sim.tail());
    assert_eq!(sim.plan.alarms.len(), 1);
    assert!(
        sim.plan.alarms[0].message.starts_with("pool small: nodes did not join"),
        "{:?}",
        sim.plan.alarms
    );
    sim.settings.join_timeout = seconds(60);
    sim.run_for(500);
    assert_eq!(sim.world.nodes.len(), 2, "{}", sim.tail());
    assert!(sim.world.pools.values().all(|pool| pool.joins.failures == 0));
    assert!(sim.plan.alarms.is_empty());
}

#[test]
fn an_instance_that_never_gets_ready_is_replaced_in_time_and_backs_off() {
    let mut sim = Simulation::with_nodes(2);
    sim.settings.start_timeout = seconds(20);
    sim.apply("web", service("serve 0", 2));
    sim.run_for(10);
    let mut spec = service_spec("hang", 1);
    spec.rollout.deadline = SignedDuration::from_hours(10);
    spec.rollout.max_failures = 1_000;
    sim.apply("new", WorkloadSpec::Service(Box::new(spec)));
    sim.run_for(22);
    sim.assert_says("it did not become ready within 20s");
    sim.run_for(300);
    let tried = sim.world.workloads[&name("new")].next_task - 1;
    assert!((4..=14).contains(&tried), "{tried} tries\n{}", sim.tail());
    assert!(sim.world.workloads[&name("new")].restart.failures >= 3);
    assert_eq!(states(&sim, "web"), ["web.1 running", "web.2 running"], "others are left alone");
}
