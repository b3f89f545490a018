//! Usage to size: estimators and their parts.
//!
//! In: `UsageSample`s and kills for want of memory, in the order in which they became known.
//! Out: an `Estimate` for each workload: a recommended size with its reason, or why there is none.

pub mod catalogue;
pub mod decaying_histogram;
pub mod histogram;
pub mod jobs;
pub mod loadline;
pub mod node_peak;
pub mod peers;
pub mod policy;
pub mod policy_estimator;
pub mod profile;
mod sized;
pub mod vpa;
pub mod vpa_parameters;
mod vpa_size;
pub mod vpa_state;

use jiff::Timestamp;

use crate::domain::money::Prices;
use crate::domain::policy::SizeBounds;
use crate::domain::quantity::{Bytes, TaskSize};
use crate::domain::recommendation::Estimate;
use crate::domain::task::TaskId;
use crate::domain::usage::UsageSample;
use crate::domain::workload::WorkloadName;

/// A kill of a task, or of a process in it, for want of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OomKill {
    /// The task.
    pub task: TaskId,
    /// When it was killed.
    pub at: Timestamp,
    /// The memory request in force.
    pub request: Bytes,
    /// The memory limit in force: the kill proves that usage reached it. Absent where none was enforced.
    pub limit: Option<Bytes>,
    /// The highest use that the kernel counted, where it counts.
    pub peak: Option<Bytes>,
}

/// The workload that an estimate is asked for, with what the answer depends on besides usage.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The workload.
    pub workload: &'a WorkloadName,
    /// The size as its owner wrote it: limits keep its ratio of limit to request.
    pub declared: TaskSize,
    /// The size in force, to tell the price effect against.
    pub current: TaskSize,
    /// The bounds of its policy.
    pub bounds: SizeBounds,
    /// What resources cost.
    pub prices: Prices,
}

/// Why an estimator could not be made or restored.
#[derive(Debug, thiserror::Error)]
pub enum EstimationError {
    /// A parameter is out of its range.
    #[error("parameter {name} is {found}, expected {expected}")]
    Parameter {
        /// Its name.
        name: &'static str,
        /// What it is.
        found: f64,
        /// What it may be.
        expected: &'static str,
    },
    /// A fitted model holds what no fit could have written.
    #[error("the fitted model does not fit: {0}")]
    ModelUnfit(String),
    /// A checkpoint could not be written or read.
    #[error("the checkpoint is malformed")]
    Checkpoint(#[from] serde_json::Error),
    /// A checkpoint in bytes could not be written or read.
    #[error("the checkpoint is malformed")]
    CheckpointBytes(#[from] postcard::Error),
    /// A checkpoint holds what this estimator could not have written.
    #[error("the checkpoint does not fit: {0}")]
    CheckpointUnfit(String),
}

/// Turns usage into sizes. The same estimator serves the engine and a replay of a trace: what it
/// answers depends on what it was told before, and on nothing else.
pub trait Estimator: Send {
    /// Takes in one sample. A sample that is not newer than the last one of its task is dropped, so
    /// history may be told twice; values that are no finite amounts count as absent.
    fn observe(&mut self, sample: &UsageSample);

    /// Takes in a kill for want of memory. The same kill may be told again, and may have come as
    /// `oom_kills` of a sample too: it counts once.
    fn observe_oom(&mut self, kill: &OomKill);

    /// The size that it would choose at `now`, or why it says none.
    fn estimate(&self, subject: &Subject<'_>, now: Timestamp) -> Estimate;

    /// When a task of the workload was last killed for want of memory.
    fn last_oom(&self, workload: &WorkloadName) -> Option<Timestamp>;

    /// Drops what is known of a workload that is no more.
    fn forget(&mut self, workload: &WorkloadName);

    /// Whether what it knows can be written down. Where not, it is told the recorded history at each start.
    fn keeps_checkpoint(&self) -> bool {
        true
    }

    /// Everything that it knows; `restore` of it answers the same to the last bit.
    fn checkpoint(&self) -> Result<Vec<u8>, EstimationError>;

    /// Takes the place of what it knows. On an error nothing changes.
    fn restore(&mut self, checkpoint: &[u8]) -> Result<(), EstimationError>;
}
