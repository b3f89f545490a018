//! Why each node stays or goes, and which changes of nodes are under way.
//!
//! In: the world and what was decided on it (`cluster::decide`). Out: a record for people, of the same verdict
//! that nodes are changed by. Not here: any decision.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use crate::domain::action::Switch;
use crate::domain::change::Change;
use crate::domain::node::{Node, NodeName, NodePool, NodeState};
use crate::domain::node_outlook::{
    Block, Blocker, NodeOutlook, NodesOutlook, PlannedChange, PlannedKind, Prospect,
};
use crate::domain::overcommit::Overcommit;
use crate::domain::quantity::Resources;
use crate::domain::world::World;
use crate::scaling::ahead::boot_time;
use crate::scaling::cluster::{ClusterVerdict, requested_share};
use crate::scaling::cluster_fit::{counts_for_target, used_by_node};

/// Puts the record together.
pub fn outlook(
    world: &World,
    verdict: &ClusterVerdict,
    overcommit: &Overcommit,
    now: Timestamp,
) -> NodesOutlook {
    let (used, frozen) = (used_by_node(world, overcommit), frozen(world));
    let look = Look { world, verdict, now, used, frozen };
    let mut tasks: HashMap<&NodeName, u32> = HashMap::new();
    for task in world.tasks.values().filter(|task| task.state.holds_resources()) {
        if let Some(node) = &task.node {
            *tasks.entry(node).or_default() += 1;
        }
    }
    let kept: BTreeMap<&NodeName, &Block> =
        verdict.kept.iter().map(|kept| (&kept.node, &kept.block)).collect();
    NodesOutlook {
        at: Some(now),
        nodes: world.nodes.values().map(|node| (node.name.clone(), look.node(node, &kept))).collect(),
        planned: look.planned(&tasks),
    }
}

struct Look<'a> {
    world: &'a World,
    verdict: &'a ClusterVerdict,
    now: Timestamp,
    used: HashMap<&'a NodeName, Resources>,
    frozen: Vec<Block>,
}

