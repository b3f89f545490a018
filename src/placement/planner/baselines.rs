//! Packing as others do it, for comparison on the same problem: Kubernetes Cluster Autoscaler and Karpenter.
//!
//! Cluster Autoscaler (`pkg/estimator/binpacking_estimator.go`, `decreasing_pod_orderer.go`,
//! `expander/waste/waste.go`): for each node group the pending tasks, in the order of CPU over the node's CPU
//! plus memory over the node's memory, are put first-fit onto as many empty nodes of it as they need; the group
//! whose new nodes waste least (unused shares of CPU and memory added) grows; then the next loop looks at the
//! tasks that are still pending.
//!
//! Karpenter (`pkg/controllers/provisioning/scheduling/{queue,scheduler,nodeclaim}.go`): tasks in the order of
//! CPU, then memory; each goes to the first node that is there and takes it, then to the open new node with
//! the fewest tasks that still has a type which holds all of its tasks, else to a new one; a new node keeps all types that hold its tasks,
//! and is the cheapest of them in the end.

use crate::placement::planner::bin::{Bin, Home};
use crate::placement::planner::pack::{Limits, Packing};
use crate::placement::planner::problem::{Problem, Vector, fits};

/// Tasks one by one in an order: kinds, each with its number.
fn pending(problem: &Problem) -> Vec<(u32, u32)> {
    problem.kinds.iter().zip(0..).map(|(kind, at)| (at, kind.count)).collect()
}

/// Puts tasks first-fit into bins from `from` on; returns how many went in.
fn first_fit(problem: &Problem, bins: &mut [Bin], kind: u32, count: u32) -> u32 {
    let found = &problem.kinds[kind as usize];
    let mut left = count;
    for bin in bins {
        if left == 0 {
            break;
        }
        let many = bin.room(problem, found).min(left);
        if many > 0 {
            bin.add(problem, kind, many);
            left -= many;
        }
    }
    count - left
}

fn berths(problem: &Problem) -> Vec<Bin> {
    (0..problem.berths.len() as u32).map(|at| Bin::empty(problem, Home::Berth(at))).collect()
}

/// Leaves out what is empty, and gives what has no place.
fn packing(bins: Vec<Bin>, left: Vec<(u32, u32)>) -> Packing {
    let bins = bins.into_iter().filter(|bin| !bin.tasks.is_empty()).collect();
    Packing { bins, left: left.into_iter().filter(|(_, count)| *count > 0).collect() }
}

/// As Cluster Autoscaler does it.
pub(super) fn cluster_autoscaler(problem: &Problem) -> Packing {
    let mut left = pending(problem);
    left.sort_by_key(|&(kind, _)| std::cmp::Reverse(problem.kinds[kind as usize].priority));
    let mut bins = berths(problem);
    for (kind, count) in &mut left {
        *count -= first_fit(problem, &mut bins, *kind, *count);
    }
    let mut limits: Limits = problem.lots.iter().map(|lot| lot.limit).collect();
    loop {
        left.retain(|(_, count)| *count > 0);
        let options = (0..problem.lots.len()).filter_map(|lot| grown(problem, lot, limits[lot], &left));
        let price = |grown: &Grown| problem.lots[grown.lot].price;
        let best = options.min_by(|a, b| a.waste.total_cmp(&b.waste).then(price(a).total_cmp(&price(b))));
        let Some(best) = best else { return packing(bins, left) };
        if limits[best.lot] != u32::MAX {
            limits[best.lot] -= best.bins.len() as u32;
        }
        for &(kind, count) in best.bins.iter().flat_map(|bin| &bin.tasks) {
            if let Some((_, left)) = left.iter_mut().find(|(known, _)| *known == kind) {
                *left -= count;
            }
        }
        bins.extend(best.bins);
    }
}

/// A node group after it has grown for what is pending.
struct Grown {
    lot: usize,
    bins: Vec<Bin>,
    waste: f64,
}

fn grown(problem: &Problem, lot: usize, limit: u32, left: &[(u32, u32)]) -> Option<Grown> {
    let capacity = &problem.lots[lot].capacity;
    let share = |amount: f64, at: usize| if capacity[at] > 0.0 { amount / capacity[at] } else { 0.0 };
    let mut tasks: Vec<(f64, u32, u32)> = left
        .iter()
        .filter(|(kind, _)| problem.takes(lot, &problem.kinds[*kind as usize]))
        .map(|&(kind, count)| {
            let need = &problem.kinds[kind as usize].need;
            (share(need[0], 0) + share(need[1], 1), kind, count)
        })
        .collect();
    tasks.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut bins: Vec<Bin> = Vec::new();
    for (_, kind, count) in tasks {
        let mut wanted = count - first_fit(problem, &mut bins, kind, count);
        while wanted > 0 && bins.len() < limit as usize {
            let mut bin = Bin::empty(problem, Home::Lot(lot as u32));
            let many = bin.room(problem, &problem.kinds[kind as usize]).min(wanted);
            if many == 0 {
                break;
            }
            bin.add(problem, kind, many);
            wanted -= many;
            bins.push(bin);
        }
    }
    if bins.is_empty() {
        return None;
    }
    let nodes = bins.len() as f64;
    let unused = |at: usize| bins.iter().map(|bin| share(bin.free[at], at)).sum::<f64>() / nodes;
    let waste = unused(0) + unused(1);
    Some(Grown { lot, bins, waste })
}

