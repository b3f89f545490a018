//! Takes tasks out of a plan whose rules about zones hold only with tasks that found no place: more tasks of a
//! workload at one place than evenness allows, tasks that must be near others that are not there.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::placement::BY_NODE;
use crate::domain::workload::WorkloadName;
use crate::placement::fit::{Owner, admits, value};
use crate::placement::planner::request::{
    ClusterPlan, Place, PlannedNode, Request, TaskGroup, Unplaced, Why,
};

/// Takes out what may not stay.
pub(super) fn settle(request: &Request, plan: &mut ClusterPlan) {
    if plan.unplaced.is_empty() {
        return;
    }
    loop {
        let out = excess(request, plan).or_else(|| lonely(request, plan));
        let Some((node, group, count)) = out else { break };
        let tasks = &mut plan.nodes[node].tasks;
        if let Some(at) = tasks.iter().position(|(known, _)| *known == group) {
            tasks[at].1 -= count;
            if tasks[at].1 == 0 {
                tasks.remove(at);
            }
        }
        plan.unplaced.push(Unplaced { group, count, why: Why::Neighbours });
    }
    plan.nodes.retain(|node| !node.tasks.is_empty());
}

/// The value of an attribute where a node is.
pub(super) fn place_value<'r>(request: &'r Request, place: Place, by: &str) -> Option<&'r str> {
    match place {
        Place::Existing(at) => value(&request.nodes[at].pool, &request.nodes[at].attributes, by),
        Place::New(at) => value(&request.offers[at].pool, &request.offers[at].attributes, by),
    }
}

/// The values of an attribute that tasks of a group could be at.
fn values<'r>(request: &'r Request, group: &TaskGroup, by: &str) -> BTreeSet<&'r str> {
    let owner = Owner { workload: &group.workload, team: group.team.as_deref() };
    let offers = request.offers.iter().map(|o| (&o.pool, &o.attributes, &o.reserved_for));
    let nodes = request.nodes.iter().map(|n| (&n.pool, &n.attributes, &n.reserved_for));
    let good = offers.chain(nodes).filter(|(pool, attributes, reserved_for)| {
        admits(Some(&group.placement), owner, pool, attributes, reserved_for).is_ok()
    });
    good.filter_map(|(pool, attributes, _)| value(pool, attributes, by)).collect()
}

/// How many tasks of a workload are at each value, those that were there before included.
fn counts<'r>(
    request: &'r Request,
    plan: &ClusterPlan,
    workload: &WorkloadName,
    by: &str,
) -> BTreeMap<&'r str, u32> {
    let mut counts = BTreeMap::new();
    for node in &request.nodes {
        let there = node.residents.get(workload).copied().unwrap_or(0);
        if let Some(value) = value(&node.pool, &node.attributes, by).filter(|_| there > 0) {
            *counts.entry(value).or_default() += there;
        }
    }
    for node in &plan.nodes {
        let there: u32 = own(request, node, workload).map(|(_, count)| count).sum();
        if let Some(value) = place_value(request, node.place, by).filter(|_| there > 0) {
            *counts.entry(value).or_default() += there;
        }
    }
    counts
}

fn own<'n>(
    request: &'n Request,
    node: &'n PlannedNode,
    workload: &'n WorkloadName,
) -> impl Iterator<Item = (usize, u32)> + 'n {
    node.tasks.iter().copied().filter(move |(group, _)| request.tasks[*group].workload == *workload)
}

/// A task at a place that has too many of its workload.
fn excess(request: &Request, plan: &ClusterPlan) -> Option<(usize, usize, u32)> {
    let short: BTreeSet<usize> = plan.unplaced.iter().map(|unplaced| unplaced.group).collect();
    for group in short.into_iter().map(|at| &request.tasks[at]) {
        let Some(spread) = group.placement.spread_over.as_ref().filter(|s| s.by != BY_NODE) else { continue };
        let counts = counts(request, plan, &group.workload, &spread.by);
        let here = |value: &str| counts.get(value).copied().unwrap_or(0);
        let least = values(request, group, &spread.by).into_iter().map(here).min().unwrap_or(0);
        for (at, node) in plan.nodes.iter().enumerate().rev() {
            let many = place_value(request, node.place, &spread.by).map_or(0, here);
            if many > least + spread.max_skew
                && let Some((own, there)) = own(request, node, &group.workload).next()
            {
                return Some((at, own, there.min(many - least - spread.max_skew)));
            }
        }
    }
    None
}

/// A task that must be near others that are not there.
fn lonely(request: &Request, plan: &ClusterPlan) -> Option<(usize, usize, u32)> {
    for (at, node) in plan.nodes.iter().enumerate() {
        for &(group, count) in &node.tasks {
            let rules = request.tasks[group].placement.affinity.iter();
            for rule in rules.filter(|rule| rule.required && rule.by != BY_NODE) {
                let there = place_value(request, node.place, &rule.by);
                let counts = counts(request, plan, &rule.workload, &rule.by);
                if there.is_none_or(|there| counts.get(there).copied().unwrap_or(0) == 0) {
                    return Some((at, group, count));
                }
            }
        }
    }
    None
}
