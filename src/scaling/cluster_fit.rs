//! Would these tasks fit on those nodes? A simulation of placement for the size of the cluster, by
//! first-fit decreasing. Whether a task may go to a node at all is asked of `placement`.
//! Not here: the placement of real tasks, and where their neighbours are.

use std::collections::{BTreeMap, HashMap};

use crate::domain::node::{Node, NodeName, NodePool, NodeState, PoolName};
use crate::domain::overcommit::{Held, Overcommit};
use crate::domain::placement::{Constraint, PlacementSpec};
use crate::domain::plan::{Misfit, Waiting};
use crate::domain::quantity::Resources;
use crate::domain::task::{Task, TaskId};
use crate::domain::world::World;
use crate::placement::{Ask, Owner, admits, meets};
use crate::scaling::ahead::Coming;

/// A task that wants room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'a> {
    pub(super) task: &'a TaskId,
    pub(super) request: Resources,
    pub(super) placement: Option<&'a PlacementSpec>,
    pub(super) team: Option<&'a str>,
    /// What must hold of a new node beyond that.
    pub(super) narrowed: &'a [Constraint],
}

/// A node, real or imagined, with what is left of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bin<'a> {
    /// Absent where the node does not exist yet.
    pub(super) node: Option<&'a NodeName>,
    pub(super) pool: &'a PoolName,
    pub(super) attributes: &'a BTreeMap<String, String>,
    pub(super) reserved_for: &'a [String],
    pub(super) free: Resources,
}

impl<'a> Bin<'a> {
    /// A node of a pool that does not exist yet.
    pub(super) fn imagined(pool: &'a NodePool) -> Self {
        Self {
            node: None,
            pool: &pool.name,
            attributes: &pool.spec.attributes,
            reserved_for: &pool.spec.reserved_for,
            free: pool.spec.size,
        }
    }

    /// A node with what its tasks leave free.
    pub(super) fn of(world: &'a World, node: &'a Node, used: Resources) -> Self {
        Self {
            node: Some(&node.name),
            pool: &node.pool,
            attributes: &node.attributes,
            reserved_for: world.pools.get(&node.pool).map_or(&[], |pool| &pool.spec.reserved_for),
            free: node.size.saturating_sub(used),
        }
    }

    fn takes(&self, item: &Item<'_>) -> bool {
        item.request.fits(self.free) && item.lacking(self.pool, self.attributes, self.reserved_for).is_none()
    }
}

impl<'a> Item<'a> {
    /// A task with the placement of the revision that it was made from.
    pub(super) fn of(world: &'a World, task: &'a Task) -> Self {
        let workload = world.workloads.get(task.workload());
        let spec = workload.map(|workload| {
            workload.revisions.get(&task.revision).map_or(&workload.spec, |revision| &revision.spec)
        });
        Self {
            task: &task.id,
            request: task.size.request,
            placement: spec.map(|spec| &spec.template().placement),
            team: workload.and_then(|workload| workload.spec.owner().team.as_deref()),
            narrowed: &[],
        }
    }

    /// A task that found no node.
    pub(super) fn waiting(world: &'a World, waiting: &'a Waiting) -> Self {
        let plain = Self {
            task: &waiting.task,
            request: waiting.request,
            placement: None,
            team: None,
            narrowed: &[],
        };
        let known = world.tasks.get(&waiting.task).map_or(plain, |task| Item::of(world, task));
        Self { request: waiting.request, narrowed: &waiting.narrowed, ..known }
    }

    /// A task that a schedule will ask for.
    pub(super) fn coming(world: &'a World, coming: &'a Coming) -> Option<Self> {
        let Ask { task, request, placement, team, .. } = coming.ask(world)?;
        Some(Self { task, request, placement: Some(placement), team, narrowed: &[] })
    }

    /// Whether an empty node of the pool would take it.
    pub(super) fn suits(&self, pool: &NodePool) -> bool {
        self.request.fits(pool.spec.size) && self.lacking_in(pool).is_none()
    }

