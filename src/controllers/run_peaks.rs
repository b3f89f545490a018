//! Peaks of runs for the analyst. In: samples and ends of the tasks of runs. Out: sizes of cron jobs and
//! jobs, and the rungs of their retries.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::controllers::driver::chain;
use crate::domain::quantity::Bytes;
use crate::domain::recommendation::Estimate;
use crate::domain::task::{ExitRecord, ExitStatus, Task, TaskId};
use crate::domain::usage::UsageSample;
use crate::domain::workload::WorkloadName;
use crate::domain::world::World;
use crate::estimation::jobs::estimator::JobEstimator;
use crate::estimation::jobs::{RunEnd, RunOutcome};
use crate::estimation::{EstimationError, Subject};

/// The document that the state is kept in.
pub(super) const CHECKPOINT: &str = "run-peaks";

/// What was sampled of a task that runs.
#[derive(Debug, Clone, Copy, Default)]
struct Sampled {
    /// The largest working set.
    used: u64,
    /// The largest use with file cache: as much of the kernel's peak as samples have seen.
    seen: u64,
    /// The most cores.
    cpu: Option<f64>,
}

/// What is known of runs.
#[derive(Debug, Default)]
pub(super) struct RunPeaks {
    estimator: JobEstimator,
    tasks: BTreeMap<TaskId, Sampled>,
}

impl RunPeaks {
    /// Takes up where the last engine left off, if that can be read.
    pub(super) fn restored(checkpoint: Option<&[u8]>) -> Self {
        let mut peaks = Self::default();
        if let Some(checkpoint) = checkpoint
            && let Err(error) = peaks.estimator.restore(checkpoint)
        {
            tracing::warn!(error = %chain(&error), "peaks of runs begin anew");
        }
        peaks
    }

    pub(super) fn sampled(&mut self, world: &World, sample: &UsageSample) {
        let is_run = world.tasks.get(&sample.task).is_some_and(|task| task.run().is_some());
        if !is_run {
            return;
        }
        let task = self.tasks.entry(sample.task.clone()).or_default();
        let memory = sample.memory.get();
        let cache = sample.page_cache.map_or(0, Bytes::get);
        task.used = task.used.max(memory);
        task.seen = task.seen.max(memory.saturating_add(cache));
        let cores = sample.cpu_cores.filter(|cores| cores.is_finite());
        task.cpu = match (task.cpu, cores) {
            (Some(before), Some(cores)) => Some(before.max(cores)),
            (before, cores) => before.or(cores),
        };
    }

    /// Takes in how a task ended, if it was a try at a run and says something of its need.
    pub(super) fn ended(&mut self, task: &Task, exit: &ExitRecord) {
        if task.run().is_none() {
            return;
        }
        let sampled = self.tasks.remove(&task.id);
        let limit = exit.memory_limit.unwrap_or(task.size.memory_limit);
        let end = if exit.is_oom() {
            RunEnd::Killed
        } else if exit.status == Some(ExitStatus::Code(0)) {
            let Some(peak) = need(exit.peak_memory, sampled) else { return };
            RunEnd::Finished { peak: peak.as_f64() }
        } else {
            return;
        };
        let took = task.started_at.map_or(0.0, |started| exit.at.duration_since(started).as_secs_f64());
        let outcome = RunOutcome {
            end,
            limit: limit.as_f64(),
            hours: took.max(0.0) / 3600.0,
            cpu: sampled.and_then(|sampled| sampled.cpu),
            input: None,
        };
        self.estimator.observe_run(task.workload(), &outcome);
    }

    pub(super) fn retain(&mut self, world: &World) {
        self.tasks.retain(|task, _| world.tasks.contains_key(task));
    }

    pub(super) fn forget(&mut self, workload: &WorkloadName) {
        self.estimator.forget(workload);
    }

    pub(super) fn estimate(&self, subject: &Subject<'_>, now: Timestamp) -> Estimate {
        self.estimator.estimate(subject, now)
    }

    /// The rungs of a workload's retries, within its policy's bounds and what the largest node has.
    pub(super) fn rungs(&self, subject: &Subject<'_>, largest: Option<Bytes>) -> Vec<Bytes> {
        let most = [subject.bounds.max_memory, largest].into_iter().flatten().min();
        let most = most.unwrap_or(Bytes::new(u64::MAX));
        self.estimator.rungs(subject.workload, subject.current, subject.declared, most)
    }

    pub(super) fn checkpoint(&self) -> Result<Vec<u8>, EstimationError> {
        self.estimator.checkpoint()
    }
}

/// What a run needed. The kernel's peak has file cache in it, which it would have given back; samples tell the
/// cache apart but miss what lies between them. So: the largest sampled working set, and all of the peak
/// that no sample has seen.
fn need(peak: Option<Bytes>, sampled: Option<Sampled>) -> Option<Bytes> {
    match (peak, sampled) {
        (Some(peak), Some(sampled)) => {
            Some(Bytes::new(sampled.used.saturating_add(peak.get().saturating_sub(sampled.seen))))
        }
        (Some(peak), None) => Some(peak),
        (None, sampled) => sampled.map(|sampled| Bytes::new(sampled.used)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_cache_is_no_need_and_what_no_sample_saw_is() {
        let mib = |used: u64, seen: u64| Some(Sampled { used: used << 20, seen: seen << 20, cpu: None });
        assert_eq!(need(None, None), None);
        assert_eq!(need(Some(Bytes::mib(100)), None), Some(Bytes::mib(100)));
        assert_eq!(need(None, mib(30, 90)), Some(Bytes::mib(30)));
        assert_eq!(need(Some(Bytes::mib(90)), mib(30, 90)), Some(Bytes::mib(30)), "all of it was seen");
        assert_eq!(need(Some(Bytes::mib(100)), mib(30, 90)), Some(Bytes::mib(40)), "10 MiB were not");
        assert_eq!(need(Some(Bytes::mib(80)), mib(30, 90)), Some(Bytes::mib(30)));
    }
}
