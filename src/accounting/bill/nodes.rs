//! The lives of nodes and their prices over time, as the record of changes tells them.
//!
//! In: recorded changes in order, the world as it stands, prices of resources. Out: lives and charges. The
//! book is kept between starts, so that pruning the record does not lose a node that was paid for.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::accounting::bill::charge::{Charge, ChargeKind, Terms};
use crate::accounting::timeline::Span;
use crate::domain::change::{Change, RecordedChange};
use crate::domain::money::{MicroCents, Prices};
use crate::domain::node::{NodeName, NodeState, PoolName, PoolSpec};
use crate::domain::quantity::Resources;
use crate::domain::workload::{Owner, WorkloadKind, WorkloadName, WorkloadSpec};
use crate::domain::world::World;

/// A price from an instant on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceStep {
    /// From this instant on.
    pub from: Timestamp,
    /// For an hour of the node.
    pub per_hour: MicroCents,
}

/// The time in which a node was paid for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeLife {
    /// The node.
    pub node: NodeName,
    /// Its pool.
    pub pool: PoolName,
    /// What it offered to tasks.
    pub size: Resources,
    /// When it was asked for.
    pub from: Timestamp,
    /// When it first took tasks; absent where it has not.
    pub ready: Option<Timestamp>,
    /// When it was told to go, empty.
    pub leaving: Option<Timestamp>,
    /// When it was gone; absent while it is there.
    pub to: Option<Timestamp>,
    /// Its prices, ascending; the first one from its start on.
    pub prices: Vec<PriceStep>,
}

impl NodeLife {
    pub(crate) fn span(&self, window: Span) -> Option<Span> {
        let to = self.to.map_or(window.to, Timestamp::as_microsecond);
        Span { from: self.from.as_microsecond(), to }.clip(window)
    }

    /// The part of `span`, which is within its life, in which it could take tasks.
    pub(crate) fn serving(&self, span: Span) -> Option<Span> {
        let from = self.ready?.as_microsecond();
        let to = self.leaving.map_or(span.to, Timestamp::as_microsecond);
        Span { from, to }.clip(span)
    }
}

/// What the nodes of a pool are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct PoolTerms {
    size: Resources,
    price: Option<MicroCents>,
}

/// Lives of nodes, folded from the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeBook {
    /// The number of the last change that is in it.
    pub after: u64,
    /// What resources cost where a pool has no price of its own.
    base: Prices,
    pools: BTreeMap<PoolName, PoolTerms>,
    lives: Vec<NodeLife>,
    /// What each workload was and who owned it, as it was last declared; also of those that are gone.
    owners: BTreeMap<WorkloadName, (WorkloadKind, Owner)>,
    /// When people set the size of a workload: a recommendation is in force no longer.
    resized: Vec<(WorkloadName, Timestamp)>,
}

impl NodeBook {
    /// The name of the document that the book is kept under.
    pub const DOCUMENT: &'static str = "node-book";

    /// A book without nodes.
    pub fn new(base: Prices) -> Self {
        Self {
            after: 0,
            base,
            pools: BTreeMap::new(),
            lives: Vec::new(),
            owners: BTreeMap::new(),
            resized: Vec::new(),
        }
    }

    /// Takes in all changes that came since it was last brought up to date; `read` tells those after a number,
    /// in order, and none where there are no more.
    pub fn catch_up<E>(
        &mut self,
        mut read: impl FnMut(u64) -> Result<Vec<(u64, RecordedChange)>, E>,
    ) -> Result<(), E> {
        loop {
            let before = self.after;
            for (number, recorded) in read(before)? {
                self.note(number, &recorded);
            }
            if self.after == before {
                return Ok(());
            }
        }
    }

    /// What a workload was and who owned it, as it was last declared.
    pub fn owner(&self, workload: &WorkloadName) -> Option<&(WorkloadKind, Owner)> {
        self.owners.get(workload)
    }

    /// When people set the size of a workload.
    pub fn resized(&self) -> &[(WorkloadName, Timestamp)] {
        &self.resized
    }

    /// Every life, in the order in which they began to be known.
    pub fn lives(&self) -> &[NodeLife] {
        &self.lives
    }

    /// What resources cost where a pool has no price of its own.
    pub fn base(&self) -> Prices {
        self.base
    }

