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
mod columns;
mod improve;
mod layers;
mod ours;
mod pack;
mod problem;
mod rates;
mod request;
mod settle;
mod simplex;
mod stock;
#[cfg(test)]
mod tests;
mod zoning;

pub use problem::EXTRAS_MAX;
pub use request::{ClusterPlan, Existing, Offer, Place, PlannedNode, Request, TaskGroup, Unplaced, Why};

use std::cmp::Reverse;

use crate::domain::money::MicroCents;
use crate::placement::planner::answer::answer;

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
    match packer {
        Packer::Loadline => {
            let problem = problem::problem(request, false);
            answer(request, &problem, &ours::ours(&problem, seed, more))
        }
        Packer::Karpenter => {
            let problem = problem::problem(request, true);
            answer(request, &problem, &baselines::karpenter(&problem))
        }
        // Who goes by waste buys types that another one beats in everything, where they are offered; some owners do
        // not offer them. The cheaper of both counts.
        Packer::ClusterAutoscaler => {
            let packed = [false, true].map(|all_types| {
                let problem = problem::problem(request, all_types);
                let packing = baselines::cluster_autoscaler(&problem);
                answer(request, &problem, &packing)
            });
            let [few, all] = packed;
            let worth = |plan: &ClusterPlan| (Reverse(plan.placed()), plan.price(request));
            if worth(&all) < worth(&few) { all } else { few }
        }
    }
}

/// What any plan that places all tasks of a request costs at least, per hour; what is there already costs nothing
/// more. The better of two bounds: fractions of tasks on the types that they fit, and, where there are few kinds
/// of tasks, whole contents of nodes. `more` is asked on the way and ends the search for the second one.
pub fn bound(request: &Request, more: &mut dyn FnMut() -> bool) -> Bounds {
    let problem = problem::problem(request, false);
    let counts: Vec<u32> = problem.kinds.iter().map(|kind| kind.count).collect();
    let rates = rates::rates(&problem);
    let worth: f64 = counts.iter().zip(&rates.kinds).map(|(&count, worth)| f64::from(count) * worth).sum();
    let fractions = worth - columns::gifts(&problem, &counts, &rates.kinds);
    let contents = more().then(|| columns::configurations(&problem, &counts, more)).flatten();
    let contents = contents.map(|solved| columns::proven(&problem, &counts, &solved.values));
    // Down to whole micro-cents, and by as much as sums of reals may be wrong.
    let down = |bound: f64| MicroCents::new((bound.max(0.0) * (1.0 - 1e-9)) as i64);
    Bounds { fractions: down(fractions), contents: contents.map(down) }
}

/// Lower bounds of the price per hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// By the programme that assigns fractions of tasks to types that they fit.
    pub fractions: MicroCents,
    /// By the programme over whole contents of nodes, where it was solved.
    pub contents: Option<MicroCents>,
}

impl Bounds {
    /// The greater one.
    pub fn best(&self) -> MicroCents {
        self.contents.map_or(self.fractions, |contents| contents.max(self.fractions))
    }
}
