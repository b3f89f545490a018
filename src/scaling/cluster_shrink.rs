//! Fewer or cheaper nodes where they are enough. Not here: more (`cluster_grow`), which nodes could go
//! (`consolidation`).
//!
//! A node goes that has been little used for long enough and whose tasks all fit on the others. Nodes of one
//! pool go together as long as no service has more of its instances on them than its policy lets be
//! disrupted; the next ones go when they are gone. Where none can go, a node may be made that takes the place of
//! several: they go once it is there, all of them at once.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;

use crate::domain::change::Change;
use crate::domain::decision::{Candidate, DecisionKind, Proposal};
use crate::domain::money::{MicroCents, Prices};
use crate::domain::node::{Node, NodeName, NodePool, NodeState, PoolName};
use crate::domain::node_outlook::{Block, Blocker};
use crate::domain::plan::Step;
use crate::domain::workload::WorkloadName;
use crate::domain::world::World;
use crate::placement::Ask;
use crate::scaling::cluster::{
    ClusterTerms, ClusterVerdict, KeptNode, PoolDecision, price_of, requested_share,
};
use crate::scaling::cluster_fit::{counts_for_target, used_by_node};
use crate::scaling::consolidation::{Consolidation, Emptied, Replacement, homes_at_once, moves, plan};

/// Nodes named in a reason one by one, and tasks of each; the others are counted.
const NAMED_MAX: usize = 10;

/// So much of the cluster may be on its way out before more of it goes; of a small one, nothing.
const EMPTYING_MOST: f64 = 0.05;

/// Lets nodes of one pool go, or makes one in the place of others; tells why other little-used ones stay.
pub(super) fn decide<'w>(
    world: &'w World,
    ahead: &[Ask<'w>],
    terms: &'w ClusterTerms,
    now: Timestamp,
) -> ClusterVerdict {
    let prices = &terms.prices;
    // What is being emptied now needs room that the plan counts as taken; the rest stands still. Where only
    // runs are left, nothing moves any more.
    let on = |moving: bool| -> HashSet<&NodeName> {
        world
            .tasks
            .values()
            .filter(|task| task.state.holds_resources() && moves(task) == moving)
            .filter_map(|task| task.node.as_ref())
            .collect()
    };
    let (serving, running) = (on(true), on(false));
    let emptying = |node: &Node| {
        let leaves = node.state == NodeState::Draining && node.remove_when_empty;
        let only_runs = running.contains(&node.name) && !serving.contains(&node.name);
        node.state == NodeState::Removing || leaves && !only_runs
    };
    let limit = (world.nodes.len() as f64 * EMPTYING_MOST) as usize;
    let on_the_way = world.nodes.values().filter(|node| emptying(node)).count();
    if on_the_way > limit {
        let reason = format!("{on_the_way} nodes are being emptied: others follow when they are gone");
        return ClusterVerdict { held: Some(Block::new(Blocker::Turn, reason)), ..ClusterVerdict::default() };
    }
    let Consolidation { emptied, takeover, replacement, mut kept } = plan(world, ahead, terms, now);
    if let Some(found) = takeover {
        let decision = take_over(world, &found, prices);
        kept.retain(|kept| !found.instead_of.iter().any(|emptied| emptied.node == kept.node));
        kept.extend(in_turn(&emptied, &found.instead_of.iter().collect::<Vec<_>>()));
        return ClusterVerdict { decision, kept, ..ClusterVerdict::default() };
    }
    let mut together = together(world, &emptied);
    // Each by itself has room; all at once they must have it as well.
    let fits = |nodes: &[&Emptied]| {
        let names: Vec<&NodeName> = nodes.iter().map(|node| &node.node).collect();
        homes_at_once(world, ahead, (&names, None), (terms, now)).is_some()
    };
    while together.len() > 1 && !fits(&together) {
        together.pop();
    }
    kept.extend(in_turn(&emptied, &together));
    let decision = if let Some(first) = together.first() {
        world.pools.get(&first.pool).map(|pool| shrink(world, pool, &together, terms))
    } else {
        let found = replacement.filter(|_| !awaits_nodes(world));
        for kept in &mut kept {
            await_replacement(kept, found.as_ref());
        }
        found.and_then(|found| Some(replace(world.pools.get(&found.pool)?, &found, prices)))
    };
    ClusterVerdict { decision, kept, ..ClusterVerdict::default() }
}

/// Nodes that could go and have to let others go first.
fn in_turn(emptied: &[Emptied], first: &[&Emptied]) -> Vec<KeptNode> {
    let names: Vec<String> = first.iter().take(NAMED_MAX).map(|node| node.node.to_string()).collect();
    let rest = emptied.iter().filter(|node| !first.iter().any(|chosen| chosen.node == node.node));
    let kept = |node: &Emptied| {
        let reason = format!("it can go as well, after {}", names.join(", "));
        KeptNode { node: node.node.clone(), block: Block::new(Blocker::Turn, reason) }
    };
    rest.map(kept).collect()
}

