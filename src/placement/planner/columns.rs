//! The linear programme over whole node contents (the configuration LP of Gilmore and Gomory): which contents, how
//! often each, cost least, where a content may be bought a fraction of a time.
//!
//! In: how many of each kind. Out: contents and how often, what a task of each kind is worth, and a proven lower
//! bound. New contents come from a knapsack per type: branch and bound with a limit of steps, under the bound
//! of the mix of fractions. Farley's bound ("A note on bounding a class of linear programming problems",
//! Operations Research 38, 1990) holds at any time: if no node can hold more worth than `r` times its price, the
//! tasks cost at least their worth over `r`.

use crate::placement::planner::problem::{DIMS, NOBODY, Problem, Vector};
use crate::placement::planner::rates::best_mix;
use crate::placement::planner::simplex::{Column, Master};

/// With more kinds than this the programme is left alone.
const KINDS_MAX: usize = 320;
/// Steps of one knapsack while contents are looked for.
const STEPS: u32 = 2_000;
/// Steps of one knapsack that proves a bound.
const STEPS_PROOF: u32 = 200_000;
/// Passes over all types.
const PASSES_MAX: usize = 400;
/// A content must be worth so much more than its price to be taken in.
const GAIN_MIN: f64 = 1e-6;
/// Once no content found is worth so much more than its price, the search is at its end: the rest is a long tail.
const GAIN_LAST: f64 = 1e-3;

/// A content: the type, kinds and how many of each.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Content {
    pub(super) lot: u32,
    pub(super) tasks: Vec<(u32, u32)>,
}

/// The programme's answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Configurations {
    /// Contents and how often each is bought.
    pub(super) bought: Vec<(Content, f64)>,
    /// What a task of each kind is worth.
    pub(super) values: Vec<f64>,
}

/// One kind in a knapsack.
struct Item {
    kind: u32,
    need: Vector,
    value: f64,
    /// Its value over what it takes at the node's prices: at most 1.
    gain: f64,
    most: u32,
    workload: u32,
}

/// The search for the content of one node that is worth most.
struct Knapsack<'a> {
    problem: &'a Problem,
    items: Vec<Item>,
    rates: Vector,
    chosen: Vec<(usize, u32)>,
    best: Vec<(usize, u32)>,
    best_value: f64,
    steps: u32,
}

/// The best content found for a lot, and what none can be worth more than.
pub(super) struct Priced {
    pub(super) tasks: Vec<(u32, u32)>,
    pub(super) worth: f64,
    pub(super) at_most: f64,
}

/// Looks for the content of a lot that is worth most at these values.
pub(super) fn price(problem: &Problem, lot: usize, counts: &[u32], values: &[f64], steps: u32) -> Priced {
    let capacity = problem.lots[lot].capacity;
    let open = problem
        .kinds
        .iter()
        .enumerate()
        .filter(|(at, kind)| counts[*at] > 0 && values[*at] > 0.0 && problem.takes(lot, kind));
    let needs: Vec<(u32, Vector, f64)> = open.map(|(at, kind)| (at as u32, kind.need, values[at])).collect();
    let mix = best_mix(&needs, &capacity);
    let rate = |need: &Vector| need.iter().zip(&mix.rates).map(|(a, b)| a * b).sum::<f64>();
    let mut items: Vec<Item> = needs
        .iter()
        .map(|&(kind, need, value)| {
            let known = &problem.kinds[kind as usize];
            let most = counts[kind as usize].min(problem.most(known));
            let rate = rate(&need);
            let gain = if rate > 0.0 { value / rate } else { f64::MAX };
            Item { kind, need, value, gain, most, workload: known.workload }
        })
        .collect();
    items.sort_by(|a, b| b.gain.total_cmp(&a.gain).then(b.value.total_cmp(&a.value)));
    let mut search = Knapsack {
        problem,
        items,
        rates: mix.rates,
        chosen: Vec::new(),
        best: Vec::new(),
        best_value: 0.0,
        steps,
    };
    search.dig(0, &capacity, 0.0);
    let tasks = search.best.iter().map(|&(at, count)| (search.items[at].kind, count)).collect();
    let at_most = if search.steps == 0 { mix.worth } else { search.best_value * (1.0 + GAIN_MIN) };
    Priced { tasks, worth: search.best_value, at_most: at_most.max(search.best_value) }
}

