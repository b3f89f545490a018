//! Finds what happened, page by page, newest first.

use jiff::Timestamp;

use crate::domain::decision::{Decision, DecisionId};
use crate::domain::task::{Task, TaskId};
use crate::domain::workload::WorkloadName;
use crate::ports::store::StoreError;

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
    /// Tasks that ended.
    fn find_ended(&self, query: &EndedQuery) -> Result<Vec<Task>, StoreError>;

    /// Decisions.
    fn find_decisions(&self, query: &DecisionQuery) -> Result<Vec<Decision>, StoreError>;
}
