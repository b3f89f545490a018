//! Rollouts by groups and by a switch, step by step: what each acceptance does, and each way back.

use jiff::SignedDuration;

use crate::domain::action::Switch;
use crate::domain::intent::{Declared, Intent};
use crate::domain::quantity::Share;
use crate::domain::rollout::{Rollout, RolloutState, StageWait};
use crate::domain::strategy::{Acceptance, Comparison, Portion, Strategy};
use crate::domain::task::TaskState;
use crate::domain::workload::WorkloadSpec;
use crate::scheduling::simulation::{Simulation, name, seconds, service_spec};

fn staged(command: &str, instances: u32, strategy: Strategy) -> WorkloadSpec {
    let mut spec = service_spec(command, instances);
    spec.rollout.strategy = strategy;
    WorkloadSpec::Service(Box::new(spec))
}

fn canary(groups: &[Portion], wait: i64, accept: Acceptance) -> Strategy {
    Strategy::Canary { groups: groups.to_vec(), wait: seconds(wait), accept }
}

fn blue_green(wait: i64, accept: Acceptance, hold: i64) -> Strategy {
    Strategy::BlueGreen { wait: seconds(wait), accept, hold: seconds(hold) }
}

fn by_command() -> Acceptance {
    Acceptance::Command { command: vec!["smoke".to_owned(), "test".to_owned()], time_limit: seconds(5) }
}

fn rollout(sim: &Simulation) -> Rollout {
    sim.world.workloads[&name("web")].rollout.clone().expect("a rollout")
}

fn of_revision(sim: &Simulation, revision: u64) -> usize {
    let workload = name("web");
    sim.world.tasks_of(&workload).filter(|t| t.revision == revision && t.state.is_active()).count()
}

/// A service on revision 1, and revision 2 applied by a strategy.
fn deploy(instances: u32, command: &str, strategy: &Strategy) -> Simulation {
    let mut sim = Simulation::with_nodes(4);
    sim.apply("web", staged("serve 0 20", instances, strategy.clone()));
    sim.run_for(8);
    assert_eq!(rollout(&sim).state, RolloutState::Done, "the first revision needs no groups");
    sim.apply("web", staged(command, instances, strategy.clone()));
    sim
}

#[track_caller]
fn run_at_capacity(sim: &mut Simulation, time: i64, capacity: usize) {
    for _ in 0..time {
        sim.run_for(1);
        assert!(sim.ready("web") >= capacity, "{}", sim.tail());
    }
}

#[test]
fn a_canary_goes_group_by_group_in_time() {
    let groups = [Portion::Count(1), Portion::Share(Share::new(0.5))];
    let mut sim = deploy(4, "serve 1 20", &canary(&groups, 30, Acceptance::Time));
    run_at_capacity(&mut sim, 20, 4);
    assert_eq!((of_revision(&sim, 1), of_revision(&sim, 2)), (3, 1), "{}", sim.tail());
    assert!(matches!(rollout(&sim).stage.expect("a stage").waits, StageWait::Time { .. }));
    run_at_capacity(&mut sim, 40, 4);
    assert_eq!((of_revision(&sim, 1), of_revision(&sim, 2)), (2, 2), "{}", sim.tail());
    run_at_capacity(&mut sim, 60, 4);
    assert_eq!((of_revision(&sim, 1), of_revision(&sim, 2)), (0, 4), "{}", sim.tail());
    assert_eq!(rollout(&sim).state, RolloutState::Done);
    sim.assert_says("group 1 of 2 is accepted, its instances were ready for 30s; group 2 of 2: 2 instances");
}

#[test]
fn a_canary_without_acceptance_goes_on_as_soon_as_it_is_ready() {
    let mut sim = deploy(3, "serve 1 20", &canary(&[Portion::Count(1)], 60, Acceptance::Ready));
    run_at_capacity(&mut sim, 30, 3);
    assert_eq!(rollout(&sim).state, RolloutState::Done, "{}", sim.tail());
}