/// A node that goes once another is there in its place waits for that one.
fn await_replacement(kept: &mut KeptNode, found: Option<&Replacement>) {
    let Some(found) = found else { return };
    if found.instead_of.iter().any(|emptied| emptied.node == kept.node) {
        let reason = format!("it goes once a cheaper node of pool {} is there in its place", found.pool);
        kept.block = Block::new(Blocker::Replacement, reason);
    }
}

/// Whether nodes are on their way: what they are for shows when they are there.
fn awaits_nodes(world: &World) -> bool {
    world.pools.values().filter(|pool| !pool.deleted).any(|pool| {
        let own = || world.nodes.values().filter(|node| node.pool == pool.name);
        own().any(|node| node.state == NodeState::Joining)
            || own().filter(|node| counts_for_target(node)).count() < pool.target as usize
    })
}

/// The first of the nodes, and those of its pool that may go at the same time: together they have no more
/// instances of a service than its policy lets be disrupted. One that has more by itself goes alone, and
/// its service replaces them one after the other.
fn together<'e>(world: &World, emptied: &'e [Emptied]) -> Vec<&'e Emptied> {
    let mut moved: BTreeMap<&WorkloadName, u32> = BTreeMap::new();
    let mut chosen: Vec<&Emptied> = Vec::new();
    for node in emptied.iter().filter(|node| node.pool == emptied[0].pool) {
        let mut with = moved.clone();
        for step in &node.moves {
            *with.entry(step.task.workload()).or_default() += 1;
        }
        let within = |(name, count): (&&WorkloadName, &u32)| {
            let workload = world.workloads.get(*name);
            *count <= workload.map_or(1, |workload| world.policy_of(workload).max_disruption)
        };
        if chosen.is_empty() || with.iter().all(within) {
            moved = with;
            chosen.push(node);
        }
    }
    chosen
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn where_to(emptied: &Emptied) -> String {
    if emptied.moves.is_empty() {
        return "it is empty".to_owned();
    }
    let mut moves: Vec<String> =
        emptied.moves.iter().take(NAMED_MAX).map(|step| format!("{} to {}", step.task, step.to)).collect();
    if emptied.moves.len() > moves.len() {
        moves.push(format!("{} more", emptied.moves.len() - moves.len()));
    }
    format!("moves: {}", moves.join(", "))
}

/// What is saved and moved, for the record.
fn effect(saves: MicroCents, nodes: &[&Emptied]) -> BTreeMap<String, String> {
    let moved: usize = nodes.iter().map(|node| node.moves.len()).sum();
    let each = if moved == 0 {
        "nothing moves".to_owned()
    } else {
        format!("{} an hour", saves.scale(1.0 / moved as f64))
    };
    BTreeMap::from([
        ("saves".to_owned(), format!("{saves} an hour")),
        ("tasks moved".to_owned(), moved.to_string()),
        ("saved for each task moved".to_owned(), each),
    ])
}

fn shrink(world: &World, pool: &NodePool, nodes: &[&Emptied], terms: &ClusterTerms) -> PoolDecision {
    let (used, prices) = (used_by_node(world, &terms.overcommit), &terms.prices);
    let requested = |emptied: &Emptied| {
        let node = world.nodes.get(&emptied.node);
        node.map_or(0.0, |node| requested_share(node, used.get(&node.name).copied().unwrap_or_default()))
    };
    let threshold = percent(pool.spec.scale_down_below.get());
    let after = pool.spec.scale_down_after.as_secs();
    let reason_of = |emptied: &Emptied| {
        let (name, now) = (&emptied.node, percent(requested(emptied)));
        format!(
            "{name} has had less than {threshold} requested for {after} s ({now} now); {}",
            where_to(emptied)
        )
    };
    let target = pool.target - nodes.len() as u32;
    let saves = nodes.iter().map(|node| node.saves).fold(MicroCents::ZERO, |a, b| a + b);
    let reasons: Vec<String> = nodes.iter().take(NAMED_MAX).map(|node| reason_of(node)).collect();
    let more = nodes.len() - reasons.len();
    let reason = reasons.join("; ") + &if more > 0 { format!("; and {more} more") } else { String::new() };
    let mut inputs = effect(saves, nodes);
    inputs.extend(nodes.iter().take(NAMED_MAX).map(|emptied| {
        let size = world.nodes.get(&emptied.node).map(|node| node.size).unwrap_or_default();
        (format!("node {}", emptied.node), format!("{} of {size} requested", percent(requested(emptied))))
    }));
    inputs.insert("bounds".to_owned(), format!("{} to {}", pool.spec.min, pool.spec.max));
    let proposal = Proposal {
        kind: DecisionKind::Pool { pool: pool.name.clone(), from: pool.target, to: target },
        rule: if nodes.len() == 1 { "underused node" } else { "underused nodes" }.to_owned(),
        reason: reason.clone(),
        inputs,
        candidates: candidates(nodes),
        price_before: price_of(pool, pool.target, prices),
        price_after: price_of(pool, target, prices),
    };
    let shrink = Change::PoolTargetSet { pool: pool.name.clone(), target, decision: None };
    let mut steps = vec![Step { change: shrink, reason }];
    steps.extend(nodes.iter().map(|emptied| drained(emptied, reason_of(emptied))));
    PoolDecision { proposal, steps }
}

