//! The one interface between usage and sizes: what the engine runs and what a backtest replays.
//!
//! In: observations and kills of tasks, in the order in which they became known, under numbers that the
//! caller gave to workloads and tasks. Out: the limits that hold from now on. Names, words, bounds and
//! prices are added outside (`Estimator`), so that a sample costs no look-up by name and no allocation.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::usage::UsageSample;
use crate::estimation::{EstimationError, OomKill};

/// The number of a workload: dense, from 0, given by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkloadIndex(pub u32);

/// What its owner asked for, where that is known.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Asked {
    /// Cores.
    pub cpu: Option<f64>,
    /// Bytes.
    pub memory: Option<f64>,
}

/// What one task used in the interval that ends at `at`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    /// The number of the task within its workload. A restart may keep or change it.
    pub task: u64,
    /// The end of the interval.
    pub at: Timestamp,
    /// Cores in use, mean over the interval; nothing censors it.
    pub cpu: Option<f64>,
    /// Bytes in use, peak over the interval. A task that was killed shows no more than its limit.
    pub memory: Option<f64>,
    /// Demand on the whole workload, such as requests per second.
    pub load: Option<f64>,
}

impl Observation {
    /// What a sample of a running engine says.
    pub fn of(sample: &UsageSample) -> Self {
        Self {
            task: sample.task.number(),
            at: sample.at,
            cpu: sample.cpu_cores,
            memory: Some(sample.memory.as_f64()),
            load: None,
        }
    }
}

/// A task was killed for want of memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kill {
    /// The number of the task within its workload.
    pub task: u64,
    /// When.
    pub at: Timestamp,
    /// Bytes that its use is proven to have reached: the limit. What it would have used is not known.
    pub reached: f64,
}

impl Kill {
    /// What a kill in a running engine proves.
    pub fn of(kill: &OomKill) -> Self {
        let reached = [Some(kill.request), kill.limit, kill.peak].into_iter().flatten().max();
        Self { task: kill.task.number(), at: kill.at, reached: reached.unwrap_or_default().as_f64() }
    }
}

/// What a policy says of a workload or task. Absent: it does not know yet.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Limits {
    /// The memory limit in bytes.
    pub memory: Option<f64>,
    /// The CPU request in cores.
    pub cpu: Option<f64>,
}

/// What a policy's answers are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grain {
    /// All tasks of a workload have the same limits.
    Workload,
    /// Each task has its own.
    Task,
}

/// What a policy's answers depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learning {
    /// Answers for a workload depend on that workload alone: workloads may be replayed one by one, in
    /// parallel.
    Apart,
    /// Answers depend on all workloads: everything must be told in the order of time.
    Fleet,
}

/// What a policy can say of its limits. Empty where it knows no more than the numbers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Account {
    /// Kills for want of memory per task-day that are expected at the limit.
    pub risk: Option<f64>,
    /// Memory limits in bytes and the kills per task-day expected at each, ascending.
    pub candidates: Vec<(f64, f64)>,
    /// Below and above what bytes a limit is too small and too large.
    pub memory_bounds: Option<(f64, f64)>,
    /// The same of the CPU request, in cores.
    pub cpu_bounds: Option<(f64, f64)>,
    /// Why, in words, the weightiest first.
    pub reasons: Vec<String>,
}

/// Turns usage into limits. What it answers depends on what it was told before, and on nothing else.
///
/// The order of calls: for each step of time, `declare` where something was declared, `limits` for every
/// workload, then `observe` and `observe_oom` for every task, then one `advance`. A task that is not
/// running is not told of; that is a gap, not a zero.
pub trait SizePolicy: Send {
    /// What its answers are for.
    fn grain(&self) -> Grain {
        Grain::Workload
    }

    /// What its answers depend on.
    fn learning(&self) -> Learning {
        Learning::Apart
    }

    /// Takes in what the owner of a workload asks for: before its first task starts, and at each change.
    fn declare(&mut self, _workload: WorkloadIndex, _asked: Asked, _at: Timestamp) {}