#[test]
fn a_canary_of_a_single_instance_has_the_old_one_beside_it() {
    let mut sim = deploy(1, "serve 0 21", &canary(&[Portion::Count(1)], 10, Acceptance::Time));
    run_at_capacity(&mut sim, 8, 1);
    assert_eq!((of_revision(&sim, 1), of_revision(&sim, 2)), (1, 1), "{}", sim.tail());
    run_at_capacity(&mut sim, 20, 1);
    assert_eq!(rollout(&sim).state, RolloutState::Done, "{}", sim.tail());
}

#[test]
fn a_slower_revision_is_taken_back_by_its_metric() {
    let accept = Acceptance::Metric(Comparison::default());
    let mut sim = deploy(3, "serve 0 60", &canary(&[Portion::Count(1)], 20, accept));
    run_at_capacity(&mut sim, 40, 3);
    let RolloutState::RolledBack { reason } = rollout(&sim).state else { panic!("{}", sim.tail()) };
    assert!(reason.starts_with("group 1 of 1 was refused: p95 latency"), "{reason}");
    assert_eq!((of_revision(&sim, 1), of_revision(&sim, 2)), (3, 0));
    let verdict = rollout(&sim).stage.and_then(|stage| stage.verdict).expect("a verdict");
    assert!(verdict.contains("ms, before") && verdict.contains("at most 1.5 times"), "{verdict}");
}

#[test]
fn an_equal_revision_is_accepted_by_its_metric() {
    let accept = Acceptance::Metric(Comparison::default());
    let mut sim = deploy(3, "serve 0 21", &canary(&[Portion::Count(1)], 20, accept));
    run_at_capacity(&mut sim, 40, 3);
    assert_eq!(rollout(&sim).state, RolloutState::Done, "{}", sim.tail());
    sim.assert_says("group 1 of 1 is accepted, it answers about as well (errors 0.0 %");
}

#[test]
fn errors_take_a_revision_back_before_the_wait_is_over() {
    let accept = Acceptance::Metric(Comparison::default());
    let mut sim = deploy(3, "serve 0 20 30", &canary(&[Portion::Count(1)], 600, accept));
    run_at_capacity(&mut sim, 15, 3);
    let RolloutState::RolledBack { reason } = rollout(&sim).state else { panic!("{}", sim.tail()) };
    assert!(reason.contains("errors 30.0 %, before 0.0 %"), "{reason}");
}

#[test]
fn without_requests_a_comparison_waits_and_gives_up_in_the_end() {
    let accept = Acceptance::Metric(Comparison::default());
    let mut sim = deploy(3, "serve 0 60", &canary(&[Portion::Count(1)], 20, accept));
    sim.judges.rate = 0;
    run_at_capacity(&mut sim, 60, 3);
    assert_eq!(rollout(&sim).state, RolloutState::InProgress);
    sim.assert_says("group 1 of 1 waits until each revision has answered 100 requests");
    run_at_capacity(&mut sim, 120, 3);
    let RolloutState::RolledBack { reason } = rollout(&sim).state else { panic!("{}", sim.tail()) };
    assert!(reason.contains("could not be judged within 2m: too few requests"), "{reason}");
}

#[test]
fn a_command_accepts_or_refuses() {
    for accepts in [true, false] {
        let mut sim = deploy(3, "serve 0 21", &canary(&[Portion::Count(1)], 10, by_command()));
        run_at_capacity(&mut sim, 30, 3);
        assert_eq!(rollout(&sim).state, RolloutState::InProgress, "nobody has judged it");
        sim.judges.command_accepts = Some(accepts);
        run_at_capacity(&mut sim, 30, 3);
        assert_eq!(sim.judges.commands_run, 1);
        match rollout(&sim).state {
            RolloutState::Done => assert!(accepts),
            RolloutState::RolledBack { reason } => {
                assert!(!accepts);
                assert_eq!(reason, "group 1 of 1 was refused: smoke test ended");
            }
            state => panic!("{state:?}\n{}", sim.tail()),
        }
    }
}

