//! What placement does with a few nodes and tasks.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::domain::node::{Node, NodeName, NodeState, PoolName};
use crate::domain::placement::{Constraint, Neighbour, PlacementSpec, SpreadOver, Strategy};
use crate::domain::plan::{Misfit, WaitKind};
use crate::domain::quantity::{Bytes, Millicores, Resources};
use crate::domain::task::TaskId;
use crate::domain::workload::WorkloadName;

fn amount(millicores: u64, mib: u64) -> Resources {
    Resources::new(Millicores::new(millicores), Bytes::mib(mib))
}

fn name(text: &str) -> WorkloadName {
    WorkloadName::new(text).expect("a name")
}

/// Nodes of 1000 millicores and 1000 MiB with what is free on them, and who is there.
struct Ground {
    nodes: Vec<Node>,
    free: Vec<Resources>,
    unused: Vec<Resources>,
    crowded: Vec<usize>,
    reserved_for: Vec<String>,
    there: HashMap<WorkloadName, Vec<(NodeName, bool)>>,
    repelled: BTreeMap<WorkloadName, Vec<Neighbour>>,
}

impl Residents for Ground {
    fn of(&self, workload: &WorkloadName) -> Vec<Resident<'_>> {
        let there = self.there.get(workload).into_iter().flatten();
        there.map(|(node, active)| Resident { node, revision: 1, active: *active }).collect()
    }
}

impl Ground {
    fn new(free: &[(u64, u64)]) -> Self {
        let nodes = free.iter().enumerate().map(|(at, _)| Node {
            name: NodeName::new(&format!("n-{at:03}")).expect("a name"),
            pool: PoolName::new("small").expect("a name"),
            size: amount(1000, 1000),
            attributes: BTreeMap::from([("disk".to_owned(), "ssd".to_owned())]),
            state: NodeState::Ready,
            reason: String::new(),
            remove_when_empty: false,
            created_at: Timestamp::UNIX_EPOCH,
            state_since: Timestamp::UNIX_EPOCH,
            underused_since: None,
            made_for: String::new(),
        });
        let nodes = nodes.collect();
        let free: Vec<_> = free.iter().map(|&(cpu, memory)| amount(cpu, memory)).collect();
        Self {
            nodes,
            unused: free.clone(),
            free,
            crowded: Vec::new(),
            reserved_for: Vec::new(),
            there: HashMap::new(),
            repelled: BTreeMap::new(),
        }
    }

    fn zones(mut self, zones: &[&str]) -> Self {
        for (node, zone) in self.nodes.iter_mut().zip(zones) {
            node.attributes.insert("zone".to_owned(), (*zone).to_owned());
        }
        self
    }

    fn with(mut self, workload: &str, at: usize, active: bool) -> Self {
        let node = self.nodes[at].name.clone();
        self.there.entry(name(workload)).or_default().push((node, active));
        self
    }

    fn board(&self) -> Board<'_> {
        let slots = self.nodes.iter().enumerate().map(|(at, node)| Slot {
            node,
            free: self.free[at],
            lent: Millicores::ZERO,
            unused: self.unused[at],
            crowded: self.crowded.contains(&at),
            reserved_for: &self.reserved_for,
        });
        Board::new(slots.collect(), self, &self.repelled)
    }

    /// Places tasks of a workload one after the other: the number of its node, or the reason.
    fn place(&self, workload: &str, asks: &[(u64, u64)], spec: &PlacementSpec) -> Vec<String> {
        let ids: Vec<TaskId> = (1..=asks.len()).map(|n| TaskId::new(name(workload), n as u64)).collect();
        let mut board = self.board();
        let mut found = Vec::new();
        for (task, &(cpu, memory)) in ids.iter().zip(asks) {
            found.push(match board.place(&plain(task, amount(cpu, memory), spec)) {
                Ok(at) => at.to_string(),
                Err(refused) => refused.waiting.reason,
            });
        }
        found
    }
}