    /// Takes in what a task used. One that is not newer than the task's last may be told again.
    fn observe(&mut self, workload: WorkloadIndex, observation: &Observation);

    /// Takes in a kill, after the observation of the same interval.
    fn observe_oom(&mut self, workload: WorkloadIndex, kill: &Kill);

    /// Everything up to `now` was told: the place to learn across workloads.
    fn advance(&mut self, _now: Timestamp) {}

    /// The limits in force from `now` until asked again; they may change although nothing was told.
    /// `task` is present where the grain is the task. Asking changes nothing.
    fn limits(&self, workload: WorkloadIndex, task: Option<u64>, now: Timestamp) -> Limits;

    /// What it can say of the limits that it would answer now.
    fn account(&self, _workload: WorkloadIndex, _now: Timestamp) -> Account {
        Account::default()
    }

    /// Whether what it knows can be written down.
    fn keeps_checkpoint(&self) -> bool {
        false
    }

    /// Everything that it knows; `restore` of it answers the same to the last bit.
    fn checkpoint(&self) -> Result<Vec<u8>, EstimationError> {
        Err(EstimationError::CheckpointUnfit("this policy keeps none".to_owned()))
    }

    /// Takes the place of what it knows. On an error nothing changes.
    fn restore(&mut self, _checkpoint: &[u8]) -> Result<(), EstimationError> {
        Err(EstimationError::CheckpointUnfit("this policy keeps none".to_owned()))
    }

    /// Drops what is known of a workload that is no more; its number may be given to another.
    fn forget(&mut self, workload: WorkloadIndex);
}

/// A policy that learns each workload apart: what it remembers of one, and how it answers.
pub trait Model: Send {
    /// What is remembered of one workload.
    type State: Default + Send;

    /// Takes in what the owner asks for.
    fn declare(&self, _state: &mut Self::State, _asked: Asked) {}

    /// Takes in what a task used.
    fn observe(&self, state: &mut Self::State, observation: &Observation);

    /// Takes in a kill, after the observation of the same interval.
    fn observe_oom(&self, state: &mut Self::State, kill: &Kill);

    /// The limits in force from `now`.
    fn limits(&self, state: &Self::State, now: Timestamp) -> Limits;
}

/// A model with the states of any number of workloads.
#[derive(Debug, Clone)]
pub struct Apart<M: Model> {
    model: M,
    states: Vec<M::State>,
}

impl<M: Model> Apart<M> {
    /// A policy that knows nothing yet.
    pub fn new(model: M) -> Self {
        Self { model, states: Vec::new() }
    }

    fn state(&mut self, workload: WorkloadIndex) -> (&M, &mut M::State) {
        let place = workload.0 as usize;
        if place >= self.states.len() {
            self.states.resize_with(place + 1, M::State::default);
        }
        (&self.model, &mut self.states[place])
    }
}

impl<M: Model> SizePolicy for Apart<M> {
    fn declare(&mut self, workload: WorkloadIndex, asked: Asked, _: Timestamp) {
        let (model, state) = self.state(workload);
        model.declare(state, asked);
    }

    fn observe(&mut self, workload: WorkloadIndex, observation: &Observation) {
        let (model, state) = self.state(workload);
        model.observe(state, observation);
    }

    fn observe_oom(&mut self, workload: WorkloadIndex, kill: &Kill) {
        let (model, state) = self.state(workload);
        model.observe_oom(state, kill);
    }

    fn limits(&self, workload: WorkloadIndex, _: Option<u64>, now: Timestamp) -> Limits {
        self.states
            .get(workload.0 as usize)
            .map_or_else(Limits::default, |state| self.model.limits(state, now))
    }

    fn forget(&mut self, workload: WorkloadIndex) {
        if let Some(state) = self.states.get_mut(workload.0 as usize) {
            *state = M::State::default();
        }
    }
}
