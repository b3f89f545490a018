//! What resources are worth: the dual of the linear programme that assigns fractions of tasks to the types that
//! they fit.
//!
//! In: the problem. Out: for each type a price of a unit of each of its resources, such that a whole node is
//! worth what it costs. A task is then worth the least that it takes of any type it fits; the sum over all
//! tasks is a proven lower bound of what any plan costs, because no node can hold more worth than its price.
//!
//! The programme is solved by columns: a column is the best mix of at most as many kinds as there are
//! resources for one node. Kinds of about the same mix and size are one row, which may lose a little of the
//! bound, never its validity: the sum at the end is over the tasks themselves.

use std::collections::HashMap;

use crate::placement::planner::problem::{DIMS, Problem, Vector, fits};
use crate::placement::planner::simplex::{Column, Master};

/// With more kinds than this, kinds of about the same mix and size share a row.
const ROWS_MAX: usize = 256;
/// Passes over the types without which it was always exact.
const PASSES_MAX: usize = 400;
/// Shares of the largest node that part small tasks from large ones where kinds share rows.
const SIZES: [f64; 7] = [1.0 / 64.0, 1.0 / 32.0, 1.0 / 16.0, 1.0 / 8.0, 1.0 / 4.0, 1.0 / 2.0, 1.0];

/// Prices of resources by type, and what each kind is worth by them.
#[derive(Debug, Clone)]
pub(super) struct Rates {
    /// For each lot.
    pub(super) lots: Vec<Vector>,
    /// For each kind; what fits no lot is worth nothing.
    pub(super) kinds: Vec<f64>,
}

/// Tasks that share a row.
struct Row {
    need: Vector,
    count: f64,
    class: u32,
}

/// The value of one unit of each resource of a node, and the mix that makes its content worth most.
pub(super) struct Mix {
    pub(super) rates: Vector,
    pub(super) worth: f64,
    pub(super) parts: Vec<(u32, f64)>,
}

/// The most that fractions of these can be worth together on a node; each is a need and a value.
pub(super) fn best_mix(needs: &[(u32, Vector, f64)], capacity: &Vector) -> Mix {
    let part = |need: &Vector, at: usize| if capacity[at] > 0.0 { need[at] / capacity[at] } else { 0.0 };
    // Rows: what is used of each resource, at most all of it. The basis begins with what is left free.
    let mut inverse = [[0.0; DIMS]; DIMS];
    (0..DIMS).for_each(|at| inverse[at][at] = 1.0);
    let mut amounts: Vector = [1.0; DIMS];
    let mut basis: [Option<usize>; DIMS] = [None; DIMS];
    let mut rates: Vector = [0.0; DIMS];
    for _ in 0..200 {
        let gain = |(_, need, value): &(u32, Vector, f64)| {
            value - (0..DIMS).map(|at| rates[at] * part(need, at)).sum::<f64>()
        };
        let best =
            needs.iter().enumerate().map(|(at, one)| (at, gain(one))).max_by(|a, b| a.1.total_cmp(&b.1));
        let Some((entering, gained)) = best.filter(|&(at, gain)| gain > 1e-9 * needs[at].2.max(1e-12)) else {
            break;
        };
        let need = &needs[entering].1;
        let change: Vector =
            std::array::from_fn(|row| (0..DIMS).map(|at| inverse[row][at] * part(need, at)).sum());
        let steps = (0..DIMS)
            .filter(|&row| change[row] > 1e-12)
            .map(|row| (row, amounts[row].max(0.0) / change[row]));
        let Some((out, step)) = steps.min_by(|a, b| a.1.total_cmp(&b.1)) else { break };
        let pivot = inverse[out].map(|cell| cell / change[out]);
        for row in (0..DIMS).filter(|&row| row != out) {
            inverse[row].iter_mut().zip(&pivot).for_each(|(cell, pivot)| *cell -= change[row] * pivot);
            amounts[row] -= change[row] * step;
        }
        inverse[out] = pivot;
        amounts[out] = step;
        basis[out] = Some(entering);
        rates.iter_mut().zip(&pivot).for_each(|(rate, pivot)| *rate += gained * pivot);
    }
    // Errors of rounding must not make the prices too low for any of them.
    let lack = needs.iter().map(|(_, need, value)| {
        let covered: f64 = (0..DIMS).map(|at| rates[at].max(0.0) * part(need, at)).sum();
        if covered > 0.0 { value / covered } else { 1.0 }
    });
    let lack = lack.fold(1.0, f64::max);
    let rates = rates.map(|rate| rate.max(0.0) * lack);
    let parts = (0..DIMS).filter_map(|row| Some((needs[basis[row]?].0, amounts[row])));
    let parts = parts.filter(|&(_, amount)| amount > 1e-9).collect();
    let per_unit = std::array::from_fn(|at| if capacity[at] > 0.0 { rates[at] / capacity[at] } else { 0.0 });
    Mix { rates: per_unit, worth: rates.iter().sum(), parts }
}

