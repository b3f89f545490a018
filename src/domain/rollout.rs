//! The revisions of a workload, and the way of a service from one to the next.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::workload::WorkloadSpec;

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// A person or program, by the name that it gave.
    User(String),
    /// The engine itself.
    Engine,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::User(name) => name,
            Self::Engine => "engine",
        })
    }
}

/// One immutable version of a workload's spec.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Revision {
    /// Counted from 1.
    pub number: u64,
    /// The spec.
    pub spec: WorkloadSpec,
    /// When it came.
    pub at: Timestamp,
    /// Who brought it.
    pub by: Actor,
}

/// Where a rollout stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutState {
    /// Instances are being replaced.
    InProgress,
    /// Every instance is of the new revision.
    Done,
    /// The new revision did not become healthy; the service is back on the old one.
    RolledBack {
        /// Why.
        reason: String,
    },
    /// The new revision did not become healthy and there is none to go back to; its instances are
    /// tried on, and it is done once they are healthy after all.
    Failing {
        /// Why.
        reason: String,
    },
    /// A newer revision came before this one was done.
    Superseded,
}

impl RolloutState {
    /// Whether it still moves.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::InProgress | Self::Failing { .. })
    }
}

/// The way of a service from one revision to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// The last revision that was healthy, to go back to; absent for the first one.
    pub from: Option<u64>,
    /// The new revision.
    pub to: u64,
    /// Where it stands.
    pub state: RolloutState,
    /// When it began.
    pub started_at: Timestamp,
    /// When an instance of the new revision last became ready.
    pub progressed_at: Timestamp,
    /// Tasks of the new revision that failed during it.
    pub failures: u32,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

impl Rollout {
    /// The newest revision known to be healthy, as far as this rollout tells.
    pub fn last_healthy(&self) -> Option<u64> {
        if self.state == RolloutState::Done { Some(self.to) } else { self.from }
    }
}
