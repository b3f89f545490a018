//! Finds what happened, page by page, newest first.

use jiff::Timestamp;

use crate::domain::decision::{Decision, DecisionId};
use crate::domain::task::{Task, TaskId};
use crate::domain::workload::WorkloadName;
use crate::domain::world::{Run, RunKey};
use crate::ports::store::StoreError;

/// Which runs are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunQuery {
    /// Of this cron job or job only.
    pub workload: Option<WorkloadName>,
    /// With this outcome only, by its word (`RunOutcome::as_str`).
    pub outcome: Option<String>,
    /// Planned or asked for at this instant or later.
    pub from: Option<Timestamp>,
    /// Planned or asked for before this instant.
    pub to: Option<Timestamp>,
    /// Only those that someone asked for, or only those of the schedule.
    pub manual: Option<bool>,
    /// With this text somewhere in the name or in why it ended as it did.
    pub text: Option<String>,
    /// Older than this one.
    pub before: Option<RunKey>,
    /// At most this many.
    pub limit: usize,
}

/// Which tasks that ended are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndedQuery {
    /// Of this workload only.
    pub workload: Option<WorkloadName>,
    /// This one only.
    pub task: Option<TaskId>,
    /// Made before this one.
    pub before: Option<(Timestamp, TaskId)>,
    /// At most this many.
    pub limit: usize,
}

/// Which decisions are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DecisionQuery {
    /// About this workload or pool only.
    pub subject: Option<String>,
    /// Made before this one.
    pub before: Option<DecisionId>,
    /// At most this many.
    pub limit: usize,
}

/// Finds what is kept. Calls block; they are made off the executor's threads.
pub trait Search: Send + Sync {
    /// Runs, active ones included.
    fn find_runs(&self, query: &RunQuery) -> Result<Vec<Run>, StoreError>;

    /// Tasks that ended.
    fn find_ended(&self, query: &EndedQuery) -> Result<Vec<Task>, StoreError>;

    /// Decisions.
    fn find_decisions(&self, query: &DecisionQuery) -> Result<Vec<Decision>, StoreError>;
}
