//! Nodes of one class by what is free on them: a tree over (CPU, memory) with the bounds of each branch.
//!
//! In: what is free on each node, and what a task wants. Out: the node of the least cost, without a look
//! at the others: a branch whose bounds cannot beat the best one found so far is not entered. With k
//! nodes in the class a search visits about log k branches, and a change of one node renews log k bounds.
//! Not here: which nodes a task may go to (`rules`).
//!
//! It is a k-d tree (Bentley, CACM 18(9), 1975) whose shape is fixed when it is built. Nodes that change
//! keep their place and widen its bounds, so after many changes it is built anew.

use std::ops::Range;

use crate::domain::quantity::{Bytes, Millicores, Resources};

/// Nodes of a branch that are looked at one by one.
const LEAF: usize = 16;
/// It is built anew once so many changes were made for each node of it.
const CHANGES_PER_NODE: usize = 1;

/// A node and what is free on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    pub(super) free: Resources,
    /// What is not really used.
    pub(super) unused: Resources,
    /// The node's slot.
    pub(super) at: u32,
}

/// The bounds of a branch.
#[derive(Debug, Clone, Copy)]
struct Cover {
    least: Resources,
    most: Resources,
    most_unused: Resources,
    first: u32,
}

/// What a node must have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Want {
    /// So much free.
    pub(super) request: Resources,
    /// So much not really used.
    pub(super) expected: Resources,
}

impl Want {
    fn is_met(&self, free: Resources, unused: Resources) -> bool {
        self.request.fits(free) && self.expected.fits(unused)
    }
}

/// Which nodes may be taken.
pub(super) type Allowed<'f> = &'f dyn Fn(u32) -> bool;

/// The best node found so far: what it costs, and its slot.
pub(super) type Best = Option<(u64, u32)>;

/// The nodes.
#[derive(Debug, Default)]
pub(super) struct Tree {
    points: Vec<Point>,
    /// A full binary tree: the branches of `n` are `2 n + 1` and `2 n + 2`.
    covers: Vec<Cover>,
    changes: usize,
}

fn both(one: Resources, other: Resources, choose: fn(u64, u64) -> u64) -> Resources {
    Resources::new(
        Millicores::new(choose(one.cpu.get(), other.cpu.get())),
        Bytes::new(choose(one.memory.get(), other.memory.get())),
    )
}

impl Cover {
    fn of(points: &[Point]) -> Self {
        let none = Resources::new(Millicores::new(u64::MAX), Bytes::new(u64::MAX));
        let nothing =
            Self { least: none, most: Resources::ZERO, most_unused: Resources::ZERO, first: u32::MAX };
        points.iter().fold(nothing, |cover, point| Self {
            least: both(cover.least, point.free, u64::min),
            most: both(cover.most, point.free, u64::max),
            most_unused: both(cover.most_unused, point.unused, u64::max),
            first: cover.first.min(point.at),
        })
    }

    fn and(self, other: Self) -> Self {
        Self {
            least: both(self.least, other.least, u64::min),
            most: both(self.most, other.most, u64::max),
            most_unused: both(self.most_unused, other.most_unused, u64::max),
            first: self.first.min(other.first),
        }
    }
}

fn halves(span: &Range<usize>) -> (Range<usize>, Range<usize>) {
    let middle = span.start + span.len() / 2;
    (span.start..middle, middle..span.end)
}

impl Tree {
    /// The nodes in any order.
    pub(super) fn new(points: Vec<Point>, size: Resources) -> Self {
        let mut tree = Self { points, covers: Vec::new(), changes: 0 };
        tree.rebuild(size);
        tree
    }

    /// Builds it anew. The places of the nodes change.
    pub(super) fn rebuild(&mut self, size: Resources) {
        let mut leaves = 1;
        while self.points.len().div_ceil(leaves) > LEAF {
            leaves *= 2;
        }
        self.changes = 0;
        self.covers = vec![Cover::of(&[]); 2 * leaves - 1];
        self.split(0, 0..self.points.len(), size);
    }

    /// Whether so much has changed that it should be built anew.
    pub(super) fn is_worn(&self) -> bool {
        self.changes > self.points.len() * CHANGES_PER_NODE
    }

