//! More nodes for tasks that found none. Not here: fewer (`cluster_shrink`).
//!
//! As the Kubernetes Cluster Autoscaler does it: for each pool the waiting tasks are packed onto new
//! nodes by first-fit decreasing (`pkg/estimator/binpacking_estimator.go`). Unlike there, the pool grows whose
//! nodes cost least against what the same tasks would cost on full nodes of the types that suit each best, and
//! one that helps tasks that wait goes before one for tasks still to come. Nodes on their way count first.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;

use crate::domain::change::Change;
use crate::domain::decision::{Candidate, DecisionKind, Proposal};
use crate::domain::money::{MicroCents, Prices};
use crate::domain::node::{Node, NodePool, NodeState};
use crate::domain::overcommit::Overcommit;
use crate::domain::plan::{Misfit, Step, Waiting};
use crate::domain::quantity::Resources;
use crate::domain::task::TaskId;
use crate::domain::world::World;
use crate::scaling::ahead::{Coming, within_boot};
use crate::scaling::cluster::{ClusterTerms, ClusterVerdict, PoolDecision, Unserved, price_of};
use crate::scaling::cluster_fit::{Bin, Item, counts_for_target, first_fit_decreasing, share, used_by_node};

/// Tasks named in a reason; the others are counted.
const TASKS_NAMED: usize = 3;

/// Grows at most one pool.
pub(super) fn decide(
    world: &World,
    waiting: &[Waiting],
    terms: &ClusterTerms,
    now: Timestamp,
) -> ClusterVerdict {
    let prices = &terms.prices;
    let items = waiting.iter().filter(|waiting| waiting.kind.wants_nodes());
    let items: Vec<Item<'_>> = items.map(|waiting| Item::waiting(world, waiting)).collect();
    let (suited, hopeless): (Vec<_>, Vec<_>) =
        items.into_iter().partition(|item| pools(world).any(|pool| item.suits(pool)));
    let mut unserved: Vec<Unserved> = hopeless.iter().map(|item| fits_nowhere(world, item)).collect();
    // Those that wait come first in reasons; what is about to be started counts as if it waited.
    let coming = within_boot(world, now);
    let asked_for: Vec<Item<'_>> = coming
        .iter()
        .filter_map(|coming| Item::coming(world, coming))
        .filter(|item| pools(world).any(|pool| item.suits(pool)))
        .collect();
    let suited: Vec<Item<'_>> = suited.into_iter().chain(asked_for).collect();
    let due: HashMap<&TaskId, &Coming> = coming.iter().map(|coming| (&coming.task, coming)).collect();

    let mut bins = room_in_flight(world, &terms.overcommit, now);
    let on_their_way = bins.iter().filter(|bin| bin.node.is_none()).count();
    let largest = largest(pools(world).map(|pool| pool.spec.size));
    let (_, left) = first_fit_decreasing(&suited, &mut bins, largest, None);
    if left.is_empty() {
        return ClusterVerdict { unserved, ..ClusterVerdict::default() };
    }
    let worth = Worth::of(world, prices);
    let mut options: Vec<GrowthOption<'_>> = pools(world)
        .filter(|pool| blocked(pool, now).is_none())
        .filter_map(|pool| GrowthOption::of(pool, &left, &due, &worth))
        .collect();
    options.sort_by(|a, b| {
        let by_need = b.urgent.cmp(&a.urgent).then_with(|| a.over.total_cmp(&b.over));
        by_need
            .then(b.tasks.cmp(&a.tasks))
            .then_with(|| (a.price, &a.pool.name).cmp(&(b.price, &b.pool.name)))
    });
    for item in left.iter().filter(|item| !due.contains_key(item.task)) {
        if !options.iter().any(|option| item.suits(option.pool)) {
            unserved.push(held_up(world, item, now));
        }
    }
    let most = options.first().map(|best| best.price);
    if let Some(decision) = taken_back(world, &left, most, terms) {
        return ClusterVerdict { decision: Some(decision), unserved, ..ClusterVerdict::default() };
    }
    let decision = options.first().map(|_| decision(&options, (&left, &due), on_their_way, prices));
    ClusterVerdict { decision, unserved, ..ClusterVerdict::default() }
}

