//! What the VPA estimator remembers of one workload. Not here: what it makes of it (`vpa_size`).
//!
//! In: samples and kills of all tasks of the workload. Out: a histogram of CPU, a histogram of memory
//! peaks, and how much history there is.
//!
//! Follows `pkg/recommender/model/{container,aggregate_container_state}.go` of the Kubernetes Vertical
//! Pod Autoscaler. Two differences: a repeated sample is dropped by memory too, not by CPU only; and a
//! kill proves use up to the limit and the kernel's peak, not only up to the request and the last sample.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::quantity::Bytes;
use crate::estimation::decaying_histogram::DecayingHistogram;
use crate::estimation::policy::{Kill, Observation};
use crate::estimation::vpa_parameters::VpaModel;

/// Fewer tasks than this are not worth looking through for those that ended.
const TASKS_KEPT: usize = 16;

/// The memory peak of one task in its current interval. Instants are milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct TaskWindow {
    /// When the interval ends; the peak counts as of this instant.
    end: i64,
    /// The newest sample.
    last: i64,
    /// The highest use that was sampled in it.
    peak: u64,
    /// The use that a kill in it made necessary.
    oom_peak: u64,
}

/// A kill for want of memory and what followed from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OomNote {
    /// When.
    pub at: Timestamp,
    /// What the task had used, as far as that is known.
    pub used: Bytes,
    /// The peak that was noted instead.
    pub needed: Bytes,
}

/// Everything that is remembered of a workload.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct VpaState {
    cpu: DecayingHistogram,
    memory: DecayingHistogram,
    /// By task number.
    tasks: BTreeMap<u64, TaskWindow>,
    /// The number of tasks at which those that ended are let go next.
    prune_at: usize,
    first: Option<i64>,
    last: Option<i64>,
    samples: u64,
    oom: Option<OomNote>,
}

impl VpaState {
    /// Takes in a sample of any task of the workload; tells whether it was used.
    pub fn observe(&mut self, model: &VpaModel, sample: &Observation) -> bool {
        let (at, task) = (sample.at.as_millisecond(), sample.task);
        if self.tasks.get(&task).is_some_and(|window| at <= window.last) {
            return false;
        }
        self.arrive(model, at);
        self.samples += 1;
        if let Some(cores) = sample.cpu.filter(|cores| cores.is_finite() && *cores >= 0.0) {
            self.cpu.add(model.cpu(), cores, model.parameters().cpu.sample_weight, at);
        }
        if let Some(bytes) = sample.memory.filter(|bytes| bytes.is_finite() && *bytes >= 0.0) {
            self.note_peak(model, task, at, Peak::Sampled(bytes as u64));
        }
        true
    }

    /// Takes in a kill; tells whether it was used. One from before the task's current interval is not.
    pub fn observe_oom(&mut self, model: &VpaModel, kill: &Kill) -> bool {
        let (at, task) = (kill.at.as_millisecond(), kill.task);
        let window = self.tasks.get(&task);
        if window.is_some_and(|window| at < window.end - model.memory_interval()) {
            return false;
        }
        // The peak of an earlier kill is left out: it was a guess, and guesses would pile up.
        let sampled = window.filter(|window| at < window.end).map(|window| Bytes::new(window.peak));
        let used = sampled.unwrap_or_default().max(Bytes::from_f64(kill.reached));
        let parameters = model.parameters();
        let needed = (used + Bytes::new(parameters.oom_bump_bytes))
            .max(Bytes::from_f64(used.as_f64() * parameters.oom_bump_ratio));
        self.arrive(model, at);
        self.note_peak(model, task, at, Peak::Needed(needed.get()));
        if self.oom.is_none_or(|note| note.at <= kill.at) {
            self.oom = Some(OomNote { at: kill.at, used, needed });
        }
        true
    }

    /// Joins what two states know of tasks of the same workload.
    pub fn merge(&mut self, model: &VpaModel, other: &Self) {
        self.cpu.merge(model.cpu(), &other.cpu);
        self.memory.merge(model.memory(), &other.memory);
        for (task, theirs) in &other.tasks {
            let newer = self.tasks.get(task).is_none_or(|ours| ours.last < theirs.last);
            if newer {
                self.tasks.insert(*task, theirs.clone());
            }
        }
        self.first = [self.first, other.first].into_iter().flatten().min();
        self.last = self.last.max(other.last);
        self.samples += other.samples;
        if other.oom.is_some_and(|theirs| self.oom.is_none_or(|ours| ours.at < theirs.at)) {
            self.oom = other.oom;
        }
    }

