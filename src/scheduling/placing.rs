//! Nodes for the tasks that wait: those of higher priority first, then the older ones.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::domain::change::Change;
use crate::domain::node::{Node, NodeState};
use crate::domain::plan::Waiting;
use crate::domain::task::Task;
use crate::domain::workload::TaskTemplate;
use crate::domain::world::Workload;
use crate::placement::{Ask, Slot, place};
use crate::scheduling::view::View;

/// Places what can be placed and tells why the rest waits.
pub(super) fn place_pending(view: &mut View<'_>) -> Vec<Waiting> {
    let mut pending: Vec<(i32, Task, TaskTemplate)> = view
        .pending()
        .filter(|task| task.not_before <= view.now)
        .filter_map(|task| {
            let workload = view.workload(task.workload())?;
            let template = template_of(workload, task);
            Some((template.priority, task.clone(), template.clone()))
        })
        .collect();
    if pending.is_empty() {
        return Vec::new();
    }
    pending.sort_by_key(|(priority, task, _)| (Reverse(*priority), task.created_at, task.id.clone()));
    let nodes: Vec<Node> = view
        .nodes()
        .into_iter()
        .filter(|node| !matches!(node.state, NodeState::Lost | NodeState::Removing))
        .cloned()
        .collect();
    let mut slots: Vec<Slot<'_>> = nodes
        .iter()
        .map(|node| Slot { node, free: node.size.saturating_sub(view.reserved(&node.name)) })
        .collect();
    let before: BTreeMap<_, _> = slots.iter().map(|slot| (&slot.node.name, slot.free)).collect();
    let asks: Vec<Ask<'_>> = pending
        .iter()
        .map(|(_, task, template)| Ask {
            task: &task.id,
            request: task.size.request,
            constraints: &template.placement.constraints,
        })
        .collect();
    let placement = place(&asks, &mut slots);
    for (task, node) in placement.assignments {
        let free = before.get(&node).map(ToString::to_string).unwrap_or_default();
        let reason = format!("{node} is the fullest node that it fits on ({free} were free)");
        view.step(Change::TaskPlaced { task, node }, reason);
    }
    placement.waiting
}

/// What a task is, or was, started with: the template of its own revision.
pub(super) fn template_of<'v>(workload: &'v Workload, task: &Task) -> &'v TaskTemplate {
    workload.revisions.get(&task.revision).map_or(&workload.spec, |revision| &revision.spec).template()
}
