//! Finds the node that a task goes to without looking at all of them.
//!
//! Nodes that cannot be told apart but by what is free on them (pool, attributes, size) form a class. Whether
//! a class suits a task at all is asked once for all of its nodes; within it a tree over what is free leads
//! to the best one (`tree`).

use std::collections::{BTreeMap, HashMap};

use crate::domain::node::{Node, NodeState, PoolName};
use crate::domain::quantity::Resources;
use crate::placement::board::Slot;
use crate::placement::packing::dominant_share;
use crate::placement::tree::{Allowed, Best, Point, Tree, Want};

/// Nodes that differ by name and by what is free only.
pub(super) struct Class<'a> {
    pub(super) pool: &'a PoolName,
    pub(super) attributes: &'a BTreeMap<String, String>,
    pub(super) reserved_for: &'a [String],
    size: Resources,
    /// How many of them are ready.
    pub(super) ready: usize,
    /// Those that take tasks.
    tree: Tree,
}

/// The classes, and which one each node is of.
pub(super) struct Index<'a> {
    pub(super) classes: Vec<Class<'a>>,
    pub(super) class_of: Vec<u32>,
    /// Where each node is in the tree of its class; none for nodes that take no tasks.
    place_of: Vec<Option<u32>>,
}

impl<'a> Index<'a> {
    pub(super) fn new(slots: &[Slot<'a>]) -> Self {
        let mut index = Self {
            classes: Vec::new(),
            class_of: Vec::with_capacity(slots.len()),
            place_of: vec![None; slots.len()],
        };
        let mut points: Vec<Vec<Point>> = Vec::new();
        let mut of_pool: HashMap<&PoolName, Vec<u32>> = HashMap::new();
        let mut last: Option<u32> = None;
        for (at, slot) in slots.iter().enumerate() {
            // Nodes of a pool come one after the other, in order of name.
            let found = last.filter(|&class| index.classes[class as usize].has(slot));
            let class = found.unwrap_or_else(|| {
                let known = of_pool.entry(&slot.node.pool).or_default();
                let found = known.iter().copied().find(|&class| index.classes[class as usize].has(slot));
                found.unwrap_or_else(|| {
                    let new = index.classes.len() as u32;
                    known.push(new);
                    index.classes.push(Class::of(slot));
                    points.push(Vec::new());
                    new
                })
            });
            last = Some(class);
            index.class_of.push(class);
            if is_ready(slot.node) {
                index.classes[class as usize].ready += 1;
                if !slot.crowded {
                    let point = Point { free: slot.free, unused: slot.unused, at: at as u32 };
                    points[class as usize].push(point);
                }
            }
        }
        for (at, points) in points.into_iter().enumerate() {
            let class = &mut index.classes[at];
            class.tree = Tree::new(points, class.size);
            note_places(&mut index.place_of, &class.tree);
        }
        index
    }

    /// Counts a node among the ready ones of its class, or no longer.
    pub(super) fn counted(&mut self, at: usize, node: &Node, counts: bool) {
        if !is_ready(node) {
            return;
        }
        let ready = &mut self.classes[self.class_of[at] as usize].ready;
        *ready = if counts { *ready + 1 } else { ready.saturating_sub(1) };
    }

    /// Notes what is free on a node now, and what is not really used.
    pub(super) fn changed(&mut self, at: usize, free: Resources, unused: Resources) {
        let Some(place) = self.place_of[at] else { return };
        let class = &mut self.classes[self.class_of[at] as usize];
        class.tree.change(place as usize, free, unused);
        if class.tree.is_worn() {
            class.tree.rebuild(class.size);
            note_places(&mut self.place_of, &class.tree);
        }
    }

    /// The node of the given classes that is left with the least; ties go to the first name.
    pub(super) fn fullest(&self, classes: &[u32], want: &Want, allowed: Allowed<'_>) -> Option<u32> {
        let mut best: Best = None;
        for class in classes.iter().map(|&class| &self.classes[class as usize]) {
            let left = |least: Resources, _| dominant_share(least.saturating_sub(want.request), class.size);
            class.tree.search(want, &left, allowed, &mut best);
        }
        best.map(|(_, at)| at)
    }

    /// The node of the given classes with the fewest tasks of the workload, then the most free, then the
    /// first name. `own` are the nodes that have some, and how many.
    pub(super) fn emptiest(
        &self,
        classes: &[u32],
        want: &Want,
        own: &HashMap<u32, u32>,
        allowed: Allowed<'_>,
    ) -> Option<u32> {
        let mut best: Best = None;
        let without = |at: u32| !own.contains_key(&at) && allowed(at);
        for class in classes.iter().map(|&class| &self.classes[class as usize]) {
            let used = |_, most: Resources| u64::MAX - dominant_share(most, class.size);
            class.tree.search(want, &used, &without, &mut best);
        }
        best.map(|(_, at)| at).or_else(|| {
            let there = own.iter().filter_map(|(&at, &count)| {
                let class = *self.class_of.get(at as usize)?;
                let place = self.place_of[at as usize].filter(|_| classes.contains(&class))?;
                let class = &self.classes[class as usize];
                let point = class.tree.points()[place as usize];
                let fits = want.request.fits(point.free) && want.expected.fits(point.unused);
                let used = u64::MAX - dominant_share(point.free, class.size);
                (fits && allowed(at)).then_some((count, used, at))
            });
            there.min().map(|(_, _, at)| at)
        })
    }
}

fn note_places(place_of: &mut [Option<u32>], tree: &Tree) {
    for (place, point) in tree.points().iter().enumerate() {
        place_of[point.at as usize] = Some(place as u32);
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
            tree: Tree::default(),
        }
    }

    fn has(&self, slot: &Slot<'_>) -> bool {
        self.size == slot.node.size
            && self.pool == &slot.node.pool
            && self.attributes == &slot.node.attributes
            && self.reserved_for == slot.reserved_for
    }
}

fn is_ready(node: &Node) -> bool {
    node.state == NodeState::Ready
}