    /// CPU in cores.
    pub fn cpu(&self) -> &DecayingHistogram {
        &self.cpu
    }

    /// Memory peaks in bytes.
    pub fn memory(&self) -> &DecayingHistogram {
        &self.memory
    }

    /// Samples that were used.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// The last kill for want of memory.
    pub fn last_oom(&self) -> Option<OomNote> {
        self.oom
    }

    /// Days of history: the lesser of the days from the first sample to the last and the days that so
    /// many samples make.
    pub fn confidence_days(&self, model: &VpaModel) -> f64 {
        let (Some(first), Some(last)) = (self.first, self.last) else { return 0.0 };
        let lived = last.saturating_sub(first) as f64 / 86_400_000.0;
        lived.min(self.samples as f64 / f64::from(model.parameters().samples_per_day))
    }

    /// The bytes that it occupies, tasks included.
    pub fn size_in_memory(&self) -> usize {
        // A tree node holds 11 entries and is two thirds full on average.
        let tasks = self.tasks.len() * (size_of::<TaskWindow>() + size_of::<u64>()) * 3 / 2;
        size_of::<Self>() + self.cpu.memory() + self.memory.memory() - 2 * size_of::<DecayingHistogram>()
            + tasks
    }

    /// Whether it can have come from this model: for what is read from a disk.
    pub(super) fn is_sound(&self, model: &VpaModel) -> bool {
        self.cpu.is_sound(model.cpu()) && self.memory.is_sound(model.memory())
    }

    /// Notes that something came in, forgets everything after a silence as long as all intervals
    /// together, and lets go of tasks that ended.
    fn arrive(&mut self, model: &VpaModel, at: i64) {
        let interval = model.memory_interval();
        let silence = interval.saturating_mul(i64::from(model.parameters().memory_intervals));
        if self.last.is_some_and(|last| at.saturating_sub(last) > silence) {
            *self = Self::default();
        }
        self.first = Some(self.first.map_or(at, |first| first.min(at)));
        self.last = self.last.max(Some(at));
        if self.tasks.len() >= self.prune_at.max(TASKS_KEPT) {
            // Runs of a cron job are new tasks each time: without this, a day of them would stay. A task
            // that was silent for an hour (of a day's interval) is taken to have ended; its peak stays.
            let quiet = (interval / 24).max(60_000);
            self.tasks.retain(|_, window| at.saturating_sub(window.last) <= quiet);
            self.prune_at = 2 * self.tasks.len();
        }
    }

    /// Keeps one peak for each task and interval: a higher one takes the place of the one before.
    fn note_peak(&mut self, model: &VpaModel, task: u64, at: i64, peak: Peak) {
        let (scheme, weight) = (model.memory(), model.parameters().memory.sample_weight);
        let window = self.tasks.entry(task).or_insert(TaskWindow { end: at, last: at, peak: 0, oom_peak: 0 });
        window.last = window.last.max(at);
        if at < window.end {
            let before = window.peak.max(window.oom_peak);
            if peak.bytes() <= before {
                return;
            }
            self.memory.subtract(scheme, before as f64, weight, window.end);
        } else {
            let interval = model.memory_interval();
            window.end += ((at - window.end) / interval + 1) * interval;
            (window.peak, window.oom_peak) = (0, 0);
        }
        self.memory.add(scheme, peak.bytes() as f64, weight, window.end);
        match peak {
            Peak::Sampled(bytes) => window.peak = bytes,
            Peak::Needed(bytes) => window.oom_peak = bytes,
        }
    }
}

/// A peak of memory in bytes, and where it comes from.
#[derive(Clone, Copy)]
enum Peak {
    Sampled(u64),
    Needed(u64),
}

impl Peak {
    fn bytes(self) -> u64 {
        match self {
            Self::Sampled(bytes) | Self::Needed(bytes) => bytes,
        }
    }
}