#[test]
fn a_manual_canary_waits_to_be_let_on() {
    let groups = [Portion::Count(1), Portion::Count(2)];
    let mut sim = deploy(3, "serve 0 21", &canary(&groups, 0, Acceptance::Manual));
    run_at_capacity(&mut sim, 300, 3);
    assert_eq!((of_revision(&sim, 1), of_revision(&sim, 2)), (2, 1), "{}", sim.tail());
    for _ in 0..2 {
        sim.ask("looks well", &Intent::AdvanceRollout(name("web"))).expect("it waits");
        run_at_capacity(&mut sim, 20, 3);
    }
    assert_eq!(rollout(&sim).state, RolloutState::Done, "{}", sim.tail());
    let answer = sim.ask("again", &Intent::AdvanceRollout(name("web")));
    assert_eq!(answer.unwrap_err(), "no rollout of web is under way: it is on revision 2");
}

#[test]
fn an_aborted_rollout_goes_back_and_says_who() {
    let mut sim = deploy(3, "serve 0 21", &canary(&[Portion::Count(1)], 0, Acceptance::Manual));
    run_at_capacity(&mut sim, 20, 3);
    sim.ask("odd graphs", &Intent::AbortRollout(name("web"))).expect("a rollout");
    run_at_capacity(&mut sim, 20, 3);
    let reason = "aborted by ann: odd graphs".to_owned();
    assert_eq!(rollout(&sim).state, RolloutState::RolledBack { reason });
    assert_eq!((of_revision(&sim, 1), of_revision(&sim, 2)), (3, 0));
}

#[test]
fn failures_and_the_deadline_take_a_canary_back() {
    for (command, time, says) in
        [("crash 0", 60, "3 tasks of revision 2 failed"), ("hang", 130, "no instance")]
    {
        let mut sim = deploy(3, command, &canary(&[Portion::Count(1)], 10, Acceptance::Time));
        run_at_capacity(&mut sim, time, 3);
        let RolloutState::RolledBack { reason } = rollout(&sim).state else { panic!("{}", sim.tail()) };
        assert!(reason.contains(says), "{reason}");
    }
}

#[test]
fn an_old_instance_that_dies_during_a_canary_is_made_good_by_the_old_revision() {
    let mut sim = deploy(3, "serve 0 21", &canary(&[Portion::Count(1)], 60, Acceptance::Time));
    sim.run_for(10);
    sim.kill(&"web.3".parse().expect("an id"));
    sim.kill(&"web.2".parse().expect("an id"));
    sim.run_for(10);
    assert_eq!((of_revision(&sim, 1), of_revision(&sim, 2)), (2, 1), "{}", sim.tail());
    assert_eq!(sim.ready("web"), 3);
}

#[test]
fn a_watched_group_may_take_longer_than_the_deadline() {
    let groups = [Portion::Count(1), Portion::Count(2)];
    let mut sim = deploy(3, "serve 5 20", &canary(&groups, 400, Acceptance::Time));
    run_at_capacity(&mut sim, 900, 3);
    assert_eq!(rollout(&sim).state, RolloutState::Done, "{}", sim.tail());
}

/// Instances of each revision that the front door sends to.
fn in_door(sim: &Simulation) -> (usize, usize) {
    let workload = &sim.world.workloads[&name("web")];
    let serves = |revision| {
        let tasks = sim.world.tasks_of(&workload.name);
        tasks
            .filter(|t| t.revision == revision && t.state == TaskState::Running && workload.takes_traffic(t))
            .count()
    };
    (serves(1), serves(2))
}

#[test]
fn blue_green_switches_at_once_and_holds_the_old_ones() {
    let mut sim = deploy(3, "serve 3 20", &blue_green(10, Acceptance::Time, 30));
    let mut seen = Vec::new();
    for _ in 0..70 {
        run_at_capacity(&mut sim, 1, 3);
        let doors = in_door(&sim);
        if seen.last() != Some(&doors) {
            seen.push(doors);
        }
    }
    assert_eq!(seen, [(3, 0), (0, 3)], "{}", sim.tail());
    assert_eq!(rollout(&sim).state, RolloutState::Done);
    assert_eq!(of_revision(&sim, 1), 0);
    sim.assert_says("all requests go to revision 2 now, the old instances stay for 30s");
    sim.assert_says("the time for an instant return is over: the old instances go");
}

