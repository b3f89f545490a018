//! What people do by hand, and how it ends: done, expired, cancelled, overtaken.

use jiff::SignedDuration;

use crate::domain::action::{ActionKey, Switch};
use crate::domain::intent::Intent;
use crate::domain::node::{NodeName, NodeState};
use crate::domain::task::{TaskId, TaskState};
use crate::scheduling::simulation::{Simulation, name, seconds, service};

fn web(count: u32) -> Simulation {
    let mut sim = Simulation::with_nodes(3);
    sim.apply("web", service("serve 1", count));
    sim.run_for(6);
    assert_eq!(sim.ready("web"), count as usize);
    sim
}

fn scale(count: u32, acknowledged: bool, lasting: Option<i64>) -> Intent {
    Intent::Scale { workload: name("web"), count, acknowledged, lasting: lasting.map(seconds) }
}

fn key(text: &str) -> ActionKey {
    text.parse().expect("a key")
}

fn node(text: &str) -> NodeName {
    NodeName::new(text).expect("a name")
}

fn ids(sim: &Simulation) -> Vec<String> {
    sim.in_state("web", TaskState::Running).iter().map(TaskId::to_string).collect()
}

#[test]
fn a_count_for_a_while_goes_back_by_itself() {
    let mut sim = web(3);
    sim.ask("sale", &scale(5, false, Some(60))).expect("a count");
    sim.run_for(50);
    assert_eq!(sim.ready("web"), 5);
    sim.run_for(20);
    assert_eq!(sim.ready("web"), 3);
    assert!(sim.world.actions.is_empty());
    sim.assert_says("(by ann: sale): web goes back from 5 to 3 instances");
}

#[test]
fn a_later_count_overtakes_and_the_way_back_is_to_the_first() {
    let mut sim = web(3);
    sim.ask("", &scale(5, false, Some(60))).expect("a count");
    sim.run_for(5);
    let words = sim.ask("", &scale(4, false, Some(600))).expect("a count");
    assert!(words[0].contains("is overtaken"), "{words:?}");
    sim.run_for(100);
    assert_eq!(sim.ready("web"), 4);
    sim.ask("", &Intent::CancelAction(key("scale/web"))).expect("an action");
    sim.run_for(5);
    assert_eq!(sim.ready("web"), 3);
    let error = sim.ask("", &Intent::CancelAction(key("scale/web"))).unwrap_err();
    assert_eq!(error, "there is no action in force named `scale/web`");
}

#[test]
fn a_drop_of_more_than_half_has_to_be_meant() {
    let mut sim = web(5);
    let error = sim.ask("", &scale(2, false, None)).unwrap_err();
    assert!(error.starts_with("web would go from 5 to 2 instances, a drop of more than half"), "{error}");
    assert!(sim.world.actions.is_empty());
    sim.ask("", &scale(3, false, None)).expect("a small drop");
    sim.ask("", &scale(0, true, None)).expect("a drop that is meant");
    sim.run_for(10);
    assert_eq!(sim.ready("web"), 0);
}

#[test]
fn a_count_by_hand_outlives_a_deploy_but_not_another_declared_count() {
    let mut sim = web(3);
    sim.ask("", &scale(4, false, None)).expect("a count");
    sim.apply("web", service("serve 2", 3));
    sim.run_for(40);
    assert_eq!(sim.ready("web"), 4, "{}", sim.tail());
    sim.apply("web", service("serve 2", 2));
    sim.run_for(10);
    assert_eq!(sim.ready("web"), 2);
    sim.assert_says("the count was changed to 2 since");
    assert!(sim.world.actions.is_empty());
}

#[test]
fn a_pause_stops_all_and_ends_by_itself() {
    let mut sim = web(3);
    sim.ask("migration", &Intent::Pause { workload: name("web"), lasting: Some(seconds(60)) })
        .expect("a service");
    sim.run_for(30);
    assert!(sim.world.tasks.is_empty(), "{}", sim.tail());
    assert_eq!(sim.world.workloads[&name("web")].count, 3);
    sim.run_for(40);
    assert_eq!(sim.ready("web"), 3, "{}", sim.tail());
}

