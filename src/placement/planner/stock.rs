//! Tasks that are still to be packed, ordered so that a good next one for a gap is found without a look at all.
//!
//! Kinds with the same conditions and about the same mix of resources stand on one shelf, the largest first.
//! A gap is then asked of each shelf once: the largest task there that fits, by a binary search and a few looks.

use std::collections::HashMap;

use crate::placement::planner::bin::Bin;
use crate::placement::planner::problem::{DIMS, Problem, Vector, fits};

/// A shelf holds tasks whose mix of CPU and memory lies within so wide an angle: a quarter circle over this.
const ANGLES: f64 = 12.0;
/// So many tasks of a shelf are looked at one by one before the search jumps to where all fit.
const LOOKS_MAX: usize = 4;

/// Kinds of one class with about the same mix.
struct Shelf {
    class: u32,
    /// Kinds, the largest first.
    kinds: Vec<u32>,
    /// What each needs, beside each other: looks go from one to the next.
    needs: Vec<Vector>,
    /// Their sizes: the greatest of the parts, each over the largest node's.
    sizes: Vec<f64>,
    /// The least and the most of each resource that comes with one unit of size.
    least: Vector,
    most: Vector,
    /// Where the next kind stands that is not used up.
    next: Vec<u32>,
}

impl Shelf {
    /// The first place at or after this one whose kind is not used up.
    fn alive(&mut self, from: usize) -> usize {
        let mut at = from;
        while at < self.kinds.len() && self.next[at] as usize != at {
            at = self.next[at] as usize;
        }
        let mut passed = from;
        while passed < at {
            passed = std::mem::replace(&mut self.next[passed], at as u32) as usize;
        }
        at
    }

    /// The largest size of which at least some task may fit, or of which all do.
    fn bound(free: &Vector, by: &Vector) -> f64 {
        (0..DIMS).filter(|&at| by[at] > 0.0).map(|at| free[at] / by[at]).fold(f64::INFINITY, f64::min)
    }
}

/// How the next task for a gap is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Taste {
    /// Which score.
    pub(super) score: Score,
    /// How much tasks count that are worth what they take of this type: a power.
    pub(super) worth: i32,
}

/// How well a task suits a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Score {
    /// The product of what it needs and what is free, resource by resource: large ones of the right mix. R.
    /// Panigrahy et al., "Heuristics for vector bin packing", 2011.
    Product,
    /// What is left afterwards is short: the square of its length.
    Rest,
    /// The mix only.
    Mix,
}

/// What is still to be packed.
pub(super) struct Stock<'a> {
    pub(super) problem: &'a Problem,
    /// How many of each kind.
    pub(super) left: Vec<u32>,
    /// How many altogether.
    pub(super) total: u64,
    /// What one of each kind is worth.
    pub(super) values: &'a [f64],
    shelves: Vec<Shelf>,
    /// Where each kind stands: its shelf and place there.
    shelved: Vec<(u32, u32)>,
    unit: Vector,
}

/// What is worked out once for a node that is filled.
pub(super) struct Gauge<'g> {
    pub(super) capacity: Vector,
    /// Prices of a unit of each resource of it.
    pub(super) rates: &'g Vector,
    pub(super) taste: Taste,
}

impl<'a> Stock<'a> {
    /// Nothing yet.
    pub(super) fn new(problem: &'a Problem, values: &'a [f64]) -> Self {
        let mut unit = [1.0f64; DIMS];
        for capacity in
            problem.lots.iter().map(|l| &l.capacity).chain(problem.berths.iter().map(|b| &b.capacity))
        {
            unit.iter_mut().zip(capacity).for_each(|(unit, capacity)| *unit = unit.max(*capacity));
        }
        let kinds = problem.kinds.len();
        let (left, shelved) = (vec![0; kinds], vec![(0, 0); kinds]);
        Self { problem, left, total: 0, values, shelves: Vec::new(), shelved, unit }
    }

    /// Puts so many of these kinds on the shelves, in the place of what was there.
    pub(super) fn restock(&mut self, tasks: &[(u32, u32)]) {
        for shelf in &self.shelves {
            shelf.kinds.iter().for_each(|&kind| self.left[kind as usize] = 0);
        }
        self.total = tasks.iter().map(|&(_, count)| u64::from(count)).sum();
        let mut kinds = Vec::with_capacity(tasks.len());
        for &(kind, count) in tasks {
            if self.left[kind as usize] == 0 {
                kinds.push(kind);
            }
            self.left[kind as usize] += count;
        }
        self.shelve(&kinds);
    }

    fn size(&self, need: &Vector) -> f64 {
        (0..DIMS).map(|at| need[at] / self.unit[at]).fold(f64::MIN_POSITIVE, f64::max)
    }

