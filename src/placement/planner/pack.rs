//! Packs everything once: nodes that are there first, then new ones, each of the type that gives most worth for
//! its price when it is filled around the task that is worth most of those left.
//!
//! In: the problem, what tasks and resources are worth, a taste. Out: bins, and what has no place.

use crate::placement::planner::bin::{Bin, Home};
use crate::placement::planner::problem::{Problem, Vector};
use crate::placement::planner::rates::Rates;
use crate::placement::planner::stock::{Gauge, Score, Stock, Taste};

/// So many types are tried for a node, those first by whose prices the first task is worth most of what it takes.
const TYPES_TRIED: usize = 10;
/// With more kinds than `KINDS_MANY` so many: there is more to choose from for each node, and less time.
const TYPES_TRIED_OF_MANY: usize = 4;
/// More kinds than this are many.
const KINDS_MANY: usize = 4_000;

/// Bins and what is in none.
#[derive(Debug, Clone, Default)]
pub(super) struct Packing {
    pub(super) bins: Vec<Bin>,
    /// Kinds and how many.
    pub(super) left: Vec<(u32, u32)>,
}

impl Packing {
    /// What the new nodes cost.
    pub(super) fn price(&self, problem: &Problem) -> f64 {
        self.bins.iter().map(|bin| bin.price(problem)).sum()
    }

    /// How many tasks have no place.
    pub(super) fn count_left(&self) -> u64 {
        self.left.iter().map(|&(_, count)| u64::from(count)).sum()
    }
}

/// The tastes that are tried one after the other.
pub(super) const TASTES: [Taste; 6] = [
    Taste { score: Score::Product, worth: 4 },
    Taste { score: Score::Product, worth: 0 },
    Taste { score: Score::Product, worth: 16 },
    Taste { score: Score::Rest, worth: 4 },
    Taste { score: Score::Rest, worth: 0 },
    Taste { score: Score::Mix, worth: 4 },
];

/// How many nodes of each lot may still be bought.
pub(super) type Limits = Vec<u32>;

/// Opens new nodes until everything that fits some is packed.
pub(super) struct Buyer<'a> {
    pub(super) problem: &'a Problem,
    pub(super) rates: &'a Rates,
    pub(super) taste: Taste,
    /// For each kind the lots to try, once worked out.
    tried: Vec<Option<Box<[u32]>>>,
}

impl<'a> Buyer<'a> {
    /// A buyer of one taste.
    pub(super) fn new(problem: &'a Problem, rates: &'a Rates, taste: Taste) -> Self {
        Self { problem, rates, taste, tried: vec![None; problem.kinds.len()] }
    }

    /// The lots that suit a kind best.
    fn lots_for(&mut self, kind: u32) -> &[u32] {
        let (problem, rates) = (self.problem, self.rates);
        self.tried[kind as usize].get_or_insert_with(|| {
            let need = &problem.kinds[kind as usize].need;
            let takes = |lot: &u32| problem.takes(*lot as usize, &problem.kinds[kind as usize]);
            let rate = |lot: u32| rates.lots[lot as usize].iter().zip(need).map(|(a, b)| a * b).sum::<f64>();
            let mut lots: Vec<(f64, u32)> =
                (0..problem.lots.len() as u32).filter(takes).map(|lot| (rate(lot), lot)).collect();
            lots.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let many = problem.kinds.len() > KINDS_MANY;
            lots.truncate(if many { TYPES_TRIED_OF_MANY } else { TYPES_TRIED });
            lots.into_iter().map(|(_, lot)| lot).collect()
        })
    }

    /// Buys nodes for what is in stock; what fits no more stays there. `order` has kinds, first the one that is
    /// served first.
    pub(super) fn buy(
        &mut self,
        stock: &mut Stock<'_>,
        order: &[u32],
        limits: &mut Limits,
        bins: &mut Vec<Bin>,
    ) {
        for &seed in order {
            while stock.left[seed as usize] > 0 {
                let Some(bin) = self.best(stock, seed, limits) else { break };
                let Home::Lot(lot) = bin.home else { break };
                // As often as there is as much of everything that is in it.
                let again = bin.tasks.iter().map(|&(kind, count)| stock.left[kind as usize] / count).min();
                let copies = again.unwrap_or(1).clamp(1, limits[lot as usize]);
                for _ in 0..copies {
                    let mut copy = Bin::empty(self.problem, bin.home);
                    bin.tasks.iter().for_each(|&(kind, count)| stock.take(kind, count, &mut copy));
                    bins.push(copy);
                }
                limits[lot as usize] -= if limits[lot as usize] == u32::MAX { 0 } else { copies };
                stock.forget_used(&bin);
            }
        }
    }