/// Freezes that keep nodes as they are.
fn frozen(world: &World) -> Vec<Block> {
    let frozen = [Switch::Scaling, Switch::Draining].into_iter().filter_map(|switch| {
        let action = world.frozen(switch)?;
        let why = if action.message.is_empty() { String::new() } else { format!(": {}", action.message) };
        let reason = format!("{switch} is frozen by {}{why}", action.by);
        Some(Block { by: Blocker::Frozen, reason, until: action.until })
    });
    frozen.collect()
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

impl Look<'_> {
    fn node(&self, node: &Node, kept: &BTreeMap<&NodeName, &Block>) -> NodeOutlook {
        let is = |prospect, blocks: Vec<Block>, not_before| NodeOutlook { prospect, blocks, not_before };
        let pool = self.world.pools.get(&node.pool);
        match node.state {
            NodeState::Lost => is(Prospect::Gone, Vec::new(), None),
            NodeState::Removing => is(Prospect::Leaves, Vec::new(), None),
            NodeState::Joining => {
                is(Prospect::Arriving, Vec::new(), pool.and_then(|pool| self.joins_at(pool, node)))
            }
            NodeState::Draining if node.remove_when_empty => {
                let draining = self.world.frozen(Switch::Draining).is_some();
                let blocks = self.frozen.iter().filter(|_| draining).cloned().collect();
                is(Prospect::Leaves, blocks, None)
            }
            NodeState::Draining => {
                let reason =
                    "it was drained by hand, and stays without tasks until it is let take some again";
                is(Prospect::Stays, vec![Block::new(Blocker::ByHand, reason.to_owned())], None)
            }
            NodeState::Ready => {
                let Some(pool) = pool.filter(|pool| !pool.deleted) else {
                    return is(Prospect::Leaves, Vec::new(), None);
                };
                if self.is_emptied(node) && self.frozen.is_empty() {
                    return is(Prospect::Leaves, Vec::new(), None);
                }
                let blocks = self.blocks(node, pool, kept.get(&node.name).copied());
                // Where one of them has no end that is known, neither has its stay.
                let ends: Option<Vec<Timestamp>> = blocks.iter().map(|block| block.until).collect();
                let not_before = ends.and_then(|ends| ends.into_iter().max());
                is(Prospect::Stays, blocks, not_before)
            }
        }
    }

    /// Whether the decision empties it.
    fn is_emptied(&self, node: &Node) -> bool {
        let steps = self.verdict.decision.iter().flat_map(|decision| &decision.steps);
        let emptied = |change: &Change| matches!(change, Change::NodeMoved { node: found, state: NodeState::Draining, .. } if *found == node.name);
        steps.into_iter().any(|step| emptied(&step.change))
    }

    fn blocks(&self, node: &Node, pool: &NodePool, kept: Option<&Block>) -> Vec<Block> {
        let mut blocks = self.frozen.clone();
        let use_of = self.use_of(node, pool);
        let is_candidate = use_of.is_none();
        blocks.extend(use_of);
        if pool.target <= pool.spec.min && kept.is_none_or(|kept| kept.by != Blocker::Minimum) {
            let reason = format!("pool {} has its least of {} nodes", pool.name, pool.spec.min);
            blocks.push(Block::new(Blocker::Minimum, reason));
        }
        blocks.extend(kept.cloned());
        if is_candidate && kept.is_none() {
            blocks.extend(self.verdict.held.clone());
        }
        blocks
    }

    /// What its use says: nothing where it has been little used for long enough.
    fn use_of(&self, node: &Node, pool: &NodePool) -> Option<Block> {
        let (below, after) = (pool.spec.scale_down_below.get(), pool.spec.scale_down_after);
        if below <= 0.0 {
            let reason = format!("pool {} lets no node go for being little used", pool.name);
            return Some(Block::new(Blocker::Used, reason));
        }
        let share = requested_share(node, self.used.get(&node.name).copied().unwrap_or_default());
        let Some(since) = node.underused_since else {
            let reason =
                format!("{} of it is requested; one under {} could go", percent(share), percent(below));
            return Some(Block::new(Blocker::Used, reason));
        };
        let until = since.checked_add(after).unwrap_or(Timestamp::MAX);
        (until > self.now).then(|| {
            let passed = self.now.duration_since(since).as_secs().max(0);
            let reason = format!(
                "less than {} of it has been requested for {passed} s, {} s are asked for",
                percent(below),
                after.as_secs()
            );
            Block { by: Blocker::Resting, reason, until: Some(until) }
        })
    }

    /// When a node on its way is expected; of one that is late nobody knows.
    fn joins_at(&self, pool: &NodePool, node: &Node) -> Option<Timestamp> {
        let at = node.created_at.checked_add(boot_time(self.world, pool)).ok()?;
        (at >= self.now).then_some(at)
    }

    fn planned(&self, tasks: &HashMap<&NodeName, u32>) -> Vec<PlannedChange> {
        let mut planned: Vec<PlannedChange> =
            self.world.pools.values().filter_map(|pool| self.asked_for(pool)).collect();
        planned.extend(self.world.nodes.values().filter_map(|node| {
            let kind = match node.state {
                NodeState::Joining => PlannedKind::Join,
                NodeState::Draining if node.remove_when_empty => PlannedKind::Empty,
                NodeState::Removing => PlannedKind::Remove,
                _ => return None,
            };
            let pool = self.world.pools.get(&node.pool);
            let joins = pool.filter(|_| kind == PlannedKind::Join);
            Some(PlannedChange {
                kind,
                pool: node.pool.clone(),
                node: Some(node.name.clone()),
                nodes: 1,
                tasks: tasks.get(&node.name).copied().unwrap_or(0),
                since: Some(node.state_since),
                expected_at: joins.and_then(|pool| self.joins_at(pool, node)),
                reason: node.reason.clone(),
            })
        }));
        planned
    }

    /// Nodes that a pool lacks.
    fn asked_for(&self, pool: &NodePool) -> Option<PlannedChange> {
        let own = self.world.nodes.values().filter(|node| node.pool == pool.name && counts_for_target(node));
        let missing = pool.target.saturating_sub(u32::try_from(own.count()).unwrap_or(u32::MAX));
        if missing == 0 || pool.deleted {
            return None;
        }
        let waits = pool.joins.not_before.filter(|until| *until > self.now);
        let (runs, boot) = (pool.spec.source.runs_tasks(), boot_time(self.world, pool));
        let reason = match waits {
            _ if !runs => format!("no agent runs tasks on the machines of pool {} yet", pool.name),
            Some(_) => format!("nodes did not come ({}), and are asked for again later", pool.joins.why),
            None => format!("pool {} is to have {} nodes", pool.name, pool.target),
        };
        Some(PlannedChange {
            kind: PlannedKind::Ask,
            pool: pool.name.clone(),
            node: None,
            nodes: missing,
            tasks: 0,
            since: pool.grown_at,
            expected_at: waits.unwrap_or(self.now).checked_add(boot).ok().filter(|_| runs),
            reason,
        })
    }
}
