//! Machines and the pools of equal machines that they come from.

use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::money::MicroCents;
use crate::domain::quantity::{Resources, Share};
use crate::domain::workload::name_type;

name_type!(
    /// The name of a node pool.
    PoolName
);
name_type!(
    /// The name of a node: `POOL-NUMBER` where Loadline made it.
    NodeName
);

/// A set of equal machines that can grow and shrink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolSpec {
    /// What one node offers to tasks.
    pub size: Resources,
    /// Never fewer nodes.
    pub min: u32,
    /// Never more nodes.
    pub max: u32,
    /// Price of one node and hour; from the engine's resource prices where absent.
    pub price_per_hour: Option<MicroCents>,
    /// Attributes that placement constraints can ask for.
    pub attributes: BTreeMap<String, String>,
    /// Teams and workloads that its nodes take tasks of; anybody's where empty.
    #[serde(default)]
    pub reserved_for: Vec<String>,
    /// A node with a smaller share of its requests in use (the greater of CPU and memory) can be
    /// emptied.
    pub scale_down_below: Share,
    /// For how long it must have been so.
    pub scale_down_after: SignedDuration,
    /// No node is added sooner after the last one was added.
    pub cooldown_up: SignedDuration,
    /// No node is removed sooner after the last change of the pool.
    pub cooldown_down: SignedDuration,
    /// Where its nodes come from.
    #[serde(default)]
    pub source: NodeSource,
}

/// Where the nodes of a pool come from. The default is the cluster itself: slices of this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSource {
    /// A provider of machines that the engine's settings name; the cluster itself where absent.
    #[serde(default)]
    pub provider: Option<String>,
    /// The group of that provider that machines come from; named as the pool where absent.
    #[serde(default)]
    pub group: Option<String>,
    /// Whether slices of this machine stand for the provider's machines once those run.
    #[serde(default)]
    pub rehearse: bool,
    /// A node that has not joined by then is given up; the engine's own limit where absent.
    #[serde(default)]
    pub join_timeout: Option<SignedDuration>,
}

impl NodeSource {
    /// Whether tasks can run on the nodes. Machines of a provider have no agent yet that would run them,
    /// unless slices of this machine stand for them.
    pub fn runs_tasks(&self) -> bool {
        self.provider.is_none() || self.rehearse
    }
}

impl PoolSpec {
    /// One node of the given size that neither comes nor goes.
    pub fn one_node(size: Resources) -> Self {
        Self {
            size,
            min: 1,
            max: 1,
            price_per_hour: None,
            attributes: BTreeMap::new(),
            reserved_for: Vec::new(),
            scale_down_below: Share::new(0.0),
            scale_down_after: SignedDuration::ZERO,
            cooldown_up: SignedDuration::ZERO,
            cooldown_down: SignedDuration::ZERO,
            source: NodeSource::default(),
        }
    }
}

/// A pool and how many nodes it should have now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePool {
    /// Its name.
    pub name: PoolName,
    /// What its nodes are.
    pub spec: PoolSpec,
    /// The number of nodes wanted, within `[min, max]`.
    pub target: u32,
    /// The number that the next node gets; never given twice.
    pub next_node: u64,
    /// When the target last went up.
    pub grown_at: Option<Timestamp>,
    /// When the target last went down.
    pub shrunk_at: Option<Timestamp>,
    /// Its nodes are to be drained and removed, then it is forgotten.
    pub deleted: bool,
    /// How often nodes of it did not join lately, and what follows for the next one.
    #[serde(default)]
    pub joins: JoinState,
    /// How often it had to grow again soon after it had shrunk, less once for each time that it had not:
    /// what was consolidated stays the longer.
    #[serde(default)]
    pub regrown: u32,
    /// Why it last grew, in words.
    #[serde(default)]
    pub grown_for: String,
}

/// The wait between changes of a pool doubles at most this often.
const REGROWN_MAX: u32 = 1;

impl NodePool {
    /// How long the pool stays as it is after a change, before a node of it may go: `cooldown_down`, doubled
    /// for each time that shrinking it turned out to be too soon.
    pub fn settles_in(&self) -> SignedDuration {
        let doubled = self.spec.cooldown_down.checked_mul(1 << self.regrown.min(REGROWN_MAX));
        doubled.unwrap_or(SignedDuration::MAX)
    }

    /// Learns from growth at this instant whether the last shrinking lasted.
    pub(super) fn learn_from_growth(&mut self, at: Timestamp) {
        let Some(shrunk) = self.shrunk_at.filter(|shrunk| self.grown_at.is_none_or(|grown| grown < *shrunk))
        else {
            return;
        };
        let soon = self.settles_in().checked_mul(2).unwrap_or(SignedDuration::MAX);
        self.regrown = if at.duration_since(shrunk) < soon {
            (self.regrown + 1).min(REGROWN_MAX)
        } else {
            self.regrown.saturating_sub(1)
        };
    }
}

/// How often the nodes of a pool did not come or did not join in time, in a row.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinState {
    /// Failures without a node in between that joined; nodes given up at one time are one failure.
    pub failures: u32,
    /// When the first of them was.
    pub since: Option<Timestamp>,
    /// No node is asked for before this.
    pub not_before: Option<Timestamp>,
    /// What the last failure was, in words.
    #[serde(default)]
    pub why: String,
}

impl JoinState {
    /// How long no node is asked for yet.
    pub fn wait(&self, now: Timestamp) -> Option<SignedDuration> {
        let wait = self.not_before?.duration_since(now);
        wait.is_positive().then_some(wait)
    }
}

/// Where a node is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// Asked for, not there yet.
    Joining,
    /// Takes tasks.
    Ready,
    /// Takes no new tasks; those that it has move elsewhere.
    Draining,
    /// Empty and told to go.
    Removing,
    /// Gone with everything on it.
    Lost,
}

impl NodeState {
    /// The word in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Removing => "removing",
            Self::Lost => "lost",
        }
    }
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A machine that tasks run on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// The pool that it belongs to.
    pub pool: PoolName,
    /// What it offers to tasks.
    pub size: Resources,
    /// Attributes that placement constraints can ask for.
    pub attributes: BTreeMap<String, String>,
    /// Where it is in its life.
    pub state: NodeState,
    /// Why it is there, in words.
    pub reason: String,
    /// Whether it is removed once drained, or stays until someone lets it take tasks again.
    pub remove_when_empty: bool,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it entered the state that it is in.
    pub state_since: Timestamp,
    /// Since when its use has been under the pool's `scale_down_below`.
    pub underused_since: Option<Timestamp>,
    /// Why it was asked for, in words; empty where an earlier version made it.
    #[serde(default)]
    pub made_for: String,
}
