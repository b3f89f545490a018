//! Nodes: which are there, which are lost, and how a pool comes to have as many as it should.
//!
//! A node that does not join in time is given up and another one asked for, each time after a longer wait:
//! a provider that is out of machines is not asked in a loop.
//!
//! A node that is to be emptied is left by services as fast as their capacity allows (`services`). Runs of
//! jobs end where they are: moved, they would lose what they have done.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use jiff::SignedDuration;

use crate::domain::action::Switch;
use crate::domain::change::Change;
use crate::domain::node::{JoinState, Node, NodeName, NodePool, NodeState, PoolName};
use crate::domain::observation::NodeObservation;
use crate::domain::plan::{Alarm, Step};
use crate::placement::dominant_share;
use crate::scheduling::view::View;

/// The wait after the first node that did not join; it doubles.
const JOIN_BACKOFF: SignedDuration = SignedDuration::from_secs(30);
const JOIN_BACKOFF_MAX: SignedDuration = SignedDuration::from_mins(30);

/// Moves each node to the state that its observation shows.
pub(super) fn observe(view: &mut View<'_>) {
    let mut steps = Vec::new();
    let (mut joined, mut given_up) = (BTreeSet::new(), BTreeSet::new());
    // Both are in order of name, so one walk over each is enough.
    let mut known = view.observed.nodes.iter().peekable();
    for node in view.nodes() {
        while known.next_if(|(name, _)| **name != node.name && **name < node.name).is_some() {}
        let seen = known.next_if(|(name, _)| **name == node.name).map(|(_, seen)| seen);
        if node.state == NodeState::Joining && seen.is_none() && is_overdue(view, node) {
            let reason = format!("it did not join within {:#}", view.settings.join_timeout);
            given_up.insert(node.pool.clone());
            steps.push(Step {
                change: Change::NodeMoved {
                    node: node.name.clone(),
                    state: NodeState::Removing,
                    reason: reason.clone(),
                    remove_when_empty: true,
                },
                reason,
            });
            continue;
        }
        let (state, reason) = match (node.state, seen) {
            (NodeState::Joining, Some(NodeObservation::Ready)) => (NodeState::Ready, "it has joined"),
            (NodeState::Joining | NodeState::Ready | NodeState::Draining, Some(NodeObservation::Lost)) => {
                (NodeState::Lost, "it does not answer any more")
            }
            (NodeState::Ready | NodeState::Draining, None) => {
                (NodeState::Lost, "the cluster no longer knows it")
            }
            _ => continue,
        };
        if state == NodeState::Ready {
            joined.insert(node.pool.clone());
        }
        steps.push(moved(node, state, reason));
    }
    for name in joined.union(&given_up) {
        steps.extend(view.pool(name).and_then(|pool| noted(view, pool, joined.contains(name))));
    }
    view.take(steps);
}

fn is_overdue(view: &View<'_>, node: &Node) -> bool {
    view.now.duration_since(node.state_since) >= view.settings.join_timeout
}

/// What a node that joined, or some that did not, mean for the next one of their pool.
fn noted(view: &View<'_>, pool: &NodePool, joined: bool) -> Option<Step> {
    if joined {
        let change = Change::PoolJoinNoted { pool: pool.name.clone(), joins: JoinState::default() };
        let reason = "a node of it has joined: earlier failures are forgotten".to_owned();
        return (pool.joins.failures > 0).then_some(Step { change, reason });
    }
    let failures = pool.joins.failures.saturating_add(1);
    let wait = JOIN_BACKOFF
        .checked_mul(1 << (failures - 1).min(16))
        .map_or(JOIN_BACKOFF_MAX, |wait| wait.min(JOIN_BACKOFF_MAX));
    let joins = JoinState {
        failures,
        since: pool.joins.since.or(Some(view.now)),
        not_before: view.now.checked_add(wait).ok(),
    };
    let reason =
        format!("nodes did not join in time: failure {failures}, the next one is asked for in {wait:#}");
    Some(Step { change: Change::PoolJoinNoted { pool: pool.name.clone(), joins }, reason })
}

/// Pools whose nodes do not join.
pub(super) fn alarms(view: &View<'_>) -> Vec<Alarm> {
    let failing = view.world().pools.keys().filter_map(|name| view.pool(name));
    failing
        .filter(|pool| pool.joins.failures > 0)
        .map(|pool| Alarm {
            kind: "nodes do not join".to_owned(),
            workload: None,
            message: format!(
                "pool {}: nodes did not join within {:#}, {} times in a row",
                pool.name, view.settings.join_timeout, pool.joins.failures
            ),
            since: pool.joins.since.unwrap_or(view.now),
        })
        .collect()
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
    let target = if pool.deleted { 0 } else { pool.target as usize };
    let next = view.pool(&pool.name).map_or(pool.next_node, |pool| pool.next_node);
    let not_before = view.pool(&pool.name).and_then(|pool| pool.joins.not_before);
    let target_now = if not_before.is_some_and(|until| until > view.now) { counted } else { target };
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