/// Lets nodes of one pool stay that were to go, where they have room for what waits and new ones would cost as
/// much: they are there already.
fn taken_back(
    world: &World,
    left: &[Item<'_>],
    most: Option<MicroCents>,
    terms: &ClusterTerms,
) -> Option<PoolDecision> {
    let (used, prices) = (used_by_node(world, &terms.overcommit), &terms.prices);
    let leaves = |node: &&Node| node.state == NodeState::Draining && node.remove_when_empty;
    let nodes: Vec<&Node> = world.nodes.values().filter(leaves).collect();
    let used = |node: &Node| used.get(&node.name).copied().unwrap_or_default();
    let mut bins: Vec<Bin<'_>> = nodes.iter().map(|node| Bin::of(world, node, used(node))).collect();
    let (placed, _) =
        first_fit_decreasing(left, &mut bins, largest(nodes.iter().map(|node| node.size)), None);
    let of = &nodes[placed.first()?.1].pool;
    let pool = pools(world).find(|pool| pool.name == *of)?;
    let chosen: BTreeSet<usize> =
        placed.iter().map(|(_, at)| *at).filter(|at| nodes[*at].pool == pool.name).collect();
    let room = pool.spec.max.saturating_sub(pool.target) as usize;
    let taken: Vec<&Node> = chosen.iter().take(room).map(|at| nodes[*at]).collect();
    let price = price_of(pool, taken.len() as u32, prices);
    if taken.is_empty() || most.is_some_and(|most| price > most) {
        return None;
    }
    let target = pool.target + taken.len() as u32;
    let names: Vec<String> = taken.iter().map(|node| node.name.to_string()).collect();
    let tasks = placed.iter().filter(|(_, at)| chosen.contains(at)).count();
    let reason = format!("{} can take {tasks} tasks that wait: no node goes for another", names.join(", "));
    let proposal = Proposal {
        kind: DecisionKind::Pool { pool: pool.name.clone(), from: pool.target, to: target },
        rule: "taken back".to_owned(),
        reason: reason.clone(),
        inputs: BTreeMap::from([
            ("waiting tasks".to_owned(), left.len().to_string()),
            ("nodes that were to go".to_owned(), nodes.len().to_string()),
        ]),
        candidates: Vec::new(),
        price_before: price_of(pool, pool.target, prices),
        price_after: price_of(pool, target, prices),
    };
    let stays = |node: &&Node| Change::NodeMoved {
        node: node.name.clone(),
        state: NodeState::Ready,
        reason: reason.clone(),
        remove_when_empty: false,
    };
    let change = Change::PoolTargetSet { pool: pool.name.clone(), target, decision: None };
    let changes = std::iter::once(change).chain(taken.iter().map(stays));
    let steps = changes.map(|change| Step { change, reason: reason.clone() }).collect();
    Some(PoolDecision { proposal, steps })
}

/// The most CPU and the most memory of any.
fn largest(sizes: impl Iterator<Item = Resources>) -> Resources {
    sizes.fold(Resources::ZERO, |a, b| Resources::new(a.cpu.max(b.cpu), a.memory.max(b.memory)))
}

fn pools(world: &World) -> impl Iterator<Item = &NodePool> {
    world.pools.values().filter(|pool| !pool.deleted)
}

/// What is free on nodes that take tasks, and on those that are joining or about to be made.
fn room_in_flight<'w>(world: &'w World, overcommit: &Overcommit, now: Timestamp) -> Vec<Bin<'w>> {
    let used = used_by_node(world, overcommit);
    let there = world
        .nodes
        .values()
        .filter(|node| matches!(node.state, NodeState::Ready | NodeState::Joining))
        .map(|node| Bin::of(world, node, used.get(&node.name).copied().unwrap_or_default()));
    let mut bins: Vec<Bin<'w>> = there.collect();
    for pool in pools(world).filter(|pool| asks_for_nodes(pool, now)) {
        let present = world.nodes.values().filter(|node| node.pool == pool.name && counts_for_target(node));
        let missing = (pool.target as usize).saturating_sub(present.count());
        bins.extend(std::iter::repeat_n(Bin::imagined(pool), missing));
    }
    bins
}

