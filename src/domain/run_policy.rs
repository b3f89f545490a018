//! How runs of cron jobs and jobs are made up, overlap, are caught up on, retried and bounded.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::domain::quantity::Bytes;
use crate::domain::workload::{RestartPolicy, WorkloadName};

/// What happens when an occurrence is due while the last run still goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverlapPolicy {
    /// The new occurrence is recorded as skipped.
    Forbid,
    /// Both run.
    Allow,
    /// The old run is stopped, then the new one starts.
    Replace,
    /// The new one waits until the old one has ended.
    Queue,
}

/// What becomes of occurrences that nobody looked at in time, because no engine ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUpPolicy {
    /// They are recorded as missed.
    #[default]
    Skip,
    /// One run stands for all of them.
    Once,
    /// Each of them runs, one after the other, the newest ones up to a bound.
    All,
}

/// How a cron job catches up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatchUp {
    /// Which occurrences.
    pub policy: CatchUpPolicy,
    /// At most so many (`All`).
    pub max: u32,
    /// None that is later than this.
    pub deadline: SignedDuration,
}

impl Default for CatchUp {
    fn default() -> Self {
        Self { policy: CatchUpPolicy::Skip, max: 10, deadline: SignedDuration::from_hours(1) }
    }
}

/// How much more memory a retry gets after its predecessor was killed for want of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OomRetry {
    /// Request and limit of the try before, times this in percent.
    pub percent: u32,
    /// Neither is raised above this; four times the workload's own limit where absent.
    pub max: Option<Bytes>,
}

impl Default for OomRetry {
    fn default() -> Self {
        Self { percent: 150, max: None }
    }
}

/// How runs of a job are made up, retried and bounded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunPolicy {
    /// Retries of one run after a failure; of each task of it, where it has several.
    pub retries: u32,
    /// Waits between retries.
    pub restart: RestartPolicy,
    /// A try that lasts longer is stopped and counts as failed.
    pub time_limit: Option<SignedDuration>,
    /// More memory after a kill for want of it.
    #[serde(default)]
    pub oom: OomRetry,
    /// Tasks of one run, each with an index of its own.
    #[serde(default = "one")]
    pub count: u32,
    /// Tasks of one run at once; all where absent.
    #[serde(default)]
    pub max_parallel: Option<u32>,
    /// Runs at once; no bound where absent. Others wait.
    #[serde(default)]
    pub concurrency: Option<u32>,
    /// A run waits until each of these has succeeded since the run before.
    #[serde(default)]
    pub after: Vec<WorkloadName>,
}

fn one() -> u32 {
    1
}

impl RunPolicy {
    /// One task at a time, which depends on nothing.
    pub fn new(retries: u32, restart: RestartPolicy, time_limit: Option<SignedDuration>) -> Self {
        Self {
            retries,
            restart,
            time_limit,
            oom: OomRetry::default(),
            count: 1,
            max_parallel: None,
            concurrency: None,
            after: Vec::new(),
        }
    }
}

/// Occurrences that may wait, for specs of earlier versions.
pub(super) fn queue_max() -> u32 {
    10
}
