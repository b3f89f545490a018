//! Backtests in the background of an engine: the record of samples past sizing policies.
//!
//! In: orders. Out: how far each is, and what it came to. One runs at a time, on a thread of its own that yields to
//! everything else; what it reads and keeps is bounded. Not here: the replay and its figures (`replay`), who may
//! ask for it (`api`).
//!
//! - `record`: samples of the engine as a trace.
//! - `run`: a trace past policies, with progress, to figures and curves.

mod record;
mod run;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ports::backtests::{
    BacktestError, BacktestOrder, BacktestPhase, BacktestResult, BacktestState, Backtests,
};
use crate::ports::clock::Clock;
use crate::ports::history::History;

/// Orders that wait beside the one that runs.
const WAITING_MAX: usize = 3;
/// Backtests that ended and are kept.
const KEPT_MAX: usize = 10;
/// How nice the thread is: what runs tasks and what decides about them goes first.
const NICENESS: i32 = 15;

/// Runs backtests over what a history has.
pub struct Backtester {
    bench: Arc<Bench>,
    history: Arc<dyn History>,
}

/// What is shared with the thread. It does not hold the history: a store is closed without waiting for it.
struct Bench {
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    last: u64,
    works: bool,
    waiting: VecDeque<Job>,
    states: VecDeque<(BacktestState, Arc<Progress>)>,
}

/// An order for the thread.
struct Job {
    id: u64,
    order: BacktestOrder,
    history: Arc<dyn History>,
    progress: Arc<Progress>,
}

/// How far a backtest is, and whether it is called off.
#[derive(Default)]
struct Progress {
    cancelled: AtomicBool,
    done: AtomicU64,
    all: AtomicU64,
}

impl Progress {
    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    fn share(&self) -> f64 {
        let all = self.all.load(Ordering::Relaxed);
        if all == 0 { 0.0 } else { (self.done.load(Ordering::Relaxed) as f64 / all as f64).min(1.0) }
    }
}

/// Why a backtest ended without a result.
enum Stopped {
    Cancelled,
    Failed(String),
}

impl Backtester {
    /// One that reads from `history`.
    pub fn new(history: Arc<dyn History>, clock: Arc<dyn Clock>) -> Self {
        Self { bench: Arc::new(Bench { clock, inner: Mutex::default() }), history }
    }
}

impl Drop for Backtester {
    fn drop(&mut self) {
        let mut inner = self.bench.lock();
        inner.waiting.clear();
        for (_, progress) in &inner.states {
            progress.cancelled.store(true, Ordering::Relaxed);
        }
    }
}

impl Backtests for Backtester {
    fn start(&self, order: BacktestOrder, by: &str) -> Result<BacktestState, BacktestError> {
        run::check(&order).map_err(BacktestError::Invalid)?;
        let mut inner = self.bench.lock();
        if inner.waiting.len() >= WAITING_MAX {
            let words = format!("{WAITING_MAX} backtests wait already: call one off, or come again");
            return Err(BacktestError::Busy(words));
        }
        inner.last += 1;
        let progress = Arc::<Progress>::default();
        let state = BacktestState {
            id: inner.last,
            order: order.clone(),
            by: by.to_owned(),
            asked_at: self.bench.clock.now(),
            ended_at: None,
            phase: BacktestPhase::Waiting,
            done: 0.0,
            problem: None,
            result: None,
        };
        let job =
            Job { id: state.id, order, history: Arc::clone(&self.history), progress: Arc::clone(&progress) };
        inner.states.push_front((state.clone(), progress));
        inner.forget();
        inner.waiting.push_back(job);
        if !inner.works {
            let bench = Arc::clone(&self.bench);
            let begun = std::thread::Builder::new().name("backtest".to_owned()).spawn(move || bench.work());
            if let Err(error) = begun {
                inner.waiting.pop_back();
                inner.states.pop_front();
                return Err(BacktestError::Busy(format!("there is no thread for it: {error}")));
            }
            inner.works = true;
        }
        Ok(state)
    }

