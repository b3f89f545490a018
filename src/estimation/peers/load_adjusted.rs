//! Autopilot's moving window (Rzadca et al., 2020) and Nomad's `app-sizing-percentile`, which
//! publishes the same rule: percentiles of a histogram in which each sample weighs as much as it used,
//! fading by half in 48 h (memory) and 12 h (CPU); or, for memory, the highest use of some days.
//!
//! Not published, chosen here: what a kill does (the floor of `bumped` for a day), and Nomad's half-lives
//! (Autopilot's).

use std::collections::VecDeque;

use jiff::Timestamp;

use crate::estimation::decaying_histogram::{DecayingHistogram, Scheme};
use crate::estimation::histogram::Buckets;
use crate::estimation::peers::windows::{DayPeaks, KillFloor};
use crate::estimation::peers::{CPU_FLOOR, DAY, MEMORY_FLOOR, bumped};
use crate::estimation::policy::{Kill, Limits, Model, Observation};

/// Recommendations of the last hour count.
const HOUR: i64 = 3_600;

/// Weights are amounts; a core counts as so many, so that an idle task's weigh more than nothing.
const CORE_WEIGHT: f64 = 1e6;

/// Which memory the limit is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MemoryRule {
    /// The highest of so many days with usage.
    Highest(usize),
    /// A percentile (0 to 1) of the histogram.
    Percentile(f64),
}

/// The constants of one product.
#[derive(Debug, Clone)]
pub struct LoadAdjusted {
    /// Which memory.
    pub memory_rule: MemoryRule,
    /// Which CPU, a share from 0 to 1.
    pub cpu_percentile: f64,
    /// What the answers are multiplied by.
    pub margin: f64,
    /// Whether the highest answer of the last hour holds.
    pub hour_holds: bool,
    /// No answer before so many seconds of history.
    pub evaluate_after: i64,
    memory: Scheme,
    cpu: Scheme,
}

impl LoadAdjusted {
    fn new(memory_rule: MemoryRule, cpu_percentile: f64, margin: f64) -> Self {
        let scheme = |first, largest, hours: i64| Scheme {
            buckets: Buckets::exponential(first, largest, 1.05),
            half_life: hours * 3_600_000,
        };
        Self {
            memory_rule,
            cpu_percentile,
            margin,
            hour_holds: false,
            evaluate_after: 0,
            memory: scheme(1e7, 1e12, 48),
            cpu: scheme(0.01, 1000.0, 12),
        }
    }

    /// Autopilot's moving window: published are margins of 10 to 15 % and, for CPU, the 95th percentile.
    pub fn autopilot(memory_rule: MemoryRule, margin: f64) -> Self {
        Self { hour_holds: true, ..Self::new(memory_rule, 0.95, margin) }
    }

    /// Nomad's percentile strategy, published with 0.99 and no answer in the first 24 h.
    pub fn nomad(percentile: f64, margin: f64) -> Self {
        Self { evaluate_after: DAY, ..Self::new(MemoryRule::Percentile(percentile), percentile, margin) }
    }

    fn remember(&self, held: &mut VecDeque<(i64, f64)>, at: i64, value: Option<f64>) {
        let Some(value) = value.filter(|_| self.hour_holds) else { return };
        while held.back().is_some_and(|(_, before)| *before <= value) {
            held.pop_back();
        }
        while held.front().is_some_and(|(since, _)| at - since > HOUR) {
            held.pop_front();
        }
        held.push_back((at, value));
    }

    fn memory_now(&self, state: &LoadAdjustedState) -> Option<f64> {
        let value = match self.memory_rule {
            MemoryRule::Highest(_) => state.peaks.highest(),
            MemoryRule::Percentile(share) => state.memory.percentile(&self.memory, share),
        };
        value.map(|bytes| bytes * self.margin)
    }

    fn cpu_now(&self, state: &LoadAdjustedState) -> Option<f64> {
        state.cpu.percentile(&self.cpu, self.cpu_percentile).map(|cores| cores * self.margin)
    }
}

/// What is remembered of one workload.
#[derive(Debug, Clone, Default)]
pub struct LoadAdjustedState {
    first: Option<i64>,
    last: i64,
    peaks: DayPeaks,
    memory: DecayingHistogram,
    cpu: DecayingHistogram,
    killed: KillFloor,
    /// Answers of the last hour, each lower than the one before: the first is the highest.
    memory_held: VecDeque<(i64, f64)>,
    cpu_held: VecDeque<(i64, f64)>,
}

/// The highest answer of the last hour, of those that are kept.
fn highest_held(held: &VecDeque<(i64, f64)>, now: i64) -> Option<f64> {
    held.iter().find(|(since, _)| now - since <= HOUR).map(|(_, value)| *value)
}

impl Model for LoadAdjusted {
    type State = LoadAdjustedState;

    fn observe(&self, state: &mut LoadAdjustedState, observation: &Observation) {
        let (at, millis) = (observation.at.as_second(), observation.at.as_millisecond());
        state.first.get_or_insert(at);
        state.last = at;
        if let Some(bytes) = observation.memory {
            match self.memory_rule {
                MemoryRule::Highest(days) => state.peaks.add(bytes, at, days),
                MemoryRule::Percentile(_) => state.memory.add(&self.memory, bytes, bytes, millis),
            }
            let answer = self.memory_now(state);
            self.remember(&mut state.memory_held, at, answer);
        }
        if let Some(cores) = observation.cpu {
            state.cpu.add(&self.cpu, cores, cores * CORE_WEIGHT, millis);
            let answer = self.cpu_now(state);
            self.remember(&mut state.cpu_held, at, answer);
        }
    }

    fn observe_oom(&self, state: &mut LoadAdjustedState, kill: &Kill) {
        let (at, needed) = (kill.at.as_second(), bumped(kill.reached));
        match self.memory_rule {
            MemoryRule::Highest(days) => state.peaks.add(needed / self.margin, at, days),
            MemoryRule::Percentile(_) => {
                let millis = kill.at.as_millisecond();
                state.memory.add(&self.memory, needed / self.margin, needed / self.margin, millis);
                state.killed.raise(needed, at, at + DAY);
            }
        }
    }

    fn limits(&self, state: &LoadAdjustedState, now: Timestamp) -> Limits {
        let now = now.as_second();
        let young = state.first.is_none_or(|first| state.last - first < self.evaluate_after);
        if young {
            return Limits::default();
        }
        let floor = MEMORY_FLOOR.max(state.killed.at(now));
        let over_hour =
            |answer: Option<f64>, held| answer.map(|a| a.max(highest_held(held, now).unwrap_or(a)));
        Limits {
            memory: over_hour(self.memory_now(state), &state.memory_held).map(|bytes| bytes.max(floor)),
            cpu: over_hour(self.cpu_now(state), &state.cpu_held).map(|cores| cores.max(CPU_FLOOR)),
        }
    }
}
