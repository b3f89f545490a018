//! From what is observed of a task to the state that it is in.
//!
//! A task that turns unready stays `Running`: readiness comes and goes and is asked for where it matters
//! (`is_ready`), while the state says where the task is in its life.

use std::collections::BTreeSet;

use crate::domain::change::Change;
use crate::domain::node::{NodeName, NodeState};
use crate::domain::observation::{Health, ProcessState, TaskObservation};
use crate::domain::plan::Step;
use crate::domain::task::{ExitRecord, ExitStatus, Task, TaskState};
use crate::domain::workload::{WorkloadKind, WorkloadName, WorkloadSpec};
use crate::scheduling::restart;
use crate::scheduling::view::{Ended, Row, View};

/// Whether a task is capacity at this moment: it runs, and its checks say that it takes requests. The
/// front door sends to these and to no others.
pub fn is_ready(task: &Task, seen: Option<&TaskObservation>) -> bool {
    task.state == TaskState::Running
        && seen.is_some_and(|seen| {
            matches!(seen.process, ProcessState::Running { .. })
                && (seen.health == Health::Ready || task.kind != WorkloadKind::Service)
        })
}

/// How a task ended that was not asked to.
enum Unasked {
    Failed,
    Lost,
}

/// What becomes of a task: the states that it enters, one after the other.
#[derive(Default)]
struct Fate {
    moves: Vec<(TaskState, String)>,
    exit: Option<ExitRecord>,
    unasked: Option<Unasked>,
}

impl Fate {
    fn to(state: TaskState, reason: impl Into<String>) -> Self {
        Self { moves: vec![(state, reason.into())], ..Self::default() }
    }

    fn failed(reason: impl Into<String>) -> Self {
        Self { unasked: Some(Unasked::Failed), ..Self::to(TaskState::Failed, reason) }
    }

    fn lost(reason: impl Into<String>) -> Self {
        Self { unasked: Some(Unasked::Lost), ..Self::to(TaskState::Lost, reason) }
    }
}

/// Moves each task of the workloads named to the state that its observation shows.
pub(super) fn observe(view: &mut View<'_>, names: &[&WorkloadName]) {
    if names.is_empty() {
        return;
    }
    let lost = view.leaving().filter(|node| node.state == NodeState::Lost);
    let lost: BTreeSet<NodeName> = lost.map(|node| node.name.clone()).collect();
    let fates: Vec<_> = names
        .iter()
        .flat_map(|name| view.rows_of(name))
        .filter_map(|row| {
            let fate = fate(view, row, &lost)?;
            Some((row.task.id.clone(), row.task.state, row.task.kind, row.task.revision, row.task.size, fate))
        })
        .collect();
    for (id, before, kind, revision, size, fate) in fates {
        let Some((last, _)) = fate.moves.last() else { continue };
        let last = *last;
        let mut reason = String::new();
        for (state, words) in fate.moves {
            reason.clone_from(&words);
            let exit = if state == last { fate.exit.clone() } else { None };
            let change = Change::TaskMoved { task: id.clone(), state, reason: words.clone(), exit };
            view.step(change, words);
        }
        // One that was leaving anyway needs neither a count nor a successor.
        if let (Some(how), true, WorkloadKind::Service) = (fate.unasked, before.is_active(), kind) {
            let failed = matches!(how, Unasked::Failed);
            if failed {
                restart::count_failure(view, &id, &reason);
            }
            view.note_ended(Ended { task: id, revision, size, failed, reason });
        }
    }
}

fn fate(view: &View<'_>, row: Row<'_>, lost: &BTreeSet<NodeName>) -> Option<Fate> {
    let Row { task, seen } = row;
    if task.state.is_terminal() || task.state == TaskState::Pending {
        return None;
    }
    // What ended before its node was lost has its record: a run that ended well is not tried again.
    let recorded = seen.is_some_and(|seen| matches!(seen.process, ProcessState::Exited(_)));
    if let Some(node) = task.node.as_ref().filter(|node| !recorded && lost.contains(*node)) {
        return Some(Fate::lost(format!("its node {node} is lost")));
    }
    let Some(seen) = seen else { return unseen(view, task) };
    match &seen.process {
        ProcessState::Starting => stuck(view, task, TaskState::Stopping),
        ProcessState::Running { .. } => alive(view, task, seen),
        ProcessState::Exited(record) => Some(Fate { exit: Some(record.clone()), ..ended(task, record) }),
        ProcessState::Lost if task.state == TaskState::Stopping => {
            Some(Fate::to(TaskState::Stopped, task.reason.clone()))
        }
        ProcessState::Lost => Some(Fate::lost("its supervisor is gone and left no record of its end")),
    }
}

/// The cluster does not know the task.
fn unseen(view: &View<'_>, task: &Task) -> Option<Fate> {
    match task.state {
        // Not started yet; the launch is repeated until it shows.
        TaskState::Launching => stuck(view, task, TaskState::Failed),
        TaskState::Stopping => Some(Fate::to(TaskState::Stopped, task.reason.clone())),
        _ => Some(Fate::lost("the cluster no longer knows it")),
    }
}

