//! The bill of a window in cells, a cell a node or pool and whom it is booked to. The cells add up to the
//! charges exactly, whichever windows they were added in.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;

use crate::accounting::amount::{CoreTime, HOUR_MICROS};
use crate::accounting::bill::charge::Charge;
use crate::accounting::bill::nodes::NodeLife;
use crate::accounting::bill::split::{Held, NodeHour, Share, cpu_worth, split};
use crate::accounting::bill::taken::{Subjects, Taken, Use};
use crate::accounting::ledger::{HourSums, core_micros};
use crate::accounting::timeline::Span;
use crate::domain::money::Prices;
use crate::domain::node::{NodeName, PoolName};
use crate::domain::quantity::Resources;
use crate::domain::workload::WorkloadName;

/// How fine a statement is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Detail {
    /// A cell a day of UTC, not one for all of the window.
    pub daily: bool,
    /// A cell a node, not one a pool.
    pub nodes: bool,
}

/// What was paid for, and what it cost.
#[derive(Debug, Clone, Copy)]
pub struct Fleet<'a> {
    /// Lives of nodes.
    pub lives: &'a [NodeLife],
    /// What was charged.
    pub charges: &'a [Charge],
    /// What resources are worth: it tells the shares of CPU and memory in a node's cost.
    pub prices: Prices,
    /// What the system keeps of each node, beside what the node offers to tasks.
    pub system: Resources,
}

/// Where a cost arose.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The pool; absent where the bill names a node that was never known, or none.
    pub pool: Option<PoolName>,
    /// The node; absent in statements that do not tell nodes apart, and for shared cost.
    pub node: Option<NodeName>,
}

/// The parts of a cost in micro-cents, and what was taken for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cell {
    pub(crate) sums: HourSums,
    /// Requested and used.
    pub used: i64,
    /// Requested, not used.
    pub idle: i64,
    /// Requested while nothing was measured.
    pub unsampled: i64,
    /// Kept by the system.
    pub overhead: i64,
    /// Had by nobody.
    pub free: i64,
    /// Charged for no node.
    pub shared: i64,
    /// Of all of it, what fell on the time since the instant that a forecast looks back to.
    pub recent: i64,
}

impl Cell {
    /// All parts together.
    pub fn total(&self) -> i64 {
        self.used + self.idle + self.unsampled + self.overhead + self.free + self.shared
    }

    /// The CPU that was requested.
    pub fn cpu_requested(&self) -> CoreTime {
        CoreTime::new(core_micros(self.sums.cpu.requested()))
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.sums.merge(&other.sums);
        self.used += other.used;
        self.idle += other.idle;
        self.unsampled += other.unsampled;
        self.overhead += other.overhead;
        self.free += other.free;
        self.shared += other.shared;
        self.recent += other.recent;
    }
}

/// What a cell is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Days since the epoch; 0 where days are not told apart.
    pub day: i64,
    /// The number of a place.
    pub place: u32,
    /// The number of a subject; absent for what no task had.
    pub subject: Option<u32>,
}

/// What tasks of a workload requested in an hour, for savings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Requested {
    pub(crate) micros: u128,
    pub(crate) cpu: u128,
    pub(crate) memory: u128,
}

/// The bill of a window, cut up.
#[derive(Debug, Clone)]
pub struct Statement {
    detail: Detail,
    recent_from: i64,
    watched: BTreeSet<WorkloadName>,
    /// Whom it is booked to.
    pub subjects: Subjects,
    places: Vec<Place>,
    place_numbers: HashMap<Place, u32>,
    cells: HashMap<Key, Cell>,
    requested: BTreeMap<(WorkloadName, i64), Requested>,
    charged: i64,
    nowhere: i64,
    unbilled: i64,
}

impl Statement {
    /// A statement of nothing. What is added of the hour of `recent_from` and of later ones counts as recent; of the
    /// watched workloads the requests of each hour are kept, for savings.
    pub fn new(detail: Detail, recent_from: Timestamp, watched: BTreeSet<WorkloadName>) -> Self {
        Self {
            detail,
            recent_from: recent_from.as_microsecond(),
            watched,
            subjects: Subjects::default(),
            places: Vec::new(),
            place_numbers: HashMap::new(),
            cells: HashMap::new(),
            requested: BTreeMap::new(),
            charged: 0,
            nowhere: 0,
            unbilled: 0,
        }
    }

