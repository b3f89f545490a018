//! What is remembered of one job: the newest peaks with what they may depend on, and the last kill.
//!
//! In: how attempts ended. Out: the same, bounded: at most 1 KiB, whatever comes.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::estimation::jobs::{RunEnd, RunOutcome};

/// Runs that are remembered of each job.
pub const RUNS_KEPT: usize = 48;
/// No peak counts as less: logarithms need something above 0.
const PEAK_LEAST: f64 = 4096.0;

/// A run that did its work. Memory and input as natural logarithms of bytes: sizes of runs differ by
/// factors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct KeptRun {
    /// ln of the peak in bytes.
    pub memory: f32,
    /// ln of the input's bytes; 0 where not known.
    pub input: f32,
    /// Cores; below 0 where not measured.
    pub cpu: f32,
    /// Hours.
    pub hours: f32,
}

/// Everything that is remembered of a job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct JobState {
    /// The newest runs that did their work, oldest first.
    runs: VecDeque<KeptRun>,
    /// Runs that did their work, ever.
    finished: u64,
    /// Attempts that were killed, ever.
    killed: u64,
    /// Bytes: the highest limit that a run is known to have reached, until `RUNS_KEPT` runs after it have
    /// done their work.
    reached: f64,
    /// Runs that have done their work since then.
    since_reached: u32,
}

impl JobState {
    /// Takes in how an attempt ended. What is no amount counts as not known.
    pub fn observe(&mut self, run: &RunOutcome) {
        match run.end {
            RunEnd::Killed => {
                self.killed += 1;
                self.reached = self.reached.max(amount(run.limit).unwrap_or_default());
                self.since_reached = 0;
            }
            RunEnd::Finished { peak } => {
                let Some(peak) = amount(peak) else { return };
                self.finished += 1;
                self.since_reached = self.since_reached.saturating_add(1);
                if self.since_reached as usize >= RUNS_KEPT {
                    self.reached = 0.0;
                }
                self.keep(KeptRun {
                    memory: peak.max(PEAK_LEAST).ln() as f32,
                    input: amount(run.input.unwrap_or_default()).map_or(0.0, |input| input.max(1.0).ln())
                        as f32,
                    cpu: run.cpu.filter(|cores| cores.is_finite() && *cores >= 0.0).unwrap_or(-1.0) as f32,
                    hours: amount(run.hours).unwrap_or_default() as f32,
                });
            }
        }
    }

    fn keep(&mut self, run: KeptRun) {
        if self.runs.capacity() < RUNS_KEPT {
            self.runs.reserve_exact(RUNS_KEPT - self.runs.len());
        }
        if self.runs.len() >= RUNS_KEPT {
            self.runs.pop_front();
        }
        self.runs.push_back(run);
    }

    /// The newest runs that did their work, oldest first.
    pub fn runs(&self) -> impl ExactSizeIterator<Item = &KeptRun> + Clone {
        self.runs.iter()
    }

    /// Runs that did their work, ever.
    pub fn finished(&self) -> u64 {
        self.finished
    }

    /// Attempts that were killed for want of memory, ever.
    pub fn killed(&self) -> u64 {
        self.killed
    }

    /// Bytes that some run is known to need more than, by a kill not too long ago; 0 without one.
    pub fn reached(&self) -> f64 {
        self.reached
    }

    /// The highest peak in bytes; 0 without any.
    pub fn highest(&self) -> f64 {
        self.runs.iter().map(|run| f64::from(run.memory).exp()).fold(0.0, f64::max)
    }

    /// Hours of a usual run: the mean, since what a size costs adds up over runs.
    pub fn hours(&self) -> f64 {
        if self.runs.is_empty() {
            return 0.0;
        }
        self.runs.iter().map(|run| f64::from(run.hours)).sum::<f64>() / self.runs.len() as f64
    }

    /// The cores that this share of the runs did not exceed, of those that were measured.
    pub fn cpu_percentile(&self, share: f64) -> Option<f64> {
        let mut cores: Vec<f32> = self.runs.iter().map(|run| run.cpu).filter(|cores| *cores >= 0.0).collect();
        cores.sort_by(f32::total_cmp);
        let place = ((cores.len() as f64 * share).ceil() as usize).clamp(1, cores.len().max(1));
        cores.get(place - 1).map(|cores| f64::from(*cores))
    }

    /// The bytes that it occupies.
    pub fn size_in_memory(&self) -> usize {
        size_of::<Self>() + self.runs.capacity() * size_of::<KeptRun>()
    }

    /// Whether it can have come from `observe`: for what is read from a disk.
    pub(super) fn is_sound(&self) -> bool {
        let fine = |run: &KeptRun| {
            (0.0..=60.0).contains(&run.memory)
                && (0.0..=90.0).contains(&run.input)
                && run.cpu.is_finite()
                && run.hours.is_finite()
                && run.hours >= 0.0
        };
        self.runs.len() <= RUNS_KEPT && self.runs.iter().all(fine) && self.reached.is_finite()
    }
}

/// A finite amount above 0.
fn amount(value: f64) -> Option<f64> {
    // Beyond this no memory or input goes; the logarithms kept stay in the range that is checked on reading.
    (value.is_finite() && value > 0.0).then(|| value.min(1e24))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(peak: f64) -> RunOutcome {
        RunOutcome {
            end: RunEnd::Finished { peak },
            limit: 1e9,
            hours: 0.5,
            cpu: Some(peak / 1e8),
            input: None,
        }
    }

    #[test]
    fn it_stays_under_a_kibibyte_and_keeps_the_newest() {
        let mut state = JobState::default();
        for run in 1..=1000 {
            state.observe(&finished(f64::from(run) * 1e6));
        }
        assert!(state.size_in_memory() < 1024, "{}", state.size_in_memory());
        assert_eq!((state.runs().len(), state.finished()), (RUNS_KEPT, 1000));
        assert!((state.highest() / 1e9 - 1.0).abs() < 1e-5);
        assert!((state.hours() - 0.5).abs() < 1e-9);
        let median = state.cpu_percentile(0.5).expect("measured");
        assert!((median - 9.76).abs() < 1e-5, "{median}: the 24th of 953 to 1000");
    }

    #[test]
    fn a_kill_is_remembered_until_enough_runs_have_done_their_work() {
        let mut state = JobState::default();
        state.observe(&RunOutcome { end: RunEnd::Killed, ..finished(1.0) });
        for _ in 1..RUNS_KEPT {
            state.observe(&finished(1e6));
        }
        assert_eq!((state.reached(), state.killed()), (1e9, 1));
        state.observe(&finished(1e6));
        assert!(state.reached() < 1.0);
    }

    #[test]
    fn what_is_no_amount_is_left_out() {
        let mut state = JobState::default();
        for peak in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            state.observe(&finished(peak));
        }
        assert_eq!(state, JobState::default());
        let odd = RunOutcome { hours: f64::NAN, cpu: Some(f64::NAN), input: Some(-3.0), ..finished(1e300) };
        state.observe(&odd);
        assert!(state.is_sound(), "{state:?}");
        assert_eq!((state.hours(), state.cpu_percentile(0.9)), (0.0, None));
    }
}