    /// Takes in a change; one that is in already is passed over.
    pub fn note(&mut self, number: u64, recorded: &RecordedChange) {
        if number <= self.after {
            return;
        }
        self.after = number;
        match &recorded.change {
            Change::PoolApplied { pool, spec } => self.set_pool(pool, spec, recorded.at),
            Change::NodeCreated { node, pool } => {
                if let Some(terms) = self.pools.get(pool).copied() {
                    self.begin(node, pool, terms, recorded.at);
                }
            }
            Change::NodeMoved { node, state, .. } => self.moved(node, *state, recorded.at),
            Change::NodeForgotten { node } => {
                if let Some(life) = self.open(node) {
                    life.to = Some(recorded.at);
                }
            }
            Change::WorkloadApplied { workload, spec } => self.own(workload, spec),
            Change::SizeSet { workload, decision: None, .. } => {
                self.resized.push((workload.clone(), recorded.at));
            }
            _ => {}
        }
    }

    fn own(&mut self, workload: &WorkloadName, spec: &WorkloadSpec) {
        self.owners.insert(workload.clone(), (spec.kind(), spec.owner().clone()));
    }

    /// Brings the book in line with the world and the prices as they are now, where the record does not
    /// tell: nodes made before the first change that is kept, prices set in the engine's own settings.
    pub fn reconcile(&mut self, world: &World, base: Prices, now: Timestamp) {
        if base != self.base {
            self.base = base;
            self.reprice(now, |_| true);
        }
        for (name, pool) in &world.pools {
            self.set_pool(name, &pool.spec, now);
        }
        for (name, workload) in &world.workloads {
            self.own(name, &workload.spec);
        }
        for node in world.nodes.values().filter(|node| node.state != NodeState::Lost) {
            if self.open(&node.name).is_none() {
                let price = self.pools.get(&node.pool).and_then(|terms| terms.price);
                self.begin(&node.name, &node.pool, PoolTerms { size: node.size, price }, node.created_at);
                self.moved(&node.name, node.state, node.state_since);
                if matches!(node.state, NodeState::Draining | NodeState::Removing)
                    && let Some(life) = self.open(&node.name)
                {
                    // When it was ready is not kept; that it was is known.
                    life.ready = Some(life.from);
                }
            }
        }
        for life in self.lives.iter_mut().filter(|life| life.to.is_none()) {
            if !world.nodes.contains_key(&life.node) {
                life.to = Some(now.max(life.from));
            }
        }
    }

    /// Forgets lives that ended before `before`, and sizes that were set before.
    pub fn forget(&mut self, before: Timestamp) {
        self.resized.retain(|(_, at)| *at >= before);
        self.lives.retain(|life| life.to.is_none_or(|to| to >= before));
    }

    /// What the nodes cost by their prices, a charge a price and life.
    pub fn charges(&self) -> Vec<Charge> {
        self.lives.iter().flat_map(charges_of).collect()
    }

    fn open(&mut self, node: &NodeName) -> Option<&mut NodeLife> {
        self.lives.iter_mut().rev().find(|life| life.node == *node && life.to.is_none())
    }

    fn begin(&mut self, node: &NodeName, pool: &PoolName, terms: PoolTerms, from: Timestamp) {
        if self.open(node).is_some() {
            return;
        }
        let per_hour = terms.price.unwrap_or_else(|| self.base.per_hour(terms.size));
        self.lives.push(NodeLife {
            node: node.clone(),
            pool: pool.clone(),
            size: terms.size,
            from,
            ready: None,
            leaving: None,
            to: None,
            prices: vec![PriceStep { from, per_hour }],
        });
    }

    fn moved(&mut self, node: &NodeName, state: NodeState, at: Timestamp) {
        if self.open(node).is_none() && state == NodeState::Ready {
            // A lost node that came back begins another life.
            let last = self.lives.iter().rev().find(|life| life.node == *node);
            if let Some((pool, size)) = last.map(|life| (life.pool.clone(), life.size)) {
                let price = self.pools.get(&pool).and_then(|terms| terms.price);
                self.begin(node, &pool, PoolTerms { size, price }, at);
            }
        }
        let Some(life) = self.open(node) else { return };
        match state {
            NodeState::Joining => {}
            NodeState::Ready => {
                life.ready.get_or_insert(at);
                life.leaving = None;
            }
            NodeState::Draining => life.leaving = None,
            NodeState::Removing => life.leaving = Some(at),
            NodeState::Lost => life.to = Some(at),
        }
    }

    fn set_pool(&mut self, name: &PoolName, spec: &PoolSpec, at: Timestamp) {
        let terms = PoolTerms { size: spec.size, price: spec.price_per_hour };
        let before = self.pools.insert(name.clone(), terms);
        if before.is_some_and(|before| before.price != terms.price) {
            self.reprice(at, |pool| pool == name);
        }
    }

