//! The number of nodes of each pool. Its parts: `cluster_grow` with its simulation of placement, `cluster_fit`;
//! `cluster_shrink` with its plan, `consolidation`; and what is about to need room, `ahead`.
//!
//! In: the world, and the tasks that found no node. Out: at most one change of one pool, and what no
//! change would help.
//!
//! Growth is estimated by first-fit decreasing, as the Kubernetes Cluster Autoscaler does it, and goes to the
//! pool that wastes least of what it costs.

use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::change::Change;
use crate::domain::decision::Proposal;
use crate::domain::money::{MicroCents, Prices};
use crate::domain::node::{Node, NodeName, NodePool, NodeState};
use crate::domain::node_outlook::{Block, Blocker};
use crate::domain::overcommit::Overcommit;
use crate::domain::plan::{Step, Waiting};
use crate::domain::quantity::{Resources, Share};
use crate::domain::task::TaskId;
use crate::domain::world::World;
use crate::placement::Ask;
use crate::scaling::cluster_fit::{share, used_by_node};
use crate::scaling::headroom::unannounced;
use crate::scaling::{ahead, cluster_grow, cluster_shrink};

/// A change of a pool, with what has to be done for it. The steps belong together: they are applied in
/// one commit, with the decision's number filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolDecision {
    /// The decision.
    pub proposal: Proposal,
    /// The new target, and for a shrinking pool the node that is drained.
    pub steps: Vec<Step>,
}

/// What nodes are decided by beside the world.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterTerms {
    /// Prices of resources, for pools without a price.
    pub prices: Prices,
    /// Room is kept for runs that nobody announced, such that it is too little in this share of the times that a
    /// node takes to come; none where it is absent.
    pub headroom: Option<Share>,
    /// What tasks count with instead of their requests for CPU: as the scheduler places them.
    pub overcommit: Arc<Overcommit>,
}

/// A task that no growth helps now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unserved {
    /// The task.
    pub task: TaskId,
    /// Why, in words.
    pub reason: String,
    /// Whether no pool has a node that would ever take it.
    pub fits_nowhere: bool,
}

/// A node that is little used and stays all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptNode {
    /// The node.
    pub node: NodeName,
    /// Why.
    pub block: Block,
}

/// What is decided about the cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClusterVerdict {
    /// At most one change at a time: its effect is awaited before the next one.
    pub decision: Option<PoolDecision>,
    /// Tasks that wait and are not helped by it.
    pub unserved: Vec<Unserved>,
    /// Nodes that could go as far as their use is concerned.
    pub kept: Vec<KeptNode>,
    /// Why no node was looked at, where none was.
    pub held: Option<Block>,
}

/// Decides whether a pool grows for the waiting tasks, or shrinks where none waits. A task that fits no
/// pool's node is reported; it neither grows a pool nor keeps one from shrinking.
pub fn decide(world: &World, waiting: &[Waiting], terms: &ClusterTerms, now: Timestamp) -> ClusterVerdict {
    let growth = cluster_grow::decide(world, waiting, terms, now);
    let waiting = waiting.iter().filter(|waiting| waiting.kind.wants_nodes());
    let still_waits = waiting.count() > growth.unserved.iter().filter(|task| task.fits_nowhere).count();
    if still_waits || growth.decision.is_some() {
        let reason = "tasks wait for nodes: none goes meanwhile".to_owned();
        return ClusterVerdict { held: Some(Block::new(Blocker::TasksWait, reason)), ..growth };
    }
    let mut coming = ahead::kept_for(world, now);
    coming.extend(terms.headroom.into_iter().flat_map(|risk| unannounced(world, risk, now)));
    let asks: Vec<Ask<'_>> = coming.iter().filter_map(|coming| coming.ask(world)).collect();
    let shrunk = cluster_shrink::decide(world, &asks, terms, now);
    ClusterVerdict { unserved: growth.unserved, ..shrunk }
}

/// Notes which nodes fell under, or rose over, their pool's threshold: what `decide` shrinks by.
pub fn node_use(world: &World, overcommit: &Overcommit, now: Timestamp) -> Vec<Change> {
    let used = used_by_node(world, overcommit);
    let note = |node: &Node, underused_since| {
        (node.underused_since.is_some() != Option::is_some(&underused_since))
            .then(|| Change::NodeUse { node: node.name.clone(), underused_since })
    };
    let changes = world.nodes.values().filter_map(|node| {
        let below = world.pools.get(&node.pool).map(|pool| pool.spec.scale_down_below);
        let used = used.get(&node.name).copied().unwrap_or_default();
        let under =
            node.state == NodeState::Ready && below.is_some_and(|below| is_underused(node, used, below));
        note(node, under.then_some(now))
    });
    changes.collect()
}

/// Whether the greater of the taken shares of CPU and memory is under a threshold.
fn is_underused(node: &Node, used: Resources, below: Share) -> bool {
    requested_share(node, used) < below.get()
}

/// The greater of the requested shares of CPU and memory.
pub(super) fn requested_share(node: &Node, used: Resources) -> f64 {
    let cpu = share(used.cpu.get(), node.size.cpu.get());
    cpu.max(share(used.memory.get(), node.size.memory.get()))
}

/// What a number of nodes of a pool costs per hour.
pub(super) fn price_of(pool: &NodePool, nodes: u32, prices: &Prices) -> MicroCents {
    let each = pool.spec.price_per_hour.unwrap_or_else(|| prices.per_hour(pool.spec.size));
    MicroCents::new(each.get().saturating_mul(i64::from(nodes)))
}
