//! Rows of the world by their keys, for the copy that a plan works on (`view`).

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::change::Change;
use crate::domain::observation::Observed;
use crate::domain::task::TaskId;
use crate::domain::world::{EntityKey, World};
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

/// Tasks with their observations: both are in order of id, so one walk over each is enough.
pub(super) fn joined<'a>(world: &'a World, observed: &'a Observed) -> Vec<Row<'a>> {
    let mut seen = observed.tasks.iter().peekable();
    let mut rows = Vec::with_capacity(world.tasks.len());
    rows.extend(world.tasks.iter().map(|(id, task)| {
        // Nearly always the next one is that of the task.
        if let Some((_, seen)) = seen.next_if(|(other, _)| *other == id) {
            return Row { task, seen: Some(seen) };
        }
        while seen.next_if(|(other, _)| *other < id).is_some() {}
        Row { task, seen: seen.next_if(|(other, _)| *other == id).map(|(_, seen)| seen) }
    }));
    rows
}
