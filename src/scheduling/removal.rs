//! What is wanted no more: tasks of deleted workloads, tasks that do not fit their workload's kind, and
//! in the end the workload itself.

use crate::domain::change::Change;
use crate::domain::plan::Step;
use crate::domain::task::TaskId;
use crate::domain::workload::WorkloadName;
use crate::domain::world::RunKey;
use crate::scheduling::runs::{cancel, may_stop};
use crate::scheduling::tasks::stop;
use crate::scheduling::view::View;

/// Stops what nobody wants.
pub(super) fn clear(view: &mut View<'_>, name: &WorkloadName) {
    let unwanted = match view.workload(name) {
        Some(workload) if !workload.deleted => {
            // A name that was declared as another kind: its old tasks make way.
            let kind = workload.spec.kind();
            view.rows_of(name).iter().any(|row| row.task.kind != kind).then_some(Some(kind))
        }
        _ => Some(None),
    };
    let Some(kind) = unwanted else { return };
    let reason =
        if kind.is_some() { "its workload is of another kind now" } else { "its workload was deleted" };
    let runs: Vec<RunKey> = view
        .runs_of(name)
        .into_iter()
        .filter(|run| {
            let fits = kind.is_some_and(|kind| kind != crate::domain::workload::WorkloadKind::Service);
            !run.outcome.is_final() && !fits
        })
        .map(|run| run.key.clone())
        .collect();
    for run in runs {
        cancel(view, run, reason);
    }
    let steps: Vec<Step> = view
        .rows_of(name)
        .into_iter()
        .filter(|row| Some(row.task.kind) != kind && may_stop(row.task))
        .map(|row| stop(row, reason))
        .collect();
    view.take(steps);
}

/// Forgets a deleted workload once neither the world nor the cluster knows a task of it: its name may
/// come again, and with it the numbers of its tasks.
pub(super) fn forget(view: &mut View<'_>, name: &WorkloadName) {
    if view.workload(name).is_none_or(|workload| !workload.deleted) || !view.rows_of(name).is_empty() {
        return;
    }
    let first = TaskId::new(name.clone(), 0);
    let observed = view.observed.tasks.range(first..).next().is_some_and(|(id, _)| id.workload() == name);
    if !observed {
        let change = Change::WorkloadForgotten { workload: name.clone() };
        view.step(change, "it was deleted and its last task is gone");
    }
}
