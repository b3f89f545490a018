//! Everything that Loadline was told and everything that happened, on disk.

use jiff::Timestamp;

use crate::domain::change::RecordedChange;
use crate::domain::decision::{Decision, DecisionId, DecisionOutcome, Proposal};
use crate::domain::policy::PolicyMode;
use crate::domain::task::{Task, TaskId};
use crate::domain::workload::WorkloadName;
use crate::domain::world::{EntityKey, Run, RunKey, World};

/// Why the store did not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file is not a store, or it is damaged.
    #[error("{path} is damaged or not a Loadline store: {message}; it has not been changed")]
    Corrupt {
        /// The file.
        path: String,
        /// What is wrong.
        message: String,
    },
    /// The file was written by a newer Loadline.
    #[error(
        "{path} has schema version {found}, this Loadline knows versions up to {known}; it has not been changed"
    )]
    Newer {
        /// The file.
        path: String,
        /// Its version.
        found: u32,
        /// The newest version known.
        known: u32,
    },
    /// Another engine has it open.
    #[error("{path} is in use by another engine")]
    InUse {
        /// The file.
        path: String,
    },
    /// There is no room to write.
    #[error("cannot {operation}: no space is left for {path}; free some")]
    Full {
        /// What was tried.
        operation: String,
        /// The file.
        path: String,
    },
    /// An operation failed.
    #[error("cannot {operation}")]
    Failed {
        /// What was tried.
        operation: String,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A recorded change with its number: counted from 1 over the life of the store, without gaps within a
/// commit.
#[derive(Debug, Clone, PartialEq)]
pub struct NumberedChange {
    /// Its number.
    pub number: u64,
    /// The change.
    pub recorded: RecordedChange,
}

/// Which recorded changes are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// Of this workload only.
    pub workload: Option<WorkloadName>,
    /// Of this task only.
    pub task: Option<TaskId>,
    /// That a request with this idempotency key made.
    pub request: Option<String>,
    /// With a lower number than this.
    pub before: Option<u64>,
    /// With a higher number than this; then the oldest come first.
    pub after: Option<u64>,
    /// Newest first unless `after` is given, at most this many.
    pub limit: usize,
}

/// Keeps the world and its record. Calls block; the loops call them off the executor's threads.
/// What is acknowledged is on disk: a crash of the machine does not lose it.
pub trait Store: Send + Sync {
    /// The world as it was last committed.
    fn load(&self) -> Result<World, StoreError>;

    /// Appends changes to the record and writes the rows that they touched as they stand in `world`
    /// (gone rows are deleted, but tasks and runs stay for history), in one transaction. Tells the number
    /// of the first change; 0 where there was none.
    fn commit(
        &self,
        world: &World,
        touched: &[EntityKey],
        changes: &[RecordedChange],
    ) -> Result<u64, StoreError>;

    /// Recorded changes.
    fn events(&self, query: &EventQuery) -> Result<Vec<NumberedChange>, StoreError>;

    /// A small named document, for example an estimator's state; absent where none was put.
    fn document(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Puts a named document.
    fn put_document(&self, name: &str, content: &[u8]) -> Result<(), StoreError>;
}

/// Keeps decisions.
pub trait DecisionLog: Send + Sync {
    /// Records a decision and tells its number.
    fn record(
        &self,
        at: Timestamp,
        mode: PolicyMode,
        outcome: &DecisionOutcome,
        proposal: &Proposal,
    ) -> Result<DecisionId, StoreError>;

    /// Records what became of a decision.
    fn settle(&self, id: DecisionId, outcome: &DecisionOutcome) -> Result<(), StoreError>;

    /// One decision.
    fn decision(&self, id: DecisionId) -> Result<Option<Decision>, StoreError>;

    /// Decisions with a higher number than `after`, oldest first.
    fn decisions_after(&self, after: DecisionId, limit: usize) -> Result<Vec<Decision>, StoreError>;

    /// Decisions about a workload or pool, or about all; newest first.
    fn decisions(&self, subject: Option<&str>, limit: usize) -> Result<Vec<Decision>, StoreError>;
}

/// What may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Horizon {
    /// Tasks, runs, events and decisions from before this instant.
    pub records_before: Timestamp,
    /// Usage and load samples from before this instant.
    pub samples_before: Timestamp,
    /// Of each kind, all but the newest so many.
    pub keep: usize,
}

/// Which runs are wanted: those for which all that is given holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunQuery {
    /// Of this workload.
    pub workload: Option<WorkloadName>,
    /// With one of these outcomes, as `RunOutcome::as_str` calls them; any where empty.
    pub outcomes: Vec<String>,
    /// Planned or asked for at this instant or later.
    pub from: Option<Timestamp>,
    /// Planned or asked for before this instant.
    pub to: Option<Timestamp>,
    /// Asked for, or not.
    pub manual: Option<bool>,
    /// With this text in the workload's name or in the reason of the outcome, in capitals or not.
    pub text: Option<String>,
    /// Older than this run: the last one of the page before.
    pub before: Option<RunKey>,
    /// At most this many.
    pub limit: usize,
}

/// Tells what is no longer in the world: tasks and runs that ended.
pub trait Archive: Send + Sync {
    /// Tasks of a workload or of all, newest first.
    fn tasks(&self, workload: Option<&WorkloadName>, limit: usize) -> Result<Vec<Task>, StoreError>;

    /// Tasks that are no longer in the world and ended at an instant or later, in any order.
    fn tasks_ended_since(&self, from: Timestamp) -> Result<Vec<Task>, StoreError>;

    /// Runs of cron jobs and jobs; newest first.
    fn runs(&self, query: &RunQuery) -> Result<Vec<Run>, StoreError>;

    /// Deletes what is older than asked, and all but the newest of each kind; what the world still holds
    /// is kept. Tells how many rows.
    fn prune(&self, horizon: &Horizon) -> Result<u64, StoreError>;
}
