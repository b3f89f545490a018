//! KRR's strategy `simple` (Robusta, `robusta_krr/strategies/simple.py`): memory is the highest use of
//! 14 days times 1.15, CPU the 95th percentile of 14 days. It fades nothing and has no confidence.
//!
//! Differences: a kill counts as a higher peak (KRR leaves that off unless asked), days in which a
//! workload did not run push out none, percentiles come from buckets of 1 %.

use jiff::Timestamp;

use crate::estimation::histogram::Buckets;
use crate::estimation::peers::windows::{DayHistograms, DayPeaks};
use crate::estimation::peers::{CPU_FLOOR, MEMORY_FLOOR, bumped};
use crate::estimation::policy::{Kill, Limits, Model, Observation};

/// KRR with its constants.
#[derive(Debug, Clone)]
pub struct Krr {
    /// What the highest memory is multiplied by, published 1.15. CPU has no margin.
    pub margin: f64,
    /// Days that it looks back, published 14.
    pub days: usize,
    /// The share of CPU usage that the request covers, published 0.95.
    pub cpu_percentile: f64,
    buckets: Buckets,
}

impl Krr {
    /// The published constants but for these.
    pub fn new(margin: f64, days: usize, cpu_percentile: f64) -> Self {
        Self { margin, days, cpu_percentile, buckets: Buckets::exponential(0.001, 1000.0, 1.01) }
    }
}

/// What is remembered of one workload.
#[derive(Debug, Clone, Default)]
pub struct KrrState {
    memory: DayPeaks,
    cpu: DayHistograms,
}

impl Model for Krr {
    type State = KrrState;

    fn observe(&self, state: &mut KrrState, observation: &Observation) {
        let at = observation.at.as_second();
        if let Some(bytes) = observation.memory {
            state.memory.add(bytes, at, self.days);
        }
        if let Some(cores) = observation.cpu {
            state.cpu.add(&self.buckets, cores, at, self.days);
        }
    }

    fn observe_oom(&self, state: &mut KrrState, kill: &Kill) {
        state.memory.add(bumped(kill.reached) / self.margin, kill.at.as_second(), self.days);
    }

    fn limits(&self, state: &KrrState, _: Timestamp) -> Limits {
        let cpu = state.cpu.percentile(&self.buckets, self.cpu_percentile);
        Limits {
            memory: state.memory.highest().map(|peak| (peak * self.margin).max(MEMORY_FLOOR)),
            cpu: cpu.map(|cores| cores.max(CPU_FLOOR)),
        }
    }
}
