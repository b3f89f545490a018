//! What the planner is asked and what it answers, in the engine's nouns.
//! Not here: how the answer is found.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use crate::domain::money::MicroCents;
use crate::domain::node::PoolName;
use crate::domain::node_type::Capacity;
use crate::domain::placement::PlacementSpec;
use crate::domain::quantity::Share;
use crate::domain::workload::WorkloadName;

/// Tasks that are alike.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskGroup {
    /// Whose they are. Groups of one workload count together where its rules are about its own tasks.
    pub workload: WorkloadName,
    /// Its team.
    pub team: Option<String>,
    /// How many.
    pub count: u32,
    /// Where not all have room, those of higher priority have it first.
    pub priority: i32,
    /// What one of them needs.
    pub need: Capacity,
    /// What they want of nodes and neighbours.
    pub placement: PlacementSpec,
}

/// Nodes that can be had.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// What it is called in the answer.
    pub name: String,
    /// The pool that its nodes would belong to.
    pub pool: PoolName,
    /// What a node of it has for tasks.
    pub capacity: Capacity,
    /// What a node of it costs per hour.
    pub price: MicroCents,
    /// What conditions can ask for, such as `zone` and `arch`.
    pub attributes: BTreeMap<String, String>,
    /// Teams and workloads that it is kept for; anybody's where empty.
    pub reserved_for: Vec<String>,
    /// Whether it may be taken away at any time.
    pub spot: bool,
    /// From asking for a node to its taking tasks.
    pub boot: Option<SignedDuration>,
    /// No more nodes than this can be had.
    pub limit: Option<u32>,
}

/// A node that is there.
#[derive(Debug, Clone, PartialEq)]
pub struct Existing {
    /// Its name.
    pub name: String,
    /// Its pool.
    pub pool: PoolName,
    /// What it has for tasks altogether.
    pub capacity: Capacity,
    /// What of it is free.
    pub free: Capacity,
    /// What it costs per hour.
    pub price: MicroCents,
    /// What conditions can ask for.
    pub attributes: BTreeMap<String, String>,
    /// Teams and workloads that it is kept for.
    pub reserved_for: Vec<String>,
    /// Whose tasks are on it, and how many.
    pub residents: BTreeMap<WorkloadName, u32>,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Tasks without a node.
    pub tasks: Vec<TaskGroup>,
    /// Nodes that can be had.
    pub offers: Vec<Offer>,
    /// Nodes that are there.
    pub nodes: Vec<Existing>,
    /// The share of every node that is kept free.
    pub headroom: Share,
    /// At most this share of the tasks of a workload, rounded down, goes to spot nodes.
    pub spot_share: Share,
    /// Nodes that take longer to boot are of no use.
    pub needed_within: Option<SignedDuration>,
}

impl Request {
    /// Tasks and offers, with no node there, no headroom, and spot nodes as good as any.
    pub fn new(tasks: Vec<TaskGroup>, offers: Vec<Offer>) -> Self {
        Self {
            tasks,
            offers,
            nodes: Vec::new(),
            headroom: Share::new(0.0),
            spot_share: Share::new(1.0),
            needed_within: None,
        }
    }

    /// All tasks.
    pub fn count(&self) -> u64 {
        self.tasks.iter().map(|group| u64::from(group.count)).sum()
    }
}

/// Which node of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// One of `Request::nodes`.
    Existing(usize),
    /// A new node of one of `Request::offers`.
    New(usize),
}

/// A node and the tasks that go there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedNode {
    /// The node.
    pub place: Place,
    /// Indices of `Request::tasks`, and how many of each.
    pub tasks: Vec<(usize, u32)>,
}

/// Why tasks have no place in a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// No node that is there or can be had meets their conditions.
    Conditions,
    /// No node that meets their conditions is large enough, even with nothing on it.
    TooLarge,
    /// Their neighbours or their evenness leave no place.
    Neighbours,
    /// They have to share a node with others, which plans do not arrange.
    Together,
    /// The nodes that would take them are full, and no more can be had.
    Full,
}

impl Why {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Conditions => "no node meets their conditions",
            Self::TooLarge => "no node that meets their conditions is large enough",
            Self::Neighbours => "their neighbours or their evenness leave no place",
            Self::Together => "plans do not arrange for tasks that must share a node with others",
            Self::Full => "the nodes that would take them are full and no more can be had",
        }
    }
}

/// Tasks without a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unplaced {
    /// An index of `Request::tasks`.
    pub group: usize,
    /// How many.
    pub count: u32,
    /// Why.
    pub why: Why,
}

/// Which nodes, and what goes where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterPlan {
    /// New nodes, and those that are there and get tasks.
    pub nodes: Vec<PlannedNode>,
    /// Tasks without a place.
    pub unplaced: Vec<Unplaced>,
}

impl ClusterPlan {
    /// What the new nodes cost per hour.
    pub fn price(&self, request: &Request) -> MicroCents {
        let price = |node: &PlannedNode| match node.place {
            Place::New(offer) => request.offers[offer].price,
            Place::Existing(_) => MicroCents::ZERO,
        };
        self.nodes.iter().map(price).sum()
    }

    /// How many tasks have a place.
    pub fn placed(&self) -> u64 {
        self.nodes.iter().flat_map(|node| &node.tasks).map(|&(_, count)| u64::from(count)).sum()
    }

    /// New nodes by offer.
    pub fn bought(&self) -> BTreeMap<usize, u32> {
        let mut bought = BTreeMap::new();
        for node in &self.nodes {
            if let Place::New(offer) = node.place {
                *bought.entry(offer).or_default() += 1;
            }
        }
        bought
    }
}