/// A new node of Karpenter's: what it holds so far and which types still do.
struct Claim {
    load: Bin,
    lots: Vec<u32>,
    tasks: u32,
    /// The most that any of them has of each resource: what does not fit under it fits none.
    roof: Vector,
}

fn roof(problem: &Problem, lots: &[u32]) -> Vector {
    let mut roof = Vector::default();
    for lot in lots {
        let capacity = &problem.lots[*lot as usize].capacity;
        roof.iter_mut().zip(capacity).for_each(|(roof, had)| *roof = roof.max(*had));
    }
    roof
}

/// As Karpenter does it.
pub(super) fn karpenter(problem: &Problem) -> Packing {
    let mut tasks = pending(problem);
    tasks.sort_by(|&(a, _), &(b, _)| {
        let (a, b) = (&problem.kinds[a as usize], &problem.kinds[b as usize]);
        let by_size = b.need[0].total_cmp(&a.need[0]).then_with(|| b.need[1].total_cmp(&a.need[1]));
        b.priority.cmp(&a.priority).then(by_size)
    });
    let mut there = berths(problem);
    let mut claims: Vec<Claim> = Vec::new();
    let mut limits: Limits = problem.lots.iter().map(|lot| lot.limit).collect();
    for (kind, count) in &mut tasks {
        *count -= first_fit(problem, &mut there, *kind, *count);
        while *count > 0 {
            if !claim(problem, &mut claims, &mut limits, *kind) {
                break;
            }
            *count -= 1;
        }
    }
    there.extend(claims.into_iter().filter_map(|claim| cheapest(problem, &claim)));
    packing(there, tasks)
}

/// Whether a lot holds what a bin has and one more.
fn holds(problem: &Problem, lot: u32, bin: &Bin, kind: u32) -> bool {
    let found = &problem.kinds[kind as usize];
    let whole = bin.capacity(problem);
    let sum = std::array::from_fn(|at| whole[at] - bin.free[at] + found.need[at]);
    problem.classes[found.class as usize].lots[lot as usize]
        && fits(&sum, &problem.lots[lot as usize].capacity)
}

fn claim(problem: &Problem, claims: &mut Vec<Claim>, limits: &mut Limits, kind: u32) -> bool {
    let found = &problem.kinds[kind as usize];
    let takes = |claim: &Claim| {
        let whole = claim.load.capacity(problem);
        (0..whole.len()).all(|at| whole[at] - claim.load.free[at] + found.need[at] <= claim.roof[at])
            && claim.load.room_by_rules(problem, found) > 0
            && claim.lots.iter().any(|&lot| holds(problem, lot, &claim.load, kind))
    };
    if let Some(open) = claims.iter_mut().filter(|claim| takes(claim)).min_by_key(|claim| claim.tasks) {
        let Claim { load, lots, tasks, roof: over } = open;
        lots.retain(|&lot| holds(problem, lot, load, kind));
        *over = roof(problem, lots);
        load.add(problem, kind, 1);
        *tasks += 1;
        return true;
    }
    let lots: Vec<u32> = (0..problem.lots.len() as u32)
        .filter(|&lot| limits[lot as usize] > 0 && problem.takes(lot as usize, found))
        .collect();
    let Some(&first) = lots.first() else { return false };
    let mut load = Bin::empty(problem, Home::Lot(first));
    if load.room_by_rules(problem, found) == 0 {
        return false;
    }
    load.add(problem, kind, 1);
    // A limited type is taken as if every open node became one of it: none is promised twice.
    for &lot in &lots {
        let limit = &mut limits[lot as usize];
        *limit -= u32::from(*limit != u32::MAX);
    }
    let roof = roof(problem, &lots);
    claims.push(Claim { load, lots, tasks: 1, roof });
    true
}

/// The node as the cheapest of the types that hold its tasks.
fn cheapest(problem: &Problem, claim: &Claim) -> Option<Bin> {
    let price = |lot: u32| problem.lots[lot as usize].price;
    let lot = claim.lots.iter().copied().min_by(|&a, &b| price(a).total_cmp(&price(b)))?;
    let mut bin = Bin::empty(problem, Home::Lot(lot));
    claim.load.tasks.iter().for_each(|&(kind, count)| bin.add(problem, kind, count));
    Some(bin)
}
