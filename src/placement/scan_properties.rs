//! The index against a plain scan: thousands of random clusters with attributes, reservations, neighbours,
//! evenness, preferences and real use, and the same node for each task from both.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::domain::node::{Node, NodeName, NodeState, PoolName};
use crate::domain::placement::{BY_NODE, Constraint, Neighbour, PlacementSpec, SpreadOver, Strategy};
use crate::domain::quantity::{Bytes, Millicores, Resources};
use crate::domain::task::TaskId;
use crate::domain::workload::WorkloadName;

const WORKLOADS: [&str; 3] = ["api", "db", "web"];

/// Numbers from a seed (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn name(&mut self) -> WorkloadName {
        WorkloadName::new(WORKLOADS[self.below(3) as usize]).expect("a name")
    }

    fn by(&mut self) -> String {
        [BY_NODE, "zone"][self.below(2) as usize].to_owned()
    }

    fn amount(&mut self, most: u64) -> Resources {
        Resources::new(Millicores::new(self.below(most) * 25), Bytes::mib(self.below(most) * 25))
    }
}

/// A task that was there before or has been placed.
struct There {
    at: usize,
    workload: WorkloadName,
    revision: u64,
    active: bool,
}

struct Cluster {
    nodes: Vec<Node>,
    free: Vec<Resources>,
    unused: Vec<Resources>,
    crowded: Vec<bool>,
    reserved: Vec<Vec<String>>,
    there: Vec<There>,
    repelled: BTreeMap<WorkloadName, Vec<Neighbour>>,
}

impl Residents for Cluster {
    fn of(&self, workload: &WorkloadName) -> Vec<Resident<'_>> {
        let own = self.there.iter().filter(|there| there.workload == *workload);
        own.map(|there| Resident {
            node: &self.nodes[there.at].name,
            revision: there.revision,
            active: there.active,
        })
        .collect()
    }
}

fn node(dice: &mut Dice, at: u64) -> Node {
    let mut attributes = BTreeMap::new();
    if !dice.one_in(8) {
        attributes.insert("zone".to_owned(), ["a", "b", "c"][dice.below(3) as usize].to_owned());
    }
    Node {
        name: NodeName::new(&format!("n-{at:04}")).expect("a name"),
        pool: PoolName::new(["small", "large"][dice.below(2) as usize]).expect("a name"),
        size: [1000, 2000].map(|size| Resources::new(Millicores::new(size), Bytes::mib(size)))
            [dice.below(2) as usize],
        attributes,
        state: if dice.one_in(10) { NodeState::Draining } else { NodeState::Ready },
        reason: String::new(),
        remove_when_empty: false,
        created_at: Timestamp::UNIX_EPOCH,
        state_since: Timestamp::UNIX_EPOCH,
        underused_since: None,
        made_for: String::new(),
    }
}

fn cluster(dice: &mut Dice) -> Cluster {
    let count = 1 + dice.below(40);
    let nodes: Vec<Node> = (0..count).map(|at| node(dice, at)).collect();
    let free: Vec<Resources> = nodes.iter().map(|_| dice.amount(41)).collect();
    let unused = free.iter().map(|&free| if dice.one_in(3) { dice.amount(41) } else { free }).collect();
    let crowded = nodes.iter().map(|_| dice.one_in(12)).collect();
    let closed = dice.one_in(4);
    let reserved = nodes.iter().map(|node| {
        let kept = closed && node.pool.as_str() == "large";
        if kept { vec!["shop".to_owned(), "db".to_owned()] } else { Vec::new() }
    });
    let reserved = reserved.collect();
    let there = (0..dice.below(20)).map(|_| There {
        at: dice.below(count) as usize,
        workload: dice.name(),
        revision: 1 + dice.below(2),
        active: !dice.one_in(4),
    });
    let there = there.collect();
    let mut repelled = BTreeMap::new();
    if dice.one_in(3) {
        let rule = Neighbour { workload: dice.name(), by: dice.by(), required: true };
        repelled.insert(dice.name(), vec![rule]);
    }
    Cluster { nodes, free, unused, crowded, reserved, there, repelled }
}

