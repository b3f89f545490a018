//! What must hold when the dust has settled.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use loadline::api::dto::{RunDto, TaskDto};
use loadline::domain::task::{ExitStatus, TaskState};
use loadline::domain::world::RunOutcome;

use crate::chaos::acts::engine_group;
use crate::chaos::model::{CRONS, Done, JOBS, SERVICES, effects};
use crate::harness::{Engine, supervisors, variable};
use crate::machine::processes;

/// Rows of a listing at most.
const ROWS: usize = 1000;

/// What is wrong, a line each.
#[derive(Default)]
pub(super) struct Faults(pub(super) Vec<String>);

impl Faults {
    fn unless(&mut self, holds: bool, words: impl FnOnce() -> String) {
        if !holds {
            self.0.push(words());
        }
    }
}

/// Whether every service is as it should be, and no rollout is under way.
pub(super) async fn unsettled(engine: &Engine) -> Vec<String> {
    let mut faults = Faults::default();
    let all = engine.all_tasks().await;
    let mut names: Vec<&str> = SERVICES.iter().map(|(name, _)| *name).collect();
    if all.iter().any(|task| task.workload == "phoenix") {
        names.push("phoenix");
    }
    for name in names {
        let found = engine.workload(name).await;
        let wanted = found.wanted.unwrap_or(0);
        faults.unless(found.ready == wanted && found.tasks == wanted, || {
            format!("{name}: {wanted} wanted, {} ready, {} tasks", found.ready, found.tasks)
        });
        let open = found.rollout.as_ref().is_some_and(|rollout| rollout.state.is_open());
        faults.unless(!open, || format!("{name}: its rollout is still open: {:?}", found.rollout));
        for task in all.iter().filter(|task| task.workload == name) {
            faults.unless(task.revision == found.revision && task.state == TaskState::Running, || {
                format!(
                    "{} is of revision {} and {}; in force is {}",
                    task.id, task.revision, task.state, found.revision
                )
            });
        }
    }
    for name in JOBS {
        for run in runs(engine, name).await {
            faults.unless(run.outcome.is_final(), || format!("{name}: the run of {} does not end", run.at));
        }
    }
    let status = engine.status().await;
    faults.unless(status.engine.problems.is_empty(), || format!("problems: {:?}", status.engine.problems));
    faults.0
}

async fn runs(engine: &Engine, name: &str) -> Vec<RunDto> {
    let path = format!("/v1/runs?workload={name}&limit={ROWS}");
    let mut runs: Vec<RunDto> = engine.client.get(&path).await.expect("runs");
    runs.sort_by_key(|run| run.at);
    runs
}

/// Processes, supervisors and groups are those of the tasks that live, and no others. Runs go on beginning
/// and ending while this looks, first at tasks and then at processes: a fault is what is found each time.
pub(super) async fn no_orphans(engine: &Engine, data: &Path, mark: &str, faults: &mut Faults) {
    let mut found = orphans(engine, data, mark).await;
    for _ in 0..20 {
        if found.0.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let again = orphans(engine, data, mark).await;
        found.0.retain(|fault| again.0.contains(fault));
    }
    faults.0.append(&mut found.0);
}

async fn orphans(engine: &Engine, data: &Path, mark: &str) -> Faults {
    let mut faults = Faults::default();
    let live: BTreeMap<String, TaskDto> =
        engine.all_tasks().await.into_iter().map(|task| (task.id.clone(), task)).collect();
    let mut main: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for number in processes() {
        if variable(number, "CHAOS").as_deref() != Some(mark) {
            continue;
        }
        let task = variable(number, "LOADLINE_TASK").unwrap_or_default();
        faults.unless(live.contains_key(&task), || format!("orphan: process {number} of {task}"));
        main.entry(task).or_default().push(number);
    }
    let held: Vec<(u32, String)> = supervisors(data).into_iter().collect();
    for (number, task) in &held {
        faults.unless(live.contains_key(task), || format!("orphan: supervisor {number} of {task}"));
        let all = held.iter().filter(|(_, other)| other == task).count();
        faults.unless(all == 1, || format!("{task} has {all} supervisors"));
    }
    for (id, task) in live.iter().filter(|(_, task)| task.state == TaskState::Running) {
        let known = task.pid.is_some_and(|pid| main.get(id).is_some_and(|all| all.contains(&pid)));
        faults.unless(known, || format!("{id} is said to run, and process {:?} is not its own", task.pid));
        faults.unless(held.iter().any(|(_, other)| other == id), || format!("{id} has no supervisor"));
    }
    let Some(root) = engine_group(data) else { return faults };
    for node in subfolders(&root) {
        for group in subfolders(&node) {
            let name = group.file_name().expect("a name").to_string_lossy().into_owned();
            faults.unless(live.contains_key(&name), || format!("orphan: control group {}", group.display()));
        }
    }
    faults
}