/// A task that has not come up in its time, if it is one: a failure like any other.
fn stuck(view: &View<'_>, task: &Task, becomes: TaskState) -> Option<Fate> {
    let limit = view.settings.start_timeout;
    let overdue = matches!(task.state, TaskState::Launching | TaskState::Starting)
        && view.now.duration_since(task.state_since) >= limit;
    let what = if task.state == TaskState::Launching { "was not started" } else { "did not become ready" };
    let fate = || Fate::to(becomes, format!("it {what} within {limit:#}"));
    overdue.then(|| Fate { unasked: Some(Unasked::Failed), ..fate() })
}

/// Whether a start-up check says how long the task may take.
fn has_startup_check(view: &View<'_>, task: &Task) -> bool {
    let spec = view.workload(task.workload()).map(|workload| {
        workload.revisions.get(&task.revision).map_or(&workload.spec, |revision| &revision.spec)
    });
    spec.and_then(WorkloadSpec::as_service).is_some_and(|service| service.checks.startup.is_some())
}

fn ended(task: &Task, record: &ExitRecord) -> Fate {
    let clean = record.status == Some(ExitStatus::Code(0));
    if task.state == TaskState::Stopping {
        return Fate::to(TaskState::Stopped, task.reason.clone());
    }
    if task.state == TaskState::Retiring || record.asked_to_stop {
        return Fate::to(TaskState::Stopped, format!("{}; it ended: {}", task.reason, record.describe()));
    }
    match (task.kind, clean) {
        (WorkloadKind::Service, true) => Fate::failed("it ended though it is a service (exit status 0)"),
        (_, true) => Fate::to(TaskState::Finished, "it ended with exit status 0"),
        (_, false) => Fate::failed(record.describe()),
    }
}

fn alive(view: &View<'_>, task: &Task, seen: &TaskObservation) -> Option<Fate> {
    let service = task.kind == WorkloadKind::Service;
    match (task.state, &seen.health) {
        (TaskState::Retiring, _) => leave(view, task, seen.in_flight),
        (TaskState::Launching | TaskState::Starting | TaskState::Running, Health::Failed { message })
            if service =>
        {
            let reason = format!("its health check failed: {message}");
            Some(Fate { unasked: Some(Unasked::Failed), ..Fate::to(TaskState::Stopping, reason) })
        }
        (TaskState::Starting, Health::Starting | Health::Unready { .. })
            if service && !has_startup_check(view, task) =>
        {
            stuck(view, task, TaskState::Stopping)
        }
        (TaskState::Launching | TaskState::Starting, health) => {
            let mut fate = Fate::default();
            if task.state == TaskState::Launching {
                fate.moves.push((TaskState::Starting, "its process runs".to_owned()));
            }
            if !service {
                fate.moves.push((TaskState::Running, "its process runs".to_owned()));
            } else if *health == Health::Ready {
                fate.moves.push((TaskState::Running, "it is ready".to_owned()));
            }
            Some(fate)
        }
        _ => None,
    }
}

/// From retired to told to stop: once its last request is answered, or its time for that is over.
fn leave(view: &View<'_>, task: &Task, in_flight: u64) -> Option<Fate> {
    let workload = view.workload(task.workload())?;
    let spec = workload.revisions.get(&task.revision).map_or(&workload.spec, |revision| &revision.spec);
    let timeout = spec.as_service().map(|service| service.drain_timeout).unwrap_or_default();
    let retired = view.now.duration_since(task.state_since);
    let reason = if in_flight == 0 && retired >= view.settings.retire_settle {
        task.reason.clone()
    } else if retired >= timeout && retired >= view.settings.retire_settle {
        format!("{}; {in_flight} requests were still open after {timeout:#}", task.reason)
    } else {
        return None;
    };
    Some(Fate::to(TaskState::Stopping, reason))
}

/// Lets an instance go: out of the front door first where it is in there, else told to stop.
pub(super) fn retire(row: Row<'_>, reason: &str) -> Step {
    let serves = row.task.state == TaskState::Running && row.task.kind == WorkloadKind::Service;
    if serves { moved(row.task, TaskState::Retiring, reason) } else { stop(row, reason) }
}

/// Tells a task to stop. One that the cluster does not know has nothing to stop: a launch that is under
/// way this moment shows later as a task that nobody wants, and is stopped then (`effects`).
pub(super) fn stop(row: Row<'_>, reason: &str) -> Step {
    let unknown = row.seen.is_none();
    let state = if unknown { TaskState::Stopped } else { TaskState::Stopping };
    moved(row.task, state, reason)
}

fn moved(task: &Task, state: TaskState, reason: &str) -> Step {
    let reason = reason.to_owned();
    Step {
        change: Change::TaskMoved { task: task.id.clone(), state, reason: reason.clone(), exit: None },
        reason,
    }
}

/// Ended tasks leave the world once everything that follows from their end is planned; their records
/// stay in the store.
pub(super) fn forget_ended(view: &mut View<'_>) {
    let ended: Vec<_> =
        view.finals().map(|task| (task.id.clone(), format!("it {}: {}", task.state, task.reason))).collect();
    for (task, reason) in ended {
        view.step(Change::TaskForgotten { task }, reason);
    }
}