fn plain<'a>(task: &'a TaskId, request: Resources, placement: &'a PlacementSpec) -> Ask<'a> {
    Ask { task, team: Some("shop"), revision: 1, priority: 0, request, expected: request, placement }
}

fn near(workload: &str, by: &str, required: bool) -> Neighbour {
    Neighbour { workload: name(workload), by: by.to_owned(), required }
}

#[test]
fn the_fullest_node_that_fits_is_taken() {
    let ground = Ground::new(&[(1000, 1000), (300, 300), (150, 900)]);
    assert_eq!(ground.place("web", &[(200, 200); 3], &PlacementSpec::default()), ["1", "0", "0"]);
}

#[test]
fn equal_nodes_tie_by_name() {
    let ground = Ground::new(&[(1000, 1000), (1000, 1000)]);
    assert_eq!(ground.place("web", &[(1, 1)], &PlacementSpec::default()), ["0"]);
}

#[test]
fn each_node_says_why_it_does_not_fit_and_the_total_counts_them() {
    let mut ground = Ground::new(&[(1000, 10), (1000, 1000), (1000, 20)]);
    ground.nodes[1].state = NodeState::Draining;
    let (task, spec) = (TaskId::new(name("web"), 1), PlacementSpec::default());
    let refused = ground.board().place(&plain(&task, amount(100, 100), &spec));
    let Err(Refused { waiting, .. }) = refused else { panic!("a node") };
    assert_eq!(waiting.reason, "0 of 3 nodes fit: 2 are short of memory, 1 is draining");
    assert_eq!(waiting.kind, WaitKind::Room);
    assert_eq!(waiting.nodes[1].1, Misfit::NotReady { state: "draining".to_owned() });
    assert!(waiting.nodes[0].1.to_string().contains("too little memory"));
    assert_eq!(Ground::new(&[]).place("web", &[(1, 1)], &spec), ["there is no node"]);
}

#[test]
fn attributes_and_the_pool_are_conditions() {
    let ground = Ground::new(&[(1000, 1000)]);
    let with = |attribute: &str, value: &str| PlacementSpec {
        constraints: vec![Constraint::is_in(attribute, vec![value.to_owned()])],
        ..PlacementSpec::default()
    };
    assert_eq!(ground.place("web", &[(1, 1)], &with("pool", "small")), ["0"]);
    let reason = "0 of 1 node fits: 1 is not pool = large";
    assert_eq!(ground.place("web", &[(1, 1)], &with("pool", "large")), [reason]);
}

#[test]
fn reserved_nodes_take_tasks_of_the_named_teams_and_workloads_only() {
    let mut ground = Ground::new(&[(1000, 1000)]);
    let plain = PlacementSpec::default();
    ground.reserved_for = vec!["data".to_owned(), "web".to_owned()];
    assert_eq!(ground.place("web", &[(1, 1)], &plain), ["0"]);
    assert_eq!(ground.place("api", &[(1, 1)], &plain), ["0 of 1 node fits: 1 is reserved for others"]);
    ground.reserved_for = vec!["shop".to_owned()];
    assert_eq!(ground.place("api", &[(1, 1)], &plain), ["0"]);
}

#[test]
fn spread_takes_the_node_with_the_fewest_of_its_tasks_then_the_emptiest() {
    let ground = Ground::new(&[(500, 500), (900, 900), (700, 700)]).with("web", 1, true);
    let spread = PlacementSpec { strategy: Strategy::Spread, ..PlacementSpec::default() };
    assert_eq!(ground.place("web", &[(100, 100); 4], &spread), ["2", "0", "1", "2"]);
}

#[test]
fn a_service_stays_even_over_zones_and_waits_rather_than_lean() {
    let ground = Ground::new(&[(1000, 1000), (1000, 1000), (250, 1000)]).zones(&["a", "a", "b"]);
    let spread_over = Some(SpreadOver { by: "zone".to_owned(), max_skew: 1 });
    let even = PlacementSpec { spread_over, ..PlacementSpec::default() };
    let reason = "0 of 3 nodes fit: 2 are in the way of an even spread over zones, 1 is short of cpu";
    // One each, then another in `a`; the next one belongs to `b`, which is full.
    assert_eq!(ground.place("web", &[(200, 1); 4], &even), ["0", "2", "0", reason]);
}

