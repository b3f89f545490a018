//! Finds the node that a task goes to without looking at all of them.
//!
//! Nodes that cannot be told apart but by what is free on them (pool, attributes, size) form a class.
//! Within a class they are in order of the free dominant share, and those with equally much free stand
//! together: one look is enough for all of them. What is left on a node after a task is at least what
//! its share was less that of the task, so the search for the fullest node ends early.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::domain::node::{Node, NodeState, PoolName};
use crate::domain::quantity::{Bytes, Millicores, Resources};
use crate::placement::board::Slot;
use crate::placement::packing::dominant_share;

/// Nodes with so much free: the free dominant share, CPU, memory.
type Free = (u64, u64, u64);

/// Nodes that differ by name and by what is free only.
pub(super) struct Class<'a> {
    pub(super) pool: &'a PoolName,
    pub(super) attributes: &'a BTreeMap<String, String>,
    pub(super) reserved_for: &'a [String],
    size: Resources,
    /// How many of them take tasks.
    pub(super) ready: usize,
    by_free: BTreeMap<Free, BTreeSet<u32>>,
}

/// The classes, and which one each node is of.
pub(super) struct Index<'a> {
    pub(super) classes: Vec<Class<'a>>,
    pub(super) class_of: Vec<u32>,
}

/// Which nodes of a class may be taken.
pub(super) type Allowed<'f> = &'f dyn Fn(u32) -> bool;

fn key(free: Resources, size: Resources) -> Free {
    (dominant_share(free, size), free.cpu.get(), free.memory.get())
}

fn amount((_, cpu, memory): Free) -> Resources {
    Resources::new(Millicores::new(cpu), Bytes::new(memory))
}

impl<'a> Index<'a> {
    pub(super) fn new(slots: &[Slot<'a>]) -> Self {
        let mut index = Self { classes: Vec::new(), class_of: Vec::with_capacity(slots.len()) };
        let mut of_pool: HashMap<&PoolName, Vec<u32>> = HashMap::new();
        for (at, slot) in slots.iter().enumerate() {
            let known = of_pool.entry(&slot.node.pool).or_default();
            let same = |class: &Class<'_>| {
                class.size == slot.node.size
                    && class.attributes == &slot.node.attributes
                    && class.reserved_for == slot.reserved_for
            };
            let found = known.iter().copied().find(|&class| same(&index.classes[class as usize]));
            let class = found.unwrap_or_else(|| {
                let new = index.classes.len() as u32;
                known.push(new);
                index.classes.push(Class::of(slot));
                new
            });
            index.class_of.push(class);
            if takes(slot.node) {
                let class = &mut index.classes[class as usize];
                class.ready += 1;
                class.by_free.entry(key(slot.free, slot.node.size)).or_default().insert(at as u32);
            }
        }
        index
    }

    /// Puts a node where it belongs after what is free on it has changed.
    pub(super) fn moved(&mut self, at: usize, node: &Node, before: Resources, after: Resources) {
        if before == after || !takes(node) {
            return;
        }
        let class = &mut self.classes[self.class_of[at] as usize];
        let old = key(before, class.size);
        if let Some(nodes) = class.by_free.get_mut(&old) {
            nodes.remove(&(at as u32));
            if nodes.is_empty() {
                class.by_free.remove(&old);
            }
        }
        class.by_free.entry(key(after, class.size)).or_default().insert(at as u32);
    }

    /// The node of the given classes that is left with the least; ties go to the first name.
    pub(super) fn fullest(&self, classes: &[u32], request: Resources, allowed: Allowed<'_>) -> Option<u32> {
        let mut best: Option<(u64, u32)> = None;
        for class in classes.iter().map(|&class| &self.classes[class as usize]) {
            let need = dominant_share(request, class.size);
            for (free, nodes) in class.by_free.range((need, 0, 0)..) {
                // Shares are rounded down, so the bound is one lower than the difference.
                if best.is_some_and(|(left, _)| free.0.saturating_sub(need + 1) > left) {
                    break;
                }
                if !request.fits(amount(*free)) {
                    continue;
                }
                let left = dominant_share(amount(*free).saturating_sub(request), class.size);
                if best.is_some_and(|(least, _)| left > least) {
                    continue;
                }
                if let Some(&at) = nodes.iter().find(|&&at| allowed(at))
                    && best.is_none_or(|best| (left, at) < best)
                {
                    best = Some((left, at));
                }
            }
        }
        best.map(|(_, at)| at)
    }

    /// The node of the given classes with the fewest tasks of the workload, then the most free, then the
    /// first name.
    pub(super) fn emptiest(
        &self,
        classes: &[u32],
        request: Resources,
        own: &HashMap<u32, u32>,
        allowed: Allowed<'_>,
    ) -> Option<u32> {
        let mut best: Option<(u32, u64, u32)> = None;
        let ready: usize = self.classes.iter().map(|class| class.ready).sum();
        // With a task on each node, no node has none.
        let fewest = if own.len() < ready { 0 } else { own.values().copied().min().unwrap_or(0) };
        for class in classes.iter().map(|&class| &self.classes[class as usize]) {
            let need = dominant_share(request, class.size);
            'class: for (free, nodes) in class.by_free.range((need, 0, 0)..).rev() {
                if !request.fits(amount(*free)) {
                    continue;
                }
                for &at in nodes.iter().filter(|&&at| allowed(at)) {
                    let count = own.get(&at).copied().unwrap_or(0);
                    let found = (count, u64::MAX - free.0, at);
                    if best.is_none_or(|best| found < best) {
                        best = Some(found);
                    }
                    if count <= fewest {
                        break 'class;
                    }
                }
            }
        }
        best.map(|(_, _, at)| at)
    }
}

impl<'a> Class<'a> {
    fn of(slot: &Slot<'a>) -> Self {
        Self {
            pool: &slot.node.pool,
            attributes: &slot.node.attributes,
            reserved_for: slot.reserved_for,
            size: slot.node.size,
            ready: 0,
            by_free: BTreeMap::new(),
        }
    }
}

fn takes(node: &Node) -> bool {
    node.state == NodeState::Ready
}
