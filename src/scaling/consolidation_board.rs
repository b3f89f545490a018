//! The nodes of a world for a trial of placement: what is free on each, and where tasks are.
//! Not here: what is tried (`consolidation`).

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use crate::domain::node::{Node, NodeName, NodePool, NodeState};
use crate::domain::placement::Neighbour;
use crate::domain::quantity::{Millicores, Resources};
use crate::domain::workload::WorkloadName;
use crate::domain::world::World;
use crate::placement::{Resident, Residents, Slot};

/// Where tasks are.
pub(super) struct Homes<'w>(HashMap<&'w WorkloadName, Vec<Resident<'w>>>);

impl Residents for Homes<'_> {
    fn of(&self, workload: &WorkloadName) -> Vec<Resident<'_>> {
        self.0.get(workload).cloned().unwrap_or_default()
    }
}

impl<'w> Homes<'w> {
    pub(super) fn of_world(world: &'w World) -> Self {
        let mut homes: HashMap<_, Vec<_>> = HashMap::new();
        for task in world.tasks.values().filter(|task| task.state.holds_resources()) {
            let Some(node) = &task.node else { continue };
            let resident = Resident { node, revision: task.revision, active: task.state.is_active() };
            homes.entry(task.workload()).or_default().push(resident);
        }
        Self(homes)
    }
}

/// One more node of a pool, where it may have one.
pub(super) fn imagined(world: &World, pool: &NodePool, now: Timestamp) -> Option<Node> {
    let grows = !pool.deleted && pool.target < pool.spec.max;
    let grew = pool.grown_at.is_some_and(|at| now.duration_since(at) < pool.spec.cooldown_up);
    let backs_off = grew || pool.joins.not_before.is_some_and(|until| until > now);
    let name = NodeName::new(&format!("{}-{}", pool.name, pool.next_node)).ok()?;
    (grows && !backs_off && !world.nodes.contains_key(&name)).then(|| Node {
        name,
        pool: pool.name.clone(),
        size: pool.spec.size,
        attributes: pool.spec.attributes.clone(),
        state: NodeState::Ready,
        reason: String::new(),
        remove_when_empty: false,
        created_at: now,
        state_since: now,
        underused_since: None,
        made_for: String::new(),
    })
}

pub(super) fn slot<'w>(world: &'w World, node: &'w Node, used: Resources) -> Slot<'w> {
    let free = node.size.saturating_sub(used);
    let reserved_for = world.pools.get(&node.pool).map_or(&[][..], |pool| &pool.spec.reserved_for);
    Slot { node, free, lent: Millicores::ZERO, unused: free, crowded: false, reserved_for }
}

pub(super) fn repelled(world: &World) -> BTreeMap<WorkloadName, Vec<Neighbour>> {
    let mut repelled: BTreeMap<WorkloadName, Vec<Neighbour>> = BTreeMap::new();
    for workload in world.workloads.values() {
        for rule in &workload.spec.template().placement.anti_affinity {
            if rule.required && rule.workload != workload.name {
                let turned = Neighbour { workload: workload.name.clone(), ..rule.clone() };
                repelled.entry(rule.workload.clone()).or_default().push(turned);
            }
        }
    }
    repelled
}
