//! Services: as many healthy instances as wanted, each of the right revision and size and on a node that
//! stays.
//!
//! Replacement is one mechanism whatever the cause. An instance is outdated if its revision, its node or
//! its size is not what it should be, or if it is to be bounced. Which revisions are wanted, and how many
//! instances of each, is the shape that a rollout has at this moment (`stages`). New instances are
//! started beside the old ones (surge); one that serves is retired only when the others that serve would
//! still be as many as wanted without it, so that nothing done here takes a service under its declared
//! capacity. It follows that a replacement needs room for one instance more.
//!
//! What goes first: instances that are no capacity, outdated before current; then outdated ones, oldest
//! first; then surplus current ones, youngest first (the old ones are warm and proven). An instance on a
//! node that is to be emptied is an outdated one.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::domain::action::{Action, ActionKey};
use crate::domain::change::Change;
use crate::domain::node::NodeName;
use crate::domain::plan::Step;
use crate::domain::quantity::TaskSize;
use crate::domain::task::{Task, TaskId, TaskOrigin, TaskState};
use crate::domain::workload::{ServiceSpec, WorkloadName};
use crate::domain::world::Workload;
use crate::scheduling::size;
use crate::scheduling::stages::{self, Shape};
use crate::scheduling::tasks::{is_ready, retire};
use crate::scheduling::view::{Row, View};

/// Why an instance has to be replaced.
enum Outdated<'v> {
    Revision,
    Node(&'v NodeName),
    Bounce(&'v Action),
    Size,
}

/// An instance that is, or will be, capacity.
struct Instance<'v> {
    row: Row<'v>,
    outdated: Option<Outdated<'v>>,
    /// The cohort that its revision is wanted in.
    cohort: Option<usize>,
    /// It answers requests now: ready, and in the front door.
    serves: bool,
    /// It is capacity: it serves, and has for as long as the rollout asks for.
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
        let shape = stages::shape(view, workload, &rows);
        let bounce = view.action(&ActionKey::Bounce(name.clone()));
        let mut instances: Vec<Instance<'_>> = rows
            .iter()
            .filter(|row| row.task.state.is_active())
            .map(|row| {
                let cohort = shape.cohorts.iter().position(|cohort| cohort.revision == row.task.revision);
                let outdated = outdated(view, workload, *row, (cohort, bounce));
                let ready = if outdated.is_some() {
                    is_ready(row.task, row.seen)
                } else {
                    counts(view, workload, *row)
                };
                let serves = is_ready(row.task, row.seen) && workload.takes_traffic(row.task);
                Instance { row: *row, outdated, cohort, serves, ready: ready && serves }
            })
            .collect();
        let steady = instances.iter().all(|instance| instance.outdated.is_none())
            && wanted_less_current(&shape, &instances).iter().all(|missing| *missing == 0);
        if steady {
            return;
        }
        let mut steps = retire_surplus(workload, &shape, &mut instances);
        steps.extend(make_missing(view, (workload, service), &shape, &instances, &rows));
        steps
    };
    view.take(steps);
}

/// Instances that each cohort lacks, or has too many where less than nothing.
fn wanted_less_current(shape: &Shape, instances: &[Instance<'_>]) -> Vec<isize> {
    let mut missing: Vec<isize> = shape.cohorts.iter().map(|cohort| cohort.wanted.cast_signed()).collect();
    for instance in instances.iter().filter(|instance| instance.outdated.is_none()) {
        if let Some(missing) = instance.cohort.and_then(|cohort| missing.get_mut(cohort)) {
            *missing -= 1;
        }
    }
    missing
}

fn outdated<'v>(
    view: &'v View<'_>,
    workload: &Workload,
    row: Row<'v>,
    (cohort, bounce): (Option<usize>, Option<&'v Action>),
) -> Option<Outdated<'v>> {
    if cohort.is_none() {
        return Some(Outdated::Revision);
    }
    if let Some(name) = row.task.node.as_ref().filter(|name| !view.stays(name)) {
        return Some(Outdated::Node(name));
    }
    if let Some(bounce) = bounce.filter(|bounce| bounce.bounces(&row.task.id)) {
        return Some(Outdated::Bounce(bounce));
    }
    // A size is for the revision in force; those before it keep theirs until they go.
    let current = row.task.revision == workload.revision;
    (current && size::needs_replacement(workload, row)).then_some(Outdated::Size)
}

