//! Which schedules, moved by minutes, need fewer nodes: the answer. Not here: how it is computed
//! (`scaling::cron_advice`).

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::money::MicroCents;
use crate::domain::workload::WorkloadName;

/// A schedule that is better moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleShift {
    /// The cron job.
    pub workload: WorkloadName,
    /// Its schedule.
    pub schedule: String,
    /// By so many minutes; before where negative.
    pub minutes: i64,
    /// The schedule moved, where it can be written by changing its minute.
    pub becomes: Option<String>,
    /// What this move alone saves on that day, the others being made.
    pub saves: MicroCents,
}

/// What schedules need on the next day, and what moving them saves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CronAdvice {
    /// The day begins here.
    pub from: Timestamp,
    /// How far a schedule may be moved.
    pub most: SignedDuration,
    /// Cron jobs that are due on that day.
    pub jobs: usize,
    /// Nodes at the peak, as schedules are.
    pub peak_before: u32,
    /// When the peak is.
    pub peak_at: Timestamp,
    /// Nodes at the peak, with the moves.
    pub peak_after: u32,
    /// What nodes cost on that day, as schedules are.
    pub cost_before: MicroCents,
    /// What they cost with the moves.
    pub cost_after: MicroCents,
    /// The moves.
    pub shifts: Vec<ScheduleShift>,
    /// Jobs without a run so far: how long they take is not known, and a minute is assumed.
    pub unknown: Vec<WorkloadName>,
}
