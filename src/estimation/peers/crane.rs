//! Crane's resource recommender (`pkg/recommendation/recommender/resource`): the 99th percentile of CPU
//! and memory in histograms with buckets of one size that fade, plus 15 %; a kill for want of memory is
//! remembered for a week, at 1.2 times what was used.

use jiff::Timestamp;

use crate::estimation::decaying_histogram::{DecayingHistogram, Scheme};
use crate::estimation::histogram::Buckets;
use crate::estimation::peers::windows::KillFloor;
use crate::estimation::peers::{CPU_FLOOR, DAY, MEMORY_FLOOR, MIB};
use crate::estimation::policy::{Kill, Limits, Model, Observation};

/// Crane with its constants.
#[derive(Debug, Clone)]
pub struct Crane {
    percentile: f64,
    margin: f64,
    cpu: Scheme,
    memory: Scheme,
}

impl Crane {
    /// The published constants but for the percentile (0.99) and what it is multiplied by (1.15).
    pub fn new(percentile: f64, margin: f64) -> Self {
        let scheme = |size, largest, hours: i64| Scheme {
            buckets: Buckets::linear(size, largest),
            half_life: hours * 3_600_000,
        };
        Self {
            percentile,
            margin,
            cpu: scheme(0.1, 100.0, 24),
            memory: scheme(100.0 * MIB, 102_400.0 * MIB, 48),
        }
    }
}

/// What is remembered of one workload.
#[derive(Debug, Clone, Default)]
pub struct CraneState {
    cpu: DecayingHistogram,
    memory: DecayingHistogram,
    killed: KillFloor,
}

impl Model for Crane {
    type State = CraneState;

    fn observe(&self, state: &mut CraneState, observation: &Observation) {
        let at = observation.at.as_millisecond();
        if let Some(bytes) = observation.memory {
            state.memory.add(&self.memory, bytes, 1.0, at);
        }
        if let Some(cores) = observation.cpu {
            state.cpu.add(&self.cpu, cores, 1.0, at);
        }
    }

    fn observe_oom(&self, state: &mut CraneState, kill: &Kill) {
        let at = kill.at.as_second();
        state.killed.raise(kill.reached * 1.2, at, at + 7 * DAY);
    }

    fn limits(&self, state: &CraneState, now: Timestamp) -> Limits {
        let memory = state.memory.percentile(&self.memory, self.percentile);
        let cpu = state.cpu.percentile(&self.cpu, self.percentile);
        let floor = MEMORY_FLOOR.max(state.killed.at(now.as_second()));
        Limits {
            memory: memory.map(|bytes| (bytes * self.margin).max(floor)),
            cpu: cpu.map(|cores| (cores * self.margin).max(CPU_FLOOR)),
        }
    }
}