#[test]
fn a_bounce_replaces_all_at_full_capacity_and_is_done() {
    let mut sim = web(3);
    sim.ask("leak", &Intent::Bounce { workload: name("web"), task: None }).expect("a service");
    for _ in 0..30 {
        sim.run_for(1);
        assert!(sim.ready("web") >= 3, "{}", sim.tail());
    }
    assert_eq!(ids(&sim), ["web.4", "web.5", "web.6"], "{}", sim.tail());
    assert!(sim.world.actions.is_empty());
    sim.assert_says("replaces web.1, which is to be bounced (by ann: leak)");
    sim.assert_says("all that were to be bounced are replaced");
}

#[test]
fn a_bounce_is_finite_even_if_the_clock_is_set_back() {
    let mut sim = web(2);
    sim.ask("", &Intent::Bounce { workload: name("web"), task: None }).expect("a service");
    sim.now -= SignedDuration::from_hours(24);
    sim.run_for(3700);
    sim.tick(SignedDuration::from_hours(25));
    sim.run_for(30);
    assert_eq!(ids(&sim), ["web.3", "web.4"], "{}", sim.tail());
}

#[test]
fn one_instance_is_bounced_and_a_cancelled_bounce_stops() {
    let mut sim = web(3);
    let one = Some("web.2".parse().expect("an id"));
    sim.ask("", &Intent::Bounce { workload: name("web"), task: one }).expect("an instance");
    sim.run_for(10);
    assert_eq!(ids(&sim), ["web.1", "web.3", "web.4"]);
    sim.ask("", &Intent::Bounce { workload: name("web"), task: None }).expect("a service");
    sim.run_for(1);
    sim.ask("", &Intent::CancelAction(key("bounce/web"))).expect("an action");
    sim.run_for(20);
    assert_eq!(sim.ready("web"), 3);
    assert!(ids(&sim).contains(&"web.4".to_owned()), "{:?}", ids(&sim));
    let gone = Some("web.2".parse().expect("an id"));
    let error = sim.ask("", &Intent::Bounce { workload: name("web"), task: gone }).unwrap_err();
    assert_eq!(error, "there is no instance named `web.2`");
}

#[test]
fn a_stopped_instance_is_replaced_and_nobody_failed() {
    let mut sim = web(2);
    sim.ask("hangs", &Intent::StopTask("web.1".parse().expect("an id"))).expect("a task");
    sim.run_for(6);
    assert_eq!(ids(&sim), ["web.2", "web.3"], "{}", sim.tail());
    assert_eq!(sim.world.workloads[&name("web")].restart.failures, 0);
}

#[test]
fn a_drain_for_a_while_ends_and_a_freeze_stops_it() {
    let mut sim = web(3);
    let drain = Intent::Drain { node: node("small-1"), lasting: Some(seconds(60)) };
    sim.ask("new kernel", &drain).expect("a node");
    sim.run_for(30);
    let on_it = |sim: &Simulation| sim.world.tasks.values().any(|t| t.node == Some(node("small-1")));
    assert!(!on_it(&sim), "{}", sim.tail());
    assert_eq!(sim.ready("web"), 3);
    sim.run_for(40);
    assert_eq!(sim.world.nodes[&node("small-1")].state, NodeState::Ready);
    assert!(sim.world.actions.is_empty());
    let busy = sim.world.tasks.values().next().and_then(|task| task.node.clone()).expect("a node");
    sim.drain(&busy, false);
    sim.ask("", &Intent::Freeze { switch: Switch::Draining, lasting: None }).expect("a freeze");
    sim.run_for(30);
    assert!(sim.world.tasks.values().any(|task| task.node == Some(busy.clone())), "{}", sim.tail());
    let error = sim.ask("", &Intent::Drain { node: node("small-1"), lasting: None }).unwrap_err();
    assert!(
        error.starts_with("node small-1 is not drained: the switch `draining` is frozen since"),
        "{error}"
    );
    sim.ask("", &Intent::Unfreeze(Switch::Draining)).expect("a freeze");
    sim.run_for(30);
    assert!(!sim.world.tasks.values().any(|task| task.node == Some(busy.clone())), "{}", sim.tail());
}

