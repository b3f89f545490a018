//! How the engine's own parts are: its loops and its store.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::ports::store::StoreError;

/// How one of the engine's loops goes.
#[derive(Debug, Clone, PartialEq)]
pub struct LoopState {
    /// Its name in logs and metrics.
    pub name: &'static str,
    /// From one pass to the next without a signal.
    pub interval: Duration,
    /// Passes since the engine started.
    pub passes: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// How long ago the last one ended.
    pub ended_ago: Duration,
    /// How long it took.
    pub took: Duration,
    /// How long after it was due it began.
    pub late: Duration,
    /// The longest pass, and the latest beginning, since the engine started.
    pub worst: (Duration, Duration),
}

/// A kind of record that the store keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordKind {
    /// Its name, for example `usage`.
    pub name: &'static str,
    /// The oldest one that is kept.
    pub oldest: Option<Timestamp>,
    /// The newest one.
    pub newest: Option<Timestamp>,
    /// How long they are kept.
    pub kept: SignedDuration,
}

/// How the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreState {
    /// Bytes of its file and of the log beside it.
    pub bytes: u64,
    /// Bytes in it that are free again.
    pub free: u64,
    /// Bytes that are left where it is.
    pub disk_free: Option<u64>,
    /// The version of its tables.
    pub schema: u32,
    /// Rows of a kind that are kept at most.
    pub rows_max: usize,
    /// What it keeps.
    pub records: Vec<RecordKind>,
}

/// Tells of the engine's own parts. `store` blocks.
pub trait OwnState: Send + Sync {
    /// Its loops, by name.
    fn loops(&self) -> Vec<LoopState>;

    /// Its store.
    fn store(&self) -> Result<StoreState, StoreError>;
}
