//! The Kubernetes Cluster Autoscaler with its defaults, as its code has them.
//!
//! Growth: tasks that fit neither on nodes that are there nor on those that are on their way are packed
//! for each group of nodes by first-fit decreasing; the group that wastes least grows, one a loop, by at
//! most 1,000 nodes. Shrinking: a node with less than half of its CPU and memory requested, whose tasks all
//! fit elsewhere, goes after ten minutes of that; empty ones ten at a time, others one after the other;
//! none within ten minutes after growth. Not here: node groups by zone, which the simulation has none of.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::domain::node::{Node, NodeName, NodeState};
use crate::domain::plan::Step;
use crate::domain::quantity::Resources;
use crate::simulation::policies::packing::{by_score, first_fit, share};
use crate::simulation::policy::{ClusterPolicy, Sight, give_up, grow};

/// `--max-nodes-per-scaleup`
const NODES_PER_GROWTH: usize = 1000;
/// `--scale-down-utilization-threshold`
const UTILIZATION: f64 = 0.5;
/// `--scale-down-unneeded-time`
const UNNEEDED_TIME: SignedDuration = SignedDuration::from_mins(10);
/// `--scale-down-delay-after-add`
const DELAY_AFTER_ADD: SignedDuration = SignedDuration::from_mins(10);
/// `--max-scale-down-parallelism`, which bounds the empty ones
const EMPTY_AT_ONCE: usize = 10;
/// `--scale-down-non-empty-candidates-count`
const CANDIDATES: usize = 30;

/// The policy with what it remembers.
#[derive(Debug, Default)]
pub struct ClusterAutoscaler {
    grown_at: Option<Timestamp>,
    unneeded: BTreeMap<NodeName, Timestamp>,
}

impl ClusterPolicy for ClusterAutoscaler {
    fn name(&self) -> &'static str {
        "cluster-autoscaler"
    }

    fn decide(&mut self, sight: &Sight<'_>) -> Vec<Step> {
        if let Some(step) = growth(sight) {
            self.grown_at = Some(sight.now);
            return vec![step];
        }
        self.note_unneeded(sight);
        let lately = self.grown_at.is_some_and(|at| sight.now.duration_since(at) < DELAY_AFTER_ADD);
        if lately { Vec::new() } else { self.shrink(sight) }
    }
}

/// What is free on the nodes that are there and on those that come.
fn room(sight: &Sight<'_>) -> Vec<Resources> {
    let mut bins: Vec<Resources> = sight.ready().map(|node| sight.free(node)).collect();
    for (machine, count) in sight.on_their_way().into_iter().enumerate() {
        bins.extend(std::iter::repeat_n(sight.machines[machine].size, count));
    }
    bins
}

fn growth(sight: &Sight<'_>) -> Option<Step> {
    let mut wanted = sight.wanted();
    if wanted.is_empty() {
        return None;
    }
    let largest = sight.machines.iter().map(|machine| machine.size).max_by_key(|size| size.cpu)?;
    by_score(&mut wanted, largest);
    let mut left = first_fit(&wanted, &mut room(sight), |_, _| false);
    let mut best: Option<(f64, usize, usize)> = None;
    for (place, machine) in sight.machines.iter().enumerate() {
        let Some(pool) = sight.pool(place) else { continue };
        let most = (pool.spec.max.saturating_sub(pool.target) as usize).min(NODES_PER_GROWTH);
        by_score(&mut left, machine.size);
        let mut bins = Vec::new();
        first_fit(&left, &mut bins, |request, bins| {
            let opens = bins.len() < most && request.fits(machine.size);
            if opens {
                bins.push(machine.size);
            }
            opens
        });
        if bins.is_empty() {
            continue;
        }
        // The expander `least-waste`: the mean of the unused shares of CPU and memory.
        let free: Resources = bins.iter().copied().sum();
        let nodes = bins.len() as u64;
        let waste = share(free.cpu.get(), machine.size.cpu.get() * nodes)
            + share(free.memory.get(), machine.size.memory.get() * nodes);
        if best.is_none_or(|(least, ..)| waste < least) {
            best = Some((waste, place, bins.len()));
        }
    }
    let (_, machine, nodes) = best?;
    let nodes = u32::try_from(nodes).unwrap_or(u32::MAX);
    Some(grow(sight.pool(machine)?, nodes, "tasks found no node: the type that wastes least"))
}

fn is_underused(sight: &Sight<'_>, node: &Node) -> bool {
    let used = sight.used(&node.name);
    let cpu = share(used.cpu.get(), node.size.cpu.get());
    cpu.max(share(used.memory.get(), node.size.memory.get())) < UTILIZATION
}

impl ClusterAutoscaler {
    /// Finds the nodes that could go now; what was one before keeps its time.
    fn note_unneeded(&mut self, sight: &Sight<'_>) {
        let nodes: Vec<&Node> = sight.ready().collect();
        let mut bins: Vec<Resources> = nodes.iter().map(|node| sight.free(node)).collect();
        let mut before = std::mem::take(&mut self.unneeded);
        let mut candidates: Vec<(usize, &Node)> =
            nodes.iter().copied().enumerate().filter(|(_, node)| is_underused(sight, node)).collect();
        // Those that were unneeded before come first, so that their time is not lost to the bound.
        candidates.sort_by_key(|(_, node)| !before.contains_key(&node.name));
        let mut looked_at = 0;
        for (place, node) in candidates {
            let load = sight.loads.get(&node.name);
            if load.is_some_and(|load| load.runs > 0) {
                continue;
            }
            if load.is_some() {
                looked_at += 1;
                if looked_at > CANDIDATES || !moves(sight, (place, node), &mut bins) {
                    continue;
                }
            }
            let since = before.remove(&node.name).unwrap_or(sight.now);
            self.unneeded.insert(node.name.clone(), since);
        }
    }

    fn shrink(&self, sight: &Sight<'_>) -> Vec<Step> {
        let due = |name: &NodeName| {
            self.unneeded.get(name).is_some_and(|since| sight.now.duration_since(*since) >= UNNEEDED_TIME)
        };
        let due: Vec<&Node> = sight.ready().filter(|node| due(&node.name)).collect();
        let is_empty = |node: &&&Node| !sight.loads.contains_key(&node.name);
        let empty: Vec<&NodeName> =
            due.iter().filter(is_empty).take(EMPTY_AT_ONCE).map(|node| &node.name).collect();
        if !empty.is_empty() {
            return give_up(sight.world, empty, "empty for ten minutes");
        }
        let draining = |node: &Node| node.state == NodeState::Draining;
        if sight.world.nodes.values().any(draining) {
            return Vec::new();
        }
        let one = due.first().map(|node| &node.name);
        give_up(sight.world, one, "less than half used for ten minutes, and its tasks fit elsewhere")
    }
}

/// Whether all tasks of a node fit on others; the room is theirs then, since the next candidate must
/// not count on it too.
fn moves(sight: &Sight<'_>, (place, node): (usize, &Node), bins: &mut Vec<Resources>) -> bool {
    let tasks = sight.loads.get(&node.name).into_iter().flat_map(|load| &load.tasks);
    let mut requests: Vec<Resources> =
        tasks.filter_map(|id| sight.world.tasks.get(id)).map(|task| task.size.request).collect();
    by_score(&mut requests, node.size);
    let mut after = bins.clone();
    after[place] = Resources::ZERO;
    let fits = first_fit(&requests, &mut after, |_, _| false).is_empty();
    if fits {
        *bins = after;
    }
    fits
}
