//! How a change of size reaches the tasks: in place where the cluster can and the node has room, else by
//! replacement (`services`). Less memory is tried on one instance first, and taken back for all if that
//! one is killed or fails while it is on trial.

use crate::domain::action::Switch;
use crate::domain::change::Change;
use crate::domain::node::NodeState;
use crate::domain::plan::Step;
use crate::domain::quantity::{Resources, TaskSize};
use crate::domain::reducer::takes_memory;
use crate::domain::task::{Task, TaskId, TaskState};
use crate::domain::workload::{WorkloadKind, WorkloadName};
use crate::domain::world::{SizeOverride, Workload};
use crate::scheduling::placing;
use crate::scheduling::tasks::is_ready;
use crate::scheduling::view::{Row, View};

/// The size that a task should have.
pub(super) fn wanted(workload: &Workload, task: &Task) -> TaskSize {
    if task.run().is_some() {
        return wanted_of_run(workload, task);
    }
    match &workload.size {
        Some(size) if !size.everywhere => {
            // A task that was made with the size on trial takes over from the one that it replaces.
            let on_trial = size.canary.as_ref() == Some(&task.id) || task.size == size.size;
            if on_trial { size.size } else { size.previous }
        }
        _ => workload.size(),
    }
}

/// The size that a new task of an earlier revision gets while that is kept.
pub(super) fn of_revision(workload: &Workload, revision: u64) -> TaskSize {
    match workload.revisions.get(&revision) {
        Some(earlier) if workload.size.is_none() => earlier.spec.template().size,
        _ => workload.size(),
    }
}

/// The task of a run keeps the size that it was made with, which may be its run's own or raised after a
/// kill for want of memory; a size that is decided later holds for it too, unless it takes memory away.
fn wanted_of_run(workload: &Workload, task: &Task) -> TaskSize {
    let decided = workload.size.as_ref().filter(|size| size.everywhere && size.since > task.created_at);
    match decided {
        Some(decided) if !takes_memory(task.size, decided.size) => decided.size,
        _ => task.size,
    }
}

/// Whether only a new task can have the size that this one should have.
pub(super) fn needs_replacement(workload: &Workload, row: Row<'_>) -> bool {
    if matches!(row.task.state, TaskState::Pending | TaskState::Launching) {
        return false;
    }
    row.task.size != wanted(workload, row.task)
        || row.seen.is_some_and(|seen| {
            seen.resize_refused.is_some() && seen.size.is_some_and(|size| size != row.task.size)
        })
}