#[test]
fn actions_end_with_what_they_are_about() {
    let mut sim = web(2);
    sim.ask("", &scale(3, false, Some(600))).expect("a count");
    sim.ask("", &Intent::Pause { workload: name("web"), lasting: None }).expect("a service");
    sim.ask("", &Intent::Drain { node: node("small-1"), lasting: None }).expect("a node");
    sim.ask("", &Intent::Delete(name("web"))).expect("a service");
    sim.fail_node(&node("small-1"));
    sim.run_for(10);
    assert!(sim.world.actions.is_empty(), "{:?}", sim.world.actions);
    assert!(sim.world.workloads.is_empty());
}

#[test]
fn a_freeze_ends_by_itself() {
    let mut sim = web(1);
    let freeze = Intent::Freeze { switch: Switch::Cron, lasting: Some(seconds(30)) };
    sim.ask("", &freeze).expect("a freeze");
    sim.run_for(20);
    assert!(sim.world.frozen(Switch::Cron).is_some());
    sim.run_for(20);
    assert!(sim.world.frozen(Switch::Cron).is_none());
    let error = sim.ask("", &Intent::Freeze { switch: Switch::Cron, lasting: Some(seconds(-1)) });
    assert!(error.is_err());
}

#[test]
fn advice_is_dismissed_for_a_while_scheduled_instead_and_over_once_the_size_is_so() {
    let mut sim = web(2);
    let (workload, size) = (name("web"), crate::domain::sample_specs::size(250, 300));
    let dismiss =
        |lasting| Intent::DismissAdvice { workload: workload.clone(), size, lasting: Some(seconds(lasting)) };
    let schedule = |at| Intent::ScheduleAdvice { workload: workload.clone(), size, at };
    sim.ask("a cache", &dismiss(60)).expect("a dismissal");
    assert!(sim.world.advice_is_settled(&workload));
    sim.run_for(70);
    assert!(sim.world.actions.is_empty(), "{}", sim.tail());

    let past = sim.ask("", &schedule(Some(sim.now))).unwrap_err();
    assert!(past.contains("is past: apply the advice now"), "{past}");
    let far = sim.ask("", &schedule(Some(sim.now + SignedDuration::from_hours(100 * 24)))).unwrap_err();
    assert!(far.contains("ahead"), "{far}");

    sim.ask("", &dismiss(600)).expect("a dismissal");
    let words = sim.ask("at night", &schedule(None)).expect("an appointment");
    assert!(words[0].starts_with("dismiss/web") && words[0].ends_with("is overtaken"), "{words:?}");
    assert_eq!(sim.world.actions.keys().map(ToString::to_string).collect::<Vec<_>>(), ["schedule/web"]);
    sim.run_for(100);
    assert_eq!(sim.ready("web"), 2, "it changes no task by itself: {}", sim.tail());
    sim.ask("", &Intent::Resize { workload, size }).expect("a size");
    sim.run_for(5);
    assert!(sim.world.actions.is_empty(), "{}", sim.tail());
    sim.assert_says("web has got that size");
}

#[test]
fn a_policy_for_the_sizes_of_one_service_lasts_as_said_and_goes_with_it() {
    let mut sim = web(1);
    let workload = name("web");
    let choose = |policy: &str, lasting| Intent::SetSizePolicyOf {
        workload: workload.clone(),
        policy: policy.to_owned(),
        lasting,
    };
    sim.ask("it won", &choose("krr", Some(seconds(60)))).expect("a policy");
    assert_eq!(sim.world.size_policy_of(&workload), Some("krr"));
    sim.run_for(70);
    assert_eq!(sim.world.size_policy_of(&workload), None, "{}", sim.tail());

    sim.ask("", &choose("krr", None)).expect("a policy");
    assert_eq!(sim.ask("", &choose("krr", None)).expect("the same"), Vec::<String>::new());
    let words = sim.ask("", &choose("vpa", None)).expect("another");
    assert!(words[0].ends_with("is overtaken"), "{words:?}");
    sim.ask("", &Intent::CancelAction("size-policy/web".parse().expect("a key"))).expect("undone");
    assert_eq!(sim.world.size_policy_of(&workload), None);

    sim.ask("", &choose("vpa", None)).expect("a policy");
    sim.ask("", &Intent::Delete(workload.clone())).expect("deleted");
    sim.run_for(60);
    assert!(sim.world.actions.is_empty(), "{}", sim.tail());
}
