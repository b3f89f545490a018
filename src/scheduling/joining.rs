//! Nodes that do not come, or come and do not join: given up, counted, and waited for.
//! In: nodes on their way, and what their provider says. Out: which are given up, and when their pool is
//! asked again. Not here: which pool takes the tasks instead (`scaling::cluster_grow`).
//!
//! A pool whose nodes were given up wants fewer of them, so that its tasks are free for another pool, and
//! asks for none for a while that doubles with each failure: a provider that is out of machines is not asked
//! in a loop. Cluster Autoscaler does the same with 5 minutes, at most 30, forgotten after 3 hours; the first
//! wait here is shorter, since a pool may be the only one.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use crate::domain::change::Change;
use crate::domain::node::{JoinState, Node, NodePool, NodeState, PoolName};
use crate::domain::observation::NodeObservation;
use crate::domain::plan::{Alarm, Step};
use crate::scheduling::view::View;

/// The kind of alarm that tells of pools whose nodes do not come or do not join.
pub const NODES_DO_NOT_JOIN: &str = "nodes do not join";
/// The wait after the first failure; it doubles.
const BACKOFF: SignedDuration = SignedDuration::from_secs(30);
/// Cluster Autoscaler's longest backoff of a node group.
const BACKOFF_MAX: SignedDuration = SignedDuration::from_mins(30);
/// Failures are forgotten when a pool has been free to try for so long: Cluster Autoscaler's reset.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_hours(3);
/// So many calls for a node may fail in a row where the provider does not say that it is of no use.
const CALLS_MAX: u32 = 3;

/// Why a node that is on its way is given up, if it is.
pub(super) fn given_up(view: &View<'_>, node: &Node) -> Option<String> {
    let seen = view.observed.nodes.get(&node.name);
    if matches!(seen, Some(NodeObservation::Ready | NodeObservation::Lost)) {
        return None;
    }
    if let Some(failure) = view.observed.not_created.get(&node.name)
        && (failure.definite || failure.calls >= CALLS_MAX)
    {
        return Some(format!("it cannot be made: {}", failure.reason));
    }
    let own = view.pool(&node.pool).and_then(|pool| pool.spec.source.join_timeout);
    let limit = own.unwrap_or(view.settings.join_timeout);
    let overdue = view.now.duration_since(node.state_since) >= limit;
    overdue.then(|| format!("it did not join within {limit:#}"))
}

/// What became of nodes that were on their way, by pool.
#[derive(Default)]
pub(super) struct Outcome(BTreeMap<PoolName, Arrivals>);

#[derive(Default)]
struct Arrivals {
    joined: u32,
    given_up: u32,
    why: String,
}

impl Outcome {
    /// A node has joined.
    pub(super) fn joined(&mut self, node: &Node) {
        self.0.entry(node.pool.clone()).or_default().joined += 1;
    }

    /// A node is given up.
    pub(super) fn given_up(&mut self, node: &Node, why: &str) {
        let arrivals = self.0.entry(node.pool.clone()).or_default();
        arrivals.given_up += 1;
        why.clone_into(&mut arrivals.why);
    }

    /// What follows for the pools. Where some nodes joined and others did not, the failure counts: what is
    /// missing is not to be had now.
    pub(super) fn steps(&self, view: &View<'_>) -> Vec<Step> {
        let mut steps = Vec::new();
        for name in view.world().pools.keys() {
            let Some(pool) = view.pool(name) else { continue };
            let arrivals = self.0.get(name);
            match arrivals {
                Some(arrivals) if arrivals.given_up > 0 => steps.extend(failed(view, pool, arrivals)),
                // One that joins while the pool waits was asked for before: it says nothing of the next one.
                Some(_) if pool.joins.failures > 0 && pool.joins.wait(view.now).is_none() => {
                    steps.push(forgotten(pool, "a node of it has joined: earlier failures are forgotten"));
                }
                None if is_past(view, pool) => {
                    steps.push(forgotten(
                        pool,
                        "its nodes did not fail for long: earlier failures are forgotten",
                    ));
                }
                _ => {}
            }
        }
        steps
    }
}

/// Whether a pool's failures are so old that they say nothing any more.
fn is_past(view: &View<'_>, pool: &NodePool) -> bool {
    let free_since = pool.joins.not_before.filter(|_| pool.joins.failures > 0);
    let long_ago = free_since.is_some_and(|since| view.now.duration_since(since) >= FORGOTTEN_AFTER);
    let on_their_way = |node: &&Node| node.pool == pool.name && node.state == NodeState::Joining;
    long_ago && !view.nodes().iter().any(on_their_way)
}

fn forgotten(pool: &NodePool, reason: &str) -> Step {
    let change = Change::PoolJoinNoted { pool: pool.name.clone(), joins: JoinState::default() };
    Step { change, reason: reason.to_owned() }
}

/// The next wait, and a target without the nodes that did not come.
fn failed(view: &View<'_>, pool: &NodePool, arrivals: &Arrivals) -> Vec<Step> {
    // Nodes that were asked for together fail one after the other: while the pool waits, they are one failure.
    let mut steps: Vec<Step> =
        pool.joins.wait(view.now).is_none().then(|| next_wait(view, pool, arrivals)).into_iter().collect();
    let target = pool.target.saturating_sub(arrivals.given_up).max(pool.spec.min);
    if !pool.deleted && target < pool.target {
        let change = Change::PoolTargetSet { pool: pool.name.clone(), target, decision: None };
        let reason = "what did not come is wanted no more: another pool may take the tasks".to_owned();
        steps.push(Step { change, reason });
    }
    steps
}

fn next_wait(view: &View<'_>, pool: &NodePool, arrivals: &Arrivals) -> Step {
    let failures = pool.joins.failures.saturating_add(1);
    let doubled = BACKOFF.checked_mul(1 << (failures - 1).min(16));
    let wait = doubled.map_or(BACKOFF_MAX, |wait| wait.min(BACKOFF_MAX));
    let joins = JoinState {
        failures,
        since: pool.joins.since.or(Some(view.now)),
        not_before: view.now.checked_add(wait).ok(),
        why: arrivals.why.clone(),
    };
    let reason = format!(
        "{} of its nodes did not come ({}): failure {failures}, the next one is asked for in {wait:#}",
        arrivals.given_up, arrivals.why
    );
    Step { change: Change::PoolJoinNoted { pool: pool.name.clone(), joins }, reason }
}

/// Pools whose nodes do not come or do not join: while they wait, and while the next node is on its way.
pub(super) fn alarms(view: &View<'_>) -> Vec<Alarm> {
    let pools = view.world().pools.keys().filter_map(|name| view.pool(name));
    let tried = |pool: &NodePool| {
        let on_its_way = |node: &&Node| node.pool == pool.name && node.state == NodeState::Joining;
        pool.joins.wait(view.now).is_some() || view.nodes().iter().any(on_its_way)
    };
    let failing = pools.filter(|pool| pool.joins.failures > 0 && tried(pool)).map(|pool| {
        let joins = &pool.joins;
        let next = match joins.not_before {
            Some(at) => format!("asked again after {}", at.strftime("%Y-%m-%dT%H:%M:%SZ")),
            None => "asked again when one is wanted".to_owned(),
        };
        Alarm {
            kind: NODES_DO_NOT_JOIN.to_owned(),
            workload: None,
            message: format!(
                "pool {}: nodes did not join, {} times in a row; last: {}; {next}",
                pool.name, joins.failures, joins.why
            ),
            since: joins.since.unwrap_or(view.now),
        }
    });
    failing.collect()
}