#[test]
fn required_neighbours_keep_a_task_waiting_and_preferred_ones_do_not() {
    let ground = Ground::new(&[(100, 1000), (1000, 1000)]).zones(&["a", "b"]).with("db", 0, true);
    let to = |rule| PlacementSpec { affinity: vec![rule], ..PlacementSpec::default() };
    let from = |rule| PlacementSpec { anti_affinity: vec![rule], ..PlacementSpec::default() };
    assert_eq!(ground.place("web", &[(50, 1), (90, 1)], &to(near("db", "node", false))), ["0", "1"]);
    let reason = "0 of 2 nodes fit: 1 is short of cpu, 1 is without db on the same zone";
    assert_eq!(ground.place("web", &[(50, 1), (90, 1)], &to(near("db", "zone", true))), ["0", reason]);
    assert_eq!(ground.place("web", &[(50, 1)], &from(near("db", "zone", true))), ["1"]);
    let reason = "0 of 2 nodes fit: 2 are too near to web";
    let alone = from(near("web", "node", true));
    assert_eq!(ground.place("web", &[(50, 1); 3], &alone), ["0", "1", reason]);
    assert_eq!(ground.place("web", &[(50, 1); 3], &from(near("web", "node", false))), ["0", "1", "0"]);
    // The first of those that want to be together goes anywhere, the others follow it.
    assert_eq!(ground.place("web", &[(60, 1); 2], &to(near("web", "zone", true)))[0], "0");
}

#[test]
fn others_keep_away_from_those_that_want_to_be_alone() {
    let mut ground = Ground::new(&[(1000, 1000)]).with("db", 0, false);
    ground.repelled.insert(name("web"), vec![near("db", "node", true)]);
    let reason = "0 of 1 node fits: 1 is too near to db";
    assert_eq!(ground.place("web", &[(50, 1)], &PlacementSpec::default()), [reason]);
}

#[test]
fn real_use_is_avoided_and_a_crowded_node_takes_nothing() {
    let mut ground = Ground::new(&[(500, 500), (1000, 1000)]);
    let plain = PlacementSpec::default();
    ground.unused[0] = amount(50, 500);
    assert_eq!(ground.place("web", &[(100, 1)], &plain), ["1"], "the fuller one is busy");
    ground.unused[1] = amount(10, 10);
    assert_eq!(ground.place("web", &[(100, 1)], &plain), ["0"], "busy ones are better than none");
    ground.crowded = vec![0, 1];
    assert_eq!(
        ground.place("web", &[(100, 1)], &plain),
        ["0 of 2 nodes fit: 2 are using nearly all their memory"]
    );
}

/// The search over all nodes, one by one.
fn by_hand(free: &[Resources], request: Resources) -> Option<usize> {
    let left = |at: &usize| dominant_share(free[*at].saturating_sub(request), amount(1000, 1000));
    (0..free.len()).filter(|&at| request.fits(free[at])).min_by_key(left)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_index_finds_what_a_search_over_all_nodes_finds(
        free in prop::collection::vec((0..1000_u64, 0..1000_u64), 0..40),
        asks in prop::collection::vec((1..400_u64, 1..400_u64), 1..60),
    ) {
        let ground = Ground::new(&free);
        let mut left: Vec<Resources> = ground.free.clone();
        let placed = ground.place("web", &asks, &PlacementSpec::default());
        for (found, &(cpu, memory)) in placed.iter().zip(&asks) {
            let request = amount(cpu, memory);
            match by_hand(&left, request) {
                Some(at) => {
                    prop_assert_eq!(found, &at.to_string());
                    left[at] = left[at].saturating_sub(request);
                }
                None => prop_assert!(found.contains("fit") || found.contains("no node"), "{}", found),
            }
        }
    }
}
