//! Runs of cron jobs and jobs: for each of a run's tasks one try at a time until one ends well, the tries
//! are used up, or the run is cancelled. Each run is closed exactly once: as succeeded when all of its
//! tasks have ended well, as failed when one of them has used up its tries; the others are stopped then.
//!
//! A try that had to make room for a task of higher priority does not count: it is made again.
//! A try that was lost with its node or supervisor counts as a try: what it did before is not known,
//! and a job that kills its node would otherwise run for ever. Its successor does not wait. A try after
//! one that was killed for want of memory gets more.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::domain::change::Change;
use crate::domain::plan::Step;
use crate::domain::quantity::{Bytes, TaskSize};
use crate::domain::reducer::due;
use crate::domain::task::{Task, TaskId, TaskOrigin, TaskState};
use crate::domain::workload::{OomRetry, RunPolicy, WorkloadName, WorkloadSpec};
use crate::domain::world::{Run, RunCause, RunKey, RunOutcome, Workload};
use crate::scheduling::held::{Held, follow_upstream, held};
use crate::scheduling::restart;
use crate::scheduling::services::new_task;
use crate::scheduling::tasks::stop;
use crate::scheduling::view::{Row, View};

/// Memory after kills for want of it is at most this many times the workload's own, unless it says so.
const OOM_MEMORY_TIMES: u64 = 4;