/// The size that the next new task is to try, where the chosen one cannot be resized in place.
pub(super) fn trial(workload: &Workload, rows: &[Row<'_>]) -> Option<TaskSize> {
    let size = workload.size.as_ref().filter(|size| !size.everywhere)?;
    let active = || rows.iter().filter(|row| row.task.state.is_active());
    let chosen = active().find(|row| Some(&row.task.id) == size.canary.as_ref())?;
    let tried = active().any(|row| row.task.size == size.size && row.task.id != chosen.task.id);
    (needs_replacement(workload, *chosen) && !tried).then_some(size.size)
}

/// Moves the trial on, and resizes in place what can be.
pub(super) fn keep(view: &mut View<'_>, name: &WorkloadName) {
    let Some(workload) = view.workload(name).filter(|workload| !workload.deleted) else { return };
    let plain = workload.size.is_none();
    let declared = workload.spec.template().size;
    if plain && view.rows_of(name).iter().all(|row| row.task.size == declared) {
        return;
    }
    // A size that did harm is taken back all the same.
    let goes_on = |step: &Step| {
        view.world().frozen(Switch::Scaling).is_none() || matches!(step.change, Change::SizeReverted { .. })
    };
    if let Some(step) = try_out(view, name).filter(goes_on) {
        view.take(vec![step]);
    }
    resize(view, name);
}

/// The next step of the trial on one instance.
fn try_out(view: &View<'_>, name: &WorkloadName) -> Option<Step> {
    let workload = view.workload(name)?;
    let size = workload.size.as_ref().filter(|size| !size.everywhere)?;
    let killed = view.ended_of(name).iter().find(|ended| ended.failed && ended.size == size.size);
    if let Some(killed) = killed {
        let reason = format!(
            "{} had {} on trial and failed: {}; all keep {}",
            killed.task, size.size, killed.reason, size.previous
        );
        let change = Change::SizeReverted { workload: name.clone(), reason: reason.clone() };
        return Some(Step { change, reason });
    }
    let rows = view.rows_of(name);
    let chosen =
        rows.iter().find(|row| Some(&row.task.id) == size.canary.as_ref() && row.task.state.is_active());
    let Some(chosen) = chosen else { return choose(workload, size, &rows) };
    let in_force = chosen.task.size == size.size
        && chosen.seen.is_some_and(|seen| seen.size.is_none_or(|seen| seen == size.size));
    let since = size.canary_since.unwrap_or(size.since);
    let soaked = view.now.duration_since(since) >= view.settings.size_soak;
    (in_force && soaked && is_ready(chosen.task, chosen.seen)).then(|| Step {
        change: Change::SizeConfirmed { workload: name.clone() },
        reason: format!(
            "{} has lived with {} for {:#} without harm: all get it",
            chosen.task.id, size.size, view.settings.size_soak
        ),
    })
}

/// The instance to try a size on: one that has it already, else the one that has run longest, once no
/// rollout is under way.
fn choose(workload: &Workload, size: &SizeOverride, rows: &[Row<'_>]) -> Option<Step> {
    if workload.rollout.as_ref().is_some_and(|rollout| rollout.state.is_open()) {
        return None;
    }
    let current = || rows.iter().filter(|row| row.task.revision == workload.revision);
    let has_it = current().find(|row| row.task.state.is_active() && row.task.size == size.size);
    let chosen = has_it.or_else(|| current().find(|row| is_ready(row.task, row.seen)))?;
    let task = chosen.task.id.clone();
    let reason = format!("{} is tried on {task} first: less memory may get a task killed", size.size);
    Some(Step { change: Change::SizeCanaryChosen { workload: workload.name.clone(), task }, reason })
}

fn resize(view: &mut View<'_>, name: &WorkloadName) {
    let Some(workload) = view.workload(name) else { return };
    let candidates: Vec<(TaskId, TaskSize, TaskSize)> = view
        .rows_of(name)
        .into_iter()
        .filter(|row| row.task.state.is_active() && row.task.revision == workload.revision)
        .filter_map(|row| {
            let wanted = wanted(workload, row.task);
            (wanted != row.task.size && can_resize(view, row, wanted))
                .then(|| (row.task.id.clone(), row.task.size, wanted))
        })
        .collect();
    for (id, from, to) in candidates {
        if has_room(view, &id, from.request, to.request) {
            view.step(Change::TaskResized { task: id, size: to }, format!("size {from} -> {to}, in place"));
        } else {
            view.is_cramped(name);
        }
    }
}

fn can_resize(view: &View<'_>, row: Row<'_>, wanted: TaskSize) -> bool {
    // A run that goes on keeps the memory that it began with: there is no second instance to try less on.
    let takes = takes_memory(row.task.size, wanted) && row.task.kind != WorkloadKind::Service;
    match row.task.state {
        TaskState::Pending => true,
        TaskState::Starting | TaskState::Running if !takes => {
            let stays = row
                .task
                .node
                .as_ref()
                .and_then(|node| view.node(node))
                .is_some_and(|node| node.state == NodeState::Ready);
            let possible = row.seen.is_some_and(|seen| {
                seen.size == Some(wanted) || (view.observed.can_resize && seen.resize_refused.is_none())
            });
            stays && possible
        }
        _ => false,
    }
}

fn has_room(view: &mut View<'_>, id: &TaskId, from: Resources, to: Resources) -> bool {
    let Some(node) = view.task(id).and_then(|task| task.node.clone()) else { return true };
    if view.node(&node).is_none() {
        return false;
    }
    if placing::over_quota(view, id.workload(), to, from).is_some() {
        return false;
    }
    // Less of one thing needs no room for it, even on a node that has too little of it.
    view.loads();
    let Some(node) = view.node(&node) else { return false };
    let (with, most) = (view.taken(node) + to, node.size + from);
    (to.cpu <= from.cpu || with.cpu <= most.cpu) && (to.memory <= from.memory || with.memory <= most.memory)
}
