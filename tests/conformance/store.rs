//! What holds for every store: written against the ports alone. Each check gets an empty store.

use std::cell::RefCell;
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use loadline::domain::change::{Change, RecordedChange};
use loadline::domain::decision::{Candidate, DecisionId, DecisionKind, DecisionOutcome, Proposal};
use loadline::domain::load::LoadSample;
use loadline::domain::money::MicroCents;
use loadline::domain::policy::PolicyMode;
use loadline::domain::quantity::{Bytes, Millicores, Resources};
use loadline::domain::rollout::Actor;
use loadline::domain::task::{TaskId, TaskState};
use loadline::domain::usage::UsageSample;
use loadline::domain::workload::WorkloadName;
use loadline::domain::world::{EntityKey, Run, RunKey, RunOrder, RunOutcome, World};
use loadline::ports::history::{History, UsagePart};
use loadline::ports::store::{
    Archive, DecisionLog, EventQuery, Horizon, NumberedChange, RunQuery, Store, StoreError,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::example;

/// The four ports that one store implements.
pub(crate) trait WholeStore: Store + DecisionLog + Archive + History {}
impl<T: Store + DecisionLog + Archive + History> WholeStore for T {}

/// Every row of a world.
pub(crate) fn all_keys(world: &World) -> Vec<EntityKey> {
    let mut keys: Vec<EntityKey> = Vec::new();
    keys.extend(world.workloads.keys().cloned().map(EntityKey::Workload));
    keys.extend(world.tasks.keys().cloned().map(EntityKey::Task));
    keys.extend(world.runs.keys().cloned().map(EntityKey::Run));
    keys.extend(world.nodes.keys().cloned().map(EntityKey::Node));
    keys.extend(world.pools.keys().cloned().map(EntityKey::Pool));
    keys.extend(world.policies.keys().cloned().map(EntityKey::Policy));
    keys
}

fn recorded(seconds: i64, change: Change) -> RecordedChange {
    RecordedChange {
        at: example::at(seconds),
        by: Actor::User("ann".to_owned()),
        reason: "for a test".to_owned(),
        request: None,
        change,
    }
}

/// A task's move, as an event.
pub(crate) fn moved(seconds: i64, task: &str, state: TaskState) -> RecordedChange {
    let exit = state.is_terminal().then(|| example::exit(example::at(seconds)));
    let reason = format!("because of {state}");
    recorded(seconds, Change::TaskMoved { task: example::task_id(task), state, reason, exit })
}

/// A usage sample that ends `seconds` after the beginning of the examples.
pub(crate) fn usage(task: &str, seconds: i64) -> UsageSample {
    let task = example::task_id(task);
    let first = seconds == 0;
    UsageSample {
        workload: task.workload().clone(),
        task,
        at: on_microsecond(seconds),
        interval_seconds: (!first).then_some(5.000_001),
        cpu_cores: (!first).then_some(0.1 + 0.2),
        throttled_share: (!first).then_some(1.0 / 3.0),
        memory: Bytes::new(123_456_789),
        page_cache: (!first).then_some(Bytes::new(4096)),
        request: Resources::new(Millicores::new(250), Bytes::mib(256)),
        oom_kills: u64::from(seconds == 5),
    }
}

fn load_sample(workload: &str, seconds: i64) -> LoadSample {
    LoadSample {
        workload: example::workload_name(workload),
        at: on_microsecond(seconds),
        requests_per_second: 12.3,
        errors_per_second: 0.0,
        latency_p50: None,
        latency_p95: Some(0.0123),
        ready: 3,
    }
}

/// Samples are kept to the microsecond.
fn on_microsecond(seconds: i64) -> Timestamp {
    Timestamp::from_microsecond(example::at(seconds).as_microsecond()).expect("an instant")
}

fn proposal(kind: DecisionKind) -> Proposal {
    Proposal {
        kind,
        rule: "tolerance".to_owned(),
        reason: "requests rose".to_owned(),
        inputs: BTreeMap::from([("requests".to_owned(), "12.5 per second".to_owned())]),
        candidates: vec![Candidate {
            source: "cpu".to_owned(),
            answer: "4 instances".to_owned(),
            chosen: true,
        }],
        price_before: MicroCents::from_units(0.02),
        price_after: MicroCents::from_units(0.04),
    }
}

pub(crate) fn count_decision(workload: &str) -> Proposal {
    proposal(DecisionKind::Count { workload: example::workload_name(workload), from: 2, to: 4 })
}

pub(crate) fn a_new_store_is_empty(store: &impl WholeStore) {
    assert_eq!(Store::load(store).expect("a world"), World::default());
    assert_eq!(store.events(&EventQuery { limit: 9, ..EventQuery::default() }).expect("events"), []);
    assert_eq!(store.decisions(None, 9).expect("decisions"), []);
    assert_eq!(store.document("none").expect("no document"), None);
}

pub(crate) fn a_committed_world_loads_as_it_was(store: &impl WholeStore) {
    let world = example::world();
    store.commit(&world, &all_keys(&world), &[]).expect("a commit");
    assert_eq!(Store::load(store).expect("a world"), world);
}

pub(crate) fn only_touched_rows_are_written(store: &impl WholeStore) {
    let world = example::world();
    let web = EntityKey::Workload(example::workload_name("web"));
    store.commit(&world, &[web], &[]).expect("a commit");
    let loaded = Store::load(store).expect("a world");
    assert_eq!(loaded.workloads.keys().map(WorkloadName::as_str).collect::<Vec<_>>(), ["web"]);
    assert!(loaded.tasks.is_empty() && loaded.nodes.is_empty());
}

pub(crate) fn rows_that_left_the_world_are_gone_but_tasks_and_runs_stay_as_history(store: &impl WholeStore) {
    let world = example::world();
    let keys = all_keys(&world);
    store.commit(&world, &keys, &[]).expect("a commit");
    store.commit(&World::default(), &keys, &[]).expect("a second commit");
    assert_eq!(Store::load(store).expect("a world"), World::default());
    let mut tasks: Vec<_> = world.tasks.into_values().collect();
    tasks.sort_by_key(|task| std::cmp::Reverse(task.created_at));
    assert_eq!(store.tasks(None, 99).expect("tasks"), tasks);
    let runs: Vec<_> = world.runs.into_values().rev().collect();
    assert_eq!(store.runs(&RunQuery { limit: 99, ..RunQuery::default() }).expect("runs"), runs);
    let workload = Some(example::workload_name("cron"));
    let query = RunQuery { workload, limit: 2, ..RunQuery::default() };
    assert_eq!(store.runs(&query).expect("runs"), runs[..2]);
    assert_eq!(store.tasks(Some(&example::workload_name("none")), 9).expect("tasks"), []);
}

pub(crate) fn an_end_in_the_same_commit_as_the_departure_is_kept(store: &impl WholeStore) {
    let mut world = World::default();
    let task = example::task("web.1", TaskState::Running, example::at(0));
    let run = example::run(example::at(0), RunOutcome::Active);
    world.tasks.insert(task.id.clone(), task.clone());
    world.runs.insert(run.key.clone(), run.clone());
    let keys = all_keys(&world);
    store.commit(&world, &keys, &[]).expect("a commit");
    let changes = [
        moved(7, "web.1", TaskState::Failed),
        recorded(8, Change::RunClosed { run: run.key, outcome: RunOutcome::Succeeded }),
    ];
    store.commit(&World::default(), &keys, &changes).expect("a second commit");
    let kept = store.tasks(None, 9).expect("tasks").remove(0);
    assert_eq!((kept.state, kept.state_since), (TaskState::Failed, example::at(7)));
    assert_eq!(kept.exit, Some(example::exit(example::at(7))));
    let query = RunQuery { limit: 9, ..RunQuery::default() };
    let kept = store.runs(&query).expect("runs").remove(0);
    assert_eq!((kept.outcome, kept.ended_at), (RunOutcome::Succeeded, Some(example::at(8))));
}

pub(crate) fn a_task_that_lived_within_one_commit_is_history(store: &impl WholeStore) {
    let task = example::task("web.1", TaskState::Pending, example::at(0));
    let key = EntityKey::Task(task.id.clone());
    let changes = [
        recorded(0, Change::TaskCreated { task: Box::new(task) }),
        moved(1, "web.1", TaskState::Stopped),
        recorded(1, Change::TaskForgotten { task: example::task_id("web.1") }),
    ];
    store.commit(&World::default(), &[key], &changes).expect("a commit");
    let kept = store.tasks(None, 9).expect("tasks");
    assert_eq!(kept.iter().map(|task| task.state).collect::<Vec<_>>(), [TaskState::Stopped]);
}

pub(crate) fn a_run_that_was_opened_and_closed_within_one_commit_is_history(store: &impl WholeStore) {
    let run = example::run(example::at(0), RunOutcome::Active).key;
    let outcome = RunOutcome::Missed { reason: "nobody looked".to_owned() };
    let order = RunOrder { occurrences: 7, ..RunOrder::default() };
    let changes = [
        recorded(0, Change::RunOpened { run: run.clone(), manual: false, order: Box::new(order.clone()) }),
        recorded(1, Change::RunClosed { run: run.clone(), outcome: outcome.clone() }),
    ];
    store.commit(&World::default(), &[EntityKey::Run(run.clone())], &changes).expect("a commit");
    let query = RunQuery { limit: 9, ..RunQuery::default() };
    let kept = store.runs(&query).expect("runs");
    assert_eq!(kept.len(), 1);
    assert_eq!((&kept[0].key, &kept[0].outcome, &kept[0].order), (&run, &outcome, &order));
}

pub(crate) fn runs_are_found_by_what_is_known_of_them(store: &impl WholeStore) {
    let failed = |reason: &str| RunOutcome::Failed { reason: reason.to_owned() };
    let outcomes = [
        RunOutcome::Succeeded,
        failed("exit status 3"),
        RunOutcome::Skipped { reason: "cron is frozen by user ann".to_owned() },
        RunOutcome::SkippedOverlap,
        failed("OOM: killed"),
        RunOutcome::Active,
    ];
    let mut world = World::default();
    for (second, outcome) in (0..).zip(outcomes) {
        let mut run = example::run(example::at(second), outcome);
        run.manual = second == 1;
        world.runs.insert(run.key.clone(), run);
    }
    let mut other = example::run(example::at(3), RunOutcome::Succeeded);
    other.key.workload = example::workload_name("other");
    world.runs.insert(other.key.clone(), other);
    store.commit(&world, &all_keys(&world), &[]).expect("a commit");
    let ask = |query: RunQuery| -> Vec<(i64, String)> {
        let limit = if query.limit == 0 { 99 } else { query.limit };
        let found = store.runs(&RunQuery { limit, ..query }).expect("runs");
        let second = |run: &Run| run.key.at.duration_since(example::at(0)).as_secs();
        found.iter().map(|run| (second(run), run.key.workload.to_string())).collect()
    };
    let cron = |seconds: &[i64]| seconds.iter().map(|s| (*s, "cron".to_owned())).collect::<Vec<_>>();
    let any = RunQuery::default;
    let workload = Some(example::workload_name("cron"));
    assert_eq!(ask(RunQuery { workload, ..any() }), cron(&[5, 4, 3, 2, 1, 0]));
    let outcomes = vec!["failed".to_owned()];
    assert_eq!(ask(RunQuery { outcomes, ..any() }), cron(&[4, 1]));
    let outcomes = vec!["skipped".to_owned(), "active".to_owned()];
    assert_eq!(ask(RunQuery { outcomes, ..any() }), cron(&[5, 3, 2]));
    let (from, to) = (Some(example::at(1)), Some(example::at(3)));
    assert_eq!(ask(RunQuery { from, to, ..any() }), cron(&[2, 1]), "from is in, to is out");
    assert_eq!(ask(RunQuery { manual: Some(true), ..any() }), cron(&[1]));
    assert_eq!(ask(RunQuery { text: Some("oom".to_owned()), ..any() }), cron(&[4]));
    assert_eq!(ask(RunQuery { text: Some("FROZEN by user ann".to_owned()), ..any() }), cron(&[2]));
    assert_eq!(ask(RunQuery { text: Some("100%".to_owned()), ..any() }), []);
    // Two runs at one instant are on two pages, neither twice nor not at all.
    let key = |workload: &str, second| RunKey {
        workload: example::workload_name(workload),
        at: example::at(second),
    };
    let page = |before| ask(RunQuery { before: Some(before), limit: 2, ..any() });
    assert_eq!(page(key("cron", 4)), [(3, "other".to_owned()), (3, "cron".to_owned())]);
    assert_eq!(page(key("other", 3)), cron(&[3, 2]));
    assert_eq!(page(key("cron", 0)), []);
}

pub(crate) fn a_task_of_a_workload_declared_anew_does_not_take_the_place_of_its_namesake(
    store: &impl WholeStore,
) {
    for created in [0, 100] {
        let task = example::task("web.1", TaskState::Stopped, example::at(created));
        let key = [EntityKey::Task(task.id.clone())];
        let world = World { tasks: BTreeMap::from([(task.id.clone(), task)]), ..World::default() };
        store.commit(&world, &key, &[]).expect("a commit");
        store.commit(&World::default(), &key, &[]).expect("a commit");
    }
    let created: Vec<_> =
        store.tasks(None, 9).expect("tasks").into_iter().map(|task| task.created_at).collect();
    assert_eq!(created, [example::at(100), example::at(0)]);
}

pub(crate) fn events_come_newest_first_and_by_subject(store: &impl WholeStore) {
    let spec = example::service_spec();
    let changes = [
        recorded(0, Change::WorkloadApplied { workload: example::workload_name("web"), spec }),
        moved(1, "web.1", TaskState::Running),
        moved(2, "api.1", TaskState::Running),
        moved(3, "web.2", TaskState::Failed),
    ];
    for change in &changes {
        store.commit(&World::default(), &[], std::slice::from_ref(change)).expect("a commit");
    }
    let ask = |workload: Option<&str>, task: Option<&str>, limit| {
        let query = EventQuery {
            workload: workload.map(example::workload_name),
            task: task.map(example::task_id),
            limit,
            ..EventQuery::default()
        };
        store.events(&query).expect("events")
    };
    let (ids, all): (Vec<u64>, Vec<RecordedChange>) =
        ask(None, None, 9).into_iter().map(|event| (event.number, event.recorded)).unzip();
    assert!(ids.is_sorted_by(|newer, older| newer > older), "{ids:?}");
    assert_eq!(all, [&changes[3], &changes[2], &changes[1], &changes[0]].map(Clone::clone));
    let seconds = |seconds: &[i64]| seconds.iter().map(|&s| example::at(s)).collect::<Vec<_>>();
    let of = |found: Vec<NumberedChange>| -> Vec<Timestamp> {
        found.into_iter().map(|event| event.recorded.at).collect()
    };
    assert_eq!(of(ask(Some("web"), None, 9)), seconds(&[3, 1, 0]));
    assert_eq!(of(ask(Some("web"), None, 2)), seconds(&[3, 1]));
    assert_eq!(of(ask(None, Some("web.1"), 9)), seconds(&[1]));
    assert_eq!(of(ask(Some("api"), Some("web.1"), 9)), seconds(&[]));
    assert_eq!(of(ask(None, None, 0)), seconds(&[]));
    let page = |before, after| {
        of(store.events(&EventQuery { before, after, limit: 2, ..EventQuery::default() }).expect("events"))
    };
    assert_eq!(page(Some(ids[1]), None), seconds(&[1, 0]));
    assert_eq!(page(None, Some(ids[3])), seconds(&[1, 2]), "after a number the oldest come first");
}

pub(crate) fn decisions_are_numbered_settled_and_found(store: &impl WholeStore) {
    let pool = proposal(DecisionKind::Pool {
        pool: loadline::domain::node::PoolName::new("small").expect("a name"),
        from: 1,
        to: 2,
    });
    let web = count_decision("web");
    let at = example::at(0);
    let first = store.record(at, PolicyMode::Approve, &DecisionOutcome::AwaitingApproval, &web);
    let first = first.expect("a number");
    let second = store.record(at, PolicyMode::Auto, &DecisionOutcome::Applied, &pool).expect("a number");
    assert_eq!((first, second), (DecisionId(1), DecisionId(2)));
    let reverted = DecisionOutcome::Reverted { reason: "errors rose".to_owned() };
    store.settle(first, &reverted).expect("settled");
    let found = store.decision(first).expect("an answer").expect("the decision");
    assert_eq!((found.at, found.mode, &found.outcome), (at, PolicyMode::Approve, &reverted));
    assert_eq!(found.proposal, web);
    let numbers = |subject: Option<&str>, limit| {
        let found = store.decisions(subject, limit).expect("decisions");
        found.into_iter().map(|decision| decision.id.0).collect::<Vec<_>>()
    };
    assert_eq!(numbers(None, 9), [2, 1]);
    assert_eq!(numbers(None, 1), [2]);
    assert_eq!(numbers(Some("web"), 9), [1]);
    assert_eq!(store.decision(DecisionId(3)).expect("an answer"), None);
    assert!(store.settle(DecisionId(3), &DecisionOutcome::Applied).is_err());
}

pub(crate) fn documents_are_replaced(store: &impl WholeStore) {
    store.put_document("estimator", &[0, 255]).expect("put");
    store.put_document("estimator", b"new").expect("put");
    assert_eq!(store.document("estimator").expect("an answer"), Some(b"new".to_vec()));
}

pub(crate) fn samples_come_back_by_time_and_workload(store: &impl WholeStore) {
    let all: Vec<UsageSample> =
        [0, 5, 10].into_iter().flat_map(|s| [usage("api.1", s), usage("web.1", s)]).collect();
    let load = [load_sample("web", 5), load_sample("web", 10)];
    // The order of appending does not matter, nor does appending twice.
    let reversed: Vec<UsageSample> = all.iter().rev().cloned().collect();
    store.append(&reversed, &load).expect("appended");
    store.append(&all, &load).expect("appended");
    let web = example::workload_name("web");
    let end = example::at(99);
    assert_eq!(History::usage(store, None, example::at(-1), end).expect("samples"), all);
    let found = History::usage(store, Some(&web), on_microsecond(5), on_microsecond(10)).expect("samples");
    assert_eq!(found, [usage("web.1", 5)], "from is in, to is out");
    assert_eq!(History::load(store, Some(&web), on_microsecond(5), end).expect("samples"), load);
    assert_eq!(History::load(store, None, on_microsecond(6), end).expect("samples"), load[1..]);
}

pub(crate) fn usage_is_told_in_parts_of_a_span(store: &impl WholeStore) {
    let of = |task: &str, second: i64, cores: Option<f64>, mib: u64| UsageSample {
        cpu_cores: cores,
        memory: Bytes::mib(mib),
        at: on_microsecond(second),
        ..usage(task, second)
    };
    let all = [
        of("web.1", 0, None, 9),
        of("web.1", 10, Some(0.5), 100),
        of("web.2", 12, Some(1.5), 300),
        of("api.1", 12, Some(9.0), 900),
        of("web.1", 35, None, 50),
        of("web.1", 40, Some(9.0), 900),
    ];
    store.append(&all, &[]).expect("appended");
    let web = example::workload_name("web");
    let width = SignedDuration::from_secs(10);
    let found = store.usage_course(&web, on_microsecond(10), on_microsecond(40), width).expect("parts");
    let part = |second, samples, cpu_mean, cpu_max, mean, max| UsagePart {
        at: on_microsecond(second),
        samples,
        cpu_mean,
        cpu_max,
        memory_mean: Bytes::mib(mean),
        memory_max: Bytes::mib(max),
    };
    // Nothing was measured from 20 to 30, and no cores from 30 to 40.
    assert_eq!(found, [part(10, 2, Some(1.0), Some(1.5), 200, 300), part(30, 1, None, None, 50, 50)]);
}

pub(crate) fn pruning_by_age_keeps_what_the_world_holds(store: &impl WholeStore) {
    let mut world = example::world();
    let keys = all_keys(&world);
    let changes = [moved(0, "web.1", TaskState::Starting), moved(50, "web.1", TaskState::Running)];
    store.commit(&world, &keys, &changes).expect("a commit");
    // web.2 ended at 9; the run at 20 ended at 21.
    world.tasks.remove(&example::task_id("web.2"));
    world.runs.retain(|key, _| key.at != example::at(20));
    store.commit(&world, &keys, &[]).expect("a commit");
    // The first is the one whose size is in force, the second waits, the third may go.
    for outcome in [DecisionOutcome::Applied, DecisionOutcome::AwaitingApproval, DecisionOutcome::Observed] {
        store.record(example::at(0), PolicyMode::Auto, &outcome, &count_decision("web")).expect("a number");
    }
    store.append(&[usage("web.1", 0), usage("web.1", 50)], &[load_sample("web", 0)]).expect("appended");

    assert_eq!(prune(store, example::at(9), 1000).expect("pruned"), 4, "event, decision, usage, load");
    assert_eq!(store.tasks(None, 99).expect("tasks").len(), 4, "a task counts from its end");
    assert_eq!(prune(store, example::at(30), 1000).expect("pruned"), 2, "task and run");
    assert_eq!(prune(store, example::at(30), 1000).expect("pruned"), 0);
    assert_eq!(Store::load(store).expect("a world"), world);
    assert_eq!(store.decisions(None, 9).expect("decisions").len(), 2);
    assert_eq!(History::usage(store, None, example::at(-1), example::at(99)).expect("samples").len(), 1);
}

fn prune(store: &impl WholeStore, before: Timestamp, keep: usize) -> Result<u64, StoreError> {
    store.prune(&Horizon { records_before: before, samples_before: before, keep })
}

pub(crate) fn pruning_by_count_keeps_the_newest(store: &impl WholeStore) {
    // More than one batch of a careful implementation.
    let changes: Vec<RecordedChange> = (0..2500).map(|s| moved(s, "web.1", TaskState::Running)).collect();
    store.commit(&World::default(), &[], &changes).expect("a commit");
    let samples: Vec<UsageSample> = (0..30).map(|s| usage("web.1", s)).collect();
    store.append(&samples, &[]).expect("appended");
    assert_eq!(prune(store, example::at(-1), 10).expect("pruned"), 2490 + 20);
    let events = store.events(&EventQuery { limit: 99, ..EventQuery::default() }).expect("events");
    assert_eq!((events.len(), events[9].number), (10, 2491));
    let kept = History::usage(store, None, example::at(-1), example::at(99)).expect("samples");
    assert_eq!(kept, samples[20..]);
    // Numbers are not given again.
    prune(store, example::at(9999), 0).expect("pruned");
    store.commit(&World::default(), &[], &changes[..1]).expect("a commit");
    let events = store.events(&EventQuery { limit: 99, ..EventQuery::default() }).expect("events");
    assert_eq!(events.iter().map(|event| event.number).collect::<Vec<_>>(), [2501]);
}

/// Any sequence of commits leaves the world of the last one.
pub(crate) fn any_commits_load_as_the_last_world(store: &impl WholeStore) {
    let step = (0_u8..4, 0_usize..5, any::<f64>().prop_filter("a number", |tolerance| tolerance.is_finite()));
    let steps = proptest::collection::vec(step, 1..12);
    let config = Config { cases: 12, failure_persistence: None, ..Config::default() };
    // One store serves all cases, so each goes on from the world that the last one left.
    let world = RefCell::new(World::default());
    let states =
        [TaskState::Pending, TaskState::Running, TaskState::Failed, TaskState::Lost, TaskState::Stopped];
    TestRunner::new(config)
        .run(&steps, |steps| {
            let mut world = world.borrow_mut();
            for (number, state, tolerance) in steps {
                let id = TaskId::new(example::workload_name("web"), number.into());
                // A state past the middle takes the task away where it is there.
                if state < 3 || world.tasks.remove(&id).is_none() {
                    let created = example::at(0) + SignedDuration::from_nanos(i64::from(number));
                    let task = example::task(&id.to_string(), states[state], created);
                    world.tasks.insert(id.clone(), task);
                }
                let mut workload = example::workload("web", example::service_spec());
                if let loadline::domain::workload::WorkloadSpec::Service(spec) = &mut workload.spec
                    && let Some(scale) = &mut spec.scale
                {
                    scale.tolerance = tolerance;
                }
                let keys = [EntityKey::Task(id), EntityKey::Workload(workload.name.clone())];
                world.workloads.insert(workload.name.clone(), workload);
                store.commit(&world, &keys, &[]).expect("a commit");
            }
            prop_assert_eq!(&Store::load(store).expect("a world"), &*world);
            Ok(())
        })
        .expect("the same world");
}
