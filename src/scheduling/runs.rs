//! Runs of cron jobs and jobs: one task at a time until one ends well, the tries are used up, or the run
//! is cancelled. Each run is closed exactly once.
//!
//! A try that was lost with its node or supervisor counts as a try: what it did before is not known,
//! and a job that kills its node would otherwise run for ever. Its successor does not wait.

use crate::domain::change::Change;
use crate::domain::plan::Step;
use crate::domain::task::{Task, TaskId, TaskOrigin, TaskState};
use crate::domain::workload::{OverlapPolicy, RunPolicy, WorkloadName, WorkloadSpec};
use crate::domain::world::{Run, RunKey, RunOutcome, Workload};
use crate::scheduling::restart;
use crate::scheduling::services::new_task;
use crate::scheduling::tasks::stop;
use crate::scheduling::view::{Row, View};

/// Moves each active run of a workload on.
pub(super) fn keep(view: &mut View<'_>, name: &WorkloadName) {
    let known = view.workload(name).filter(|workload| !workload.deleted);
    if known.is_none_or(|workload| workload.spec.run_policy().is_none()) {
        return;
    }
    let active: Vec<RunKey> = view
        .runs_of(name)
        .into_iter()
        .filter(|run| !run.outcome.is_final())
        .map(|run| run.key.clone())
        .collect();
    for key in active {
        // Each run sees the tasks that the one before it got: numbers are given in order.
        let steps = next(view, name, &key);
        view.take(steps);
    }
}

/// Closes a run as cancelled and stops its tasks.
pub(super) fn cancel(view: &mut View<'_>, run: RunKey, reason: &str) {
    let steps: Vec<Step> = view
        .rows_of(&run.workload)
        .into_iter()
        .filter(|row| row.task.run().as_ref() == Some(&run) && may_stop(row.task))
        .map(|row| stop(row, reason))
        .collect();
    view.take(steps);
    let outcome = RunOutcome::Cancelled { reason: reason.to_owned() };
    view.step(Change::RunClosed { run, outcome }, reason);
}

pub(super) fn may_stop(task: &Task) -> bool {
    task.state < TaskState::Stopping
}

fn next(view: &View<'_>, name: &WorkloadName, key: &RunKey) -> Vec<Step> {
    let Some(workload) = view.workload(name) else { return Vec::new() };
    let Some(policy) = workload.spec.run_policy() else { return Vec::new() };
    let rows = view.rows_of(name);
    let Some(run) = view.runs_of(name).into_iter().find(|run| run.key == *key) else { return Vec::new() };
    let Some(last) = run.tasks.last() else { return first_try(view, workload, run, &rows) };
    let Some(row) = rows.iter().find(|row| row.task.id == *last) else {
        return after_bad_try(view, workload, policy, run, "its task is not known any more", true);
    };
    match row.task.state {
        TaskState::Finished => vec![close(run, RunOutcome::Succeeded, format!("{last} ended with status 0"))],
        TaskState::Failed | TaskState::Stopped => {
            after_bad_try(view, workload, policy, run, &row.task.reason, false)
        }
        TaskState::Lost => after_bad_try(view, workload, policy, run, &row.task.reason, true),
        TaskState::Pending => too_late(view, workload, run, *row),
        _ => over_time(view, policy, *row).into_iter().collect(),
    }
}

fn close(run: &Run, outcome: RunOutcome, reason: String) -> Step {
    Step { change: Change::RunClosed { run: run.key.clone(), outcome }, reason }
}

/// Where runs replace each other, a new one waits until nothing of the old one runs any more.
fn first_try(view: &View<'_>, workload: &Workload, run: &Run, rows: &[Row<'_>]) -> Vec<Step> {
    let replaces = workload.spec.as_cron().is_some_and(|cron| cron.overlap == OverlapPolicy::Replace);
    let busy = rows
        .iter()
        .any(|row| !row.task.state.is_terminal() && row.task.run().is_some_and(|other| other < run.key));
    if replaces && busy && !run.manual {
        return Vec::new();
    }
    vec![try_now(view, workload, run, 0, "first try")]
}

fn try_now(view: &View<'_>, workload: &Workload, run: &Run, attempt: u32, why: &str) -> Step {
    let at = run.key.at;
    let origin = if run.manual || matches!(workload.spec, WorkloadSpec::Job(_)) {
        TaskOrigin::Run { asked_at: at, attempt }
    } else {
        TaskOrigin::Occurrence { planned_for: at, attempt }
    };
    let id = TaskId::new(workload.name.clone(), workload.next_task);
    let reason = format!("run of {at}: {why}");
    let task = new_task(workload, id, origin, workload.size(), view.now, &reason);
    Step { change: Change::TaskCreated { task: Box::new(task) }, reason }
}

fn after_bad_try(
    view: &View<'_>,
    workload: &Workload,
    policy: &RunPolicy,
    run: &Run,
    why: &str,
    lost: bool,
) -> Vec<Step> {
    let tries = run.tasks.len() as u32;
    if tries > policy.retries {
        let noun = if tries == 1 { "try" } else { "tries" };
        let reason = format!("{why} ({tries} {noun})");
        return vec![close(run, RunOutcome::Failed { reason: reason.clone() }, reason)];
    }
    let id = TaskId::new(workload.name.clone(), workload.next_task);
    let backoff = restart::wait(&policy.restart, tries, &id);
    let not_before = if lost { view.now } else { view.now.checked_add(backoff).unwrap_or(view.now) };
    let waits = not_before.duration_since(view.now);
    let words = format!("retry {tries} of {}, {why}, waits {waits:#}", policy.retries);
    let mut step = try_now(view, workload, run, tries, &words);
    if let Change::TaskCreated { task } = &mut step.change {
        task.not_before = not_before;
    }
    vec![step]
}

/// A planned run that found no node in time is missed. One that someone asked for waits.
fn too_late(view: &View<'_>, workload: &Workload, run: &Run, row: Row<'_>) -> Vec<Step> {
    let Some(cron) = workload.spec.as_cron().filter(|_| !run.manual && run.tasks.len() == 1) else {
        return Vec::new();
    };
    let late = view.now.duration_since(run.key.at);
    if late <= cron.start_deadline {
        return Vec::new();
    }
    let reason = format!("no node had room for it within {:#}", cron.start_deadline);
    vec![stop(row, &reason), close(run, RunOutcome::Missed { reason: reason.clone() }, reason)]
}

fn over_time(view: &View<'_>, policy: &RunPolicy, row: Row<'_>) -> Option<Step> {
    let limit = policy.time_limit?;
    let started = row.task.started_at.filter(|_| may_stop(row.task))?;
    (view.now.duration_since(started) >= limit)
        .then(|| stop(row, &format!("it ran longer than its time limit of {limit:#}")))
}