    fn shelve(&mut self, kinds: &[u32]) {
        let mut by_mix: HashMap<(u32, u32, u64, u64), Vec<u32>> = HashMap::new();
        for &at in kinds {
            let kind = &self.problem.kinds[at as usize];
            let angle = (kind.need[1] / self.unit[1]).atan2(kind.need[0] / self.unit[0]);
            let angle = (angle / std::f64::consts::FRAC_PI_2 * ANGLES) as u32;
            let key = (kind.class, angle, kind.need[2].to_bits(), kind.need[3].to_bits());
            by_mix.entry(key).or_default().push(at);
        }
        let mut mixes: Vec<_> = by_mix.into_iter().collect();
        mixes.sort_unstable_by_key(|(key, _)| *key);
        let shelves = mixes.into_iter().map(|((class, ..), mut kinds)| {
            let size = |kind: u32| self.size(&self.problem.kinds[kind as usize].need);
            kinds.sort_by(|&a, &b| size(b).total_cmp(&size(a)).then(a.cmp(&b)));
            let sizes: Vec<f64> = kinds.iter().map(|&kind| size(kind)).collect();
            let (mut least, mut most) = ([f64::INFINITY; DIMS], [0.0f64; DIMS]);
            for (&kind, size) in kinds.iter().zip(&sizes) {
                for (at, need) in self.problem.kinds[kind as usize].need.iter().enumerate() {
                    least[at] = least[at].min(need / size);
                    most[at] = most[at].max(need / size);
                }
            }
            let next = (0..kinds.len() as u32).collect();
            let needs = kinds.iter().map(|&kind| self.problem.kinds[kind as usize].need).collect();
            Shelf { class, kinds, needs, sizes, least, most, next }
        });
        self.shelves = shelves.collect();
        for (shelf, on) in self.shelves.iter().enumerate() {
            for (place, &kind) in on.kinds.iter().enumerate() {
                self.shelved[kind as usize] = (shelf as u32, place as u32);
            }
        }
    }

    /// The largest task of a shelf that the bin takes.
    fn largest(&mut self, shelf: usize, bin: &Bin) -> Option<u32> {
        let Self { problem, left, shelves, .. } = self;
        let shelf = &mut shelves[shelf];
        let first = |bound: f64| shelf.sizes.partition_point(|&size| size > bound * (1.0 + 1e-12));
        let sure = first(Shelf::bound(&bin.free, &shelf.most));
        let mut at = first(Shelf::bound(&bin.free, &shelf.least));
        let mut looks = 0;
        loop {
            at = shelf.alive(at);
            let &kind = shelf.kinds.get(at)?;
            if left[kind as usize] > 0
                && fits(&shelf.needs[at], &bin.free)
                && bin.room_by_rules(problem, &problem.kinds[kind as usize]) > 0
            {
                return Some(kind);
            }
            at += 1;
            looks += 1;
            if looks == LOOKS_MAX && at < sure {
                at = sure;
            }
            if looks > 10 * LOOKS_MAX {
                return None;
            }
        }
    }

    /// Fills a bin with what suits it best, task by task, until nothing fits; returns what that is worth.
    pub(super) fn fill(&mut self, bin: &mut Bin, gauge: &Gauge<'_>) -> f64 {
        let mut open: Vec<usize> = (0..self.shelves.len())
            .filter(|&at| bin.is_open_to(&self.problem.classes[self.shelves[at].class as usize]))
            .collect();
        let mut worth = 0.0;
        loop {
            let mut best: Option<(f64, u32)> = None;
            open.retain(|&shelf| {
                let Some(kind) = self.largest(shelf, bin) else { return false };
                let score = self.score(kind, bin, gauge);
                if best.is_none_or(|(known, _)| score > known) {
                    best = Some((score, kind));
                }
                true
            });
            let Some((_, kind)) = best else { return worth };
            self.take(kind, 1, bin);
            worth += self.values[kind as usize];
        }
    }

    fn score(&self, kind: u32, bin: &Bin, gauge: &Gauge<'_>) -> f64 {
        let need = &self.problem.kinds[kind as usize].need;
        let part =
            |amount: f64, at: usize| if gauge.capacity[at] > 0.0 { amount / gauge.capacity[at] } else { 0.0 };
        let (mut product, mut rest, mut length, mut rate) = (0.0, 0.0, 0.0, 0.0);
        for (at, (&needed, &free)) in need.iter().zip(&bin.free).enumerate() {
            let (need_part, free_part) = (part(needed, at), part(free, at));
            product += need_part * free_part;
            rest += (free_part - need_part) * (free_part - need_part);
            length += need_part * need_part;
            rate += needed * gauge.rates[at];
        }
        let score = match gauge.taste.score {
            Score::Product => product,
            Score::Rest => 1.0 / (rest + 1e-6),
            Score::Mix => product / length.sqrt().max(1e-12),
        };
        let worth = if rate > 0.0 { self.values[kind as usize] / rate } else { 1.0 };
        score * worth.powi(gauge.taste.worth)
    }

    /// Puts tasks of a kind into a bin.
    pub(super) fn take(&mut self, kind: u32, count: u32, bin: &mut Bin) {
        self.left[kind as usize] -= count;
        self.total -= u64::from(count);
        bin.add(self.problem, kind, count);
    }

    /// Takes back what a bin got.
    pub(super) fn put_back(&mut self, bin: &Bin) {
        for &(kind, count) in &bin.tasks {
            self.left[kind as usize] += count;
            self.total += u64::from(count);
        }
    }

    /// Forgets those kinds of a bin that are used up, for good.
    pub(super) fn forget_used(&mut self, bin: &Bin) {
        for &(kind, _) in bin.tasks.iter().filter(|(kind, _)| self.left[*kind as usize] == 0) {
            let (shelf, place) = self.shelved[kind as usize];
            self.shelves[shelf as usize].next[place as usize] = place + 1;
        }
    }
}