/// Moves each active run of a workload on.
pub(super) fn keep(view: &mut View<'_>, name: &WorkloadName) {
    let known = view.workload(name).filter(|workload| !workload.deleted);
    if known.is_none_or(|workload| workload.spec.run_policy().is_none()) {
        return;
    }
    follow_upstream(view, name);
    let active: Vec<RunKey> = view.active_runs_of(name).into_iter().map(|run| run.key.clone()).collect();
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

/// Where one of a run's tasks stands.
enum Part<'v> {
    /// No try of it was made.
    Fresh,
    /// A try of it is on its way.
    Live(Row<'v>),
    /// A try of it has ended well.
    Done(&'v TaskId),
    /// Its last try had to make room for a task of higher priority.
    Preempted(&'v Task),
    /// Its last try did not end well.
    Bad { why: &'v str, lost: bool, task: Option<&'v Task> },
}

/// A run with what its next steps follow from.
struct Context<'v> {
    view: &'v View<'v>,
    workload: &'v Workload,
    policy: &'v RunPolicy,
    run: &'v Run,
}

fn next(view: &View<'_>, name: &WorkloadName, key: &RunKey) -> Vec<Step> {
    let (Some(workload), Some(run)) = (view.workload(name), view.run(key)) else { return Vec::new() };
    let Some(policy) = workload.spec.run_policy() else { return Vec::new() };
    let context = Context { view, workload, policy, run };
    let why = if run.waits() { held(view, workload, run) } else { None };
    match why {
        Some(Held::ForTurn(_)) => return Vec::new(),
        Some(Held::ForSuccess(words)) => return context.miss_if_late(&[], &words),
        None => {}
    }
    let rows: Vec<Row<'_>> =
        view.rows_of(name).into_iter().filter(|row| row.task.run().as_ref() == Some(key)).collect();
    let placed = rows.iter().any(|row| row.task.state != TaskState::Pending);
    if !run.tasks.is_empty() && run.tasks.len() == rows.len() && !placed {
        let missed = context.miss_if_late(&rows, "no node had room for it");
        if !missed.is_empty() {
            return missed;
        }
    }
    context.go_on(&rows)
}

impl<'v> Context<'v> {
    fn part(&self, index: u32, newest: &BTreeMap<u32, Row<'v>>) -> Option<Part<'v>> {
        let part = self.run.part(index);
        if part.done {
            return None;
        }
        if part.tries == 0 {
            return Some(Part::Fresh);
        }
        let Some(row) = newest.get(&index) else {
            return Some(Part::Bad { why: "its task is not known any more", lost: true, task: None });
        };
        let task = row.task;
        Some(match task.state {
            TaskState::Finished => Part::Done(&task.id),
            TaskState::Failed | TaskState::Stopped if task.preempted_for.is_some() => Part::Preempted(task),
            TaskState::Failed | TaskState::Stopped => {
                Part::Bad { why: &task.reason, lost: false, task: Some(task) }
            }
            TaskState::Lost => Part::Bad { why: &task.reason, lost: true, task: Some(task) },
            _ => Part::Live(*row),
        })
    }

    fn go_on(&self, rows: &[Row<'v>]) -> Vec<Step> {
        let Self { workload, policy, run, .. } = self;
        // Rows are in order of number: the last one of an index is its newest try.
        let newest: BTreeMap<u32, Row<'v>> = rows.iter().map(|row| (row.task.index(), *row)).collect();
        let parts: Vec<(u32, Part<'v>)> =
            (0..run.count.max(1)).filter_map(|index| Some((index, self.part(index, &newest)?))).collect();
        if parts.iter().all(|(_, part)| matches!(part, Part::Done(_))) {
            let reason = match parts.last() {
                Some((_, Part::Done(last))) if run.count <= 1 => format!("{last} ended with status 0"),
                _ => format!("all {} tasks ended with status 0", run.count),
            };
            return vec![close(run, RunOutcome::Succeeded, reason)];
        }
        let mut steps = Vec::new();
        let mut number = workload.next_task;
        let bound = policy.max_parallel.unwrap_or(u32::MAX) as usize;
        let fresh = |part: &Part<'_>| matches!(part, Part::Fresh);
        let mut going =
            parts.iter().filter(|(_, part)| !fresh(part) && !matches!(part, Part::Done(_))).count();
        for (index, part) in parts {
            match part {
                Part::Done(_) => {
                    let change = Change::RunPartDone { run: run.key.clone(), index };
                    steps.push(Step { change, reason: format!("task {index} ended with status 0") });
                }
                Part::Live(row) => steps.extend(over_time(self.view, policy, row)),
                Part::Preempted(task) => {
                    let why = format!("try {} again, {}", task.attempt() + 1, task.reason);
                    steps.push(self.try_now(index, task.attempt(), number, task.size, &why));
                    number += 1;
                }
                Part::Bad { why, lost, task } => match self.retry(index, why, lost, task, number) {
                    Ok(step) => {
                        steps.push(step);
                        number += 1;
                    }
                    Err(reason) => return self.fail(rows, reason),
                },
                Part::Fresh if going < bound => {
                    steps.push(self.try_now(index, 0, number, self.size(), "first try"));
                    number += 1;
                    going += 1;
                }
                Part::Fresh => {}
            }
        }
        steps
    }

    fn fail(&self, rows: &[Row<'v>], reason: String) -> Vec<Step> {
        let others = rows.iter().filter(|row| may_stop(row.task));
        let mut steps: Vec<Step> =
            others.map(|row| stop(*row, &format!("its run has failed: {reason}"))).collect();
        steps.push(close(self.run, RunOutcome::Failed { reason: reason.clone() }, reason));
        steps
    }

    fn size(&self) -> TaskSize {
        self.run.order.overrides.size.unwrap_or_else(|| self.workload.size())
    }

    fn try_now(&self, index: u32, attempt: u32, number: u64, size: TaskSize, why: &str) -> Step {
        let at = self.run.key.at;
        let origin = if self.run.manual || matches!(self.workload.spec, WorkloadSpec::Job(_)) {
            TaskOrigin::Run { asked_at: at, attempt, index }
        } else {
            TaskOrigin::Occurrence { planned_for: at, attempt, index }
        };
        let id = TaskId::new(self.workload.name.clone(), number);
        let reason = if self.run.count > 1 {
            format!("run of {at}, task {index} of {}: {why}", self.run.count)
        } else {
            format!("run of {at}: {why}")
        };
        let task = new_task(self.workload, id, origin, size, self.view.now, &reason);
        Step { change: Change::TaskCreated { task: Box::new(task) }, reason }
    }

    /// The next try after a bad one, or why there is none.
    fn retry(
        &self,
        index: u32,
        why: &str,
        lost: bool,
        before: Option<&Task>,
        number: u64,
    ) -> Result<Step, String> {
        let (policy, now) = (self.policy, self.view.now);
        let part = self.run.part(index);
        let tries = part.tries.saturating_sub(part.preempted);
        if tries > policy.retries {
            let noun = if tries == 1 { "try" } else { "tries" };
            let which = if self.run.count > 1 { format!("task {index}: ") } else { String::new() };
            return Err(format!("{which}{why} ({tries} {noun})"));
        }
        let id = TaskId::new(self.workload.name.clone(), number);
        let backoff = restart::wait(&policy.restart, tries, &id);
        let not_before = if lost { now } else { now.checked_add(backoff).unwrap_or(now) };
        let waits = not_before.duration_since(now);
        let (size, more) = {
            let learned = self.view.observed.rungs.get(&self.workload.name);
            let rungs = learned.map_or(&[][..], Vec::as_slice);
            retry_size(policy.oom, self.size(), self.workload.size(), before, rungs)
        };
        let words = format!("retry {tries} of {}, {why}, waits {waits:#}{more}", policy.retries);
        let mut step = self.try_now(index, tries, number, size, &words);
        if let Change::TaskCreated { task } = &mut step.change {
            task.not_before = not_before;
        }
        Ok(step)
    }

    /// A planned run that could not begin in time is missed. One that someone asked for waits.
    fn miss_if_late(&self, rows: &[Row<'_>], why: &str) -> Vec<Step> {
        let Self { view, workload, run, .. } = self;
        let Some(cron) = workload.spec.as_cron().filter(|_| !run.manual) else { return Vec::new() };
        let planned = run.key.at;
        let next = if cron.jitter.is_zero() { None } else { cron.schedule.next_after(planned) };
        let was_due = due(&workload.name, cron, planned, next);
        // One that stood in line has its time from its turn on.
        let turn = rows.iter().map(|row| row.task.created_at).max().unwrap_or(Timestamp::MIN);
        let allowed = match run.order.cause {
            RunCause::CatchUp => cron.catch_up.deadline,
            _ => cron.start_deadline,
        };
        let late = |from: Timestamp, allowed: SignedDuration| view.now.duration_since(from) > allowed;
        if !late(was_due, allowed) || (turn > was_due && !late(turn, cron.start_deadline)) {
            return Vec::new();
        }
        let reason = format!("{why} within {allowed:#}");
        let mut steps: Vec<Step> = rows.iter().map(|row| stop(*row, &reason)).collect();
        steps.push(close(run, RunOutcome::Missed { reason: reason.clone() }, reason));
        steps
    }
}

fn close(run: &Run, outcome: RunOutcome, reason: String) -> Step {
    Step { change: Change::RunClosed { run: run.key.clone(), outcome }, reason }
}

/// The size of a try after another one, and what there is to say of it. Memory that was raised once stays.
/// After a kill it climbs to the next rung that was learned of the workload's runs, or grows by its factor.
fn retry_size(
    oom: OomRetry,
    asked: TaskSize,
    own: TaskSize,
    before: Option<&Task>,
    rungs: &[Bytes],
) -> (TaskSize, String) {
    let Some(before) = before else { return (asked, String::new()) };
    let raised = before.size.memory_limit > asked.memory_limit;
    let last = if raised { before.size } else { asked };
    let Some(exit) = before.exit.as_ref().filter(|exit| exit.is_oom() && oom.percent > 100) else {
        return (last, String::new());
    };
    let most = oom.max.unwrap_or(Bytes::new(own.memory_limit.get().saturating_mul(OOM_MEMORY_TIMES)));
    let grow = |memory: Bytes| {
        let grown = Bytes::new(memory.get().saturating_mul(u64::from(oom.percent)) / 100);
        grown.min(most).max(memory)
    };
    // What was in force at the end: it may have been changed while the task ran.
    let from = exit.memory_limit.unwrap_or(last.memory_limit).max(last.memory_limit);
    let mut size = last;
    let learned = rungs.iter().find(|rung| **rung > from).map(|rung| (*rung).min(most).max(from));
    size.memory_limit = learned.unwrap_or_else(|| grow(from));
    let scaled = last.request.memory.as_f64() * size.memory_limit.as_f64() / from.as_f64().max(1.0);
    size.request.memory = Bytes::from_f64(scaled).max(last.request.memory).min(size.memory_limit);
    let words = if size.memory_limit > from {
        let by = if learned.is_some() { " by the peaks of its runs" } else { "" };
        format!(", gets {} of memory instead of {from}{by} (at most {most})", size.memory_limit)
    } else {
        format!(", has the most memory that retries get ({most})")
    };
    (size, words)
}

fn over_time(view: &View<'_>, policy: &RunPolicy, row: Row<'_>) -> Option<Step> {
    let limit = policy.time_limit?;
    let started = row.task.started_at.filter(|_| may_stop(row.task))?;
    (view.now.duration_since(started) >= limit)
        .then(|| stop(row, &format!("it ran longer than its time limit of {limit:#}")))
}
