//! What must hold of each step of a plan that places, resizes or preempts a task, checked by hand on the
//! world before the step.

use std::collections::BTreeMap;

use crate::domain::change::Change;
use crate::domain::node::{Node, NodeState};
use crate::domain::placement::{BY_NODE, Neighbour, PlacementSpec};
use crate::domain::quantity::Resources;
use crate::domain::task::{Task, TaskId};
use crate::domain::workload::{TaskTemplate, WorkloadName};
use crate::domain::world::World;
use crate::scheduling::placing::template_of;

/// Panics where a step breaks a rule of placement.
pub(super) fn check_step(world: &World, change: &Change) {
    match change {
        Change::TaskPlaced { task, node } => check_placed(world, &world.tasks[task], &world.nodes[node]),
        Change::TaskResized { task, size } => {
            let task = &world.tasks[task];
            if task.state.holds_resources() {
                check_quota(world, task, size.request, task.size.request, 0);
            }
        }
        Change::TaskPreempted { task, by } => {
            let priority = |id: &TaskId| template(world, &world.tasks[id]).priority;
            assert!(priority(task) < priority(by), "{task} of {} for {by}", priority(task));
        }
        _ => {}
    }
}

fn template<'w>(world: &'w World, task: &Task) -> &'w TaskTemplate {
    template_of(&world.workloads[task.workload()], task)
}

fn team<'w>(world: &'w World, task: &Task) -> Option<&'w str> {
    world.workloads.get(task.workload())?.spec.owner().team.as_deref()
}

fn place(node: &Node, by: &str) -> Option<String> {
    match by {
        BY_NODE => Some(node.name.to_string()),
        "pool" => Some(node.pool.to_string()),
        _ => node.attributes.get(by).cloned(),
    }
}

fn check_placed(world: &World, task: &Task, node: &Node) {
    let spec = &template(world, task).placement;
    assert_eq!(node.state, NodeState::Ready, "{} on {}", task.id, node.name);
    for constraint in &spec.constraints {
        let found = place(node, &constraint.attribute);
        assert!(constraint.holds(found.as_deref()), "{} on {}: {constraint}", task.id, node.name);
    }
    let reserved_for = &world.pools[&node.pool].spec.reserved_for;
    let named = |name: &String| name == task.workload().as_str() || Some(name.as_str()) == team(world, task);
    assert!(reserved_for.is_empty() || reserved_for.iter().any(named), "{} on {}", task.id, node.name);
    check_neighbours(world, task, node, spec);
    check_even(world, task, node, spec);
    check_quota(world, task, task.size.request, Resources::ZERO, 1);
}

/// Nodes with tasks of a workload that hold resources.
fn nodes_of<'w>(world: &'w World, workload: &'w WorkloadName) -> impl Iterator<Item = &'w Node> {
    let holding = world.tasks_of(workload).filter(|task| task.state.holds_resources());
    holding.filter_map(|task| world.nodes.get(task.node.as_ref()?))
}

fn check_neighbours(world: &World, task: &Task, node: &Node, spec: &PlacementSpec) {
    let there = |rule: &Neighbour, workload: &WorkloadName| {
        let here = place(node, &rule.by);
        here.is_some() && nodes_of(world, workload).any(|other| place(other, &rule.by) == here)
    };
    for rule in spec.anti_affinity.iter().filter(|rule| rule.required) {
        assert!(!there(rule, &rule.workload), "{} on {}: away from {rule}", task.id, node.name);
    }
    // Those that are leaving draw nobody after them.
    let mut own = world.tasks_of(task.workload());
    let stays = own.any(|other| other.state.holds_resources() && other.state.is_active());
    for rule in spec.affinity.iter().filter(|rule| rule.required) {
        let alone = rule.workload == *task.workload() && !stays;
        assert!(alone || there(rule, &rule.workload), "{} on {}: near {rule}", task.id, node.name);
    }
    for other in world.workloads.values().filter(|other| other.name != *task.workload()) {
        for rule in &other.spec.template().placement.anti_affinity {
            if rule.required && rule.workload == *task.workload() {
                assert!(!there(rule, &other.name), "{} on {}: {} is alone", task.id, node.name, other.name);
            }
        }
    }
}

fn check_even(world: &World, task: &Task, node: &Node, spec: &PlacementSpec) {
    let Some(spread) = &spec.spread_over else { return };
    let may = |node: &&Node| {
        node.state == NodeState::Ready
            && spec
                .constraints
                .iter()
                .all(|constraint| constraint.holds(place(node, &constraint.attribute).as_deref()))
            && {
                let reserved = &world.pools[&node.pool].spec.reserved_for;
                let named = |name: &String| {
                    name == task.workload().as_str() || Some(name.as_str()) == team(world, task)
                };
                reserved.is_empty() || reserved.iter().any(named)
            }
    };
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for place in world.nodes.values().filter(may).filter_map(|node| place(node, &spread.by)) {
        counts.entry(place).or_default();
    }
    let active = world
        .tasks_of(task.workload())
        .filter(|other| other.state.is_active() && other.revision == task.revision && other.node.is_some());
    for other in active.filter_map(|task| world.nodes.get(task.node.as_ref()?)).filter(may) {
        *counts.get_mut(&place(other, &spread.by).unwrap_or_default()).expect("a place") += 1;
    }
    let here = counts[&place(node, &spread.by).expect("a place")] + 1;
    let least = counts.values().min().copied().unwrap_or(0);
    assert!(here <= least + spread.max_skew, "{} on {}: {here} of {counts:?}", task.id, node.name);
}

fn check_quota(world: &World, task: &Task, more: Resources, less: Resources, tasks: u32) {
    let Some((name, quota)) = team(world, task).and_then(|team| world.quotas.get_key_value(team)) else {
        return;
    };
    let of_team = || {
        let holding = world.tasks.values().filter(|task| task.state.holds_resources());
        holding.filter(|other| team(world, other) == Some(name))
    };
    let before: Resources = of_team().map(|task| task.size.request).sum();
    let after = before.saturating_sub(less) + more;
    let grows_cpu = more.cpu > less.cpu;
    let grows_memory = more.memory > less.memory;
    assert!(!grows_cpu || quota.cpu.is_none_or(|most| after.cpu <= most), "{}: {after}", task.id);
    assert!(!grows_memory || quota.memory.is_none_or(|most| after.memory <= most), "{}: {after}", task.id);
    let count = of_team().count() as u32 + tasks;
    assert!(tasks == 0 || quota.tasks.is_none_or(|most| count <= most), "{}: {count} tasks", task.id);
}
