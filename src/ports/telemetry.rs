//! What the engine tells of its own work, as counts and durations.

use std::time::Duration;

use crate::domain::decision::Decision;

/// Counts what the loops do. Calls are cheap and never fail.
pub trait Telemetry: Send + Sync {
    /// A loop finished a pass.
    fn pass(&self, controller: &'static str, took: Duration, failed: bool);

    /// The scheduler's plan had this many steps.
    fn planned(&self, steps: usize);

    /// A transaction was written.
    fn committed(&self, took: Duration);

    /// An agent was read, or could not be.
    fn scraped(&self, succeeded: bool);

    /// A decision was recorded.
    fn decided(&self, decision: &Decision);
}