/// Whether nodes that a pool lacks are on their way. Where earlier ones did not come they are not, until its
/// wait is over: tasks that count on them would wait with it.
fn asks_for_nodes(pool: &NodePool, now: Timestamp) -> bool {
    pool.spec.source.runs_tasks() && pool.joins.wait(now).is_none()
}

/// Why a pool does not grow now.
fn blocked(pool: &NodePool, now: Timestamp) -> Option<String> {
    if !pool.spec.source.runs_tasks() {
        return Some(format!("no agent runs tasks on the machines of pool {} yet", pool.name));
    }
    if let Some(wait) = pool.joins.wait(now) {
        let (wait, why) = (wait.as_secs().max(1), &pool.joins.why);
        return Some(format!("nodes of pool {} did not come ({why}); it waits {wait} s", pool.name));
    }
    if pool.target >= pool.spec.max {
        return Some(format!("pool {} has its most of {} nodes", pool.name, pool.spec.max));
    }
    let wait = pool.spec.cooldown_up.saturating_sub(now.duration_since(pool.grown_at?));
    wait.is_positive().then(|| {
        format!("pool {} grew lately and waits {} s before it grows again", pool.name, wait.as_secs().max(1))
    })
}

/// A pool that could grow, and what that would give.
struct GrowthOption<'a> {
    pool: &'a NodePool,
    /// Nodes to be added.
    nodes: u32,
    /// Tasks that they take.
    tasks: usize,
    /// Whether more nodes would help, but the pool may not have them.
    at_max: bool,
    /// Whether one of them waits already.
    urgent: bool,
    /// What the nodes cost as a multiple of what the tasks would cost on nodes that are full: at least 1.
    over: f64,
    /// Unused shares of CPU and memory added: from 0 to 2.
    waste: f64,
    /// What the new nodes cost per hour.
    price: MicroCents,
}

impl<'a> GrowthOption<'a> {
    fn of(
        pool: &'a NodePool,
        left: &[Item<'a>],
        due: &HashMap<&TaskId, &Coming>,
        worth: &Worth<'_>,
    ) -> Option<Self> {
        let suited: Vec<Item<'a>> = left.iter().filter(|item| item.suits(pool)).copied().collect();
        let room = pool.spec.max.saturating_sub(pool.target);
        let size = pool.spec.size;
        let mut bins = Vec::new();
        let (placed, over) =
            first_fit_decreasing(&suited, &mut bins, size, Some((Bin::imagined(pool), room as usize)));
        let nodes = u32::try_from(bins.len()).ok().filter(|&nodes| nodes > 0)?;
        let price = price_of(pool, nodes, worth.prices);
        let used: Resources = placed.iter().map(|(item, _)| item.request).sum();
        let unused = |used: u64, each: u64| 1.0 - share(used, each.saturating_mul(u64::from(nodes)));
        Some(Self {
            pool,
            nodes,
            tasks: placed.len(),
            at_max: !over.is_empty(),
            urgent: placed.iter().any(|(item, _)| !due.contains_key(item.task)),
            over: price.get() as f64 / placed.iter().map(|(item, _)| worth.task(item)).sum::<f64>().max(1.0),
            waste: unused(used.cpu.get(), size.cpu.get()) + unused(used.memory.get(), size.memory.get()),
            price,
        })
    }

    fn words(&self) -> String {
        format!(
            "{} more nodes take {} tasks, {:.0} % unused, {} per hour",
            self.nodes,
            self.tasks,
            self.waste * 50.0,
            self.price
        )
    }
}

/// What tasks cost at least: their share of the cheapest node that is full.
struct Worth<'w> {
    pools: Vec<(&'w NodePool, f64)>,
    prices: &'w Prices,
}

impl<'w> Worth<'w> {
    fn of(world: &'w World, prices: &'w Prices) -> Self {
        let price = |pool: &NodePool| price_of(pool, 1, prices).get() as f64;
        Self { pools: pools(world).map(|pool| (pool, price(pool))).collect(), prices }
    }

