//! Runs of several tasks, after others, by hand with other arguments, with more memory, too long: stories,
//! as in `scenarios`.

use std::collections::BTreeMap;

use crate::domain::intent::{Declared, Intent, RunOverrides};
use crate::domain::quantity::Bytes;
use crate::domain::task::TaskState;
use crate::domain::workload::{EnvValue, JobSpec, OomRetry, OverlapPolicy, WorkloadName, WorkloadSpec};
use crate::domain::world::{RunKey, RunOutcome};
use crate::scheduling::simulation::{Simulation, cron, job, name, seconds, size};
use crate::scheduling::{DURATIONS_NEEDED, launching};

fn apply(sim: &mut Simulation, workload: &str, spec: JobSpec) {
    sim.apply(workload, WorkloadSpec::Job(Box::new(spec)));
}

fn run(sim: &mut Simulation, workload: &str, overrides: RunOverrides) {
    let overrides = Box::new(overrides);
    sim.ask("", &Intent::Run { workload: name(workload), overrides }).expect("a run");
}

fn words(sim: &Simulation, workload: &str) -> Vec<&'static str> {
    let own = sim.runs.iter().filter(|(key, _)| key.workload == name(workload));
    own.map(|(_, (_, ends))| ends.last().map_or("active", RunOutcome::as_str)).collect()
}

fn after(command: &str, upstream: &[&str]) -> JobSpec {
    let mut spec = job(command, false, 0);
    spec.run.after = upstream.iter().map(|one| name(one)).collect();
    spec
}

#[test]
fn a_run_of_several_tasks_ends_when_all_have() {
    let mut sim = Simulation::with_nodes(2);
    let mut spec = job("work 5", true, 1);
    spec.run.count = 5;
    spec.run.max_parallel = Some(2);
    apply(&mut sim, "load", spec);
    let mut indices = Vec::new();
    for second in 0..40 {
        sim.run_for(1);
        if second == 2 {
            sim.kill(&sim.in_state("load", TaskState::Running)[0].clone());
        }
        let tasks: Vec<_> = sim.world.tasks_of(&name("load")).cloned().collect();
        assert!(tasks.len() <= 2, "{}", sim.tail());
        indices.extend(tasks.iter().map(|task| (task.index(), task.attempt())));
    }
    indices.sort_unstable();
    indices.dedup();
    assert_eq!(indices, [(0, 0), (0, 1), (1, 0), (2, 0), (3, 0), (4, 0)], "only the killed one is retried");
    assert_eq!(words(&sim, "load"), ["succeeded"]);
    assert_eq!(sim.world.runs.values().next().expect("a run").tasks.len(), 6);
    sim.assert_says("all 5 tasks ended with status 0");
}

#[test]
fn one_task_without_tries_left_fails_the_run() {
    let mut sim = Simulation::with_nodes(2);
    let mut spec = job("work 50", true, 1);
    spec.run.count = 3;
    apply(&mut sim, "load", spec);
    for _ in 0..2 {
        sim.run_for(8);
        let victim = sim.world.tasks.values().find(|task| task.index() == 1).expect("a task").id.clone();
        sim.kill(&victim);
    }
    sim.run_for(5);
    assert_eq!(words(&sim, "load"), ["failed"]);
    assert!(sim.world.tasks.is_empty(), "the others are stopped\n{}", sim.tail());
    sim.assert_says("task 1: killed by signal 9 (2 tries)");
}

#[test]
fn a_job_runs_once_each_of_those_before_it_has_succeeded() {
    let mut sim = Simulation::with_nodes(2);
    apply(&mut sim, "a", job("work 2", false, 0));
    apply(&mut sim, "b", job("work 2", false, 0));
    apply(&mut sim, "c", after("work 2", &["a", "b"]));
    apply(&mut sim, "d", after("work 2", &["c"]));
    sim.run_for(3);
    run(&mut sim, "a", RunOverrides::default());
    sim.run_for(5);
    assert_eq!(words(&sim, "c"), [""; 0], "b has not run");
    run(&mut sim, "b", RunOverrides::default());
    sim.run_for(10);
    assert_eq!((words(&sim, "c"), words(&sim, "d")), (vec!["succeeded"], vec!["succeeded"]));
    run(&mut sim, "b", RunOverrides::default());
    sim.run_for(10);
    assert_eq!(words(&sim, "c").len(), 1, "a has not succeeded again");
    let fails = RunOverrides { args: Some(vec!["3".to_owned()]), ..RunOverrides::default() };
    apply(&mut sim, "a", job("fail 1", false, 0));
    run(&mut sim, "a", fails);
    sim.run_for(10);
    assert_eq!((words(&sim, "a"), words(&sim, "c").len()), (vec!["succeeded", "failed"], 1));
    apply(&mut sim, "a", job("work 1", false, 0));
    run(&mut sim, "a", RunOverrides::default());
    sim.run_for(10);
    assert_eq!((words(&sim, "c").len(), words(&sim, "d").len()), (2, 2), "{}", sim.tail());
}

