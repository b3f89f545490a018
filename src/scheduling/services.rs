//! Services: as many healthy instances as wanted, each of the right revision and size and on a node that
//! stays.
//!
//! Replacement is one mechanism whatever the cause. An instance is outdated if its revision, its node or
//! its size is not what it should be. New instances are started beside the old ones (surge); an old one
//! is retired only when the ready ones would still be as many as wanted without it, so that nothing done
//! here takes a service under its declared capacity. It follows that a replacement needs room for one
//! instance more.
//!
//! What goes first: instances that are no capacity, outdated before current; then outdated ones, oldest
//! first; then surplus current ones, youngest first (the old ones are warm and proven). An instance on a
//! node that is to be emptied is an outdated one.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::domain::change::Change;
use crate::domain::node::NodeName;
use crate::domain::plan::Step;
use crate::domain::quantity::TaskSize;
use crate::domain::task::{Task, TaskId, TaskOrigin, TaskState};
use crate::domain::workload::{ServiceSpec, WorkloadName};
use crate::domain::world::Workload;
use crate::scheduling::size;
use crate::scheduling::tasks::{is_ready, retire};
use crate::scheduling::view::{Row, View};

/// Why an instance has to be replaced.
enum Outdated<'v> {
    Revision,
    Node(&'v NodeName),
    Size,
}

/// An instance that is, or will be, capacity.
struct Instance<'v> {
    row: Row<'v>,
    outdated: Option<Outdated<'v>>,
    /// It is capacity now.
    ready: bool,
}

/// Whether an instance counts as new capacity: ready, and for as long as the rollout asks for.
pub(super) fn counts(view: &View<'_>, workload: &Workload, row: Row<'_>) -> bool {
    let min_ready = workload.spec.as_service().map(|spec| spec.rollout.min_ready).unwrap_or_default();
    is_ready(row.task, row.seen)
        && row.task.ready_at.is_some_and(|ready| view.now.duration_since(ready) >= min_ready)
}

/// Retires what is too much or outdated, then makes what is missing.
pub(super) fn keep(view: &mut View<'_>, name: &WorkloadName) {
    let steps = {
        let Some(workload) = view.workload(name).filter(|workload| !workload.deleted) else { return };
        let Some(service) = workload.spec.as_service() else { return };
        let rows = view.rows_of(name);
        let mut instances: Vec<Instance<'_>> = rows
            .iter()
            .filter(|row| row.task.state.is_active())
            .map(|row| {
                let outdated = outdated(view, workload, *row);
                let ready = if outdated.is_some() {
                    is_ready(row.task, row.seen)
                } else {
                    counts(view, workload, *row)
                };
                Instance { row: *row, outdated, ready }
            })
            .collect();
        let steady = instances.len() == workload.count as usize
            && instances.iter().all(|instance| instance.outdated.is_none());
        if steady {
            return;
        }
        let mut steps = retire_surplus(workload, &mut instances);
        steps.extend(make_missing(view, workload, service, &instances, &rows));
        steps
    };
    view.take(steps);
}

fn outdated<'v>(view: &'v View<'_>, workload: &Workload, row: Row<'v>) -> Option<Outdated<'v>> {
    if row.task.revision != workload.revision {
        return Some(Outdated::Revision);
    }
    if let Some(name) = row.task.node.as_ref().filter(|name| !view.stays(name)) {
        return Some(Outdated::Node(name));
    }
    size::needs_replacement(workload, row).then_some(Outdated::Size)
}

fn describe(workload: &Workload, instance: &Instance<'_>) -> Option<String> {
    let task = instance.row.task;
    match instance.outdated.as_ref()? {
        Outdated::Revision => Some(format!("is of revision {}, not {}", task.revision, workload.revision)),
        Outdated::Node(node) => Some(format!("is on {node}, which is to be emptied")),
        Outdated::Size => Some(format!(
            "has size {}, is to have {}, and cannot be resized in place",
            task.size,
            size::wanted(workload, task)
        )),
    }
}

