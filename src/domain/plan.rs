//! What is to be done next, with reasons: the answer of `scheduling::plan`.

use serde::{Deserialize, Serialize};

use crate::domain::change::Change;
use crate::domain::node::NodeName;
use crate::domain::quantity::Resources;
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Misfit {
    /// It takes no tasks now.
    NotReady {
        /// Its state in a word.
        state: String,
    },
    /// It has another value of an attribute than the task wants.
    Attribute {
        /// The attribute.
        attribute: String,
        /// The values that are acceptable.
        wanted: Vec<String>,
        /// The value that it has.
        found: Option<String>,
    },
    /// Too little CPU or memory is free.
    Insufficient {
        /// Free on the node.
        free: Resources,
        /// The part that lacks: `cpu`, `memory` or `cpu and memory`.
        what: String,
    },
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotReady { state } => write!(f, "is {state}"),
            Self::Attribute { attribute, wanted, found } => {
                let found = found.as_deref().unwrap_or("nothing");
                write!(f, "has {attribute} = {found}, wanted {}", wanted.join(" or "))
            }
            Self::Insufficient { free, what } => write!(f, "has too little {what} free ({free})"),
        }
    }
}

/// Why a task is not running.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    /// The task.
    pub task: TaskId,
    /// The request that has to fit.
    pub request: Resources,
    /// In words, in total.
    pub reason: String,
    /// Per node, where nodes were looked at.
    pub nodes: Vec<(NodeName, Misfit)>,
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
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Changes in the order in which they are to be applied.
    pub steps: Vec<Step>,
    /// Tasks that could not be placed.
    pub waiting: Vec<Waiting>,
    /// What wants a person's eye.
    #[serde(default)]
    pub alarms: Vec<Alarm>,
}
