//! One node fewer where few are enough. Not here: more (`cluster_grow`).
//!
//! As the Kubernetes Cluster Autoscaler does it: a node goes that has been little used for long enough
//! and whose tasks all fit on the others. One at a time, so no node is both emptied and counted on.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::domain::change::Change;
use crate::domain::decision::{Candidate, DecisionKind, Proposal};
use crate::domain::money::Prices;
use crate::domain::node::{Node, NodeName, NodePool, NodeState};
use crate::domain::plan::Step;
use crate::domain::quantity::Resources;
use crate::domain::task::{Task, TaskState};
use crate::domain::workload::WorkloadKind;
use crate::domain::world::World;
use crate::scaling::cluster::{KeptNode, PoolDecision, price_of, requested_share};
use crate::scaling::cluster_fit::{Bin, Item, first_fit_decreasing, used_by_node};

/// Removes at most one node; tells why other little-used ones stay.
pub(super) fn decide(
    world: &World,
    prices: &Prices,
    now: Timestamp,
) -> (Option<PoolDecision>, Vec<KeptNode>) {
    // One after the other: what is being emptied now needs the room that is left.
    let emptying = |node: &Node| {
        node.state == NodeState::Removing || (node.state == NodeState::Draining && node.remove_when_empty)
    };
    if world.nodes.values().any(emptying) {
        return (None, Vec::new());
    }
    let used = used_by_node(world);
    let use_of = |node: &Node| used.get(&node.name).copied().unwrap_or_default();
    let mut candidates: Vec<(&Node, &NodePool)> = world
        .nodes
        .values()
        .filter(|node| node.state == NodeState::Ready)
        .filter_map(|node| Some((node, world.pools.get(&node.pool)?)))
        .filter(|(node, pool)| !pool.deleted && has_been_underused(node, pool, now))
        .collect();
    let tasks_on = |node: &Node| tasks_on(world, &node.name).count();
    // Fewest moves first, then the emptiest.
    candidates.sort_by(|(a, _), (b, _)| {
        let by_tasks = tasks_on(a).cmp(&tasks_on(b));
        let by_use = || requested_share(a, use_of(a)).total_cmp(&requested_share(b, use_of(b)));
        by_tasks.then_with(by_use).then_with(|| a.name.cmp(&b.name))
    });
    let mut kept = Vec::new();
    for (node, pool) in candidates {
        let room = || elsewhere(world, node, &used);
        match stays(world, node, pool, now).map_or_else(room, Err) {
            Ok(moves) => return (Some(decision(node, pool, use_of(node), &moves, prices)), kept),
            Err(reason) => kept.push(KeptNode { node: node.name.clone(), reason }),
        }
    }
    (None, kept)
}

fn has_been_underused(node: &Node, pool: &NodePool, now: Timestamp) -> bool {
    node.underused_since.is_some_and(|since| now.duration_since(since) >= pool.spec.scale_down_after)
}

fn tasks_on<'a>(world: &'a World, node: &'a NodeName) -> impl Iterator<Item = &'a Task> {
    world.tasks.values().filter(move |task| task.state.holds_resources() && task.node.as_ref() == Some(node))
}

/// Why a node stays, apart from the room that its tasks need.
fn stays(world: &World, node: &Node, pool: &NodePool, now: Timestamp) -> Option<String> {
    let ready = world.nodes.values().filter(|n| n.pool == pool.name && n.state == NodeState::Ready).count();
    let min = pool.spec.min;
    if pool.target <= min || ready <= min as usize {
        return Some(format!("pool {} has its least of {min} nodes", pool.name));
    }
    let changed = pool.grown_at.max(pool.shrunk_at);
    let wait = changed.map(|at| pool.spec.cooldown_down.saturating_sub(now.duration_since(at)));
    if let Some(wait) = wait.filter(SignedDuration::is_positive) {
        return Some(format!("pool {} changed lately and waits {} s", pool.name, wait.as_secs().max(1)));
    }
    // A service's instance moves without harm; a run would lose the work that it has done.
    let run = tasks_on(world, &node.name).find(|task| task.kind != WorkloadKind::Service)?;
    Some(format!("{} runs on it and would have to begin again", run.id))
}

/// Where each task of a node would go; an error names one that has no other place. Tasks that wait for
/// their backoff, and those of nodes that are being drained, keep room for themselves.
fn elsewhere(
    world: &World,
    node: &Node,
    used: &BTreeMap<&NodeName, Resources>,
) -> Result<Vec<String>, String> {
    let others =
        world.nodes.values().filter(|other| other.state == NodeState::Ready && other.name != node.name);
    let mut bins: Vec<Bin<'_>> = others
        .map(|other| Bin::of(world, other, used.get(&other.name).copied().unwrap_or_default()))
        .collect();
    let drained = |task: &Task| {
        let on = task.node.as_ref().and_then(|name| world.nodes.get(name));
        task.state.is_active() && on.is_some_and(|on| on.state == NodeState::Draining)
    };
    let pending = world.tasks.values().filter(|task| task.state == TaskState::Pending || drained(task));
    let items: Vec<Item<'_>> = pending
        .map(|task| Item::of(world, task))
        // What fits no node at all asks for no room.
        .filter(|item| world.pools.values().any(|pool| item.suits(pool)))
        .chain(tasks_on(world, &node.name).map(|task| Item::of(world, task)))
        .collect();
    let (placed, left) = first_fit_decreasing(&items, &mut bins, node.size, None);
    if let Some(first) = left.first() {
        return Err(format!("{} tasks would find no room without it, {} among them", left.len(), first.task));
    }
    let moves =
        placed.iter().filter_map(|(item, bin)| Some(format!("{} to {}", item.task, bins[*bin].node?)));
    Ok(moves.collect())
}

fn decision(
    node: &Node,
    pool: &NodePool,
    used: Resources,
    moves: &[String],
    prices: &Prices,
) -> PoolDecision {
    let target = pool.target - 1;
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let requested = percent(requested_share(node, used));
    let where_to =
        if moves.is_empty() { "it is empty".to_owned() } else { format!("moves: {}", moves.join(", ")) };
    let reason = format!(
        "{} has had less than {} requested for {} s ({requested} now); {where_to}",
        node.name,
        percent(pool.spec.scale_down_below.get()),
        pool.spec.scale_down_after.as_secs(),
    );
    let kind = DecisionKind::Pool { pool: pool.name.clone(), from: pool.target, to: target };
    let proposal = Proposal {
        kind,
        rule: "underused node".to_owned(),
        reason: reason.clone(),
        inputs: BTreeMap::from([
            ("node".to_owned(), node.name.to_string()),
            ("requested".to_owned(), format!("{used} of {} ({requested})", node.size)),
            ("bounds".to_owned(), format!("{} to {}", pool.spec.min, pool.spec.max)),
        ]),
        candidates: vec![Candidate { source: format!("node {}", node.name), answer: where_to, chosen: true }],
        price_before: price_of(pool, pool.target, prices),
        price_after: price_of(pool, target, prices),
    };
    let shrink = Change::PoolTargetSet { pool: pool.name.clone(), target, decision: None };
    let drain = Change::NodeMoved {
        node: node.name.clone(),
        state: NodeState::Draining,
        reason: reason.clone(),
        remove_when_empty: true,
    };
    let steps = [shrink, drain].map(|change| Step { change, reason: reason.clone() });
    PoolDecision { proposal, steps: steps.into() }
}
