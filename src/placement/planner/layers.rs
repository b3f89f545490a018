//! Packing where not all have a place: the more important tasks first, then as many as can be.
//!
//! One priority after the other is packed onto what is there and what may still be had; a task that finds no
//! place had every node offered in turn, so that no task of lower priority stands where it could have stood.
//! Tasks of one priority are tried in several orders, and the one that places most is kept: large ones first waste
//! least, small ones first place most where it gets tight.

use crate::placement::planner::baselines::{cluster_autoscaler, karpenter};
use crate::placement::planner::bin::{Bin, Home};
use crate::placement::planner::improve::downsize;
use crate::placement::planner::pack::{Buyer, Limits, Packing, TASTES, order};
use crate::placement::planner::problem::{Problem, Vector};
use crate::placement::planner::rates::Rates;
use crate::placement::planner::stock::Stock;

/// Which of the nodes with room is taken.
#[derive(Clone, Copy)]
enum Choice {
    /// The one that is left with the least.
    Tightest,
    /// The first.
    First,
}

/// What has been placed so far.
#[derive(Clone)]
struct State {
    bins: Vec<Bin>,
    limits: Limits,
    left: Vec<(u32, u32)>,
}

/// Packs by priorities; `plain` is a packing that knows none of them.
pub(super) fn layered(problem: &Problem, rates: &Rates, plain: Packing) -> Packing {
    let mut priorities: Vec<i32> = problem.kinds.iter().map(|kind| kind.priority).collect();
    priorities.sort_unstable_by(|a, b| b.cmp(a));
    priorities.dedup();
    let mut state = State {
        bins: (0..problem.berths.len() as u32).map(|at| Bin::empty(problem, Home::Berth(at))).collect(),
        limits: problem.lots.iter().map(|lot| lot.limit).collect(),
        left: Vec::new(),
    };
    for priority in &priorities {
        let own = problem.kinds.iter().zip(0..).filter(|(kind, _)| kind.priority == *priority);
        let kinds: Vec<u32> = own.map(|(_, at)| at).collect();
        let options = orders(problem, rates, &kinds).into_iter().flat_map(|order| {
            [Choice::Tightest, Choice::First].map(|choice| layer(problem, rates, &state, &order, choice))
        });
        let count = |state: &State| state.left.iter().map(|&(_, count)| u64::from(count)).sum::<u64>();
        let price = |state: &State| state.bins.iter().map(|bin| bin.price(problem)).sum::<f64>();
        let worse = |a: &State, b: &State| count(a).cmp(&count(b)).then(price(a).total_cmp(&price(b)));
        if let Some(best) = options.min_by(worse) {
            state = best;
        }
    }
    let mut packing = finished(state);
    // Without priorities any packing will do, the others' ways included: none of them may place more.
    if priorities.len() <= 1 {
        let all = [plain, karpenter(problem), cluster_autoscaler(problem)];
        let worse = |a: &Packing, b: &Packing| {
            a.count_left().cmp(&b.count_left()).then(a.price(problem).total_cmp(&b.price(problem)))
        };
        packing =
            all.into_iter().fold(packing, |best, new| if worse(&new, &best).is_lt() { new } else { best });
    }
    downsize(problem, &mut packing);
    packing
}

fn finished(state: State) -> Packing {
    let bins = state.bins.into_iter().filter(|bin| !bin.tasks.is_empty()).collect();
    Packing { bins, left: state.left }
}

/// Orders in which the kinds are tried.
fn orders(problem: &Problem, rates: &Rates, kinds: &[u32]) -> Vec<Vec<u32>> {
    let mut whole: Vector = Vector::default();
    let all = problem
        .berths
        .iter()
        .map(|berth| &berth.capacity)
        .chain(problem.lots.iter().map(|lot| &lot.capacity));
    for capacity in all {
        whole.iter_mut().zip(capacity).for_each(|(whole, capacity)| *whole += capacity);
    }
    let part = |kind: u32, at: usize| {
        if whole[at] > 0.0 { problem.kinds[kind as usize].need[at] / whole[at] } else { 0.0 }
    };
    let by = |score: &dyn Fn(u32) -> f64| {
        let mut order = kinds.to_vec();
        order.sort_by(|&a, &b| score(b).total_cmp(&score(a)).then(a.cmp(&b)));
        order
    };
    let sum = |kind: u32| (0..whole.len()).map(|at| part(kind, at)).sum::<f64>();
    let most = |kind: u32| (0..whole.len()).map(|at| part(kind, at)).fold(0.0, f64::max);
    vec![
        by(&sum),
        by(&most),
        by(&|kind| -sum(kind)),
        by(&|kind| -most(kind)),
        order(problem, &rates.kinds, kinds),
    ]
}

/// Puts the kinds of one priority where there is room, then onto new nodes.
fn layer(problem: &Problem, rates: &Rates, state: &State, order: &[u32], choice: Choice) -> State {
    let mut state = state.clone();
    let mut rest = Vec::new();
    for &kind in order {
        let left = into_gaps(problem, &mut state.bins, kind, problem.kinds[kind as usize].count, choice);
        if left > 0 {
            rest.push((kind, left));
        }
    }
    let mut stock = Stock::new(problem, &rates.kinds);
    stock.restock(&rest);
    let before = state.bins.len();
    Buyer::new(problem, rates, TASTES[0]).buy(&mut stock, order, &mut state.limits, &mut state.bins);
    let bought = state.bins.len() > before;
    for (kind, _) in rest {
        let left = stock.left[kind as usize];
        let left = if bought { into_gaps(problem, &mut state.bins, kind, left, choice) } else { left };
        if left > 0 {
            state.left.push((kind, left));
        }
    }
    state
}

/// Puts tasks of a kind into bins with room; returns how many are left.
fn into_gaps(problem: &Problem, bins: &mut [Bin], kind: u32, count: u32, choice: Choice) -> u32 {
    let known = &problem.kinds[kind as usize];
    let mut left = count;
    let mut roomy: Vec<usize> = (0..bins.len()).filter(|&at| bins[at].room(problem, known) > 0).collect();
    if let Choice::Tightest = choice {
        let rest = |at: usize| {
            let (bin, whole) = (&bins[at], bins[at].capacity(problem));
            let part = |dim: usize| {
                if whole[dim] > 0.0 { (bin.free[dim] - known.need[dim]) / whole[dim] } else { 0.0 }
            };
            (0..whole.len()).map(part).sum::<f64>()
        };
        roomy.sort_by(|&a, &b| rest(a).total_cmp(&rest(b)).then(a.cmp(&b)));
    }
    for at in roomy {
        let many = bins[at].room(problem, known).min(left);
        if many > 0 {
            bins[at].add(problem, kind, many);
            left -= many;
        }
        if left == 0 {
            break;
        }
    }
    left
}