    fn all(&self) -> Vec<BacktestState> {
        let inner = self.bench.lock();
        let told = |(state, progress): &(BacktestState, Arc<Progress>)| BacktestState {
            result: None,
            ..told(state, progress)
        };
        inner.states.iter().map(told).collect()
    }

    fn one(&self, id: u64) -> Result<BacktestState, BacktestError> {
        let inner = self.bench.lock();
        let found = inner.states.iter().find(|(state, _)| state.id == id);
        found.map(|(state, progress)| told(state, progress)).ok_or(BacktestError::Unknown(id))
    }

    fn cancel(&self, id: u64) -> Result<BacktestState, BacktestError> {
        let mut inner = self.bench.lock();
        let waits = inner.waiting.iter().position(|job| job.id == id);
        if let Some(place) = waits {
            inner.waiting.remove(place);
        }
        let now = self.bench.clock.now();
        let found = inner.states.iter_mut().find(|(state, _)| state.id == id);
        let (state, progress) = found.ok_or(BacktestError::Unknown(id))?;
        progress.cancelled.store(true, Ordering::Relaxed);
        if !state.phase.is_final() {
            (state.phase, state.ended_at) = (BacktestPhase::Cancelled, Some(now));
        }
        Ok(told(state, progress))
    }
}

/// A state with how far it is at this moment.
fn told(state: &BacktestState, progress: &Progress) -> BacktestState {
    let done = if state.phase == BacktestPhase::Done { 1.0 } else { progress.share() };
    BacktestState { done, ..state.clone() }
}

impl Inner {
    /// Drops the oldest of those that ended.
    fn forget(&mut self) {
        let ended = |(state, _): &(BacktestState, Arc<Progress>)| state.phase.is_final();
        while self.states.iter().filter(|state| ended(state)).count() > KEPT_MAX {
            let Some(oldest) = self.states.iter().rposition(ended) else { return };
            self.states.remove(oldest);
        }
    }
}

impl Bench {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one order after the other until there is none.
    fn work(&self) {
        // Of this thread only. One that cannot be made nicer works all the same.
        let _ = rustix::process::setpriority_process(None, NICENESS);
        while let Some(job) = self.next() {
            let (id, progress) = (job.id, Arc::clone(&job.progress));
            let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.carry_out(job)));
            let came_of = tried.unwrap_or_else(|_| Err(Stopped::Failed("the replay broke off".to_owned())));
            self.end(id, &progress, came_of);
        }
    }

    fn next(&self) -> Option<Job> {
        let mut inner = self.lock();
        let job = inner.waiting.pop_front();
        inner.works = job.is_some();
        job
    }

    fn carry_out(&self, job: Job) -> Result<BacktestResult, Stopped> {
        let Job { id, order, history, progress } = job;
        self.enter(id, BacktestPhase::Reading);
        let trace = record::trace(history.as_ref(), &order, &progress)?;
        drop(history);
        self.enter(id, BacktestPhase::Replaying);
        run::run(&trace, &order, &progress)
    }

    /// What was called off stays so.
    fn enter(&self, id: u64, phase: BacktestPhase) {
        let mut inner = self.lock();
        if let Some((state, _)) = inner.states.iter_mut().find(|(state, _)| state.id == id)
            && !state.phase.is_final()
        {
            state.phase = phase;
        }
    }

    fn end(&self, id: u64, progress: &Progress, came_of: Result<BacktestResult, Stopped>) {
        let now = self.clock.now();
        let mut inner = self.lock();
        let Some((state, _)) = inner.states.iter_mut().find(|(state, _)| state.id == id) else { return };
        if state.phase.is_final() {
            return;
        }
        state.ended_at = Some(now);
        state.phase = match came_of {
            _ if progress.is_cancelled() => BacktestPhase::Cancelled,
            Ok(result) => {
                state.result = Some(Arc::new(result));
                BacktestPhase::Done
            }
            Err(Stopped::Cancelled) => BacktestPhase::Cancelled,
            Err(Stopped::Failed(why)) => {
                state.problem = Some(why);
                BacktestPhase::Failed
            }
        };
        inner.forget();
    }
}

#[cfg(test)]
mod tests;
