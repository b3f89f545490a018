//! Which services are as they should be. Most are, most of the time: one look at each of their tasks is
//! enough, and nothing else is asked of them unless something around them changes.
//! Not here: what is to be done for the others.

use std::collections::BTreeSet;

use crate::domain::action::ActionKey;
use crate::domain::node::NodeName;
use crate::domain::task::TaskState;
use crate::domain::workload::{WorkloadKind, WorkloadName};
use crate::domain::world::{Workload, World};
use crate::scheduling::tasks::is_ready;
use crate::scheduling::view::Row;

/// Whether every phase would find nothing to do for a service with these tasks: each one ready, of the
/// revision and the size in force, on a node that stays, and as many as wanted.
pub(super) fn is_calm(workload: &Workload, rows: &[Row<'_>], leaving: &BTreeSet<NodeName>) -> bool {
    if workload.deleted
        || workload.size.is_some()
        || workload.restart.failures > 0
        || workload.count as usize != rows.len()
        || workload.rollout.as_ref().is_some_and(|rollout| rollout.state.is_open())
        || workload.spec.as_service().is_none()
    {
        return false;
    }
    let size = workload.spec.template().size;
    rows.iter().all(|Row { task, seen }| {
        task.state == TaskState::Running
            && task.kind == WorkloadKind::Service
            && task.revision == workload.revision
            && task.size == size
            && is_ready(task, *seen)
            && seen.is_some_and(|seen| seen.resize_refused.is_none())
            && (leaving.is_empty() || task.node.as_ref().is_some_and(|node| !leaving.contains(node)))
    })
}

/// Workloads that an action is about: what it asks for does not show in their tasks.
pub(super) fn acted_on(world: &World) -> impl Iterator<Item = &WorkloadName> {
    world.actions.keys().filter_map(|key| match key {
        ActionKey::Scale(name) | ActionKey::Pause(name) | ActionKey::Bounce(name) => Some(name),
        // What is advised shows in tasks once it is applied, which is a change of its own.
        ActionKey::Drain(_)
        | ActionKey::Freeze(_)
        | ActionKey::Dismiss(_)
        | ActionKey::Schedule(_)
        | ActionKey::SizePolicy(_) => None,
    })
}