    /// Adds a window: the charges of the time in it, split by what was taken in it. Windows that are added must
    /// not overlap, and touch at full hours.
    pub fn add(&mut self, (from, to): (Timestamp, Timestamp), fleet: &Fleet<'_>, taken: &Use) {
        let window = Span { from: from.as_microsecond(), to: to.as_microsecond() };
        self.nowhere += taken.nowhere;
        self.charged += fleet.charges.iter().map(|charge| charge.within(window).get()).sum::<i64>();
        let mut nodes: BTreeMap<&NodeName, OneNode<'_>> = BTreeMap::new();
        for life in fleet.lives.iter().filter(|life| life.span(window).is_some()) {
            nodes.entry(&life.node).or_default().lives.push(life);
        }
        let mut shared = Vec::new();
        for charge in fleet.charges.iter().filter(|charge| touches(charge, window)) {
            match &charge.node {
                Some(node) => nodes.entry(node).or_default().charges.push(charge),
                None => shared.push(charge),
            }
        }
        for node in taken.hours.keys() {
            nodes.entry(node).or_default();
        }
        let none = BTreeMap::new();
        for (name, node) in nodes {
            self.add_node(window, name, &node, fleet, taken.hours.get(name).unwrap_or(&none));
        }
        self.add_shared(window, &shared);
    }

    fn add_node(
        &mut self,
        window: Span,
        name: &NodeName,
        node: &OneNode<'_>,
        fleet: &Fleet<'_>,
        taken: &BTreeMap<i64, Vec<Taken>>,
    ) {
        let pool = node.lives.last().map(|life| life.pool.clone());
        let place = self.place(Place { pool, node: self.detail.nodes.then(|| name.clone()) });
        let size = node.lives.last().map_or(Resources::ZERO, |life| life.size);
        let worth = cpu_worth(size, fleet.prices);
        for hour in node.hours(window, taken) {
            let Some(span) = hour_span(hour).clip(window) else { continue };
            let tasks = taken.get(&hour).map_or(&[][..], Vec::as_slice);
            let Some(node_hour) = node.hour(span, fleet.system) else {
                self.unbilled += tasks.iter().map(|task| task.sums.micros).sum::<i64>();
                self.book(hour, place, tasks, &split(&NodeHour::default(), worth, tasks).tasks);
                continue;
            };
            let parts = split(&node_hour, worth, tasks);
            self.book(hour, place, tasks, &parts.tasks);
            let rest = Cell { overhead: parts.overhead, free: parts.free, ..Cell::default() };
            if (rest.overhead, rest.free) != (0, 0) {
                self.put(hour, place, None, rest);
            }
        }
    }

    /// Books the shares of tasks.
    fn book(&mut self, hour: i64, place: u32, tasks: &[Taken], shares: &[Share]) {
        for (task, share) in tasks.iter().zip(shares) {
            let cell = Cell {
                sums: task.sums,
                used: share.used,
                idle: share.idle,
                unsampled: share.unsampled,
                ..Cell::default()
            };
            self.put(hour, place, Some(task.subject), cell);
            let workload = self.subjects.get(task.subject).map(|subject| &subject.workload);
            let Some(workload) = workload.filter(|workload| self.watched.contains(*workload)) else {
                continue;
            };
            let requested = self.requested.entry((workload.clone(), hour)).or_default();
            requested.micros += u128::from(task.sums.micros.max(0).unsigned_abs());
            requested.cpu += task.sums.cpu.requested();
            requested.memory += task.sums.memory.requested();
        }
    }

    fn add_shared(&mut self, window: Span, charges: &[&Charge]) {
        if charges.is_empty() {
            return;
        }
        let place = self.place(Place { pool: None, node: None });
        for hour in hours(window) {
            let Some(span) = hour_span(hour).clip(window) else { continue };
            let shared: i64 = charges.iter().map(|charge| charge.within(span).get()).sum();
            if shared != 0 {
                self.put(hour, place, None, Cell { shared, ..Cell::default() });
            }
        }
    }

