//! What is to be done next, with reasons: the answer of `scheduling::plan`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::change::Change;
use crate::domain::node::NodeName;
use crate::domain::placement::{Constraint, Neighbour};
use crate::domain::quantity::{Millicores, Resources};
use crate::domain::task::TaskId;

/// One change with its reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// What changes.
    pub change: Change,
    /// Why, in words.
    pub reason: String,
}

/// Why a node cannot take a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfit {
    /// It takes no tasks now.
    NotReady {
        /// Its state in a word.
        state: String,
    },
    /// It has another value of an attribute than the task wants.
    Attribute {
        /// What the task wants.
        constraint: Constraint,
        /// The value that it has.
        found: Option<String>,
    },
    /// It is kept for others.
    Reserved {
        /// Whom it is kept for.
        reserved_for: Vec<String>,
    },
    /// No task is there that the task is to be near.
    Apart(Neighbour),
    /// A task is there that is to be away from the task, or the other way round.
    Near(Neighbour),
    /// The workload would be less even over places than it may be.
    Skewed {
        /// The attribute that makes a place, or `node`.
        by: String,
        /// Tasks of the workload there.
        here: u32,
        /// Tasks of the workload in the emptiest place.
        least: u32,
    },
    /// What its tasks really use leaves too little memory.
    Crowded,
    /// Too little CPU or memory is free.
    Insufficient {
        /// Free on the node.
        free: Resources,
        /// The part that lacks: `cpu`, `memory` or `cpu and memory`.
        what: String,
        /// CPU that requests alone would leave, where room goes by predicted use.
        by_requests: Option<Millicores>,
    },
}

impl Misfit {
    /// A misfit without what differs from node to node, as the object of "have".
    pub fn in_total(&self) -> String {
        match self {
            Self::NotReady { state } => state.clone(),
            Self::Attribute { constraint, .. } => format!("not {constraint}"),
            Self::Reserved { .. } => "reserved for others".to_owned(),
            Self::Apart(neighbour) => format!("without {neighbour}"),
            Self::Near(neighbour) => format!("too near to {}", neighbour.workload),
            Self::Skewed { by, .. } => format!("in the way of an even spread over {by}s"),
            Self::Crowded => "using nearly all their memory".to_owned(),
            Self::Insufficient { what, .. } => format!("short of {what}"),
        }
    }
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotReady { state } => write!(f, "is {state}"),
            Self::Attribute { constraint, found } => {
                let found = found.as_deref().unwrap_or("nothing");
                write!(f, "has {} = {found}, wanted {}", constraint.attribute, constraint.wanted())
            }
            Self::Reserved { reserved_for } => write!(f, "is reserved for {}", reserved_for.join(", ")),
            Self::Apart(neighbour) => write!(f, "has no task of {neighbour}, which it has to be near"),
            Self::Near(neighbour) => write!(f, "has a task of {neighbour}, which it has to be away from"),
            Self::Skewed { by, here, least } => {
                write!(f, "has {here} tasks of it in its {by}, where another {by} has {least}")
            }
            Self::Crowded => write!(f, "really uses nearly all its memory"),
            Self::Insufficient { free, what, by_requests: None } => {
                write!(f, "has too little {what} free ({free})")
            }
            Self::Insufficient { free, what, by_requests: Some(least) } => {
                let words = format!("{free} by predicted use, {least} cores by requests");
                write!(f, "has too little {what} free ({words})")
            }
        }
    }
}

/// What a task waits for, in a word: the label of the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WaitKind {
    /// No node has the attributes.
    Attributes,
    /// The nodes that would do are kept for others.
    Reserved,
    /// There is no node, or none that takes tasks.
    Node,
    /// No node has the right neighbours.
    Neighbours,
    /// Only nodes where it would make its workload uneven have room.
    Spread,
    /// Only nodes whose memory is nearly used up have room.
    Crowded,
    /// No node has room.
    Room,
    /// Tasks of lower priority are making room.
    Preemption,
    /// Its team's quota is used up.
    Quota,
    /// It failed a short time ago.
    Backoff,
}

impl WaitKind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Attributes,
        Self::Reserved,
        Self::Node,
        Self::Neighbours,
        Self::Spread,
        Self::Crowded,
        Self::Room,
        Self::Preemption,
        Self::Quota,
        Self::Backoff,
    ];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Attributes => "attributes",
            Self::Reserved => "reserved",
            Self::Neighbours => "neighbours",
            Self::Spread => "spread",
            Self::Crowded => "crowded",
            Self::Room => "room",
            Self::Preemption => "preemption",
            Self::Quota => "quota",
            Self::Backoff => "backoff",
        }
    }

    /// Whether another node might help.
    pub fn wants_nodes(self) -> bool {
        !matches!(self, Self::Preemption | Self::Quota | Self::Backoff)
    }
}

/// Why a task is not running.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// The task.
    pub task: TaskId,
    /// The request that has to fit.
    pub request: Resources,
    /// What it waits for.
    pub kind: WaitKind,
    /// In words, in total.
    pub reason: String,
    /// Per node, where nodes were looked at; shared by tasks that wait for the same.
    pub nodes: Arc<Vec<(NodeName, Misfit)>>,
    /// What must hold of a new node for it to help, beyond what the task's spec says: where tasks of this
    /// and of other workloads are, leaves some places only.
    pub narrowed: Arc<Vec<Constraint>>,
}

/// Something that wants a person's eye.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// What it is, in a word or two: `overdue run`, `disaster`.
    pub kind: String,
    /// The workload that it is about, if it is about one.
    pub workload: Option<crate::domain::workload::WorkloadName>,
    /// In words.
    pub message: String,
    /// Since when.
    pub since: jiff::Timestamp,
}

/// What is to be done next.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// Changes in the order in which they are to be applied.
    pub steps: Vec<Step>,
    /// Tasks that could not be placed, in order of id.
    pub waiting: Vec<Waiting>,
    /// What wants a person's eye.
    pub alarms: Vec<Alarm>,
}