#[test]
fn a_return_within_the_hold_is_instant() {
    let mut sim = deploy(3, "serve 3 20", &blue_green(0, Acceptance::Ready, 60));
    run_at_capacity(&mut sim, 20, 3);
    assert_eq!(in_door(&sim), (0, 3), "{}", sim.tail());
    let before = sim.in_state("web", TaskState::Running);
    sim.ask("", &Intent::AbortRollout(name("web"))).expect("a rollout");
    sim.look();
    assert_eq!(in_door(&sim), (3, 0), "{}", sim.tail());
    run_at_capacity(&mut sim, 20, 3);
    assert_eq!(sim.in_state("web", TaskState::Running), before[..3], "the old ones were never stopped");
}

#[test]
fn blue_green_is_not_switched_before_a_command_accepts_and_not_at_all_if_it_fails() {
    let mut sim = deploy(3, "serve 3 20", &blue_green(0, by_command(), 0));
    run_at_capacity(&mut sim, 30, 3);
    assert_eq!(in_door(&sim), (3, 0));
    assert_eq!(of_revision(&sim, 2), 3);
    sim.judges.command_accepts = Some(false);
    run_at_capacity(&mut sim, 20, 3);
    assert_eq!((in_door(&sim), of_revision(&sim, 2)), ((3, 0), 0), "{}", sim.tail());
    assert!(matches!(rollout(&sim).state, RolloutState::RolledBack { .. }));
}

#[test]
fn a_newer_revision_during_the_hold_comes_from_the_one_that_was_switched_to() {
    let strategy = blue_green(0, Acceptance::Ready, 600);
    let mut sim = deploy(3, "serve 3 20", &strategy);
    run_at_capacity(&mut sim, 20, 3);
    sim.apply("web", staged("serve 1 20", 3, strategy));
    assert_eq!(rollout(&sim).from, Some(2));
    run_at_capacity(&mut sim, 30, 3);
    assert_eq!(
        (of_revision(&sim, 1), of_revision(&sim, 2), of_revision(&sim, 3)),
        (0, 3, 3),
        "{}",
        sim.tail()
    );
}

#[test]
fn another_strategy_is_for_the_next_rollout() {
    let mut sim = deploy(3, "serve 3 20", &Strategy::Rolling);
    sim.run_for(7);
    assert_eq!(of_revision(&sim, 2), 2, "{}", sim.tail());
    sim.apply("web", staged("serve 3 20", 3, blue_green(0, Acceptance::Ready, 0)));
    run_at_capacity(&mut sim, 30, 3);
    assert_eq!(rollout(&sim).state, RolloutState::Done, "{}", sim.tail());
}

fn declared(spec: WorkloadSpec) -> Intent {
    let mut declared = Declared::default();
    declared.workloads.insert(name("web"), spec);
    Intent::Apply(Box::new(declared))
}

#[test]
fn frozen_deploys_refuse_revisions_and_stop_rollouts() {
    let strategy = canary(&[Portion::Count(1)], 10, Acceptance::Time);
    let mut sim = deploy(3, "serve 0 21", &strategy);
    run_at_capacity(&mut sim, 5, 3);
    sim.ask("incident 7", &Intent::Freeze { switch: Switch::Deploys, lasting: None }).expect("a freeze");
    run_at_capacity(&mut sim, 300, 3);
    assert_eq!((of_revision(&sim, 1), of_revision(&sim, 2)), (2, 1), "{}", sim.tail());
    let error = sim.ask("", &declared(staged("serve 9", 3, strategy.clone()))).unwrap_err();
    assert!(error.starts_with("web stays on revision 2: the switch `deploys` is frozen since"), "{error}");
    assert!(error.contains("by ann: incident 7; `loadline unfreeze deploys` lifts it"), "{error}");
    let same = staged("serve 0 21", 2, strategy);
    assert!(sim.ask("", &declared(same)).is_ok(), "what needs no new revision is no deploy");
    sim.ask("", &Intent::Unfreeze(Switch::Deploys)).expect("a freeze");
    run_at_capacity(&mut sim, 30, 2);
    assert_eq!(rollout(&sim).state, RolloutState::Done, "{}", sim.tail());
}

