//! Nodes: which are there, which are lost, and how a pool comes to have as many as it should.
//!
//! A node that does not come or does not join is given up (`joining`).
//!
//! A node that is to be emptied is left by services as fast as their capacity allows (`services`). Runs of
//! jobs end where they are: moved, they would lose what they have done.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::domain::action::Switch;
use crate::domain::change::Change;
use crate::domain::node::{Node, NodeName, NodePool, NodeState, PoolName};
use crate::domain::observation::NodeObservation;
use crate::domain::plan::Step;
use crate::placement::dominant_share;
use crate::scheduling::joining::{Outcome, given_up};
use crate::scheduling::view::View;

/// Moves each node to the state that its observation shows.
pub(super) fn observe(view: &mut View<'_>) {
    let mut steps = Vec::new();
    let mut outcome = Outcome::default();
    // Both are in order of name, so one walk over each is enough.
    let mut known = view.observed.nodes.iter().peekable();
    for node in view.nodes() {
        while known.next_if(|(name, _)| **name != node.name && **name < node.name).is_some() {}
        let seen = known.next_if(|(name, _)| **name == node.name).map(|(_, seen)| seen);
        if node.state == NodeState::Joining
            && let Some(why) = given_up(view, node)
        {
            outcome.given_up(node, &why);
            let given_up = Node { remove_when_empty: true, ..node.clone() };
            steps.push(moved(&given_up, NodeState::Removing, &why));
            continue;
        }
        let (state, reason) = match (node.state, seen) {
            (NodeState::Joining, Some(NodeObservation::Ready)) => (NodeState::Ready, "it has joined"),
            (NodeState::Joining | NodeState::Ready | NodeState::Draining, Some(NodeObservation::Lost)) => {
                (NodeState::Lost, "it does not answer any more")
            }
            (NodeState::Ready | NodeState::Draining, None | Some(NodeObservation::Arriving)) => {
                (NodeState::Lost, "the cluster no longer knows it")
            }
            _ => continue,
        };
        if state == NodeState::Ready {
            outcome.joined(node);
        }
        steps.push(moved(node, state, reason));
    }
    steps.extend(outcome.steps(view));
    view.take(steps);
}

/// Brings each pool to its target, and lets go of nodes that are empty and wanted no more.
pub(super) fn keep_pools(view: &mut View<'_>) {
    let pools: Vec<&NodePool> = view.world().pools.values().collect();
    let mut counted: HashMap<PoolName, usize> = HashMap::with_capacity(pools.len());
    for node in view.nodes().into_iter().filter(|node| counts(node)) {
        *counted.entry(node.pool.clone()).or_default() += 1;
    }
    for pool in &pools {
        keep_pool(view, pool, counted.get(&pool.name).copied().unwrap_or_default());
    }
    if view.leaving().next().is_some() {
        view.loads();
    }
    let mut steps = Vec::new();
    for node in view.leaving() {
        let empty = view.load_of(&node.name).tasks == 0;
        let step = match node.state {
            NodeState::Lost if empty => forgotten(node, "it was lost with everything on it"),
            NodeState::Draining if empty && node.remove_when_empty => {
                moved(node, NodeState::Removing, &format!("it is empty; {}", node.reason))
            }
            NodeState::Removing if !view.observed.nodes.contains_key(&node.name) => {
                forgotten(node, "it has been removed")
            }
            _ => continue,
        };
        steps.push(step);
    }
    view.take(steps);
    for pool in pools.into_iter().filter(|pool| pool.deleted) {
        if !view.nodes().iter().any(|node| node.pool == pool.name) {
            let change = Change::PoolForgotten { pool: pool.name.clone() };
            view.step(change, "it was deleted and its last node is gone");
        }
    }
}

/// `counted` nodes of the pool count.
fn keep_pool(view: &mut View<'_>, pool: &NodePool, counted: usize) {
    // As it is after the steps so far: nodes that were given up lower the target.
    let now = view.pool(&pool.name).unwrap_or(pool);
    let (next, waits) = (now.next_node, now.joins.wait(view.now).is_some());
    let wanted = !pool.deleted && pool.spec.source.runs_tasks();
    let target = if wanted { now.target as usize } else { 0 };
    let target_now = if waits { counted } else { target };
    for number in (next..).take(target_now.saturating_sub(counted)) {
        let Some(node) = node_name(&pool.name, number) else { return };
        let change = Change::NodeCreated { node, pool: pool.name.clone() };
        view.step(change, format!("pool {} is to have {target} nodes", pool.name));
    }
    let surplus = counted.saturating_sub(target);
    if surplus == 0 {
        return;
    }
    // None was made just now: there are too many.
    let own = |node: &&Node| node.pool == pool.name && counts(node);
    let counted: Vec<Node> = view.nodes().into_iter().filter(own).cloned().collect();
    // Those that nobody uses yet go first, then the least loaded; among equals the youngest.
    let mut order: Vec<_> = counted
        .iter()
        .map(|node| {
            let load = dominant_share(view.reserved(&node.name), node.size);
            (node.state != NodeState::Joining, load, Reverse(node.created_at), Reverse(&node.name))
        })
        .collect();
    order.sort();
    let stands_still = view.frozen(Switch::Draining);
    for (joined, load, _, Reverse(name)) in order.into_iter().take(surplus) {
        if joined && stands_still {
            continue;
        }
        let reason = if pool.deleted {
            format!("pool {} was deleted", pool.name)
        } else {
            let reserved = load / 10_000;
            format!(
                "pool {} is to have {target} nodes, and this is its least loaded one ({reserved} % reserved)",
                pool.name
            )
        };
        let state = if joined { NodeState::Draining } else { NodeState::Removing };
        let change =
            Change::NodeMoved { node: name.clone(), state, reason: reason.clone(), remove_when_empty: true };
        view.step(change, reason);
    }
}

/// Whether a node is one of those that the pool is to have.
fn counts(node: &Node) -> bool {
    match node.state {
        NodeState::Joining | NodeState::Ready => true,
        NodeState::Draining => !node.remove_when_empty,
        NodeState::Removing | NodeState::Lost => false,
    }
}

/// `POOL-NUMBER`, the pool's name shortened where both together are too long for a name.
fn node_name(pool: &PoolName, number: u64) -> Option<NodeName> {
    let number = number.to_string();
    let room = 62_usize.saturating_sub(number.len());
    let pool = &pool.as_str()[..pool.as_str().len().min(room)];
    NodeName::new(&format!("{pool}-{number}")).ok()
}

fn moved(node: &Node, state: NodeState, reason: &str) -> Step {
    Step {
        change: Change::NodeMoved {
            node: node.name.clone(),
            state,
            reason: reason.to_owned(),
            remove_when_empty: node.remove_when_empty,
        },
        reason: reason.to_owned(),
    }
}

fn forgotten(node: &Node, reason: &str) -> Step {
    Step { change: Change::NodeForgotten { node: node.name.clone() }, reason: reason.to_owned() }
}
