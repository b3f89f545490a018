//! What the owner of a service knows of its load ahead of time: a sale, a campaign, a holiday.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A time whose load people know more about than its past tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedEvent {
    /// What people call it.
    pub name: String,
    /// From this instant on.
    pub from: Timestamp,
    /// Before this one.
    pub until: Timestamp,
    /// The load of that time.
    pub load: PlannedLoad,
}

/// What the load is planned to be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlannedLoad {
    /// So many times what it would be else.
    Factor(f64),
    /// So many requests per second over all instances, whatever they would be else.
    Requests(f64),
}

impl PlannedEvent {
    /// Whether it goes on at an instant.
    pub fn is_on(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.until
    }
}
