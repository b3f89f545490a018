//! Packing past packers: the same tasks, node types and prices for each, beside the lower bound (the yardstick,
//! section 4). In: a request, the packers to compare. Out: for each what its plan costs and how full it is.
//! Not here: how anybody packs (`placement::planner`).

use std::collections::BTreeMap;

use serde::Serialize;

use crate::domain::money::MicroCents;
use crate::domain::quantity::Resources;

pub use crate::placement::planner::{
    Bounds, ClusterPlan, Existing, Offer, Packer, Place, PlannedNode, Request, TaskGroup, Unplaced, Why,
    bound, plan,
};

/// What a plan comes to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PackingFigures {
    /// What the new nodes cost per hour.
    pub price_per_hour: MicroCents,
    /// What the nodes that are there cost per hour.
    pub price_there: MicroCents,
    /// New nodes.
    pub nodes: u32,
    /// Tasks with a place.
    pub placed: u64,
    /// Tasks without one.
    pub unplaced: u64,
    /// What share of the CPU of new nodes is requested.
    pub cpu_share: f64,
    /// What share of their memory.
    pub memory_share: f64,
    /// What any plan costs at least, per hour; absent where it was not asked for, or not all tasks are placed.
    pub bound: Option<MicroCents>,
    /// The price over the bound.
    pub over_bound: Option<f64>,
}

/// The figures of a plan.
pub fn figures(request: &Request, plan: &ClusterPlan, bound: Option<MicroCents>) -> PackingFigures {
    let (mut had, mut used) = (Resources::ZERO, Resources::ZERO);
    let mut nodes = 0;
    for node in &plan.nodes {
        let Place::New(offer) = node.place else { continue };
        nodes += 1;
        had += request.offers[offer].capacity.base;
        for &(group, count) in &node.tasks {
            (0..count).for_each(|_| used += request.tasks[group].need.base);
        }
    }
    let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    let price = plan.price(request);
    let bound = bound.filter(|bound| *bound > MicroCents::ZERO);
    PackingFigures {
        price_per_hour: price,
        price_there: request.nodes.iter().map(|node| node.price).sum(),
        nodes,
        placed: plan.placed(),
        unplaced: plan.unplaced.iter().map(|unplaced| u64::from(unplaced.count)).sum(),
        cpu_share: share(used.cpu.get(), had.cpu.get()),
        memory_share: share(used.memory.get(), had.memory.get()),
        bound,
        over_bound: bound.map(|bound| price.get() as f64 / bound.get() as f64),
    }
}

/// The request for those tasks only that a plan has placed: what its price is to be measured by.
pub fn placed_only(request: &Request, plan: &ClusterPlan) -> Request {
    let mut counts: BTreeMap<usize, u32> = BTreeMap::new();
    for &(group, count) in plan.nodes.iter().flat_map(|node| &node.tasks) {
        *counts.entry(group).or_default() += count;
    }
    let group = |(at, count): (usize, u32)| TaskGroup { count, ..request.tasks[at].clone() };
    Request { tasks: counts.into_iter().map(group).collect(), ..request.clone() }
}