fn subfolders(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// Every occurrence between `from` and `to` has exactly one outcome, and it agrees with what was done.
pub(super) async fn occurrences(
    engine: &Engine,
    effects: &BTreeMap<(String, String), Done>,
    (from, to): (Timestamp, Timestamp),
    faults: &mut Faults,
) -> usize {
    let mut counted = 0;
    for (name, seconds) in CRONS {
        let found: Vec<RunDto> = runs(engine, name).await.into_iter().filter(|run| !run.manual).collect();
        let due: BTreeSet<i64> =
            (from.as_second() + 1..=to.as_second()).filter(|second| second % seconds == 0).collect();
        let mut seen = BTreeSet::new();
        for run in &found {
            let second = run.at.as_second();
            faults.unless(seen.insert(second), || format!("{name}: two records of {}", run.at));
            if second > to.as_second() {
                continue;
            }
            faults.unless(run.outcome.is_final(), || format!("{name}: {} is still open: {run:?}", run.at));
            run_agrees(run, effects, faults);
        }
        // A listing shows the newest rows; before its oldest one nothing can be said.
        let oldest = if found.len() < ROWS { i64::MIN } else { *seen.first().unwrap_or(&0) };
        for second in due.iter().filter(|second| **second >= oldest) {
            let at = Timestamp::from_second(*second).expect("an instant");
            faults.unless(seen.contains(second), || format!("{name}: no record of {at}"));
        }
        for second in seen.range(..=to.as_second()) {
            let is_due = second % seconds == 0;
            faults.unless(is_due, || format!("{name}: a record of {second}, which is not planned"));
        }
        counted += due.len();
        if matches!(name, "forbid" | "retried") {
            never_overlap(name, &found, effects, faults);
        }
    }
    for name in JOBS {
        for run in runs(engine, name).await {
            run_agrees(&run, effects, faults);
        }
    }
    counted
}

fn done_by(task: &str, effects: &BTreeMap<(String, String), Done>) -> Done {
    effects.get(&("1".to_owned(), task.to_owned())).cloned().unwrap_or_default()
}

fn run_agrees(run: &RunDto, effects: &BTreeMap<(String, String), Done>, faults: &mut Faults) {
    let done: Vec<Done> = run.tasks.iter().map(|task| done_by(task, effects)).collect();
    let ends: usize = done.iter().map(|done| done.ends.len()).sum();
    match &run.outcome {
        RunOutcome::Succeeded => {
            let last = done.last().map_or(0, |done| done.ends.len());
            // A try that was killed after its effect counts as failed; with retries there is a second one.
            let once = last == 1 && (ends == 1 || run.tasks.len() > 1);
            faults.unless(once, || format!("succeeded, and finished {ends} times: {run:?}"));
        }
        RunOutcome::SkippedOverlap | RunOutcome::Missed { .. } => {
            let begun = done.iter().any(|done| !done.begins.is_empty());
            faults.unless(!begun, || format!("said not to have run, and did: {run:?}"));
        }
        _ => {}
    }
    for pair in done.windows(2) {
        let (before, after) = (pair[0].ends.last(), pair[1].begins.first());
        let apart = before.zip(after).is_none_or(|(end, begin)| end <= begin);
        faults.unless(apart, || format!("two tries at a time: {run:?}"));
    }
}

fn never_overlap(
    name: &str,
    runs: &[RunDto],
    effects: &BTreeMap<(String, String), Done>,
    faults: &mut Faults,
) {
    let mut spans: Vec<(u64, Option<u64>, &String)> = runs
        .iter()
        .flat_map(|run| &run.tasks)
        .filter_map(|task| {
            let done = done_by(task, effects);
            Some((*done.begins.first()?, done.ends.first().copied(), task))
        })
        .collect();
    spans.sort();
    for pair in spans.windows(2) {
        let ended = pair[0].1.is_none_or(|end| end <= pair[1].0);
        faults.unless(ended, || format!("{name}: {} and {} at a time", pair[0].2, pair[1].2));
    }
}

/// No task begins twice, and what is on record of ends agrees with what was done.
pub(super) async fn tasks_once(engine: &Engine, file: &Path, faults: &mut Faults) {
    let names = CRONS.iter().map(|(name, _)| *name).chain(JOBS);
    let mut ended = Vec::new();
    for name in names {
        ended.extend(engine.ended(name).await);
    }
    // After the listing: what is listed as ended has written everything by now.
    let effects = &effects(file);
    for ((generation, task), done) in effects {
        faults.unless(done.begins.len() <= 1, || {
            format!("{task} of generation {generation} was started {} times: {done:?}", done.begins.len())
        });
    }
    for task in ended {
        let status = task.exit.as_ref().and_then(|exit| exit.status);
        let done = done_by(&task.id, effects);
        match task.state {
            TaskState::Finished => faults
                .unless(status == Some(ExitStatus::Code(0)) && done.ends.len() == 1, || {
                    format!("{} finished, {status:?}, {done:?}", task.id)
                }),
            TaskState::Failed => faults.unless(status != Some(ExitStatus::Code(0)), || {
                format!("{} failed with a clean end", task.id)
            }),
            TaskState::Stopped | TaskState::Lost => {}
            other => faults.0.push(format!("{} is {other} in the archive", task.id)),
        }
    }
}

/// The store is sound, by its own check.
pub(super) fn store_is_sound(data: &Path, faults: &mut Faults) {
    let connection = rusqlite::Connection::open(data.join("loadline.db")).expect("a store");
    let answer: String =
        connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("an answer");
    faults.unless(answer == "ok", || format!("the store is damaged: {answer}"));
    let open: u32 = connection
        .query_row("SELECT count(*) FROM task WHERE in_world = 0 AND state NOT IN ('finished', 'failed', 'stopped', 'lost')", [], |row| row.get(0))
        .expect("a count");
    faults.unless(open == 0, || format!("{open} tasks left the world without an end"));
}