/// Takes out of `instances` what can go now.
fn retire_surplus(workload: &Workload, instances: &mut Vec<Instance<'_>>) -> Vec<Step> {
    let wanted = workload.count as usize;
    let mut ready = instances.iter().filter(|instance| instance.ready).count();
    let mut current = instances.iter().filter(|instance| instance.outdated.is_none()).count();
    instances.sort_by_key(|instance| {
        let number = instance.row.task.id.number();
        // Old ones leave oldest first, current ones youngest first.
        let age = if instance.outdated.is_some() { number } else { u64::MAX - number };
        let started = instance.row.task.state == TaskState::Running;
        (instance.ready, instance.outdated.is_none(), started && instance.outdated.is_none(), age)
    });
    let mut steps = Vec::new();
    instances.retain(|instance| {
        let surplus = instance.outdated.is_some() || current > wanted;
        if !surplus || (instance.ready && ready <= wanted) {
            return true;
        }
        let reason = describe(workload, instance).map_or_else(
            || format!("{current} instances, {wanted} wanted"),
            |why| {
                if instance.ready {
                    format!("it {why}; {} others are ready", ready - 1)
                } else {
                    format!("it {why} and was not ready")
                }
            },
        );
        ready -= usize::from(instance.ready);
        current -= usize::from(instance.outdated.is_none());
        steps.push(retire(instance.row, &reason));
        false
    });
    steps
}

fn make_missing(
    view: &View<'_>,
    workload: &Workload,
    service: &ServiceSpec,
    left: &[Instance<'_>],
    rows: &[Row<'_>],
) -> Vec<Step> {
    let wanted = workload.count as usize;
    let old: Vec<&Instance<'_>> = left.iter().filter(|instance| instance.outdated.is_some()).collect();
    let missing = wanted.saturating_sub(left.len() - old.len());
    let total = wanted + surge(view, workload, service, &old);
    let mut trial = size::trial(workload, rows);
    // The ends that were seen in this plan come first, so that each successor names its predecessor.
    let mut ends = view.ended_of(&workload.name).iter();
    let beside = left.len().saturating_sub(wanted);
    (0..missing.min(total.saturating_sub(left.len())))
        .map(|n| {
            let backoff = workload.restart.not_before.filter(|until| *until > view.now);
            let mut not_before = if workload.restart.crash_loop { backoff } else { None };
            let reason = if let Some(end) = ends.next() {
                if end.failed {
                    not_before = backoff;
                }
                succession(view.now, workload, &end.task, end.failed, &end.reason, not_before)
            } else if let Some((old, why)) =
                old.get(beside + n).and_then(|old| Some((old, describe(workload, old)?)))
            {
                format!("replaces {}, which {why}", old.row.task.id)
            } else {
                format!("{wanted} instances are wanted")
            };
            let number = workload.next_task + n as u64;
            let size = trial.take().unwrap_or_else(|| workload.size());
            let id = TaskId::new(workload.name.clone(), number);
            let mut task = new_task(workload, id, TaskOrigin::Instance, size, view.now, &reason);
            task.not_before = not_before.unwrap_or(view.now);
            Step { change: Change::TaskCreated { task: Box::new(task) }, reason }
        })
        .collect()
}

/// Instances that may be there beyond the wanted ones while outdated ones are replaced.
fn surge(view: &View<'_>, workload: &Workload, service: &ServiceSpec, old: &[&Instance<'_>]) -> usize {
    if old.is_empty() {
        return 0;
    }
    let for_size = old.iter().all(|instance| matches!(instance.outdated, Some(Outdated::Size)));
    let surge = if for_size {
        service.rollout.max_surge.min(view.world().policy_of(workload).max_disruption)
    } else {
        service.rollout.max_surge
    };
    surge.max(1) as usize
}

fn succession(
    now: Timestamp,
    workload: &Workload,
    before: &TaskId,
    failed: bool,
    why: &str,
    not_before: Option<Timestamp>,
) -> String {
    let waits =
        not_before.map(|until| format!(", waits {:#}", until.duration_since(now))).unwrap_or_default();
    if failed {
        let failures = workload.restart.failures;
        format!("replaces {before}, which failed: {why}; failure {failures}{waits}")
    } else {
        format!("replaces {before}, which was lost: {why}{waits}")
    }
}

/// A task of the revision in force, pending.
pub(super) fn new_task(
    workload: &Workload,
    id: TaskId,
    origin: TaskOrigin,
    size: TaskSize,
    now: Timestamp,
    reason: &str,
) -> Task {
    Task {
        id,
        kind: workload.spec.kind(),
        revision: workload.revision,
        origin,
        size,
        state: TaskState::Pending,
        reason: reason.to_owned(),
        node: None,
        ports: BTreeMap::new(),
        created_at: now,
        not_before: now,
        started_at: None,
        ready_at: None,
        state_since: now,
        exit: None,
        preempted_for: None,
    }
}
