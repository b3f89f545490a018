//! The one interface between load and counts: what the engine runs and what a backtest replays.
//!
//! In: the load of a service and its instances as they are at one decision, and the terms that hold
//! then. Out: the count that it should have, and why. A policy remembers what it was told; it reads no
//! clock. Names, prices and decision records are added outside.
//!
//! - `hpa`: the Kubernetes Horizontal Pod Autoscaler v2, the very code of `scaling::horizontal`.
//! - `loadline`: the least instance-hours within a budget of time.
//! - `target_value`, `keda_cron`, `aws_predictive`, `autopilot`, `seasonal_hpa`: other peers, with their
//!   published constants; `bins`: what they keep of the past.
//! - `catalogue`: policies by name.

pub mod autopilot;
pub mod aws_predictive;
mod bins;
pub mod catalogue;
pub mod hpa;
pub mod keda_cron;
pub mod loadline;
pub mod seasonal_hpa;
pub mod target_value;

use serde::{Deserialize, Serialize};

/// A service as it is at a decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// When, in seconds since the epoch.
    pub at: i64,
    /// The load since the last decision, mean, in the unit of `Terms::capacity` (requests per second). Absent
    /// where the metric is missing, late or cannot be right; that is never a zero.
    pub load: Option<f64>,
    /// Instances that serve.
    pub ready: u32,
    /// Instances that were asked for and do not serve yet.
    pub starting: u32,
}

impl Seen {
    /// The count asked for: what serves and what is on its way.
    pub fn count(&self) -> u32 {
        self.ready + self.starting
    }
}

/// What holds at a decision.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// The load that one instance serves within its objective.
    pub capacity: f64,
    /// Seconds from asking for an instance until it serves.
    pub startup: f64,
    /// Seconds from one decision to the next.
    pub interval: f64,
    /// Never fewer.
    pub min: u32,
    /// Never more.
    pub max: u32,
}

impl Terms {
    /// `count` within the bounds.
    pub fn bounded(&self, count: u32) -> u32 {
        count.min(self.max).max(self.min)
    }

    /// Instances that serve `load` exactly, within the bounds.
    pub fn count_for(&self, load: f64) -> u32 {
        let count = (load / self.capacity).ceil();
        // Saturates at 0 and u32::MAX; NaN becomes 0.
        self.bounded(count as u32)
    }
}

/// Why a count.
#[derive(Debug, Clone, PartialEq)]
pub struct Reason {
    /// The rule that decided, as it stands in decisions.
    pub rule: &'static str,
    /// The arithmetic: names and values, the weightiest first.
    pub values: Vec<(&'static str, f64)>,
}

/// What a policy answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The count, within the bounds.
    pub count: u32,
    /// Why.
    pub reason: Reason,
}

/// Nothing is known of the load: the count stays.
pub const NO_LOAD: &str = "the load is not known";

/// Why something that was written down cannot be taken up.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It is not of this policy or version.
    #[error("the checkpoint is of another policy or version: {0}")]
    Unfit(String),
    /// Its bytes say nothing.
    #[error("the checkpoint cannot be read")]
    Bytes(#[from] postcard::Error),
}

/// Turns the load of one service into counts. What it answers depends on what it was told before, and on
/// nothing else. It is told of every decision, whether or not its answer was carried out.
pub trait CountPolicy: Send {
    /// The count from now on.
    fn decide(&mut self, seen: &Seen, terms: &Terms) -> Answer;

    /// Everything that it knows; `restore` of it answers the same to the last bit.
    fn checkpoint(&self) -> Result<Vec<u8>, CheckpointError>;

    /// Takes the place of what it knows. On an error nothing changes.
    fn restore(&mut self, checkpoint: &[u8]) -> Result<(), CheckpointError>;
}