    fn reprice(&mut self, at: Timestamp, concerns: impl Fn(&PoolName) -> bool) {
        let (pools, base) = (&self.pools, self.base);
        for life in self.lives.iter_mut().filter(|life| life.to.is_none() && concerns(&life.pool)) {
            let own = pools.get(&life.pool).and_then(|terms| terms.price);
            let per_hour = own.unwrap_or_else(|| base.per_hour(life.size));
            match life.prices.last_mut() {
                Some(last) if last.per_hour == per_hour => {}
                Some(last) if last.from >= at => last.per_hour = per_hour,
                _ => life.prices.push(PriceStep { from: at, per_hour }),
            }
        }
    }
}

pub(crate) fn charges_of(life: &NodeLife) -> Vec<Charge> {
    let ends = life.prices.iter().skip(1).map(|next| Some(next.from)).chain([life.to]);
    let line = |(step, to): (&PriceStep, Option<Timestamp>)| Charge {
        node: Some(life.node.clone()),
        from: step.from,
        to,
        terms: Terms::PerHour(step.per_hour),
        kind: ChargeKind::Usage,
    };
    life.prices.iter().zip(ends).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::quantity::{Bytes, GIB, Millicores};
    use crate::domain::rollout::Actor;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn node(name: &str) -> NodeName {
        NodeName::new(name).expect("a name")
    }

    fn pool() -> PoolName {
        PoolName::new("small").expect("a name")
    }

    fn base(core: i64) -> Prices {
        Prices { core_hour: MicroCents::new(core), gib_hour: MicroCents::ZERO }
    }

    fn applied(price: Option<i64>) -> Change {
        let size = Resources::new(Millicores::new(2000), Bytes::new(GIB));
        let spec = PoolSpec { price_per_hour: price.map(MicroCents::new), ..PoolSpec::one_node(size) };
        Change::PoolApplied { pool: pool(), spec }
    }

    fn moved(name: &str, state: NodeState) -> Change {
        Change::NodeMoved { node: node(name), state, reason: String::new(), remove_when_empty: false }
    }

    fn book(changes: impl IntoIterator<Item = (i64, Change)>) -> NodeBook {
        let mut book = NodeBook::new(base(100));
        for (number, (second, change)) in (1..).zip(changes) {
            let recorded = RecordedChange {
                at: at(second),
                by: Actor::Engine,
                reason: String::new(),
                request: None,
                change,
            };
            book.note(number, &recorded);
            book.note(number, &recorded); // Told twice, it is taken in once.
        }
        book
    }

    fn created(name: &str) -> Change {
        Change::NodeCreated { node: node(name), pool: pool() }
    }

    #[test]
    fn a_life_from_its_order_to_its_end_with_two_prices() {
        let book = book([
            (0, applied(None)),
            (10, created("small-1")),
            (20, moved("small-1", NodeState::Ready)),
            (3610, applied(Some(1000))),
            (7210, moved("small-1", NodeState::Removing)),
            (7220, Change::NodeForgotten { node: node("small-1") }),
        ]);
        let [life] = book.lives() else { panic!("one life, not {:?}", book.lives()) };
        assert_eq!(
            (life.from, life.ready, life.leaving, life.to),
            (at(10), Some(at(20)), Some(at(7210)), Some(at(7220)))
        );
        let costs: Vec<i64> =
            book.charges().iter().map(|charge| charge.between(at(0), at(90_000)).get()).collect();
        // 2 cores at 100 an hour; then 1000 an hour for an hour and ten seconds.
        assert_eq!(costs, [200, 1002]);
    }

    #[test]
    fn a_lost_node_costs_nothing_until_it_is_back() {
        let book = book([
            (0, applied(Some(3600))),
            (0, created("small-1")),
            (10, moved("small-1", NodeState::Ready)),
            (100, moved("small-1", NodeState::Lost)),
            (200, moved("small-1", NodeState::Ready)),
            (250, Change::NodeForgotten { node: node("small-1") }),
        ]);
        let total: i64 = book.charges().iter().map(|charge| charge.between(at(0), at(1000)).get()).sum();
        assert_eq!(total, 150);
    }

    #[test]
    fn the_world_fills_what_the_record_lost_and_prices_of_the_settings_hold_from_now_on() {
        let mut world = World::default();
        for (number, change) in (1..).zip([applied(None), created("small-1")]) {
            let recorded = RecordedChange {
                at: at(number),
                by: Actor::Engine,
                reason: String::new(),
                request: None,
                change,
            };
            world.apply(&recorded);
        }
        let mut book = NodeBook::new(base(100));
        book.reconcile(&world, base(100), at(50));
        book.reconcile(&world, base(300), at(3602));
        let total: i64 = book.charges().iter().map(|charge| charge.between(at(0), at(7202)).get()).sum();
        assert_eq!(total, 200 + 600);
        world.nodes.clear();
        book.reconcile(&world, base(300), at(7202));
        assert_eq!(book.lives()[0].to, Some(at(7202)));
        book.forget(at(7203));
        assert!(book.lives().is_empty());
    }
}
