//! A change made, or one that would be made, with everything that it was decided from.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::money::MicroCents;
use crate::domain::node::PoolName;
use crate::domain::policy::PolicyMode;
use crate::domain::quantity::TaskSize;
use crate::domain::workload::WorkloadName;

/// The number of a decision, counted from 1 over the life of the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DecisionId(pub u64);

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_string())
    }
}

/// What is decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecisionKind {
    /// The size of a workload's tasks.
    Size {
        /// The workload.
        workload: WorkloadName,
        /// The size before.
        from: TaskSize,
        /// The size after.
        to: TaskSize,
    },
    /// The number of a service's instances.
    Count {
        /// The service.
        workload: WorkloadName,
        /// The count before.
        from: u32,
        /// The count after.
        to: u32,
    },
    /// The number of a pool's nodes.
    Pool {
        /// The pool.
        pool: PoolName,
        /// The target before.
        from: u32,
        /// The target after.
        to: u32,
    },
}

impl DecisionKind {
    /// The workload that it is about, if it is about one.
    pub fn workload(&self) -> Option<&WorkloadName> {
        match self {
            Self::Size { workload, .. } | Self::Count { workload, .. } => Some(workload),
            Self::Pool { .. } => None,
        }
    }

    /// What it is about, for tables: a workload's or a pool's name.
    pub fn subject(&self) -> &str {
        match self {
            Self::Size { workload, .. } | Self::Count { workload, .. } => workload.as_str(),
            Self::Pool { pool, .. } => pool.as_str(),
        }
    }
}

impl fmt::Display for DecisionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size { from, to, .. } => write!(f, "size {from} -> {to}"),
            Self::Count { from, to, .. } => write!(f, "instances {from} -> {to}"),
            Self::Pool { from, to, .. } => write!(f, "nodes {from} -> {to}"),
        }
    }
}

/// What became of a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecisionOutcome {
    /// Recorded only: the policy observes.
    Observed,
    /// Waits for someone's approval.
    AwaitingApproval,
    /// Carried out.
    Applied,
    /// A later decision on the same subject took its place.
    Superseded,
    /// Withheld: automatic changes of this kind were frozen.
    Frozen {
        /// By whom and why.
        reason: String,
    },
    /// Carried out, then taken back.
    Reverted {
        /// Why.
        reason: String,
    },
}

impl fmt::Display for DecisionOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Observed => f.pad("observed"),
            Self::AwaitingApproval => f.pad("awaiting approval"),
            Self::Applied => f.pad("applied"),
            Self::Superseded => f.pad("superseded"),
            Self::Frozen { reason } => write!(f, "withheld: {reason}"),
            Self::Reverted { reason } => write!(f, "reverted: {reason}"),
        }
    }
}

/// An answer that was considered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Where it comes from: a metric, a rule, a pool.
    pub source: String,
    /// The answer in words.
    pub answer: String,
    /// Whether it was chosen.
    pub chosen: bool,
}

/// A decision without its number, as the pure functions of `scaling` return it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// What is to change.
    pub kind: DecisionKind,
    /// The rule that bound the answer, for example `tolerance`, `max instances`, `memory p90`.
    pub rule: String,
    /// Why, in words.
    pub reason: String,
    /// What was known: names with values and units in words.
    pub inputs: BTreeMap<String, String>,
    /// Everything that was considered.
    pub candidates: Vec<Candidate>,
    /// Price per hour before.
    pub price_before: MicroCents,
    /// Price per hour after.
    pub price_after: MicroCents,
}

/// A recorded decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Its number.
    pub id: DecisionId,
    /// When it was made.
    pub at: Timestamp,
    /// How far automation was allowed to go.
    pub mode: PolicyMode,
    /// What became of it.
    pub outcome: DecisionOutcome,
    /// What was decided, and from what.
    pub proposal: Proposal,
}