fn describe(workload: &Workload, instance: &Instance<'_>) -> Option<String> {
    let task = instance.row.task;
    match instance.outdated.as_ref()? {
        Outdated::Revision => Some(format!("is of revision {}, not {}", task.revision, workload.revision)),
        Outdated::Node(node) => Some(format!("is on {node}, which is to be emptied")),
        Outdated::Bounce(bounce) => Some(format!("is to be bounced ({})", bounce.told())),
        Outdated::Size => Some(format!(
            "has size {}, is to have {}, and cannot be resized in place",
            task.size,
            size::wanted(workload, task)
        )),
    }
}

/// Takes out of `instances` what can go now.
fn retire_surplus(workload: &Workload, shape: &Shape, instances: &mut Vec<Instance<'_>>) -> Vec<Step> {
    let mut ready = instances.iter().filter(|instance| instance.ready).count();
    let mut missing = wanted_less_current(shape, instances);
    instances.sort_by_key(|instance| {
        let number = instance.row.task.id.number();
        // Old ones leave oldest first, current ones youngest first.
        let age = if instance.outdated.is_some() { number } else { u64::MAX - number };
        let started = instance.row.task.state == TaskState::Running;
        (instance.ready, instance.outdated.is_none(), started && instance.outdated.is_none(), age)
    });
    let mut steps = Vec::new();
    instances.retain(|instance| {
        let lacks = instance.cohort.filter(|_| instance.outdated.is_none()).and_then(|n| missing.get_mut(n));
        let surplus = lacks.as_ref().is_none_or(|missing| **missing < 0);
        // One that serves, if only just, helps out as long as there is too little capacity.
        let left = ready - usize::from(instance.ready);
        if !surplus || (instance.serves && left < shape.capacity) {
            return true;
        }
        let reason = if let Some(why) = describe(workload, instance) {
            if instance.ready {
                format!("it {why}; {} others are ready", ready - 1)
            } else if workload.takes_traffic(instance.row.task) {
                format!("it {why} and was not ready")
            } else {
                format!("it {why} and got no requests")
            }
        } else {
            let wanted = instance.cohort.map_or(0, |cohort| shape.cohorts[cohort].wanted);
            let there = lacks.as_ref().map_or(0, |missing| wanted.cast_signed() - **missing);
            let of = if shape.cohorts.len() > 1 {
                format!(" of revision {}", instance.row.task.revision)
            } else {
                String::new()
            };
            format!("{there} instances{of}, {wanted} wanted")
        };
        ready -= usize::from(instance.ready);
        if let Some(missing) = lacks {
            *missing += 1;
        }
        steps.push(retire(instance.row, &reason));
        false
    });
    steps
}

fn make_missing(
    view: &View<'_>,
    (workload, service): (&Workload, &ServiceSpec),
    shape: &Shape,
    left: &[Instance<'_>],
    rows: &[Row<'_>],
) -> Vec<Step> {
    let old: Vec<&Instance<'_>> = left.iter().filter(|instance| instance.outdated.is_some()).collect();
    let missing = wanted_less_current(shape, left);
    let leaving = !old.is_empty() || missing.iter().any(|missing| *missing < 0);
    let total = shape.total() + if leaving { surge(view, workload, service, &old) } else { 0 };
    let mut trial = size::trial(workload, rows);
    // The ends that were seen in this plan come first, so that each successor names its predecessor.
    let mut ends = view.ended_of(&workload.name).iter();
    let beside = left.len().saturating_sub(shape.total());
    let wanted =
        shape.cohorts.iter().zip(missing).flat_map(|(cohort, missing)| {
            std::iter::repeat_n(*cohort, usize::try_from(missing).unwrap_or(0))
        });
    wanted
        .take(total.saturating_sub(left.len()))
        .enumerate()
        .map(|(n, cohort)| {
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
            } else if shape.cohorts.len() > 1 {
                format!("{} instances of revision {} are wanted", cohort.wanted, cohort.revision)
            } else {
                format!("{} instances are wanted", cohort.wanted)
            };
            let number = workload.next_task + n as u64;
            let current = cohort.revision == workload.revision;
            let size =
                trial.take_if(|_| current).unwrap_or_else(|| size::of_revision(workload, cohort.revision));
            let id = TaskId::new(workload.name.clone(), number);
            let mut task = new_task(workload, id, TaskOrigin::Instance, size, view.now, &reason);
            task.revision = cohort.revision;
            task.not_before = not_before.unwrap_or(view.now);
            Step { change: Change::TaskCreated { task: Box::new(task) }, reason }
        })
        .collect()
}

/// Instances that may be there beyond the wanted ones while others go.
fn surge(view: &View<'_>, workload: &Workload, service: &ServiceSpec, old: &[&Instance<'_>]) -> usize {
    let for_size =
        !old.is_empty() && old.iter().all(|instance| matches!(instance.outdated, Some(Outdated::Size)));
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