    /// The nodes in the order of their places.
    pub(super) fn points(&self) -> &[Point] {
        &self.points
    }

    fn is_leaf(&self, branch: usize) -> bool {
        branch >= self.covers.len() / 2
    }

    fn split(&mut self, branch: usize, span: Range<usize>, size: Resources) {
        let cover = Cover::of(&self.points[span.clone()]);
        self.covers[branch] = cover;
        if self.is_leaf(branch) {
            return;
        }
        let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
        let spread = cover.most.saturating_sub(cover.least);
        let by_cpu = share(spread.cpu.get(), size.cpu.get()) >= share(spread.memory.get(), size.memory.get());
        let middle = span.len() / 2;
        let points = &mut self.points[span.clone()];
        if by_cpu {
            points.select_nth_unstable_by_key(middle, |p| (p.free.cpu, p.free.memory, p.at));
        } else {
            points.select_nth_unstable_by_key(middle, |p| (p.free.memory, p.free.cpu, p.at));
        }
        let (left, right) = halves(&span);
        self.split(2 * branch + 1, left, size);
        self.split(2 * branch + 2, right, size);
    }

    /// Notes what is free on the node at a place now.
    pub(super) fn change(&mut self, place: usize, free: Resources, unused: Resources) {
        self.changes += 1;
        self.points[place].free = free;
        self.points[place].unused = unused;
        let (mut branch, mut span) = (0, 0..self.points.len());
        while !self.is_leaf(branch) {
            let (left, right) = halves(&span);
            (branch, span) = if place < left.end { (2 * branch + 1, left) } else { (2 * branch + 2, right) };
        }
        self.covers[branch] = Cover::of(&self.points[span]);
        while branch > 0 {
            branch = (branch - 1) / 2;
            self.covers[branch] = self.covers[2 * branch + 1].and(self.covers[2 * branch + 2]);
        }
    }

    /// Improves `best` by the node of the least cost, then of the first slot, among those that have what is
    /// wanted and may be taken. `cost` is told the least and the most that is free, and falls with neither
    /// the first growing nor the second shrinking.
    pub(super) fn search(
        &self,
        want: &Want,
        cost: &dyn Fn(Resources, Resources) -> u64,
        allowed: Allowed<'_>,
        best: &mut Best,
    ) {
        if let Some(bound) = self.bound(0, want, cost) {
            self.enter(0, 0..self.points.len(), bound, &Search { want, cost, allowed }, best);
        }
    }

    /// No node of a branch is better than this; none where no node of it has what is wanted.
    fn bound(
        &self,
        branch: usize,
        want: &Want,
        cost: &dyn Fn(Resources, Resources) -> u64,
    ) -> Option<(u64, u32)> {
        let cover = &self.covers[branch];
        want.is_met(cover.most, cover.most_unused).then(|| (cost(cover.least, cover.most), cover.first))
    }

    fn enter(
        &self,
        branch: usize,
        span: Range<usize>,
        bound: (u64, u32),
        search: &Search<'_>,
        best: &mut Best,
    ) {
        if best.is_some_and(|best| best <= bound) {
            return;
        }
        if self.is_leaf(branch) {
            for point in &self.points[span] {
                if !search.want.is_met(point.free, point.unused) {
                    continue;
                }
                let found = ((search.cost)(point.free, point.free), point.at);
                if best.is_none_or(|best| found < best) && (search.allowed)(point.at) {
                    *best = Some(found);
                }
            }
            return;
        }
        let (left, right) = halves(&span);
        let bound_of = |branch| self.bound(branch, search.want, search.cost);
        let mut branches =
            [(2 * branch + 1, left), (2 * branch + 2, right)].map(|(at, span)| (bound_of(at), at, span));
        // The more promising one first, so that the other one need not be entered.
        if branches[1].0.is_some_and(|right| branches[0].0.is_none_or(|left| right < left)) {
            branches.swap(0, 1);
        }
        for (bound, at, span) in branches {
            if let Some(bound) = bound {
                self.enter(at, span, bound, search, best);
            }
        }
    }
}

struct Search<'s> {
    want: &'s Want,
    cost: &'s dyn Fn(Resources, Resources) -> u64,
    allowed: Allowed<'s>,
}
