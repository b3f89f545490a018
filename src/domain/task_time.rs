//! What tasks had and used, step by step of time: the rows of the history that outlives the samples.
//!
//! A row says for how long a task ran in a step with one request, whether that was measured, and what of the
//! request was used. Everything is a whole number, so that rows add up to longer spans without a loss.

use jiff::{SignedDuration, Timestamp};

use crate::domain::node::NodeName;
use crate::domain::quantity::Resources;
use crate::domain::task::TaskId;
use crate::domain::workload::{Owner, WorkloadKind};

/// The length of a step. Steps begin at whole multiples of it since the epoch.
pub const STEP: SignedDuration = SignedDuration::from_mins(5);

/// The start of the step that an instant is in.
pub fn step_of(at: Timestamp) -> Timestamp {
    let step = STEP.as_secs();
    Timestamp::from_second(at.as_second().div_euclid(step) * step).unwrap_or(at)
}

/// The start of the first step that begins at an instant or later.
pub fn step_from(at: Timestamp) -> Timestamp {
    let step = step_of(at);
    if step == at { step } else { step.checked_add(STEP).unwrap_or(step) }
}

/// What holds for many rows: who ran where, for whom, with which request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TaskSeries {
    /// The task.
    pub task: TaskId,
    /// The node that it ran on; absent where none is known.
    pub node: Option<NodeName>,
    /// What its workload was; absent where that is not known.
    pub kind: Option<WorkloadKind>,
    /// Who owned the workload then.
    pub owner: Owner,
    /// What was reserved.
    pub request: Resources,
}

/// What was measured over a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measured {
    /// Nothing.
    Nothing,
    /// Memory alone.
    Memory,
    /// CPU and memory.
    Both,
}

impl Measured {
    /// As a number, as it is kept.
    pub fn code(self) -> i32 {
        match self {
            Self::Nothing => 0,
            Self::Memory => 1,
            Self::Both => 2,
        }
    }

    /// What a number stands for.
    pub fn of_code(code: i32) -> Option<Self> {
        [Self::Nothing, Self::Memory, Self::Both].into_iter().find(|measured| measured.code() == code)
    }
}

/// Time that a task ran with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskTime {
    /// The number of its series.
    pub series: u32,
    /// When its step or hour begins, in seconds since the epoch.
    pub start: i64,
    /// What was measured.
    pub measured: Measured,
    /// For how long it ran, in microseconds.
    pub micros: i64,
    /// CPU that was used of the request, in millicore-microseconds.
    pub cpu_within: i64,
    /// CPU that was used beyond it.
    pub cpu_over: i64,
    /// Memory that was used of the request, in byte-microseconds.
    pub memory_within: u128,
    /// Memory that was used beyond it.
    pub memory_over: u128,
}

/// Rows and the series that they belong to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskTimes {
    /// Series by number.
    pub series: Vec<TaskSeries>,
    /// Rows in any order.
    pub rows: Vec<TaskTime>,
}

impl TaskTimes {
    /// The time of all rows, in microseconds.
    pub fn micros(&self) -> i64 {
        self.rows.iter().map(|row| row.micros).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_begin_at_whole_multiples() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let (noon, five) = (at("2026-11-23T12:00:00Z"), at("2026-11-23T12:05:00Z"));
        assert_eq!((step_of(noon), step_from(noon)), (noon, noon));
        let within = at("2026-11-23T12:04:59.999999Z");
        assert_eq!((step_of(within), step_from(within)), (noon, five));
    }
}