#[test]
fn an_occurrence_waits_for_what_it_comes_after_up_to_its_deadline() {
    let mut sim = Simulation::with_nodes(2);
    apply(&mut sim, "load", job("work 2", false, 0));
    let WorkloadSpec::CronJob(mut tidy) = cron("work 3", "0 * * * * *", OverlapPolicy::Forbid) else {
        unreachable!("a cron job")
    };
    tidy.run.after = vec![name("load")];
    sim.apply("tidy", WorkloadSpec::CronJob(tidy));
    sim.run_for(70);
    assert_eq!(sim.outcomes("tidy"), ["60 active"]);
    run(&mut sim, "load", RunOverrides::default());
    sim.run_for(20);
    assert_eq!(sim.outcomes("tidy"), ["60 succeeded"]);
    sim.run_for(60);
    assert_eq!(sim.outcomes("tidy"), ["60 succeeded", "120 missed"]);
    sim.assert_says("load has not succeeded since 2026-11-22T10:01:");
    let alarm = sim.plan.alarms.first().expect("an alarm");
    assert_eq!((alarm.kind.as_str(), alarm.workload.as_ref()), ("overdue run", Some(&name("tidy"))));
}

fn declare(all: &[(&str, WorkloadSpec)]) -> Intent {
    let workloads: BTreeMap<WorkloadName, WorkloadSpec> =
        all.iter().map(|(key, spec)| (name(key), spec.clone())).collect();
    Intent::Apply(Box::new(Declared { workloads, ..Declared::default() }))
}

#[test]
fn circles_and_unknown_names_are_refused() {
    let spec = |upstream: &[&str]| WorkloadSpec::Job(Box::new(after("work 2", upstream)));
    let mut sim = Simulation::with_nodes(1);
    let mut refused = |all: &[(&str, WorkloadSpec)]| sim.ask("", &declare(all)).expect_err("refused");
    let unknown = refused(&[("a", spec(&["x"]))]);
    assert!(unknown.contains("a comes after x, which does not exist"), "{unknown}");
    let itself = refused(&[("a", spec(&["a"]))]);
    assert!(itself.contains("a would wait for itself: a after a"), "{itself}");
    let circle = refused(&[("a", spec(&["b"])), ("b", spec(&["c"])), ("c", spec(&["a"]))]);
    assert!(circle.contains("a would wait for itself: a after b after c after a"), "{circle}");
    let web = crate::scheduling::simulation::service("serve 0", 1);
    let service = refused(&[("a", spec(&["web"])), ("web", web)]);
    assert!(service.contains("which is a service and never ends"), "{service}");
    sim.ask("", &declare(&[("a", spec(&[])), ("b", spec(&["a"]))])).expect("applied");
    let awaited = sim.ask("", &Intent::Delete(name("a"))).expect_err("refused");
    assert!(awaited.contains("b comes after a"), "{awaited}");
    let late = sim.ask("", &declare(&[("a", spec(&["b"]))])).expect_err("refused");
    assert!(late.contains("a would wait for itself"), "{late}");
}

#[test]
fn runs_at_once_are_bounded_and_the_older_ones_go_first() {
    let mut sim = Simulation::with_nodes(2);
    let mut spec = job("work 5", false, 0);
    spec.run.concurrency = Some(2);
    apply(&mut sim, "load", spec);
    for _ in 0..5 {
        run(&mut sim, "load", RunOverrides::default());
        sim.run_for(1);
        assert!(sim.world.tasks.len() <= 2);
    }
    assert_eq!(words(&sim, "load"), ["active"; 5]);
    for _ in 0..25 {
        sim.run_for(1);
        assert!(sim.world.tasks.len() <= 2, "{}", sim.tail());
    }
    assert_eq!(words(&sim, "load"), ["succeeded"; 5]);
}

