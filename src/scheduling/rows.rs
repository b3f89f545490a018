//! Rows of the world by their keys, for the copy that a plan works on (`view`).

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::change::Change;
use crate::domain::observation::{Observed, TaskObservation};
use crate::domain::task::TaskId;
use crate::domain::world::{EntityKey, World};
use crate::scheduling::parts::Part;
use crate::scheduling::view::Row;

pub(super) fn keep_member(set: &mut BTreeSet<TaskId>, id: &TaskId, belongs: bool) {
    if !belongs {
        set.remove(id);
    } else if !set.contains(id) {
        set.insert(id.clone());
    }
}

pub(super) fn task_of(change: &Change) -> Option<&TaskId> {
    match change {
        Change::TaskCreated { task } => Some(&task.id),
        Change::TaskPlaced { task, .. }
        | Change::TaskMoved { task, .. }
        | Change::TaskPreempted { task, .. }
        | Change::TaskPorts { task, .. }
        | Change::TaskResized { task, .. }
        | Change::TaskForgotten { task } => Some(task),
        _ => None,
    }
}

pub(super) fn has(world: &World, key: &EntityKey) -> bool {
    match key {
        EntityKey::Workload(name) => world.workloads.contains_key(name),
        EntityKey::Task(id) => world.tasks.contains_key(id),
        EntityKey::Run(key) => world.runs.contains_key(key),
        EntityKey::Node(name) => world.nodes.contains_key(name),
        EntityKey::Pool(name) => world.pools.contains_key(name),
        EntityKey::Policy(name) => world.policies.contains_key(name),
        EntityKey::Action(key) => world.actions.contains_key(key),
        EntityKey::Quota(team) => world.quotas.contains_key(team),
        EntityKey::SizePolicy => world.size_policy.is_some(),
    }
}

pub(super) fn copy_row<K: Ord + Clone, V: Clone>(from: &BTreeMap<K, V>, to: &mut BTreeMap<K, V>, key: &K) {
    if let Some(row) = from.get(key) {
        to.insert(key.clone(), row.clone());
    }
}

/// The tasks of a part with their observations, and those observed that the world does not know (`stray`): both are in
/// order of id, so one walk over each is enough.
pub(super) fn walk<'a>(
    part: Part<'a>,
    world: &'a World,
    observed: &'a Observed,
    mut row: impl FnMut(Row<'a>),
    mut stray: impl FnMut(&'a TaskId, &'a TaskObservation),
) {
    let mut seen = part.observations(observed).peekable();
    for (id, task) in part.tasks(world) {
        // Nearly always the next one is that of the task.
        let mut own = seen.next_if(|(other, _)| *other == id);
        if own.is_none() {
            while let Some((other, observation)) = seen.next_if(|(other, _)| *other < id) {
                stray(other, observation);
            }
            own = seen.next_if(|(other, _)| *other == id);
        }
        row(Row { task, seen: own.map(|(_, seen)| seen) });
    }
    seen.for_each(|(other, observation)| stray(other, observation));
}
