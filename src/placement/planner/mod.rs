//! Which nodes, and how many of each type, for these tasks cost least?
//!
//! In: tasks without a node, with their conditions; nodes that are there and what is free on them; nodes that
//! can be had and their prices. Out: the nodes to buy, what goes where, what has no place and why; and a proven
//! lower bound of what any plan costs.
//!
//! Not here: when nodes are added (`scaling`), which node a single task goes to (`Board`).

mod answer;
mod baselines;
mod bin;
mod improve;
mod pack;
mod problem;
mod rates;
mod request;
mod settle;
mod simplex;
mod stock;
mod zoning;

pub use problem::EXTRAS_MAX;
pub use request::{ClusterPlan, Existing, Offer, Place, PlannedNode, Request, TaskGroup, Unplaced, Why};

use crate::domain::money::MicroCents;
use crate::placement::planner::answer::answer;
use crate::placement::planner::improve::{downsize, improve};
use crate::placement::planner::pack::{Packing, TASTES, pack};
use crate::placement::planner::problem::Problem;

/// Whose way of packing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Packer {
    /// Ours.
    #[default]
    Loadline,
    /// As Karpenter does it.
    Karpenter,
    /// As Kubernetes Cluster Autoscaler does it.
    ClusterAutoscaler,
}

/// Packs as somebody does. `more` is asked before each try to make the plan cheaper: it ends the search, the
/// first plan is made in any case.
pub fn plan(request: &Request, packer: Packer, seed: u64, more: &mut dyn FnMut() -> bool) -> ClusterPlan {
    let problem = problem::problem(request);
    let packing = match packer {
        Packer::Loadline => ours(&problem, seed, more),
        Packer::Karpenter => baselines::karpenter(&problem),
        Packer::ClusterAutoscaler => baselines::cluster_autoscaler(&problem),
    };
    answer(request, &problem, &packing)
}

fn ours(problem: &Problem, seed: u64, more: &mut dyn FnMut() -> bool) -> Packing {
    let rates = rates::rates(problem);
    let mut best: Option<Packing> = None;
    for taste in TASTES {
        if best.is_some() && !more() {
            break;
        }
        let mut packing = pack(problem, &rates, taste);
        downsize(problem, &mut packing);
        let better = |known: &Packing| {
            let by_left = packing.count_left().cmp(&known.count_left());
            by_left.then(packing.price(problem).total_cmp(&known.price(problem))).is_lt()
        };
        if best.as_ref().is_none_or(better) {
            best = Some(packing);
        }
    }
    let mut best = best.unwrap_or_default();
    improve(problem, &rates, &mut best, seed, more);
    best
}

/// What any plan for the tasks of a request costs at least, per hour; nodes that are there are not counted.
pub fn bound(request: &Request) -> MicroCents {
    let problem = problem::problem(request);
    let rates = rates::rates(&problem);
    let worth: f64 =
        problem.kinds.iter().zip(&rates.kinds).map(|(kind, worth)| f64::from(kind.count) * worth).sum();
    MicroCents::new(worth as i64)
}