/// Lets nodes go whose place an empty one takes. Services replace what is on them in turn, as far as their
/// policies let them be disrupted.
fn take_over(world: &World, found: &Replacement, prices: &Prices) -> Option<PoolDecision> {
    let nodes: Vec<&Emptied> = found.instead_of.iter().collect();
    let mut targets: BTreeMap<&PoolName, (&NodePool, u32)> = BTreeMap::new();
    for node in &nodes {
        let pool = world.pools.get(&node.pool)?;
        let (_, target) = targets.entry(&pool.name).or_insert((pool, pool.target));
        *target = target.saturating_sub(1);
    }
    let price = |target: fn(&(&NodePool, u32)) -> u32| {
        let each = targets.values().map(|of| price_of(of.0, target(of), prices));
        each.fold(MicroCents::ZERO, |a, b| a + b)
    };
    let (first, to) = targets.values().next()?;
    let reason_of = |emptied: &Emptied| {
        format!("{} takes the place of {}; {}", found.node, emptied.node, where_to(emptied))
    };
    let reason = format!("{} takes the place of {}", found.node, names(&nodes));
    let proposal = Proposal {
        kind: DecisionKind::Pool { pool: first.name.clone(), from: first.target, to: *to },
        rule: "cheaper node".to_owned(),
        reason: reason.clone(),
        inputs: effect(found.saves, &nodes),
        candidates: candidates(&nodes),
        price_before: price(|(pool, _)| pool.target),
        price_after: price(|(_, target)| *target),
    };
    let shrinks = targets.values().map(|(pool, target)| {
        let (pool, target) = (pool.name.clone(), *target);
        Step { change: Change::PoolTargetSet { pool, target, decision: None }, reason: reason.clone() }
    });
    let steps = shrinks.chain(nodes.iter().map(|emptied| drained(emptied, reason_of(emptied)))).collect();
    Some(PoolDecision { proposal, steps })
}

fn drained(emptied: &Emptied, reason: String) -> Step {
    let (node, state) = (emptied.node.clone(), NodeState::Draining);
    let drain = Change::NodeMoved { node, state, reason: reason.clone(), remove_when_empty: true };
    Step { change: drain, reason }
}

fn names(nodes: &[&Emptied]) -> String {
    let names: Vec<String> = nodes.iter().map(|node| node.node.to_string()).collect();
    names.join(", ")
}

fn candidates(nodes: &[&Emptied]) -> Vec<Candidate> {
    let candidates = nodes.iter().take(NAMED_MAX).map(|emptied| Candidate {
        source: format!("node {}", emptied.node),
        answer: where_to(emptied),
        chosen: true,
    });
    candidates.collect()
}

fn replace(pool: &NodePool, found: &Replacement, prices: &Prices) -> PoolDecision {
    let target = pool.target + 1;
    let nodes: Vec<&Emptied> = found.instead_of.iter().collect();
    let reason = format!(
        "one more node of pool {} takes the place of {}, which go once it is there: {} an hour less",
        pool.name,
        names(&nodes),
        found.saves
    );
    let before = nodes.iter().map(|node| node.saves).fold(price_of(pool, pool.target, prices), |a, b| a + b);
    let mut inputs = effect(found.saves, &nodes);
    inputs.insert("bounds".to_owned(), format!("{} to {}", pool.spec.min, pool.spec.max));
    let proposal = Proposal {
        kind: DecisionKind::Pool { pool: pool.name.clone(), from: pool.target, to: target },
        rule: "cheaper node".to_owned(),
        reason: reason.clone(),
        inputs,
        candidates: candidates(&nodes),
        price_before: before,
        price_after: price_of(pool, target, prices),
    };
    let change = Change::PoolTargetSet { pool: pool.name.clone(), target, decision: None };
    PoolDecision { proposal, steps: vec![Step { change, reason }] }
}
