//! Makes a packing cheaper: nodes whose tasks fit a cheaper type become one; then, as long as there is time, a few
//! of the worst nodes are emptied together and their tasks packed anew, among themselves and into gaps of others.
//!
//! In: a packing, how long to go on. Out: one that costs no more. What has a place keeps one.

use crate::placement::planner::bin::{Bin, Home};
use crate::placement::planner::pack::{Buyer, Limits, Packing, TASTES, order};
use crate::placement::planner::problem::{Problem, fits};
use crate::placement::planner::rates::Rates;
use crate::placement::planner::stock::Stock;

/// So many nodes are emptied together, at least and at most.
const EMPTIED: (usize, usize) = (2, 9);
/// So many other nodes are looked at for gaps.
const GAPS: usize = 24;

/// A small generator of numbers that look random: xorshift (Marsaglia 2003).
struct Dice(u64);

impl Dice {
    /// A number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}

/// Puts each node's tasks on the cheapest type that holds them.
pub(super) fn downsize(problem: &Problem, packing: &mut Packing) {
    let mut cheapest: Vec<usize> =
        (0..problem.lots.len()).filter(|&lot| problem.lots[lot].limit == u32::MAX).collect();
    cheapest.sort_by(|&a, &b| problem.lots[a].price.total_cmp(&problem.lots[b].price));
    for bin in &mut packing.bins {
        let Home::Lot(own) = bin.home else { continue };
        let whole = problem.lots[own as usize].capacity;
        let load = std::array::from_fn(|at| whole[at] - bin.free[at]);
        let open = |lot: usize| {
            bin.tasks
                .iter()
                .all(|&(kind, _)| problem.classes[problem.kinds[kind as usize].class as usize].lots[lot])
        };
        let cheaper =
            cheapest.iter().take_while(|lot| problem.lots[**lot].price < problem.lots[own as usize].price);
        let found = cheaper.copied().find(|&lot| fits(&load, &problem.lots[lot].capacity) && open(lot));
        // A limited type that is left frees one for others; one that is taken has no limit.
        if let Some(lot) = found {
            *bin = bin.moved(problem, Home::Lot(lot as u32));
        }
    }
}

/// Empties and packs anew for as long as `more` says so.
pub(super) fn improve(
    problem: &Problem,
    rates: &Rates,
    packing: &mut Packing,
    seed: u64,
    more: &mut dyn FnMut() -> bool,
) {
    let Packing { bins, .. } = packing;
    let mut bought: Vec<Bin> = Vec::new();
    let there: Vec<Bin> = std::mem::take(bins)
        .into_iter()
        .filter_map(|bin| match bin.home {
            Home::Berth(_) => Some(bin),
            Home::Lot(_) => {
                bought.push(bin);
                None
            }
        })
        .collect();
    if bought.len() > 1 {
        Improver::new(problem, rates, seed).run(&mut bought, more);
    }
    *bins = there;
    bins.append(&mut bought);
}

struct Improver<'a> {
    problem: &'a Problem,
    rates: &'a Rates,
    stock: Stock<'a>,
    buyers: Vec<Buyer<'a>>,
    dice: Dice,
}

impl<'a> Improver<'a> {
    fn new(problem: &'a Problem, rates: &'a Rates, seed: u64) -> Self {
        Self {
            problem,
            rates,
            stock: Stock::new(problem, &rates.kinds),
            buyers: TASTES.iter().map(|&taste| Buyer::new(problem, rates, taste)).collect(),
            dice: Dice(seed | 1),
        }
    }

    /// Price less what the tasks are worth: what could be saved at most.
    fn loss(&self, bin: &Bin) -> f64 {
        let worth = |&(kind, count): &(u32, u32)| self.rates.kinds[kind as usize] * f64::from(count);
        bin.price(self.problem) - bin.tasks.iter().map(worth).sum::<f64>()
    }

    fn run(&mut self, bins: &mut Vec<Bin>, more: &mut dyn FnMut() -> bool) {
        let mut losses: Vec<f64> = bins.iter().map(|bin| self.loss(bin)).collect();
        while more() {
            let chosen = self.choose(bins, &losses);
            let emptied: Vec<Bin> = chosen.iter().map(|&at| bins[at].clone()).collect();
            let before: f64 = emptied.iter().map(|bin| bin.price(self.problem)).sum();
            let Some(packed) = self.repack(&emptied) else { continue };
            let after: f64 = packed.iter().map(|bin| bin.price(self.problem)).sum();
            if after > before + 0.5 {
                continue;
            }
            // Descending, so that the last ones can take the empty places.
            for &at in &chosen {
                bins.swap_remove(at);
                losses.swap_remove(at);
            }
            for bin in packed {
                losses.push(self.loss(&bin));
                bins.push(bin);
            }
        }
    }

    /// Nodes to empty: mostly those that lose much, in descending order of place.
    fn choose(&mut self, bins: &[Bin], losses: &[f64]) -> Vec<usize> {
        let many = (EMPTIED.0 + self.dice.below(EMPTIED.1 - EMPTIED.0 + 1)).min(bins.len());
        let mut chosen: Vec<usize> = Vec::with_capacity(many);
        for round in 0..4 * many {
            if chosen.len() == many {
                break;
            }
            // The worst of a few drawn; the first is drawn of more.
            let draws = if round == 0 { GAPS } else { 1 + self.dice.below(4) };
            let drawn = (0..draws)
                .map(|_| self.dice.below(bins.len()))
                .max_by(|&a, &b| losses[a].total_cmp(&losses[b]));
            chosen.extend(drawn.filter(|at| !chosen.contains(at)));
        }
        chosen.sort_unstable_by(|a, b| b.cmp(a));
        chosen
    }

    /// The tasks of these nodes on others, if all of them find a place.
    fn repack(&mut self, emptied: &[Bin]) -> Option<Vec<Bin>> {
        let tasks: Vec<(u32, u32)> = emptied.iter().flat_map(|bin| bin.tasks.iter().copied()).collect();
        self.stock.restock(&tasks);
        let mut kinds: Vec<u32> = tasks.iter().map(|&(kind, _)| kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let mut order = order(self.problem, &self.rates.kinds, &kinds);
        // A little disorder: another first one, another pair.
        for _ in 0..self.dice.below(4) {
            let (a, b) = (self.dice.below(order.len()), self.dice.below(order.len()));
            order.swap(a, b);
        }
        let mut limits: Limits =
            self.problem.lots.iter().map(|lot| if lot.limit == u32::MAX { u32::MAX } else { 0 }).collect();
        for bin in emptied {
            if let Home::Lot(lot) = bin.home
                && limits[lot as usize] != u32::MAX
            {
                limits[lot as usize] += 1;
            }
        }
        let taste = self.dice.below(self.buyers.len());
        let mut packed = Vec::with_capacity(emptied.len());
        self.buyers[taste].buy(&mut self.stock, &order, &mut limits, &mut packed);
        if self.stock.total > 0 {
            return None;
        }
        let mut packing = Packing { bins: packed, left: Vec::new() };
        downsize(self.problem, &mut packing);
        Some(packing.bins)
    }
}
