//! What the scheduler does with runs of cron jobs and jobs, and with what is deleted: stories, as in
//! `scenarios`.

use jiff::SignedDuration;

use crate::domain::change::Change;
use crate::domain::task::TaskState;
use crate::domain::workload::{OverlapPolicy, WorkloadSpec};
use crate::domain::world::{RunKey, RunOutcome};
use crate::scheduling::simulation::{Simulation, cron, job, name, seconds, service};

#[test]
fn a_deleted_workload_leaves_nothing() {
    let mut sim = Simulation::with_nodes(1);
    sim.apply("web", service("serve 0", 2));
    sim.apply("tidy", cron("work 60", "*/20 * * * * *", OverlapPolicy::Forbid));
    sim.run_for(25);
    sim.change(Change::WorkloadDeleted { workload: name("web") });
    sim.change(Change::WorkloadDeleted { workload: name("tidy") });
    sim.run_for(5);
    assert!(sim.world.tasks.is_empty() && sim.world.workloads.is_empty(), "{}", sim.tail());
    assert!(sim.observed.tasks.is_empty());
    assert!(sim.outcomes("tidy").contains(&"20 cancelled".to_owned()), "{:?}", sim.outcomes("tidy"));
    assert!(sim.world.runs.is_empty());
}

#[test]
fn a_name_can_become_another_kind() {
    let mut sim = Simulation::with_nodes(1);
    sim.apply("web", service("serve 0", 2));
    sim.run_for(5);
    sim.apply("web", WorkloadSpec::Job(Box::new(job("work 3", true, 0))));
    sim.run_for(8);
    assert!(sim.world.tasks.is_empty(), "{}", sim.tail());
    assert_eq!(sim.world.runs.values().map(|run| run.outcome.as_str()).collect::<Vec<_>>(), ["succeeded"]);
}

#[test]
fn cron_occurrences_run_in_time_and_overlaps_are_skipped() {
    let mut sim = Simulation::with_nodes(1);
    sim.apply("tidy", cron("work 30", "*/20 * * * * *", OverlapPolicy::Forbid));
    sim.run_for(100);
    assert_eq!(
        sim.outcomes("tidy"),
        ["20 succeeded", "40 skipped", "60 succeeded", "80 skipped", "100 active"]
    );
}

#[test]
fn cron_replaces_the_old_run_before_the_new_one_starts() {
    let mut sim = Simulation::with_nodes(1);
    sim.apply("tidy", cron("work 30", "*/20 * * * * *", OverlapPolicy::Replace));
    for _ in 0..60 {
        sim.run_for(1);
        assert!(sim.world.tasks_of(&name("tidy")).count() <= 1);
    }
    assert_eq!(sim.outcomes("tidy"), ["20 cancelled", "40 cancelled", "60 active"]);
    sim.assert_says("replaced by the run of 2026-11-22T10:00:40Z");
}

#[test]
fn cron_lets_runs_overlap_where_allowed() {
    let mut sim = Simulation::with_nodes(1);
    sim.apply("tidy", cron("work 30", "*/20 * * * * *", OverlapPolicy::Allow));
    sim.run_for(38);
    assert_eq!(sim.in_state("tidy", TaskState::Running).len(), 2);
}

#[test]
fn after_an_outage_only_the_newest_occurrence_starts_and_the_past_of_a_new_job_does_not_count() {
    let mut sim = Simulation::with_nodes(1);
    sim.apply("tidy", cron("work 3", "0 * * * * *", OverlapPolicy::Forbid));
    sim.tick(SignedDuration::from_secs(4 * 60 + 5));
    sim.run_for(10);
    assert_eq!(sim.outcomes("tidy"), ["60 missed", "120 missed", "180 missed", "240 succeeded"]);
    sim.tick(SignedDuration::from_secs(60 + 30));
    assert_eq!(sim.outcomes("tidy").last().map(String::as_str), Some("300 missed"));
}

#[test]
fn an_occurrence_that_finds_no_room_in_time_is_missed() {
    let mut sim = Simulation::new();
    sim.apply("tidy", cron("work 3", "0 * * * * *", OverlapPolicy::Forbid));
    sim.run_for(100);
    assert_eq!(sim.outcomes("tidy"), ["60 missed"]);
    sim.assert_says("no node had room for it within 30s");
}

#[test]
fn a_job_runs_once_for_each_revision_and_when_asked_for() {
    let mut sim = Simulation::with_nodes(1);
    sim.apply("load", WorkloadSpec::Job(Box::new(job("work 2", true, 0))));
    sim.run_for(5);
    sim.apply("load", WorkloadSpec::Job(Box::new(job("work 2", true, 0))));
    sim.run_for(5);
    sim.apply("load", WorkloadSpec::Job(Box::new(job("work 1", true, 0))));
    sim.run_for(5);
    let run = RunKey { workload: name("load"), at: sim.now };
    sim.change(Change::RunOpened { run, manual: true, order: Box::default() });
    sim.run_for(5);
    assert_eq!(sim.outcomes("load"), ["7 succeeded", "17 succeeded", "22 succeeded"]);
}

#[test]
fn a_run_is_retried_after_its_backoff_and_closed_once() {
    let mut sim = Simulation::with_nodes(1);
    sim.apply("load", WorkloadSpec::Job(Box::new(job("fail 1", true, 2))));
    sim.run_for(30);
    let (_, outcomes) = sim.runs.values().next().expect("a run");
    assert_eq!(*outcomes, [RunOutcome::Failed { reason: "exit status 1 (3 tries)".to_owned() }]);
    sim.assert_says("retry 2 of 2, exit status 1, waits 4s");
}

#[test]
fn a_lost_try_is_repeated_at_once_and_counts() {
    let mut sim = Simulation::with_nodes(2);
    sim.apply("load", WorkloadSpec::Job(Box::new(job("work 5", true, 1))));
    sim.run_for(3);
    let lost = sim.world.tasks.values().next().and_then(|task| task.node.clone()).expect("a node");
    sim.fail_node(&lost);
    sim.run_for(10);
    assert_eq!(sim.outcomes("load"), ["7 succeeded"]);
    sim.assert_says("retry 1 of 1, its node small-1 is lost, waits 0s");
}

/// Both are seen at the same look.
#[test]
fn a_try_that_ended_well_before_its_node_was_lost_is_not_repeated() {
    let mut sim = Simulation::with_nodes(2);
    sim.apply("load", WorkloadSpec::Job(Box::new(job("work 5", true, 1))));
    sim.run_for(3);
    let lost = sim.world.tasks.values().next().and_then(|task| task.node.clone()).expect("a node");
    sim.fail_node_later(&lost, seconds(6));
    sim.run_for(10);
    assert_eq!(sim.outcomes("load"), ["7 succeeded"]);
    assert!(!sim.journal.iter().any(|line| line.contains("retry")), "{}", sim.tail());
}

#[test]
fn a_run_over_its_time_limit_is_stopped_and_has_failed() {
    let mut sim = Simulation::with_nodes(1);
    let mut spec = job("work 60", true, 0);
    spec.run.time_limit = Some(seconds(5));
    sim.apply("load", WorkloadSpec::Job(Box::new(spec)));
    sim.run_for(12);
    assert_eq!(sim.outcomes("load"), ["7 failed"]);
    sim.assert_says("it ran longer than its time limit of 5s (1 try)");
}