    fn put(&mut self, hour: i64, place: u32, subject: Option<u32>, mut cell: Cell) {
        if (hour + 1) * HOUR_MICROS > self.recent_from {
            cell.recent = cell.total();
        }
        let day = if self.detail.daily { hour.div_euclid(24) } else { 0 };
        self.cells.entry(Key { day, place, subject }).or_default().merge(&cell);
    }

    fn place(&mut self, place: Place) -> u32 {
        if let Some(number) = self.place_numbers.get(&place) {
            return *number;
        }
        let number = self.places.len() as u32;
        self.places.push(place.clone());
        self.place_numbers.insert(place, number);
        number
    }

    /// The cells in order of day, place and subject.
    pub fn cells(&self) -> BTreeMap<Key, &Cell> {
        self.cells.iter().map(|(key, cell)| (*key, cell)).collect()
    }

    /// The place of a number.
    pub fn place_of(&self, number: u32) -> Option<&Place> {
        self.places.get(number as usize)
    }

    pub(crate) fn requested(&self) -> &BTreeMap<(WorkloadName, i64), Requested> {
        &self.requested
    }

    /// The sum of the charges, added up by themselves, in micro-cents.
    pub fn charged(&self) -> i64 {
        self.charged
    }

    /// Microseconds that tasks ran on no node that is known.
    pub fn nowhere(&self) -> i64 {
        self.nowhere
    }

    /// Microseconds that tasks ran on nodes in hours that nothing was charged for.
    pub fn unbilled(&self) -> i64 {
        self.unbilled
    }
}

fn hour_span(hour: i64) -> Span {
    Span { from: hour * HOUR_MICROS, to: (hour + 1) * HOUR_MICROS }
}

fn hours(window: Span) -> impl Iterator<Item = i64> {
    window.from.div_euclid(HOUR_MICROS)..=(window.to - 1).div_euclid(HOUR_MICROS)
}

/// Whether a charge has anything in the window; one without length has at its instant.
fn touches(charge: &Charge, window: Span) -> bool {
    charge.from.as_microsecond() < window.to
        && charge
            .to
            .is_none_or(|to| to.as_microsecond() > window.from || charge.from.as_microsecond() >= window.from)
}

/// What is known of one node.
#[derive(Debug, Default)]
struct OneNode<'a> {
    lives: Vec<&'a NodeLife>,
    charges: Vec<&'a Charge>,
}

impl OneNode<'_> {
    /// The hours of the window in which there is anything.
    fn hours(&self, window: Span, taken: &BTreeMap<i64, Vec<Taken>>) -> BTreeSet<i64> {
        let mut all: BTreeSet<i64> = taken.keys().copied().collect();
        for charge in &self.charges {
            let from = charge.from.as_microsecond();
            let to = charge.to.map_or(window.to, Timestamp::as_microsecond).max(from + 1);
            if let Some(span) = (Span { from, to }).clip(window) {
                all.extend(hours(span));
            }
        }
        all
    }

    /// What the node had and cost in an hour; none where nothing was charged.
    fn hour(&self, span: Span, system: Resources) -> Option<NodeHour> {
        let mut charges = self.charges.iter().filter(|charge| touches(charge, span)).peekable();
        charges.peek()?;
        let cost = charges.map(|charge| charge.within(span).get()).sum();
        let (mut capacity, mut overhead) = (Held::default(), Held::default());
        for (life, lived) in self.lives.iter().filter_map(|life| Some((life, life.span(span)?))) {
            let serving = life.serving(lived).map_or(0, Span::length);
            // Until it takes tasks, and once it is told to go, nobody can have it.
            let waiting = Held::over(life.size, lived.length() - serving);
            let kept = Held::over(system, lived.length());
            overhead = overhead.plus(waiting).plus(kept);
            capacity = capacity.plus(Held::over(life.size, lived.length())).plus(kept);
        }
        Some(NodeHour { cost, capacity, overhead })
    }
}
