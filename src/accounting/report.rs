//! The words of a report: rows by workload, sums by owner and in all. Made by `analytics`, shown by
//! `cli` and `api`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::accounting::amount::{Amounts, Recommended};
use crate::accounting::instances::InstanceCounts;
use crate::domain::money::MicroCents;
use crate::domain::quantity::Resources;
use crate::domain::workload::{Owner, WorkloadKind, WorkloadName};

/// What a window of time came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The window's start, inclusive.
    pub from: Timestamp,
    /// The window's end, exclusive.
    pub to: Timestamp,
    /// A row a workload that ran, the dearest idle first.
    pub rows: Vec<ReportRow>,
    /// A row an owner, the dearest first. They add up to `totals`.
    pub owners: Vec<OwnerRow>,
    /// Everything.
    pub totals: Sums,
}

/// What one workload came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReportRow {
    /// Its name.
    pub workload: WorkloadName,
    /// Its kind; absent where the workload is known from its samples alone.
    pub kind: Option<WorkloadKind>,
    /// Who pays.
    pub owner: Owner,
    /// The request recommended for each of its tasks.
    pub recommended_request: Option<Resources>,
    /// How many of its tasks ran over time.
    pub instances: InstanceCounts,
    /// The mean, over its requests, of the 95th percentile of latency in the sampling interval that
    /// the request fell in; in seconds. Absent without requests through the front door.
    pub latency_p95_seconds: Option<f64>,
    /// Its amounts.
    #[serde(flatten)]
    pub sums: Sums,
}

/// What the workloads of one owner came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OwnerRow {
    /// Team and cost centre together.
    pub owner: Owner,
    /// How many workloads.
    pub workloads: u32,
    /// Their amounts.
    #[serde(flatten)]
    pub sums: Sums,
}

/// Amounts, and what they would be at the recommended sizes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// What there was.
    pub amounts: Amounts,
    /// What the same task-hours would have requested at the recommended sizes. In a sum, a workload
    /// without a recommendation counts with what it requested; absent where none has one.
    pub recommended: Option<Recommended>,
    /// The price of what was requested less that of what is recommended; negative where the
    /// recommendation is the larger. Absent as above.
    pub saving_micro_cents: Option<MicroCents>,
}

impl Sums {
    /// Amounts with the saving that follows from a recommendation.
    pub fn new(amounts: Amounts, recommended: Option<Recommended>) -> Self {
        let saving = recommended.map(|recommended| amounts.price.requested - recommended.price);
        Self { amounts, recommended, saving_micro_cents: saving }
    }
}
