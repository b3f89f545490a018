//! A node that is being packed: where it comes from, what is in it, what is free.

use crate::placement::planner::problem::{Class, Kind, NOBODY, Problem, Vector, fits};

/// Where a bin comes from: indices of `Problem`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Home {
    /// A node that can be had.
    Lot(u32),
    /// A node that is there.
    Berth(u32),
}

/// A node that is being packed.
#[derive(Debug, Clone)]
pub(super) struct Bin {
    pub(super) home: Home,
    pub(super) free: Vector,
    /// Kinds and how many of each.
    pub(super) tasks: Vec<(u32, u32)>,
    /// Workloads with rules and how many of their tasks are there.
    ruled: Vec<(u32, u32)>,
}

impl Bin {
    /// A node with nothing of the request on it.
    pub(super) fn empty(problem: &Problem, home: Home) -> Self {
        let (free, ruled) = match home {
            Home::Lot(lot) => (problem.lots[lot as usize].capacity, Vec::new()),
            Home::Berth(berth) => {
                let berth = &problem.berths[berth as usize];
                (berth.free, berth.residents.clone())
            }
        };
        Self { home, free, tasks: Vec::new(), ruled }
    }

    /// Whether tasks of a class may go there at all.
    pub(super) fn is_open_to(&self, class: &Class) -> bool {
        match self.home {
            Home::Lot(lot) => class.lots[lot as usize],
            Home::Berth(berth) => class.berths[berth as usize],
        }
    }

    /// How many more tasks of a kind its neighbours allow.
    pub(super) fn room_by_rules(&self, problem: &Problem, kind: &Kind) -> u32 {
        if kind.workload == NOBODY {
            return u32::MAX;
        }
        let clashes = &problem.clashes[kind.workload as usize];
        if self.ruled.iter().any(|(there, _)| clashes.binary_search(there).is_ok()) {
            return 0;
        }
        let own = self.ruled.iter().find(|(there, _)| *there == kind.workload).map_or(0, |&(_, count)| count);
        problem.per_node[kind.workload as usize].saturating_sub(own)
    }

    /// How many more tasks of a kind it takes.
    pub(super) fn room(&self, problem: &Problem, kind: &Kind) -> u32 {
        if !self.is_open_to(&problem.classes[kind.class as usize]) || !fits(&kind.need, &self.free) {
            return 0;
        }
        let by = |(need, free): (&f64, &f64)| if *need > 0.0 { (free / need).floor() } else { f64::INFINITY };
        let by_size = kind.need.iter().zip(&self.free).map(by).fold(f64::INFINITY, f64::min);
        (by_size.min(f64::from(u32::MAX)) as u32).min(self.room_by_rules(problem, kind))
    }

    /// Puts tasks in.
    pub(super) fn add(&mut self, problem: &Problem, kind: u32, count: u32) {
        let added = &problem.kinds[kind as usize];
        self.free.iter_mut().zip(&added.need).for_each(|(free, need)| *free -= need * f64::from(count));
        match self.tasks.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, known)) => *known += count,
            None => self.tasks.push((kind, count)),
        }
        if added.workload != NOBODY {
            match self.ruled.iter_mut().find(|(known, _)| *known == added.workload) {
                Some((_, known)) => *known += count,
                None => self.ruled.push((added.workload, count)),
            }
        }
    }

    /// What it costs; nodes that are there cost nothing more.
    pub(super) fn price(&self, problem: &Problem) -> f64 {
        match self.home {
            Home::Lot(lot) => problem.lots[lot as usize].price,
            Home::Berth(_) => 0.0,
        }
    }

    /// What it has for tasks altogether.
    pub(super) fn capacity(&self, problem: &Problem) -> Vector {
        match self.home {
            Home::Lot(lot) => problem.lots[lot as usize].capacity,
            Home::Berth(berth) => problem.berths[berth as usize].capacity,
        }
    }

    /// The same tasks on another node that has room for them.
    pub(super) fn moved(&self, problem: &Problem, home: Home) -> Self {
        let mut moved = Self::empty(problem, home);
        self.tasks.iter().for_each(|&(kind, count)| moved.add(problem, kind, count));
        moved
    }
}
