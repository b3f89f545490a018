//! What was measured, kept for estimates, reports and traces.

use jiff::Timestamp;

use crate::domain::load::LoadSample;
use crate::domain::usage::UsageSample;
use crate::domain::workload::WorkloadName;
use crate::ports::store::StoreError;

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

    /// Load samples from `from` (inclusive) to `to` (exclusive), of one service or of all, by time.
    fn load(
        &self,
        workload: Option<&WorkloadName>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<LoadSample>, StoreError>;
}
