//! What the engine tells of its own work, as counts and durations.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::change::Change;
use crate::domain::decision::Decision;
use crate::domain::plan::Waiting;
use crate::domain::scale_status::ScaleStatus;
use crate::domain::workload::WorkloadName;
use crate::domain::world::World;

/// How reading an agent went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScrapeOutcome {
    /// It gave a reading.
    Ok,
    /// It failed.
    Failed,
    /// There was no whole answer in time.
    Late,
}

/// A pass of a loop that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassDone {
    /// The loop.
    pub name: &'static str,
    /// From one pass to the next without a signal.
    pub interval: Duration,
    /// How long after it was due it began.
    pub late: Duration,
    /// How long it took.
    pub took: Duration,
    /// Whether it failed.
    pub failed: bool,
}

/// Counts what the loops do. Calls are cheap and never fail.
pub trait Telemetry: Send + Sync {
    /// A loop finished a pass.
    fn pass(&self, done: &PassDone);

    /// The scheduler's plan had this many steps.
    fn planned(&self, steps: usize);

    /// These tasks wait after the scheduler's plan.
    fn waiting(&self, tasks: &[Waiting]);

    /// A transaction was written, and the world is now as given.
    fn committed(&self, took: Duration, changes: &[&Change], world: &World);

    /// The world is as given, though nothing was written: the engine starts.
    fn shown(&self, world: &World);

    /// A hook was told something, or could not be.
    fn told(&self, hook: &str, delivered: bool);

    /// An agent was read, or could not be.
    fn scraped(&self, outcome: ScrapeOutcome);

    /// Counts stand as given, by service.
    fn scaling(&self, statuses: &BTreeMap<WorkloadName, ScaleStatus>);

    /// CPU is lent by predicted peaks of nodes: what came of the predictions so far, by name.
    fn lent(&self, figures: &[(&'static str, f64)]);

    /// A decision was recorded.
    fn decided(&self, decision: &Decision);
}