#[test]
fn a_frozen_rolling_deploy_keeps_its_mix_and_still_rolls_back_by_failure() {
    let mut sim = deploy(4, "serve 3 20", &Strategy::Rolling);
    sim.run_for(9);
    sim.ask("", &Intent::Freeze { switch: Switch::Deploys, lasting: None }).expect("a freeze");
    run_at_capacity(&mut sim, 30, 4);
    let mix = (of_revision(&sim, 1), of_revision(&sim, 2));
    assert!(mix.0 > 0 && mix.1 > 0 && mix.0 + mix.1 == 4, "{mix:?}\n{}", sim.tail());
    run_at_capacity(&mut sim, 300, 4);
    assert_eq!((of_revision(&sim, 1), of_revision(&sim, 2)), mix, "{}", sim.tail());
    let workload = name("web");
    for _ in 0..3 {
        let new = sim.world.tasks_of(&workload).find(|t| t.revision == 2 && t.state == TaskState::Running);
        if let Some(id) = new.map(|task| task.id.clone()) {
            sim.kill(&id);
            sim.run_for(20);
        }
    }
    assert_eq!((of_revision(&sim, 1), of_revision(&sim, 2)), (4, 0), "{}", sim.tail());
}

#[test]
fn a_rollback_runs_what_ran_before_and_leaves_the_count() {
    let mut sim = deploy(3, "serve 1 20", &Strategy::Rolling);
    run_at_capacity(&mut sim, 30, 3);
    sim.ask("", &Intent::Scale { workload: name("web"), count: 4, acknowledged: false, lasting: None })
        .expect("a count");
    sim.run_for(5);
    let words = sim.ask("", &Intent::Rollback { workload: name("web"), to: None }).expect("a revision");
    assert_eq!(words, ["service web gets revision 3: what ran at revision 1"]);
    run_at_capacity(&mut sim, 30, 4);
    let workload = &sim.world.workloads[&name("web")];
    assert_eq!(workload.spec.template().command, ["serve", "0", "20"]);
    assert_eq!((workload.count, workload.revision), (4, 3));
    for (to, says) in [
        (Some(3), "web is on revision 3 already; known are 1, 2"),
        (Some(9), "revision 9 of web is not known; known are 1, 2"),
        (Some(1), "revision 1 of web runs the same as revision 3"),
    ] {
        let error = sim.ask("", &Intent::Rollback { workload: name("web"), to }).unwrap_err();
        assert_eq!(error, says);
    }
}

#[test]
fn a_rollback_without_an_earlier_revision_is_refused() {
    let mut sim = Simulation::with_nodes(1);
    sim.apply("web", staged("serve 0", 1, Strategy::Rolling));
    sim.run_for(5);
    let error = sim.ask("", &Intent::Rollback { workload: name("web"), to: None }).unwrap_err();
    assert_eq!(error, "web has no revision before 1 that was healthy; none other is known");
}

#[test]
fn what_was_taken_back_is_tried_again_and_says_so() {
    let mut sim = deploy(3, "crash 0", &Strategy::Rolling);
    run_at_capacity(&mut sim, 60, 3);
    let words = sim.ask("", &declared(staged("crash 0", 3, Strategy::Rolling))).expect("a change");
    assert_eq!(words.len(), 1);
    assert!(
        words[0]
            .starts_with("service web gets revision 3: revision 2 once more, which was taken back: 3 tasks"),
        "{words:?}"
    );
}

#[test]
fn a_paused_rollout_goes_on_when_it_is_resumed() {
    let mut sim = deploy(3, "serve 1 20", &canary(&[Portion::Count(1)], 10, Acceptance::Time));
    sim.run_for(4);
    sim.ask("", &Intent::Pause { workload: name("web"), lasting: None }).expect("a service");
    sim.run_for(10);
    assert!(sim.world.tasks.is_empty(), "{}", sim.tail());
    sim.tick(SignedDuration::from_hours(1));
    sim.ask("", &Intent::Resume(name("web"))).expect("a service");
    sim.run_for(8);
    assert_eq!((of_revision(&sim, 1), of_revision(&sim, 2)), (2, 1), "{}", sim.tail());
    sim.run_for(40);
    assert_eq!((rollout(&sim).state, of_revision(&sim, 2)), (RolloutState::Done, 3), "{}", sim.tail());
}
