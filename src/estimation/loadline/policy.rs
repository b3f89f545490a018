//! The policy `loadline`: both resources of any number of workloads under one price each.
//!
//! In: observations and kills. Out: limits. Not here: names, words, bounds of specs (`estimator`).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::estimation::EstimationError;
use crate::estimation::loadline::price::Price;
use crate::estimation::loadline::recent::{DAY, Recent, SLOT_SECONDS};
use crate::estimation::loadline::sizer::{Held, Sizer, SizerFile};
use crate::estimation::policy::{Kill, Learning, Limits, Observation, SizePolicy, WorkloadIndex};

/// What the fit chose, embedded; a test holds that it reads.
const FITTED: &str = include_str!("../../../models/loadline-v1.json");

/// After a kill, usage counts as the greater of what it reached plus bytes and times a ratio: the constants
/// of the Vertical Pod Autoscaler.
const BUMP: (f64, f64) = (100.0 * 1_048_576.0, 1.2);

/// The fitted parameters of both resources.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// Of memory, in bytes.
    pub memory: SizerFile,
    /// Of CPU, in cores.
    pub cpu: SizerFile,
}

impl ModelFile {
    /// What the fit chose.
    pub fn fitted() -> Result<Self, EstimationError> {
        Ok(serde_json::from_str(FITTED)?)
    }
}

/// What its owner accepts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// Kills for want of memory per task-day.
    pub risk: f64,
    /// Share of a task's time with less CPU requested than used.
    pub shortfall: f64,
    /// What a change costs, in hours of the new limit.
    pub change_hours: f64,
}

/// What is known of a workload.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    memory: Recent,
    cpu: Recent,
    memory_held: Held,
    cpu_held: Held,
    /// Tasks of the slot before, and the task whose samples count the slots' rounds.
    tasks: f32,
    counted: u64,
    rounds: u16,
    samples: u16,
}

/// The policy.
#[derive(Debug, Clone)]
pub struct Loadline {
    memory: Sizer,
    cpu: Sizer,
    budget: Budget,
    fleet: Fleet,
}

/// What is learned of all workloads together, and of each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fleet {
    memory_price: Price,
    cpu_price: Price,
    /// The last instant that was settled, in slots.
    settled: Option<i32>,
    states: Vec<State>,
}

/// The slot that usage of the interval that ends at `at` belongs to.
pub fn slot_of(at: Timestamp) -> i32 {
    at.as_second().div_euclid(SLOT_SECONDS).clamp(-1_000_000_000, 1_000_000_000) as i32
}

/// What usage counts as after a kill that reached so many bytes.
pub fn bumped(reached: f64) -> f64 {
    (reached + BUMP.0).max(reached * BUMP.1)
}

impl Loadline {
    /// A policy that knows nothing yet, with the parameters that the fit chose.
    pub fn fitted(budget: Budget) -> Result<Self, EstimationError> {
        Self::new(&ModelFile::fitted()?, budget)
    }

    /// A policy that knows nothing yet.
    pub fn new(model: &ModelFile, budget: Budget) -> Result<Self, EstimationError> {
        let change = budget.change_hours * 3600.0 / SLOT_SECONDS as f64;
        let (memory, cpu) = (Sizer::new(&model.memory, change)?, Sizer::new(&model.cpu, change)?);
        let fleet =
            Fleet { memory_price: memory.price(), cpu_price: cpu.price(), settled: None, states: Vec::new() };
        Ok(Self { memory, cpu, budget, fleet })
    }
}

impl SizePolicy for Loadline {
    fn learning(&self) -> Learning {
        Learning::Fleet
    }

    fn observe(&mut self, workload: WorkloadIndex, observation: &Observation) {
        let place = workload.0 as usize;
        if place >= self.fleet.states.len() {
            self.fleet.states.resize_with(place + 1, State::default);
        }
        let Fleet { memory_price, cpu_price, states, .. } = &mut self.fleet;
        let state = &mut states[place];
        let slot = slot_of(observation.at);
        state.count(slot, observation.task);
        let tasks = f64::from(state.tasks);
        let amount = |value: Option<f64>, least: f64| {
            value.filter(|value| value.is_finite() && *value >= 0.0).map(|value| value.max(least))
        };
        if let Some(used) = amount(observation.memory, 1e6) {
            let part = Part { sizer: &self.memory, price: memory_price };
            part.observe((&mut state.memory, &mut state.memory_held), slot, used, tasks);
        }
        if let Some(used) = amount(observation.cpu, 1e-4) {
            let settled = state.cpu.age() > DAY as u32;
            if settled && state.cpu_held.limit > 0.0 && used > state.cpu_held.limit {
                cpu_price.missed();
            }
            let part = Part { sizer: &self.cpu, price: cpu_price };
            part.observe((&mut state.cpu, &mut state.cpu_held), slot, used, tasks);
        }
    }