#[test]
fn a_run_has_what_it_was_asked_with() {
    let mut sim = Simulation::with_nodes(2);
    apply(&mut sim, "load", job("work 60", false, 0));
    let overrides = RunOverrides {
        args: Some(vec!["2".to_owned()]),
        env: BTreeMap::from([("DAY".to_owned(), EnvValue::Plain("monday".to_owned()))]),
        size: Some(size(300, 200)),
    };
    let asked = sim.now;
    run(&mut sim, "load", overrides.clone());
    sim.run_for(1);
    let task = sim.world.tasks.values().next().expect("a task");
    assert_eq!(task.size, size(300, 200));
    let template = launching::template(&sim.world, task).expect("a template");
    assert_eq!(template.command, ["work", "2"]);
    let env = |key: &str| template.env.get(key).cloned();
    let plain = |text: &str| Some(EnvValue::Plain(text.to_owned()));
    assert_eq!((env("DAY"), env("LOADLINE_RUN")), (plain("monday"), plain(&asked.to_string())));
    assert_eq!((env("LOADLINE_INDEX"), env("LOADLINE_COUNT")), (plain("0"), plain("1")));
    assert_eq!(env("LOADLINE_ATTEMPT"), plain("0"));
    sim.run_for(5);
    assert_eq!(words(&sim, "load"), ["succeeded"]);
    let kept = sim.world.runs.values().next().expect("a run").clone();
    assert_eq!(kept.order.overrides, overrides, "they can be used again");
    assert_eq!(sim.world.workloads[&name("load")].jobs.took, [], "other arguments teach nothing");
    let env = BTreeMap::from([("LOADLINE_INDEX".to_owned(), EnvValue::Plain("9".to_owned()))]);
    let overrides = Box::new(RunOverrides { env, ..RunOverrides::default() });
    let refused = sim.ask("", &Intent::Run { workload: name("load"), overrides });
    assert!(refused.expect_err("refused").contains("`LOADLINE_INDEX` cannot be set"));
}

#[test]
fn a_run_is_cancelled_with_its_tasks_and_once() {
    let mut sim = Simulation::with_nodes(2);
    apply(&mut sim, "load", job("work 60", false, 3));
    let at = sim.now;
    run(&mut sim, "load", RunOverrides::default());
    sim.run_for(3);
    let cancel = Intent::CancelRun(RunKey { workload: name("load"), at });
    sim.ask("", &cancel).expect("cancelled");
    sim.run_for(5);
    assert_eq!(words(&sim, "load"), ["cancelled"]);
    assert!(sim.world.tasks.is_empty(), "{}", sim.tail());
    assert!(sim.ask("", &cancel).expect_err("refused").contains("has cancelled"));
}

#[test]
fn a_retry_after_oom_gets_more_memory_up_to_its_bound() {
    let mut sim = Simulation::with_nodes(1);
    let mut spec = job("hog 70", true, 3);
    spec.template.size = size(250, 40);
    apply(&mut sim, "load", spec.clone());
    sim.run_for(30);
    let task = sim.world.tasks.values().next().unwrap_or_else(|| panic!("no task\n{}", sim.tail()));
    assert_eq!((task.size.memory_limit, task.attempt()), (Bytes::mib(90), 2), "{}", sim.tail());
    sim.assert_says("gets 60.0 MiB of memory instead of 40.0 MiB (at most 160.0 MiB)");

    let mut sim = Simulation::with_nodes(1);
    spec.run.oom = OomRetry { percent: 200, max: Some(Bytes::mib(50)) };
    apply(&mut sim, "load", spec);
    sim.run_for(60);
    assert_eq!(words(&sim, "load"), ["failed"]);
    sim.assert_says("gets 50.0 MiB of memory instead of 40.0 MiB (at most 50.0 MiB)");
    sim.assert_says("has the most memory that retries get (50.0 MiB)");
}

#[test]
fn a_run_that_takes_much_longer_than_usual_raises_an_alarm() {
    let mut sim = Simulation::with_nodes(1);
    apply(&mut sim, "load", job("work 20", false, 0));
    for _ in 0..DURATIONS_NEEDED {
        run(&mut sim, "load", RunOverrides::default());
        sim.run_for(25);
    }
    apply(&mut sim, "load", job("work 1000", false, 0));
    run(&mut sim, "load", RunOverrides::default());
    sim.run_for(45);
    assert_eq!(sim.plan.alarms, []);
    sim.tick(seconds(20));
    let alarm = sim.plan.alarms.first().expect("an alarm");
    assert!(alarm.message.contains("has gone on for 1m") && alarm.kind == "overdue run", "{alarm:?}");
}

#[test]
fn a_run_that_cannot_start_raises_an_alarm() {
    let mut sim = Simulation::new();
    apply(&mut sim, "load", job("work 20", true, 0));
    sim.tick(seconds(200));
    assert_eq!(sim.plan.alarms, []);
    sim.tick(seconds(200));
    let alarm = sim.plan.alarms.first().expect("an alarm");
    assert!(alarm.message.contains("has not started: it waits for room"), "{alarm:?}");
}
