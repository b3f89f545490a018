//! A packing in the words of the request. Evenness is looked at once more here: where tasks of a workload found no
//! room at one place, those at others may be too many.

use std::collections::BTreeMap;

use crate::placement::planner::bin::Home;
use crate::placement::planner::pack::Packing;
use crate::placement::planner::problem::Problem;
use crate::placement::planner::request::{ClusterPlan, Place, PlannedNode, Request, Unplaced, Why};
use crate::placement::planner::settle::settle;

/// The plan that a packing is.
pub(super) fn answer(request: &Request, problem: &Problem, packing: &Packing) -> ClusterPlan {
    // Tasks of a kind are handed out in the order of its sources; what is left is left of the last ones.
    let mut sources: Vec<Vec<(usize, u32)>> =
        problem.kinds.iter().map(|kind| kind.sources.iter().rev().copied().collect()).collect();
    let mut nodes = Vec::with_capacity(packing.bins.len());
    for bin in &packing.bins {
        let mut tasks: BTreeMap<usize, u32> = BTreeMap::new();
        for &(kind, count) in &bin.tasks {
            hand_out(&mut sources[kind as usize], count, |group, many| {
                *tasks.entry(group).or_default() += many;
            });
        }
        let place = match bin.home {
            Home::Lot(lot) => Place::New(problem.lots[lot as usize].offer),
            Home::Berth(berth) => Place::Existing(berth as usize),
        };
        nodes.push(PlannedNode { place, tasks: tasks.into_iter().collect() });
    }
    let mut unplaced = problem.refused.clone();
    for &(kind, count) in &packing.left {
        let left = |group, count| unplaced.push(Unplaced { group, count, why: Why::Full });
        hand_out(&mut sources[kind as usize], count, left);
    }
    let mut plan = ClusterPlan { nodes, unplaced };
    settle(request, &mut plan);
    plan.nodes.sort_by_key(|node| node.place);
    plan
}

fn hand_out(sources: &mut Vec<(usize, u32)>, count: u32, mut to: impl FnMut(usize, u32)) {
    let mut left = count;
    while left > 0 {
        let Some((group, there)) = sources.last_mut() else { return };
        let many = left.min(*there);
        to(*group, many);
        left -= many;
        *there -= many;
        if *there == 0 {
            sources.pop();
        }
    }
}
