//! Peaks of runs for the analyst. In: samples and ends of the tasks of runs. Out: sizes of cron jobs and
//! jobs, and the rungs of their retries.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::controllers::driver::chain;
use crate::domain::quantity::Bytes;
use crate::domain::recommendation::Estimate;
use crate::domain::task::{ExitRecord, ExitStatus, Task, TaskId, TaskState};
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

/// A task that tries to do a run. Ended tasks leave the world at once, so what is needed of them is noted here.
#[derive(Debug, Clone)]
struct Try {
    limit: Bytes,
    started: Option<Timestamp>,
    sampled: Option<Sampled>,
    ended: Option<ExitRecord>,
}

/// What is known of runs.
#[derive(Debug, Default)]
pub(super) struct RunPeaks {
    estimator: JobEstimator,
    tasks: BTreeMap<TaskId, Try>,
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

    /// Notes a task, if it tries to do a run.
    pub(super) fn began(&mut self, task: &Task) {
        if task.run().is_some() && !task.state.is_terminal() {
            let (limit, started) = (task.size.memory_limit, task.started_at);
            let new = Try { limit, started, sampled: None, ended: None };
            self.tasks.entry(task.id.clone()).or_insert(new);
        }
    }

    /// Notes the tasks of a world, and lets those go that it does not have.
    pub(super) fn look(&mut self, world: &World) {
        self.tasks.retain(|task, tried| tried.ended.is_some() || world.tasks.contains_key(task));
        world.tasks.values().for_each(|task| self.began(task));
    }

    /// Takes in that a task moved on. How its run went is told by `settle`, once its last samples are here.
    pub(super) fn moved(
        &mut self,
        task: &TaskId,
        state: TaskState,
        exit: Option<&ExitRecord>,
        at: Timestamp,
    ) {
        let Some(tried) = self.tasks.get_mut(task) else { return };
        if matches!(state, TaskState::Starting | TaskState::Running) {
            tried.started.get_or_insert(at);
        }
        match exit {
            Some(exit) if state.is_terminal() => tried.ended = Some(exit.clone()),
            None if state.is_terminal() => drop(self.tasks.remove(task)),
            _ => {}
        }
    }

    pub(super) fn sampled(&mut self, sample: &UsageSample) {
        let Some(tried) = self.tasks.get_mut(&sample.task) else { return };
        let task = tried.sampled.get_or_insert_default();
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

    /// Takes in how the tasks that ended did, those that say something of their need.
    pub(super) fn settle(&mut self) {
        let over: Vec<TaskId> = self
            .tasks
            .iter()
            .filter(|(_, tried)| tried.ended.is_some())
            .map(|(task, _)| task.clone())
            .collect();
        for task in over {
            let Some(tried) = self.tasks.remove(&task) else { continue };
            if let Some(outcome) = tried.outcome() {
                self.estimator.observe_run(task.workload(), &outcome);
            }
        }
    }

    pub(super) fn forget(&mut self, workload: &WorkloadName) {
        self.tasks.retain(|task, _| task.workload() != workload);
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

impl Try {
    fn outcome(&self) -> Option<RunOutcome> {
        let exit = self.ended.as_ref()?;
        let end = if exit.is_oom() {
            RunEnd::Killed
        } else if exit.status == Some(ExitStatus::Code(0)) {
            RunEnd::Finished { peak: need(exit.peak_memory, self.sampled)?.as_f64() }
        } else {
            return None;
        };
        let took = self.started.map_or(0.0, |started| exit.at.duration_since(started).as_secs_f64());
        Some(RunOutcome {
            end,
            limit: exit.memory_limit.unwrap_or(self.limit).as_f64(),
            hours: took.max(0.0) / 3600.0,
            cpu: self.sampled.and_then(|sampled| sampled.cpu),
            input: None,
        })
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
