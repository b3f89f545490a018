//! Sizes of batch work: one model per peak of a run, not per instant.
//!
//! In: how runs ended, in the order in which it became known. Out: the memory that the next run gets, and
//! the memory of its retry after a kill. A run is an attempt to do some work once: of a cron job, of a
//! job, or a row of a trace of batch tasks.
//!
//! - `state`: what is remembered of one job, under 1 KiB.
//! - `tail`: from what is remembered to the chance that the next peak is above a size.
//! - `ladder`: Loadline's own choice, the size of least expected cost.
//! - `peers`: the rules of others, behind the same trait.
//! - `catalogue`: all of them by name.
//! - `estimator`: by the names of workloads, with words, for the engine.

pub mod catalogue;
pub mod estimator;

pub mod ladder;
pub mod peers;
pub mod state;
pub mod tail;

/// The number of a job: dense, from 0, given by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobIndex(pub u32);

/// What is known of a run before it begins.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Ask {
    /// Bytes that its owner asks for.
    pub memory: f64,
    /// Bytes of its input, where known.
    pub input: Option<f64>,
}

/// How an attempt at a run ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RunEnd {
    /// It did its work; the highest use of memory in bytes.
    Finished {
        /// Bytes.
        peak: f64,
    },
    /// It was killed for want of memory: its use reached the limit, and what it would have used is not
    /// known.
    Killed,
}

/// An attempt at a run that has ended. One that failed for another reason is not told: what it would
/// have used is not known either, and nothing says that it needed more than it had.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunOutcome {
    /// How it ended.
    pub end: RunEnd,
    /// The limit in bytes that it ran with.
    pub limit: f64,
    /// How long it took, in hours.
    pub hours: f64,
    /// Cores, the highest mean over an interval of measurement, where measured.
    pub cpu: Option<f64>,
    /// Bytes of its input, where known.
    pub input: Option<f64>,
}

/// Turns peaks of runs into sizes. What it answers depends on what it was told before, and on nothing
/// else; asking changes nothing.
pub trait JobPolicy: Send {
    /// Takes in how an attempt ended.
    fn observe_run(&mut self, job: JobIndex, run: &RunOutcome);

    /// Bytes for the first attempt at a run.
    fn first_size(&self, job: JobIndex, ask: &Ask) -> f64;

    /// Bytes for the attempt after `attempt` (from 1), which was killed at `limit`. More than `limit`.
    fn retry_size(&self, job: JobIndex, ask: &Ask, attempt: u32, limit: f64) -> f64;

    /// Drops what is known of a job that is no more; its number may be given to another.
    fn forget(&mut self, job: JobIndex);
}

/// States by the dense numbers of jobs.
#[derive(Debug, Clone, Default)]
pub(crate) struct ByJob<S> {
    states: Vec<S>,
}

impl<S: Default> ByJob<S> {
    pub(crate) fn get(&self, job: JobIndex) -> Option<&S> {
        self.states.get(job.0 as usize)
    }

    pub(crate) fn of(&mut self, job: JobIndex) -> &mut S {
        let place = job.0 as usize;
        if place >= self.states.len() {
            self.states.resize_with(place + 1, S::default);
        }
        &mut self.states[place]
    }
}