    fn observe_oom(&mut self, workload: WorkloadIndex, kill: &Kill) {
        let Some(state) = self.fleet.states.get_mut(workload.0 as usize) else { return };
        if !kill.reached.is_finite() || kill.reached <= 0.0 {
            return;
        }
        let slot = slot_of(kill.at);
        state.memory.killed(slot, bumped(kill.reached).ln() as f32);
        if state.memory.age() > DAY as u32 {
            self.fleet.memory_price.missed();
        }
        let price = self.fleet.memory_price.get();
        self.memory.hold(&mut state.memory_held, &state.memory, slot + 1, price, true);
    }

    fn advance(&mut self, now: Timestamp) {
        let slot = slot_of(now);
        let passed = self.fleet.settled.map_or(1, |settled| slot - settled);
        if passed <= 0 {
            return;
        }
        self.fleet.settled = Some(slot);
        let days = f64::from(passed) / f64::from(DAY);
        let kills = self.budget.risk / f64::from(DAY);
        self.memory.settle(&mut self.fleet.memory_price, days, kills);
        self.cpu.settle(&mut self.fleet.cpu_price, days, self.budget.shortfall);
    }

    fn limits(&self, workload: WorkloadIndex, _: Option<u64>, now: Timestamp) -> Limits {
        let Some(state) = self.fleet.states.get(workload.0 as usize) else { return Limits::default() };
        let next = slot_of(now) + 1;
        let part = |sizer: &Sizer, recent: &Recent, held: &Held, price: &Price| {
            if next - recent.slot() > 1 {
                // After a gap much may have changed: what was said before it holds no more.
                return sizer.choose(recent, next, price.get()).map(|choice| choice.limit);
            }
            (held.limit > 0.0).then_some(held.limit)
        };
        Limits {
            memory: part(&self.memory, &state.memory, &state.memory_held, &self.fleet.memory_price),
            cpu: part(&self.cpu, &state.cpu, &state.cpu_held, &self.fleet.cpu_price),
        }
    }

    fn forget(&mut self, workload: WorkloadIndex) {
        if let Some(state) = self.fleet.states.get_mut(workload.0 as usize) {
            *state = State::default();
        }
    }
}

impl State {
    /// Counts tasks: samples of a slot over those of the task that came first in it.
    fn count(&mut self, slot: i32, task: u64) {
        let newest = self.memory.slot().max(self.cpu.slot());
        if slot > newest {
            if self.rounds > 0 {
                self.tasks = f32::from(self.samples) / f32::from(self.rounds);
            }
            (self.counted, self.rounds, self.samples) = (task, 0, 0);
        }
        self.rounds = self.rounds.saturating_add(u16::from(task == self.counted));
        self.samples = self.samples.saturating_add(1);
        if self.tasks < 1.0 {
            self.tasks = 1.0;
        }
    }
}

/// One resource of the fleet while a workload's sample is taken in.
struct Part<'a> {
    sizer: &'a Sizer,
    price: &'a mut Price,
}

impl Part<'_> {
    fn observe(self, (recent, held): (&mut Recent, &mut Held), slot: i32, used: f64, tasks: f64) {
        let before = recent.slot();
        let begins = slot > before;
        // What the first day brings is no measure of what comes later.
        let settled = recent.age() > DAY as u32;
        if begins && settled && held.limit > 0.0 {
            self.price.promise(f64::from(held.chance));
        }
        if !recent.observe(slot, used.ln() as f32) {
            return;
        }
        let price = self.price.get() / tasks;
        let afresh = held.limit <= 0.0 || begins && slot - before > 1;
        self.sizer.hold(held, recent, slot + 1, price, afresh);
        // The ladder changes slowly: once an hour is enough.
        if begins
            && recent.age() % 12 == 1
            && let Some(context) = recent.context(slot + 1)
        {
            let misses = self.sizer.chances_on_rungs(&context, tasks);
            self.price.expect(&misses, 12.0, tasks);
        }
    }
}
