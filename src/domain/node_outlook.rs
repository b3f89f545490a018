//! What is to become of nodes: why each stays or goes, what holds it, and which changes are under way. Values
//! only; what they are is decided where nodes are (`scaling`).

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::node::{NodeName, PoolName};

/// What keeps a node from going.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blocker {
    /// More of it is requested than its pool's threshold.
    Used,
    /// It has been little used, but not for long enough.
    Resting,
    /// Its pool has its least number of nodes.
    Minimum,
    /// Its pool changed lately.
    Settling,
    /// A run on it would have to begin again.
    Run,
    /// A service on it has as many instances on the move as its policy lets be disrupted.
    Disruption,
    /// What moves costs more than the node saves.
    NotWorth,
    /// Something on it, or kept for it, would find no room elsewhere.
    NoRoom,
    /// Tasks of other nodes are to go there.
    Receives,
    /// Other nodes go first.
    Turn,
    /// A cheaper node that takes its place has to be there first.
    Replacement,
    /// Tasks wait for nodes.
    TasksWait,
    /// Changes are frozen.
    Frozen,
    /// A person drained it: it stays, without tasks, until somebody lets it take some again.
    ByHand,
}

impl Blocker {
    /// The word in tables and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Used => "used",
            Self::Resting => "resting",
            Self::Minimum => "minimum",
            Self::Settling => "settling",
            Self::Run => "run",
            Self::Disruption => "disruption",
            Self::NotWorth => "not worth",
            Self::NoRoom => "no room",
            Self::Receives => "receives",
            Self::Turn => "turn",
            Self::Replacement => "replacement",
            Self::TasksWait => "tasks wait",
            Self::Frozen => "frozen",
            Self::ByHand => "by hand",
        }
    }
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One thing that keeps a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// The kind.
    pub by: Blocker,
    /// In words.
    pub reason: String,
    /// When it ends, where that is known.
    pub until: Option<Timestamp>,
}

impl Block {
    /// One of which nobody knows when it ends.
    pub fn new(by: Blocker, reason: String) -> Self {
        Self { by, reason, until: None }
    }
}

/// Where a node is going.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prospect {
    /// It was asked for and is not there yet.
    Arriving,
    /// It stays as things stand.
    Stays,
    /// It leaves: its tasks move, or it is being removed.
    Leaves,
    /// It is gone.
    Gone,
}

impl Prospect {
    /// The word in tables and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Arriving => "arriving",
            Self::Stays => "stays",
            Self::Leaves => "leaves",
            Self::Gone => "gone",
        }
    }
}

/// What is to become of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeOutlook {
    /// Where it is going.
    pub prospect: Prospect,
    /// Everything that keeps it, as far as was looked: what comes after the first thing that holds may show
    /// only when that has ended.
    pub blocks: Vec<Block>,
    /// When it is expected, or before when it does not go; absent where nobody knows.
    pub not_before: Option<Timestamp>,
}

/// What happens to nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlannedKind {
    /// Nodes that a pool is to have and that were not asked for yet.
    Ask,
    /// One that was asked for.
    Join,
    /// One that is being emptied, and goes then.
    Empty,
    /// One that was told to go.
    Remove,
}

impl PlannedKind {
    /// The word in tables and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Join => "join",
            Self::Empty => "empty",
            Self::Remove => "remove",
        }
    }
}

/// A change of nodes that is decided and not done yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedChange {
    /// What happens.
    pub kind: PlannedKind,
    /// The pool.
    pub pool: PoolName,
    /// The node, where it has a name.
    pub node: Option<NodeName>,
    /// Nodes that it is about.
    pub nodes: u32,
    /// Tasks that have to leave first.
    pub tasks: u32,
    /// Since when.
    pub since: Option<Timestamp>,
    /// When it is expected to be done, where that is known.
    pub expected_at: Option<Timestamp>,
    /// Why, in words.
    pub reason: String,
}

/// What is to become of all nodes, as the last decision about them saw it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NodesOutlook {
    /// When that was; absent before the first one.
    pub at: Option<Timestamp>,
    /// Each node.
    pub nodes: BTreeMap<NodeName, NodeOutlook>,
    /// Changes under way.
    pub planned: Vec<PlannedChange>,
}
