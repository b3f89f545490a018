//! Loadline's own packing: a fast one by prices in several tastes; then, while there is time, the programme over
//! whole contents, rounded; then nodes emptied and packed anew.

use crate::placement::planner::bin::{Bin, Home};
use crate::placement::planner::columns::{Configurations, configurations};
use crate::placement::planner::improve::{downsize, improve};
use crate::placement::planner::layers::layered;
use crate::placement::planner::pack::{Buyer, Limits, Packing, TASTES, fill_berths, order, pack};
use crate::placement::planner::problem::Problem;
use crate::placement::planner::rates::{Rates, rates};
use crate::placement::planner::stock::Stock;

/// A content that is bought a fraction of a time beyond whole times is bought once more from this fraction on:
/// what is tried. More than 1 is never.
const ROUND_UP_FROM: [f64; 5] = [2.0, 0.9, 0.75, 0.6, 0.5];

/// Whether a packing is better: fewer tasks without a place, then a lower price.
fn is_better(problem: &Problem, new: &Packing, known: &Packing) -> bool {
    let by_left = new.count_left().cmp(&known.count_left());
    by_left.then(new.price(problem).total_cmp(&known.price(problem))).is_lt()
}

/// Packs.
pub(super) fn ours(problem: &Problem, seed: u64, more: &mut dyn FnMut() -> bool) -> Packing {
    let rates = rates(problem);
    let mut best = pack(problem, &rates, TASTES[0]);
    downsize(problem, &mut best);
    if best.count_left() > 0 {
        // Not all have a place: the more important ones first, and as many as can be.
        return layered(problem, &rates, best);
    }
    for &taste in &TASTES[1..] {
        if !more() {
            return best;
        }
        let mut packing = pack(problem, &rates, taste);
        downsize(problem, &mut packing);
        if is_better(problem, &packing, &best) {
            best = packing;
        }
    }
    let mut worth = rates.clone();
    if let Some((packing, values)) = by_contents(problem, &rates, more) {
        worth.kinds = values;
        if is_better(problem, &packing, &best) {
            best = packing;
        }
    }
    improve(problem, &worth, &mut best, seed, more);
    best
}

/// A packing from the programme over whole contents, and what tasks are worth by it.
fn by_contents(
    problem: &Problem,
    rates: &Rates,
    more: &mut dyn FnMut() -> bool,
) -> Option<(Packing, Vec<f64>)> {
    let tasks: Vec<(u32, u32)> = problem.kinds.iter().zip(0..).map(|(kind, at)| (at, kind.count)).collect();
    let mut stock = Stock::new(problem, &rates.kinds);
    stock.restock(&tasks);
    let mut there = Vec::new();
    fill_berths(problem, &mut stock, &mut there, TASTES[0]);
    let solved = configurations(problem, &stock.left, more)?;
    let rates = Rates { lots: rates.lots.clone(), kinds: solved.values.clone() };
    let left = stock.left;
    let options = ROUND_UP_FROM.iter().map(|&from| {
        let (bins, rest) = rounded(problem, &solved, &left, from);
        let mut packing = completed(problem, &rates, bins, &rest);
        downsize(problem, &mut packing);
        packing
    });
    let mut best = options.reduce(|best, new| if is_better(problem, &new, &best) { new } else { best })?;
    best.bins.extend(there);
    Some((best, solved.values))
}

/// The contents bought whole times, and what they leave.
fn rounded(
    problem: &Problem,
    solved: &Configurations,
    counts: &[u32],
    from: f64,
) -> (Vec<Bin>, Vec<(u32, u32)>) {
    let mut left = counts.to_vec();
    let mut bins = Vec::new();
    for (content, often) in &solved.bought {
        let whole = (often + 1e-9).floor();
        let times = whole as u32 + u32::from(often - whole >= from);
        for _ in 0..times {
            let mut bin = Bin::empty(problem, Home::Lot(content.lot));
            for &(kind, count) in &content.tasks {
                let many = count.min(left[kind as usize]);
                left[kind as usize] -= many;
                if many > 0 {
                    bin.add(problem, kind, many);
                }
            }
            if !bin.tasks.is_empty() {
                bins.push(bin);
            }
        }
    }
    let rest = left.iter().zip(0..).map(|(&count, kind)| (kind, count)).filter(|(_, count)| *count > 0);
    (bins, rest.collect())
}

/// Packs what is left: into gaps of these bins, then onto new nodes, in the best of the tastes.
fn completed(problem: &Problem, rates: &Rates, mut bins: Vec<Bin>, rest: &[(u32, u32)]) -> Packing {
    let kinds: Vec<u32> = rest.iter().map(|&(kind, _)| kind).collect();
    let order = order(problem, &rates.kinds, &kinds);
    let mut rest = rest.to_vec();
    for &kind in &order {
        let known = &problem.kinds[kind as usize];
        let Some((_, left)) = rest.iter_mut().find(|(at, _)| *at == kind) else { continue };
        for bin in &mut bins {
            let many = bin.room(problem, known).min(*left);
            if many > 0 {
                bin.add(problem, kind, many);
                *left -= many;
            }
            if *left == 0 {
                break;
            }
        }
    }
    let mut stock = Stock::new(problem, &rates.kinds);
    let options = TASTES.iter().map(|&taste| {
        stock.restock(&rest.iter().copied().filter(|(_, count)| *count > 0).collect::<Vec<_>>());
        let mut limits: Limits = problem.lots.iter().map(|lot| lot.limit).collect();
        let mut bought = Vec::new();
        Buyer::new(problem, rates, taste).buy(&mut stock, &order, &mut limits, &mut bought);
        let left = kinds.iter().map(|&kind| (kind, stock.left[kind as usize])).filter(|(_, left)| *left > 0);
        Packing { bins: bought, left: left.collect() }
    });
    let best = options.reduce(|best, new| if is_better(problem, &new, &best) { new } else { best });
    let Packing { bins: bought, left } = best.unwrap_or_default();
    bins.extend(bought);
    Packing { bins, left }
}