    /// The filled node around a task that gives most worth for its price; the stock is left as it was.
    fn best(&mut self, stock: &mut Stock<'_>, seed: u32, limits: &Limits) -> Option<Bin> {
        let (problem, taste) = (self.problem, self.taste);
        let rates = self.rates;
        let mut best: Option<(f64, Bin)> = None;
        for &lot in self.lots_for(seed) {
            if limits[lot as usize] == 0 {
                continue;
            }
            let mut bin = Bin::empty(problem, Home::Lot(lot));
            if bin.room_by_rules(problem, &problem.kinds[seed as usize]) == 0 {
                continue;
            }
            stock.take(seed, 1, &mut bin);
            let capacity = problem.lots[lot as usize].capacity;
            let gauge = Gauge { capacity, rates: &rates.lots[lot as usize], taste };
            let worth = stock.values[seed as usize] + stock.fill(&mut bin, &gauge);
            stock.put_back(&bin);
            let ratio = problem.lots[lot as usize].price / worth.max(f64::MIN_POSITIVE);
            if best.as_ref().is_none_or(|(known, _)| ratio < *known) {
                best = Some((ratio, bin));
            }
        }
        best.map(|(_, bin)| bin)
    }
}

/// The order in which kinds are served: the most worth first, then the largest.
pub(super) fn order(problem: &Problem, values: &[f64], kinds: &[u32]) -> Vec<u32> {
    let mut order = kinds.to_vec();
    let need = |kind: u32| problem.kinds[kind as usize].need;
    order.sort_by(|&a, &b| {
        let by_worth = values[b as usize].total_cmp(&values[a as usize]);
        by_worth.then_with(|| need(b)[0].total_cmp(&need(a)[0])).then(a.cmp(&b))
    });
    order
}

/// Fills the nodes that are there, the fullest first: small gaps take little else.
pub(super) fn fill_berths(problem: &Problem, stock: &mut Stock<'_>, bins: &mut Vec<Bin>, taste: Taste) {
    let share = |at: usize| {
        let berth = &problem.berths[at];
        let part =
            |at: usize| if berth.capacity[at] > 0.0 { berth.free[at] / berth.capacity[at] } else { 0.0 };
        part(0).min(part(1))
    };
    let mut berths: Vec<usize> = (0..problem.berths.len()).collect();
    berths.sort_by(|&a, &b| share(a).total_cmp(&share(b)).then(a.cmp(&b)));
    for at in berths {
        let mut bin = Bin::empty(problem, Home::Berth(at as u32));
        let capacity = problem.berths[at].capacity;
        let rates: Vector = capacity.map(|amount| if amount > 0.0 { 1.0 / amount } else { 0.0 });
        stock.fill(&mut bin, &Gauge { capacity, rates: &rates, taste: Taste { worth: 0, ..taste } });
        stock.forget_used(&bin);
        if !bin.tasks.is_empty() {
            bins.push(bin);
        }
    }
}

/// Packs all kinds once.
pub(super) fn pack(problem: &Problem, rates: &Rates, taste: Taste) -> Packing {
    let tasks: Vec<(u32, u32)> = problem.kinds.iter().zip(0..).map(|(kind, at)| (at, kind.count)).collect();
    let mut stock = Stock::new(problem, &rates.kinds);
    stock.restock(&tasks);
    let mut bins = Vec::new();
    fill_berths(problem, &mut stock, &mut bins, taste);
    let mut limits: Limits = problem.lots.iter().map(|lot| lot.limit).collect();
    let kinds: Vec<u32> = tasks.iter().map(|&(kind, _)| kind).collect();
    let order = order(problem, &rates.kinds, &kinds);
    Buyer::new(problem, rates, taste).buy(&mut stock, &order, &mut limits, &mut bins);
    let left =
        tasks.iter().map(|&(kind, _)| (kind, stock.left[kind as usize])).filter(|(_, count)| *count > 0);
    Packing { bins, left: left.collect() }
}