/// Works the prices out, and what each kind is worth.
pub(super) fn rates(problem: &Problem) -> Rates {
    let mut rows = rows(problem);
    // The mean of kinds that share a row may fit nothing that they fit; they are worth something all the same.
    rows.retain(|row| alone(problem, row, 0).is_some());
    let first: Vec<Column> = rows.iter().zip(0..).filter_map(|(row, at)| alone(problem, row, at)).collect();
    let mut lots: Vec<Vector> = problem.lots.iter().map(|lot| even(lot.price, &lot.capacity)).collect();
    if !first.is_empty() {
        let mut master = Master::new(rows.iter().map(|row| row.count).collect(), first);
        for _ in 0..PASSES_MAX {
            master.settle();
            let mut better = false;
            for (at, lot) in problem.lots.iter().enumerate() {
                let mix = best_mix(&taken(problem, &rows, at, master.values()), &lot.capacity);
                let column = Column { parts: mix.parts, price: lot.price, tag: at as u32 };
                better |= column.worth(master.values()) > lot.price * (1.0 + 1e-7) && master.offer(&column);
            }
            if !better {
                break;
            }
        }
        for (at, lot) in problem.lots.iter().enumerate() {
            let mix = best_mix(&taken(problem, &rows, at, master.values()), &lot.capacity);
            if mix.worth > 0.0 {
                lots[at] = mix.rates.map(|rate| rate * lot.price / mix.worth);
            }
        }
    }
    let kinds = problem.kinds.iter().map(|kind| {
        let worth = |at: usize| lots[at].iter().zip(&kind.need).map(|(rate, need)| rate * need).sum::<f64>();
        let least =
            (0..lots.len()).filter(|&at| problem.takes(at, kind)).map(worth).fold(f64::INFINITY, f64::min);
        if least.is_finite() { least } else { 0.0 }
    });
    let kinds = kinds.collect();
    Rates { lots, kinds }
}

/// The price of a node, the same for each of its resources.
fn even(price: f64, capacity: &Vector) -> Vector {
    let resources = capacity.iter().filter(|amount| **amount > 0.0).count().max(1) as f64;
    capacity.map(|amount| if amount > 0.0 { price / resources / amount } else { 0.0 })
}

/// The kinds that some lot takes, or sums of them.
fn rows(problem: &Problem) -> Vec<Row> {
    let fitting =
        problem.kinds.iter().filter(|kind| (0..problem.lots.len()).any(|lot| problem.takes(lot, kind)));
    let row = |kind: &crate::placement::planner::problem::Kind| Row {
        need: kind.need,
        count: f64::from(kind.count),
        class: kind.class,
    };
    if problem.kinds.len() <= ROWS_MAX {
        return fitting.map(row).collect();
    }
    let mut unit = [1.0f64; DIMS];
    for lot in &problem.lots {
        unit.iter_mut().zip(&lot.capacity).for_each(|(unit, capacity)| *unit = unit.max(*capacity));
    }
    let angles = if problem.classes.len() > 4 { 6.0 } else { 12.0 };
    let mut merged: HashMap<(u32, usize, u32, [u64; 2]), Row> = HashMap::new();
    for kind in fitting {
        let part: Vector = std::array::from_fn(|at| kind.need[at] / unit[at]);
        let size = part.iter().copied().fold(0.0, f64::max);
        let size = SIZES.iter().position(|bound| size <= *bound).unwrap_or(SIZES.len());
        let angle = (part[1].atan2(part[0]) / std::f64::consts::FRAC_PI_2 * angles) as u32;
        let key = (kind.class, size, angle, [kind.need[2].to_bits(), kind.need[3].to_bits()]);
        let row = merged.entry(key).or_insert(Row { need: [0.0; DIMS], count: 0.0, class: kind.class });
        row.need.iter_mut().zip(&kind.need).for_each(|(sum, need)| *sum += need * f64::from(kind.count));
        row.count += f64::from(kind.count);
    }
    let mut rows: Vec<_> = merged.into_iter().collect();
    rows.sort_unstable_by_key(|(key, _)| *key);
    rows.into_iter().map(|(_, row)| Row { need: row.need.map(|sum| sum / row.count), ..row }).collect()
}

/// What a lot takes of the rows, and what it is worth.
fn taken(problem: &Problem, rows: &[Row], lot: usize, values: &[f64]) -> Vec<(u32, Vector, f64)> {
    let capacity = &problem.lots[lot].capacity;
    let good = rows.iter().enumerate().filter(|(at, row)| {
        values[*at] > 0.0 && problem.classes[row.class as usize].lots[lot] && fits(&row.need, capacity)
    });
    good.map(|(at, row)| (at as u32, row.need, values[at])).collect()
}

/// The cheapest way to buy room for a row alone.
fn alone(problem: &Problem, row: &Row, at: u32) -> Option<Column> {
    let options = problem.lots.iter().zip(0..).filter_map(|(lot, tag)| {
        let open = problem.classes[row.class as usize].lots[tag as usize];
        let by = |(need, capacity): (&f64, &f64)| if *need > 0.0 { capacity / need } else { f64::INFINITY };
        let many = row.need.iter().zip(&lot.capacity).map(by).fold(1e9, f64::min);
        let good = open && fits(&row.need, &lot.capacity);
        good.then(|| Column { parts: vec![(at, many)], price: lot.price, tag })
    });
    options.min_by(|a, b| (a.price / a.parts[0].1).total_cmp(&(b.price / b.parts[0].1)))
}
