//! The one interface between what runs and the number and kind of nodes. In: the state as the engine has
//! it. Out: changes of pools and nodes, with reasons. The loop records and follows them as it follows those
//! of the scheduler.
//!
//! Each type of machine is a pool. A policy asks for nodes by raising a pool's target, and gives one up by
//! lowering the target and draining the node: `grow` and `give_up` write such steps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::change::Change;
use crate::domain::money::Prices;
use crate::domain::node::{Node, NodeName, NodePool, NodeState, PoolName};
use crate::domain::overcommit::Overcommit;
use crate::domain::plan::{Step, Waiting};
use crate::domain::quantity::Resources;
use crate::domain::task::TaskId;
use crate::domain::world::World;
use crate::estimation::node_peak::PeakSettings;
use crate::simulation::machines::Machine;

/// What is on a node, kept up to date with each change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Load {
    /// What its tasks have reserved.
    pub used: Resources,
    /// Its tasks.
    pub tasks: BTreeSet<TaskId>,
    /// How many of them belong to runs, which would lose their work if they were moved.
    pub runs: u32,
}

/// What a policy sees.
pub struct Sight<'a> {
    /// Everything that was told and set in motion.
    pub world: &'a World,
    /// Tasks that found no node.
    pub waiting: &'a [Waiting],
    /// What is on each node; nothing on those that are not in it.
    pub loads: &'a BTreeMap<NodeName, Load>,
    /// The types of machines, each the pool of `pools` at the same place.
    pub machines: &'a [Machine],
    /// Their pools.
    pub pools: &'a [PoolName],
    /// Prices of resources, for pools without a price.
    pub prices: &'a Prices,
    /// What tasks count with instead of their requests for CPU.
    pub overcommit: &'a Arc<Overcommit>,
    /// Now.
    pub now: Timestamp,
}

impl<'a> Sight<'a> {
    /// What is on a node.
    pub fn used(&self, node: &NodeName) -> Resources {
        self.loads.get(node).map(|load| load.used).unwrap_or_default()
    }

    /// What is free on a node.
    pub fn free(&self, node: &Node) -> Resources {
        node.size.saturating_sub(self.used(&node.name))
    }

    /// Nodes that take tasks.
    pub fn ready(&self) -> impl Iterator<Item = &'a Node> {
        self.world.nodes.values().filter(|node| node.state == NodeState::Ready)
    }

    /// Whether a node is being emptied for good.
    pub fn is_leaving(node: &Node) -> bool {
        node.state == NodeState::Removing || (node.state == NodeState::Draining && node.remove_when_empty)
    }

    /// The pool of a type.
    pub fn pool(&self, machine: usize) -> Option<&'a NodePool> {
        self.world.pools.get(self.pools.get(machine)?)
    }

    /// The type of a node.
    pub fn machine_of(&self, node: &Node) -> Option<usize> {
        self.pools.iter().position(|pool| *pool == node.pool)
    }

    /// Nodes of each type that were asked for and take no tasks yet.
    pub fn on_their_way(&self) -> Vec<usize> {
        let mut counts = vec![0; self.pools.len()];
        let mut there = vec![0; self.pools.len()];
        for node in self.world.nodes.values() {
            let Some(machine) = self.machine_of(node) else { continue };
            match node.state {
                NodeState::Ready => there[machine] += 1,
                NodeState::Draining if !node.remove_when_empty => there[machine] += 1,
                _ => {}
            }
        }
        for (machine, count) in counts.iter_mut().enumerate() {
            let target = self.pool(machine).map_or(0, |pool| pool.target as usize);
            *count = target.saturating_sub(there[machine]);
        }
        counts
    }

    /// Requests of the tasks that another node might help, in order of id.
    pub fn wanted(&self) -> Vec<Resources> {
        self.waiting.iter().filter(|waiting| waiting.kind.wants_nodes()).map(|w| w.request).collect()
    }
}

/// Decides about nodes. What it answers depends on what it saw before, and on nothing else.
pub trait ClusterPolicy {
    /// What it is called.
    fn name(&self) -> &str;

    /// What nodes' peaks are predicted by, where tasks are placed by them.
    fn lends(&self) -> Option<PeakSettings> {
        None
    }

    /// What is to change now. Called after each plan of the scheduler.
    fn decide(&mut self, sight: &Sight<'_>) -> Vec<Step>;
}

/// Asks for more nodes of a pool.
pub fn grow(pool: &NodePool, by: u32, reason: &str) -> Step {
    let target = pool.target.saturating_add(by).min(pool.spec.max);
    let change = Change::PoolTargetSet { pool: pool.name.clone(), target, decision: None };
    Step { change, reason: reason.to_owned() }
}

/// Gives up nodes: they are drained, then removed. The pools' targets follow.
pub fn give_up<'a>(world: &World, nodes: impl IntoIterator<Item = &'a NodeName>, reason: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut targets: BTreeMap<&PoolName, u32> = BTreeMap::new();
    for node in nodes.into_iter().filter_map(|name| world.nodes.get(name)) {
        let known = world.pools.get(&node.pool).map_or(0, |pool| pool.target);
        let target = targets.entry(&node.pool).or_insert(known);
        *target = target.saturating_sub(1);
        let (pool, target) = (node.pool.clone(), *target);
        let drain = Change::NodeMoved {
            node: node.name.clone(),
            state: NodeState::Draining,
            reason: reason.to_owned(),
            remove_when_empty: true,
        };
        let change = Change::PoolTargetSet { pool, target, decision: None };
        steps.extend([change, drain].map(|change| Step { change, reason: reason.to_owned() }));
    }
    steps
}