    fn task(&self, item: &Item<'_>) -> f64 {
        let suited = self.pools.iter().filter(|(pool, _)| item.suits(pool));
        let cost = suited.map(|(pool, price)| {
            let size = pool.spec.size;
            let (cpu, memory) = (
                share(item.request.cpu.get(), size.cpu.get()),
                share(item.request.memory.get(), size.memory.get()),
            );
            price * cpu.max(memory)
        });
        cost.fold(f64::INFINITY, f64::min)
    }
}

/// The decision for the first of the options.
fn decision(
    options: &[GrowthOption<'_>],
    (left, due): (&[Item<'_>], &HashMap<&TaskId, &Coming>),
    on_their_way: usize,
    prices: &Prices,
) -> PoolDecision {
    let best = &options[0];
    let pool = best.pool;
    let target = pool.target + best.nodes;
    let ahead = left.iter().filter(|item| due.contains_key(item.task)).count();
    let name = |item: &Item<'_>| match due.get(item.task) {
        Some(coming) => format!("{} (due at {:.0})", item.task, coming.at),
        None => item.task.to_string(),
    };
    let mut named: Vec<String> = left.iter().take(TASKS_NAMED).map(name).collect();
    if left.len() > named.len() {
        named.push(format!("{} more", left.len() - named.len()));
    }
    let wanted: Resources = left.iter().map(|item| item.request).sum();
    let found = if ahead == left.len() { "will find no node" } else { "found no node" };
    let reason = format!("{} {found}: {}", named.join(", "), best.words());
    let candidates = options.iter().enumerate().map(|(i, option)| Candidate {
        source: format!("pool {}", option.pool.name),
        answer: option.words(),
        chosen: i == 0,
    });
    let proposal = Proposal {
        kind: DecisionKind::Pool { pool: pool.name.clone(), from: pool.target, to: target },
        rule: if best.at_max { "max nodes" } else { "least waste" }.to_owned(),
        reason: reason.clone(),
        inputs: BTreeMap::from([
            ("waiting tasks".to_owned(), (left.len() - ahead).to_string()),
            ("tasks about to be started".to_owned(), ahead.to_string()),
            ("waiting requests".to_owned(), wanted.to_string()),
            ("nodes about to be made".to_owned(), on_their_way.to_string()),
            ("node size".to_owned(), pool.spec.size.to_string()),
            ("bounds".to_owned(), format!("{} to {}", pool.spec.min, pool.spec.max)),
        ]),
        candidates: candidates.collect(),
        price_before: price_of(pool, pool.target, prices),
        price_after: price_of(pool, target, prices),
    };
    let change = Change::PoolTargetSet { pool: pool.name.clone(), target, decision: None };
    PoolDecision { proposal, steps: vec![Step { change, reason }] }
}

fn fits_nowhere(world: &World, item: &Item<'_>) -> Unserved {
    let words: Vec<String> = pools(world)
        .map(|pool| match item.lacking_in(pool) {
            Some(Misfit::Attribute { constraint, .. }) => {
                format!("pool {} has another {} than it wants", pool.name, constraint.attribute)
            }
            Some(misfit) => format!("pool {} {misfit}", pool.name),
            None => format!("a node of pool {} has {}", pool.name, pool.spec.size),
        })
        .collect();
    let pools = if words.is_empty() { "there is no pool".to_owned() } else { words.join(", ") };
    let reason = format!("{} fits no pool's node: {pools}", item.request);
    Unserved { task: item.task.clone(), reason, fits_nowhere: true }
}

fn held_up(world: &World, item: &Item<'_>, now: Timestamp) -> Unserved {
    let words = pools(world).filter(|pool| item.suits(pool)).filter_map(|pool| blocked(pool, now));
    let reason = words.collect::<Vec<_>>().join(", ");
    Unserved { task: item.task.clone(), reason, fits_nowhere: false }
}