fn wishes(dice: &mut Dice) -> PlacementSpec {
    let mut spec = PlacementSpec::default();
    if dice.one_in(3) {
        let values = vec!["a".to_owned(), "c".to_owned()];
        spec.constraints.push(Constraint::is_in("zone", values));
    }
    if dice.one_in(6) {
        spec.constraints.push(Constraint::is_in("pool", vec!["small".to_owned()]));
    }
    if dice.one_in(3) {
        spec.strategy = Strategy::Spread;
    }
    if dice.one_in(3) {
        spec.spread_over = Some(SpreadOver { by: dice.by(), max_skew: 1 + dice.below(2) as u32 });
    }
    for rules in [&mut spec.affinity, &mut spec.anti_affinity] {
        for _ in 0..dice.below(3) {
            rules.push(Neighbour { workload: dice.name(), by: dice.by(), required: dice.one_in(3) });
        }
    }
    spec
}

impl Cluster {
    fn place_of(&self, at: usize, by: &str) -> Option<String> {
        if by == BY_NODE { Some(at.to_string()) } else { self.nodes[at].attributes.get(by).cloned() }
    }

    fn admits(&self, at: usize, ask: &Ask<'_>) -> bool {
        let node = &self.nodes[at];
        node.state == NodeState::Ready
            && admits(Some(ask.placement), ask.owner(), &node.pool, &node.attributes, &self.reserved[at])
                .is_ok()
    }

    fn of<'c>(&'c self, workload: &'c WorkloadName) -> impl Iterator<Item = &'c There> {
        self.there.iter().filter(move |there| there.workload == *workload)
    }

    /// Whether the rules about neighbours hold of a node, with the first `kept` of the preferred ones.
    fn neighbours(&self, at: usize, ask: &Ask<'_>, kept: usize) -> bool {
        let mut preferred = 0;
        let mut counts = |rule: &&Neighbour| {
            preferred += usize::from(!rule.required);
            rule.required || preferred <= kept
        };
        let own = ask.task.workload();
        let places = |rule: &Neighbour, active: bool| -> BTreeSet<String> {
            let there = self.of(&rule.workload).filter(|there| !active || there.active);
            there.filter_map(|there| self.place_of(there.at, &rule.by)).collect()
        };
        let is_in = |rule: &Neighbour, places: &BTreeSet<String>| {
            self.place_of(at, &rule.by).is_some_and(|place| places.contains(&place))
        };
        let near: Vec<_> = ask.placement.affinity.iter().filter(&mut counts).collect();
        let apart: Vec<_> = ask.placement.anti_affinity.iter().filter(&mut counts).collect();
        let repelled = self.repelled.get(own).into_iter().flatten();
        near.into_iter().all(|rule| {
            let nobody = !self.of(&rule.workload).any(|there| there.active);
            (nobody && rule.workload == *own) || is_in(rule, &places(rule, true))
        }) && apart.into_iter().chain(repelled).all(|rule| !is_in(rule, &places(rule, false)))
    }

    /// The tasks of its workload in each place that it may go to.
    fn counts(&self, ask: &Ask<'_>) -> BTreeMap<String, u32> {
        let Some(spread) = &ask.placement.spread_over else { return BTreeMap::new() };
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        for at in (0..self.nodes.len()).filter(|&at| self.admits(at, ask)) {
            if let Some(place) = self.place_of(at, &spread.by) {
                counts.entry(place).or_insert(0);
            }
        }
        let own = self
            .of(ask.task.workload())
            .filter(|there| there.active && there.revision == ask.revision && self.admits(there.at, ask));
        for place in own.filter_map(|there| self.place_of(there.at, &spread.by)) {
            *counts.entry(place).or_insert(0) += 1;
        }
        counts
    }

    /// The number of its tasks in the node's place, where one more may go there.
    fn evenness(&self, at: usize, ask: &Ask<'_>, counts: &BTreeMap<String, u32>) -> Option<u32> {
        let Some(spread) = &ask.placement.spread_over else { return Some(0) };
        let least = counts.values().copied().min().unwrap_or(0);
        let here = counts.get(&self.place_of(at, &spread.by)?)?;
        // Between single nodes, the fuller one is as good as the emptier one.
        (here - least < spread.max_skew).then_some(if spread.by == BY_NODE { 0 } else { *here })
    }

