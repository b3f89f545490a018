//! What was measured, kept for estimates, reports and traces.

use jiff::{SignedDuration, Timestamp};

use crate::domain::load::LoadSample;
use crate::domain::quantity::Bytes;
use crate::domain::usage::UsageSample;
use crate::domain::workload::WorkloadName;
use crate::ports::store::StoreError;

/// What the tasks of a workload used in a part of a span of time, one task at an instant being one value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UsagePart {
    /// When the part begins.
    pub at: Timestamp,
    /// Samples in it, at least one.
    pub samples: u64,
    /// Mean of cores; absent where no sample has any.
    pub cpu_mean: Option<f64>,
    /// Highest cores.
    pub cpu_max: Option<f64>,
    /// Mean of working sets.
    pub memory_mean: Bytes,
    /// Highest working set.
    pub memory_max: Bytes,
}

/// Keeps samples. Calls block; the loops call them off the executor's threads.
pub trait History: Send + Sync {
    /// Adds samples; on disk when it returns.
    fn append(&self, usage: &[UsageSample], load: &[LoadSample]) -> Result<(), StoreError>;

    /// Usage samples from `from` (inclusive) to `to` (exclusive), of one workload or of all, by time.
    fn usage(
        &self,
        workload: Option<&WorkloadName>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<UsageSample>, StoreError>;

    /// Usage samples whose interval has something of the time from `from` to `to`, by time; those without an
    /// interval are left out.
    fn usage_touching(&self, from: Timestamp, to: Timestamp) -> Result<Vec<UsageSample>, StoreError>;

    /// When the oldest usage sample was taken.
    fn oldest_usage(&self) -> Result<Option<Timestamp>, StoreError>;

    /// A workload's usage from `from` (inclusive) to `to` (exclusive), cut into parts of `width` from `from`
    /// on; parts without a sample are left out.
    fn usage_course(
        &self,
        workload: &WorkloadName,
        from: Timestamp,
        to: Timestamp,
        width: SignedDuration,
    ) -> Result<Vec<UsagePart>, StoreError>;

    /// Load samples from `from` (inclusive) to `to` (exclusive), of one service or of all, by time.
    fn load(
        &self,
        workload: Option<&WorkloadName>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<LoadSample>, StoreError>;
}