    /// Why no node of the pool is a place for it, if so.
    pub(super) fn lacking_in(&self, pool: &NodePool) -> Option<Misfit> {
        self.lacking(&pool.name, &pool.spec.attributes, &pool.spec.reserved_for)
    }

    fn lacking(
        &self,
        pool: &PoolName,
        attributes: &BTreeMap<String, String>,
        reserved_for: &[String],
    ) -> Option<Misfit> {
        let owner = Owner { workload: self.task.workload(), team: self.team };
        let by_itself = admits(self.placement, owner, pool, attributes, reserved_for);
        by_itself.and_then(|()| meets(self.narrowed, pool, attributes)).err()
    }

    fn is_like(&self, other: &Item<'_>) -> bool {
        self.request == other.request
            && self.placement == other.placement
            && self.narrowed == other.narrowed
            && self.team == other.team
            && self.task.workload() == other.task.workload()
    }
}

/// What the tasks that hold resources take, by node: their requests, or less CPU where overcommit is on.
pub(super) fn used_by_node<'w>(
    world: &'w World,
    overcommit: &Overcommit,
) -> HashMap<&'w NodeName, Resources> {
    let mut held: HashMap<&NodeName, Held> = HashMap::with_capacity(world.nodes.len());
    for task in world.tasks.values().filter(|task| task.state.holds_resources()) {
        if let Some(node) = &task.node {
            held.entry(node).or_default().add(task.size.request, overcommit.charge(task));
        }
    }
    let size = |name: &NodeName| world.nodes.get(name).map(|node| node.size).unwrap_or_default();
    held.into_iter().map(|(name, held)| (name, overcommit.taken(size(name), held))).collect()
}

/// Whether a node counts towards its pool's target: it is there or on its way, and it stays.
pub(super) fn counts_for_target(node: &Node) -> bool {
    match node.state {
        NodeState::Joining | NodeState::Ready => true,
        NodeState::Draining => !node.remove_when_empty,
        NodeState::Removing | NodeState::Lost => false,
    }
}

/// What share of a node a request is: CPU and memory added, as Cluster Autoscaler orders pods
/// (`pkg/estimator/decreasing_pod_orderer.go`).
fn score(request: Resources, node: Resources) -> f64 {
    share(request.cpu.get(), node.cpu.get()) + share(request.memory.get(), node.memory.get())
}

/// A part of a whole; of nothing, all or nothing.
pub(super) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { f64::from(u8::from(part > 0)) } else { part as f64 / whole as f64 }
}

/// Puts the largest first, each into the first bin that takes it; opens at most `room` more bins like
/// `imagined`, where that is given. Returns the bin of each item placed and the items left over.
pub(super) fn first_fit_decreasing<'a>(
    items: &[Item<'a>],
    bins: &mut Vec<Bin<'a>>,
    node: Resources,
    imagined: Option<(Bin<'a>, usize)>,
) -> (Vec<(Item<'a>, usize)>, Vec<Item<'a>>) {
    let mut sorted: Vec<Item<'a>> = items.to_vec();
    sorted.sort_by(|a, b| {
        let by_score = score(b.request, node).total_cmp(&score(a.request, node));
        by_score.then_with(|| a.task.cmp(b.task))
    });
    let bins_before = bins.len();
    let (mut placed, mut left) = (Vec::new(), Vec::new());
    let mut last: Option<(Item<'a>, usize)> = None;
    for item in sorted {
        // What refused an equal task just now refuses this one too.
        let from = match last {
            Some((before, bin)) if before.is_like(&item) => bin,
            _ => 0,
        };
        let mut found = bins[from..].iter().position(|bin| bin.takes(&item)).map(|offset| from + offset);
        if let (None, Some((bin, room))) = (found, imagined)
            && bins.len() - bins_before < room
            && bin.takes(&item)
        {
            bins.push(bin);
            found = Some(bins.len() - 1);
        }
        last = Some((item, found.unwrap_or(bins.len())));
        match found {
            Some(bin) => {
                bins[bin].free = bins[bin].free.saturating_sub(item.request);
                placed.push((item, bin));
            }
            None => left.push(item),
        }
    }
    (placed, left)
}