    fn scan(&self, ask: &Ask<'_>) -> Option<usize> {
        let rules = ask.placement.affinity.iter().chain(&ask.placement.anti_affinity);
        let soft = rules.filter(|rule| !rule.required).count();
        let counts = self.counts(ask);
        (0..=soft).rev().map(|kept| (kept, true)).chain([(0, false)]).find_map(|(kept, by_use)| {
            let fits = |&at: &usize| {
                !self.crowded[at]
                    && ask.request.fits(self.free[at])
                    && self.admits(at, ask)
                    && (!by_use || ask.expected.fits(self.unused[at]))
                    && self.neighbours(at, ask, kept)
            };
            let cost = |at: usize| {
                let (tier, size) = (self.evenness(at, ask, &counts)?, self.nodes[at].size);
                let own = self.of(ask.task.workload()).filter(|there| there.active && there.at == at);
                Some(match ask.placement.strategy {
                    Strategy::Pack => {
                        (tier, 0, dominant_share(self.free[at].saturating_sub(ask.request), size), at)
                    }
                    Strategy::Spread => {
                        (tier, own.count(), u64::MAX - dominant_share(self.free[at], size), at)
                    }
                })
            };
            (0..self.nodes.len()).filter(fits).filter_map(cost).min().map(|(.., at)| at)
        })
    }

    fn put(&mut self, ask: &Ask<'_>, at: usize) {
        self.free[at] = self.free[at].saturating_sub(ask.request);
        self.unused[at] = self.unused[at].saturating_sub(ask.expected);
        let (workload, revision) = (ask.task.workload().clone(), ask.revision);
        self.there.push(There { at, workload, revision, active: true });
    }
}

fn compare(seed: u64) -> Result<(), TestCaseError> {
    let before = cluster(&mut Dice(seed));
    let mut after = cluster(&mut Dice(seed));
    let mut dice = Dice(!seed);
    let specs: Vec<PlacementSpec> = (0..3).map(|_| wishes(&mut dice)).collect();
    let ids: Vec<TaskId> = (1..=25).map(|number| TaskId::new(dice.name(), number)).collect();
    let slots = before.nodes.iter().enumerate().map(|(at, node)| Slot {
        node,
        free: before.free[at],
        lent: Millicores::ZERO,
        unused: before.unused[at],
        crowded: before.crowded[at],
        reserved_for: &before.reserved[at],
    });
    let mut board = Board::new(slots.collect(), &before, &before.repelled);
    for task in &ids {
        let request = dice.amount(12);
        let expected = if dice.one_in(3) { request + dice.amount(6) } else { request };
        let placement = &specs[dice.below(3) as usize];
        let team = dice.one_in(2).then_some("shop");
        let revision = 1 + dice.below(2);
        let ask = Ask { task, team, revision, priority: 0, request, expected, placement };
        if dice.one_in(4) {
            // What an attempt that fails has done leaves no trace.
            let (first, second) = (dice.below(60) as usize, dice.below(60) as usize);
            let nothing = board.attempt(|board| {
                board.seat(&ask);
                board.close(first % board.len());
                board.attempt(|board| board.seat(&ask));
                board.attempt(|board| {
                    board.close(second % board.len());
                    board.seat(&ask);
                    None::<()>
                });
                None::<()>
            });
            prop_assert_eq!(nothing, None);
        }
        let wanted = after.scan(&ask);
        let found = board.place(&ask);
        prop_assert_eq!(found.as_ref().ok().copied(), wanted, "{} of seed {}", task, seed);
        if let Some(at) = wanted {
            after.put(&ask, at);
        } else if let Err(refused) = found {
            prop_assert_eq!(refused.waiting.nodes.len(), after.nodes.len().min(NODES_NAMED_MAX));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_index_places_as_a_plain_scan_does(seed in any::<u64>()) {
        compare(seed)?;
    }
}