impl Knapsack<'_> {
    /// Tries items from `from` on in what is free.
    fn dig(&mut self, from: usize, free: &Vector, value: f64) {
        if value > self.best_value {
            self.best_value = value;
            self.best.clone_from(&self.chosen);
        }
        let free_rate: f64 = free.iter().zip(&self.rates).map(|(free, rate)| free * rate).sum();
        for at in from..self.items.len() {
            if self.steps == 0 {
                return;
            }
            let item = &self.items[at];
            if value + item.gain * free_rate <= self.best_value * (1.0 + GAIN_MIN / 2.0) {
                return;
            }
            let by =
                |(need, free): (&f64, &f64)| if *need > 0.0 { (free / need).floor() } else { f64::INFINITY };
            let room = item.need.iter().zip(free).map(by).fold(f64::from(item.most), f64::min) as u32;
            if room == 0 || self.is_barred(at) {
                continue;
            }
            let (need, each) = (item.need, item.value);
            for count in (1..=room).rev() {
                self.steps = self.steps.saturating_sub(1);
                let left: Vector = std::array::from_fn(|dim| free[dim] - need[dim] * f64::from(count));
                self.chosen.push((at, count));
                self.dig(at + 1, &left, value + each * f64::from(count));
                self.chosen.pop();
                if self.steps == 0 {
                    return;
                }
            }
        }
    }

    /// Whether what is chosen keeps an item out by its neighbours.
    fn is_barred(&self, at: usize) -> bool {
        let own = self.items[at].workload;
        own != NOBODY
            && self.chosen.iter().map(|&(other, _)| self.items[other].workload).any(|other| {
                other != NOBODY
                    && (other == own || self.problem.clashes[own as usize].binary_search(&other).is_ok())
            })
    }
}

/// Solves the programme over whole contents, for as long as `more` says so; nothing where there are too many
/// kinds or a type has a limit.
pub(super) fn configurations(
    problem: &Problem,
    counts: &[u32],
    more: &mut dyn FnMut() -> bool,
) -> Option<Configurations> {
    let rows: Vec<u32> = (0..problem.kinds.len() as u32).filter(|&kind| counts[kind as usize] > 0).collect();
    if rows.is_empty() || rows.len() > KINDS_MAX || problem.is_limited() {
        return None;
    }
    let mut contents: Vec<Content> = Vec::new();
    let first: Option<Vec<Column>> =
        rows.iter().zip(0..).map(|(&kind, row)| alone(problem, counts, kind, row, &mut contents)).collect();
    let mut row_of = vec![0; problem.kinds.len()];
    rows.iter().zip(0..).for_each(|(&kind, row)| row_of[kind as usize] = row);
    let mut master = Master::new(rows.iter().map(|&kind| f64::from(counts[kind as usize])).collect(), first?);
    for _ in 0..PASSES_MAX {
        master.settle();
        let values = spread(problem, &rows, master.values());
        let mut found: Vec<(f64, Content)> = Vec::new();
        for (at, lot) in problem.lots.iter().enumerate() {
            let priced = price(problem, at, counts, &values, STEPS);
            if priced.worth > lot.price * (1.0 + GAIN_MIN) {
                found.push((priced.worth / lot.price, Content { lot: at as u32, tasks: priced.tasks }));
            }
        }
        found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.lot.cmp(&b.1.lot)));
        let mut better = false;
        let last = found.first().is_none_or(|(ratio, _)| *ratio < 1.0 + GAIN_LAST);
        for (_, content) in found {
            let mut parts: Vec<(u32, f64)> = content
                .tasks
                .iter()
                .map(|&(kind, count)| (row_of[kind as usize], f64::from(count)))
                .collect();
            parts.sort_unstable_by_key(|&(row, _)| row);
            let price = problem.lots[content.lot as usize].price;
            if master.offer(&Column { parts, price, tag: contents.len() as u32 }) {
                contents.push(content);
                better = true;
            }
        }
        if !better || last || !more() {
            break;
        }
    }
    master.settle();
    let values = spread(problem, &rows, master.values());
    let bought =
        master.bought().map(|(column, often)| (contents[column.tag as usize].clone(), often)).collect();
    Some(Configurations { bought, values })
}

/// Values of rows as values of kinds.
fn spread(problem: &Problem, rows: &[u32], values: &[f64]) -> Vec<f64> {
    let mut spread = vec![0.0; problem.kinds.len()];
    rows.iter().zip(values).for_each(|(&kind, &value)| spread[kind as usize] = value.max(0.0));
    spread
}

/// The cheapest content of one kind alone.
fn alone(
    problem: &Problem,
    counts: &[u32],
    kind: u32,
    row: u32,
    contents: &mut Vec<Content>,
) -> Option<Column> {
    let known = &problem.kinds[kind as usize];
    let most = counts[kind as usize].min(problem.most(known));
    let options = problem.lots.iter().zip(0..).filter(|(_, lot)| problem.takes(*lot as usize, known));
    let options = options.map(|(had, lot)| {
        let by = |at: usize| {
            if known.need[at] > 0.0 { (had.capacity[at] / known.need[at]).floor() } else { f64::MAX }
        };
        let many = (0..DIMS).map(by).fold(f64::from(most), f64::min);
        (had.price / many, lot, many)
    });
    let (_, lot, many) = options.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)))?;
    let price = problem.lots[lot as usize].price;
    let tag = contents.len() as u32;
    contents.push(Content { lot, tasks: vec![(kind, many as u32)] });
    Some(Column { parts: vec![(row, many)], price, tag })
}

/// What all tasks cost at least, by these values: any values give a bound, those of the programme a good one.
pub(super) fn proven(problem: &Problem, counts: &[u32], values: &[f64]) -> f64 {
    let total: f64 = counts.iter().zip(values).map(|(&count, value)| f64::from(count) * value).sum();
    let over = |(at, lot): (usize, &crate::placement::planner::problem::Lot)| {
        price(problem, at, counts, values, STEPS_PROOF).at_most / lot.price
    };
    let worst =
        problem.lots.iter().enumerate().filter(|(_, lot)| lot.price > 0.0).map(over).fold(0.0, f64::max);
    if worst > 0.0 { (total - gifts(problem, counts, values)) / worst } else { 0.0 }
}

/// What the gaps of nodes that are there can take of the tasks' worth: it costs nothing more.
pub(super) fn gifts(problem: &Problem, counts: &[u32], values: &[f64]) -> f64 {
    let mut known: std::collections::HashMap<([u64; DIMS], Vec<bool>), f64> =
        std::collections::HashMap::new();
    let mut sum = 0.0;
    for (at, berth) in problem.berths.iter().enumerate() {
        let open: Vec<bool> = problem.classes.iter().map(|class| class.berths[at]).collect();
        let needs = || {
            let kinds = problem
                .kinds
                .iter()
                .enumerate()
                .filter(|(at, kind)| counts[*at] > 0 && open[kind.class as usize]);
            kinds.map(|(at, kind)| (at as u32, kind.need, values[at])).collect::<Vec<_>>()
        };
        let key = (berth.free.map(f64::to_bits), open.clone());
        sum += *known.entry(key).or_insert_with(|| best_mix(&gap(&needs(), &berth.free), &berth.free).worth);
    }
    sum
}

/// Those that fit a gap.
fn gap(needs: &[(u32, Vector, f64)], free: &Vector) -> Vec<(u32, Vector, f64)> {
    needs
        .iter()
        .filter(|(_, need, _)| crate::placement::planner::problem::fits(need, free))
        .copied()
        .collect()
}
