//! Autopilot's recommender of many models (Rzadca et al., 2020, section 3.2.3): each model is a
//! rate of fading and a margin; it takes the limit at which overruns, underruns and changes cost least,
//! and the model whose past limits cost least is followed.
//!
//! Published are the formulas, not the weights: those come from a sweep (`models/autopilot-ml-v1.json`).
//! Chosen here: margins are shares of the limit, candidates are the ends of buckets in use, and after a
//! kill the floor of `bumped` holds for a day.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::estimation::decaying_histogram::{DecayingHistogram, Scheme};
use crate::estimation::histogram::Buckets;
use crate::estimation::peers::windows::KillFloor;
use crate::estimation::peers::{CPU_FLOOR, DAY, MEMORY_FLOOR, bumped};
use crate::estimation::policy::{Kill, Limits, Model, Observation};

/// What the sweep chose, embedded; a test holds that it reads.
const SWEPT: &str = include_str!("../../../models/autopilot-ml-v1.json");

/// The half-lives of the models, in hours.
const HALF_LIVES: [i64; 3] = [12, 48, 168];
/// The margins of the models, as shares of the limit.
const MARGINS: [f64; 4] = [0.0, 0.1, 0.2, 0.4];
const MODELS: usize = HALF_LIVES.len() * MARGINS.len();

/// The weights of the costs, for one resource.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// Of a sample above the limit.
    pub overrun: f64,
    /// Of a sample below it.
    pub underrun: f64,
    /// Of a changed limit.
    pub limit_change: f64,
    /// Of a changed model.
    pub model_change: f64,
    /// The share of a model's cost that the newest sample makes.
    pub newest: f64,
}

/// The weights of both resources.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MlWeights {
    /// Of memory.
    pub memory: Weights,
    /// Of CPU.
    pub cpu: Weights,
}

impl MlWeights {
    /// What the sweep chose.
    pub fn swept() -> Result<Self, serde_json::Error> {
        serde_json::from_str(SWEPT)
    }
}

/// The recommender with its weights.
#[derive(Debug, Clone)]
pub struct AutopilotMl {
    weights: MlWeights,
    cpu: [Scheme; HALF_LIVES.len()],
    memory: [Scheme; HALF_LIVES.len()],
}

impl AutopilotMl {
    /// A recommender with these weights.
    pub fn new(weights: MlWeights) -> Self {
        let schemes = |first, largest| {
            HALF_LIVES.map(|hours| Scheme {
                buckets: Buckets::exponential(first, largest, 1.05),
                half_life: hours * 3_600_000,
            })
        };
        Self { weights, cpu: schemes(0.01, 1000.0), memory: schemes(1e7, 1e12) }
    }
}

/// What is remembered of one workload.
#[derive(Debug, Clone, Default)]
pub struct AutopilotMlState {
    cpu: Ensemble,
    memory: Ensemble,
    killed: KillFloor,
}

/// The models of one resource.
#[derive(Debug, Clone, Default)]
struct Ensemble {
    /// One a half-life; models that differ in margin alone share it.
    usage: [DecayingHistogram; HALF_LIVES.len()],
    /// The limit of each half-life, without margin.
    bare: [Option<f64>; HALF_LIVES.len()],
    /// What each model's limits cost.
    costs: [f64; MODELS],
    model: usize,
    limit: Option<f64>,
}

fn limit_of(bare: &[Option<f64>; HALF_LIVES.len()], model: usize) -> Option<f64> {
    bare[model / MARGINS.len()].map(|limit| limit * (1.0 + MARGINS[model % MARGINS.len()]))
}

impl Ensemble {
    fn add(&mut self, schemes: &[Scheme; HALF_LIVES.len()], weights: &Weights, value: f64, at: i64) {
        let before = self.bare;
        for ((usage, bare), scheme) in self.usage.iter_mut().zip(&mut self.bare).zip(schemes) {
            usage.add(scheme, value, 1.0, at);
            *bare = cheapest(usage, scheme, weights, *bare);
        }
        for (model, cost) in self.costs.iter_mut().enumerate() {
            // A limit is judged by the sample that came after it was said.
            let Some(limit) = limit_of(&before, model) else { continue };
            let missed =
                if value > limit { weights.overrun } else { weights.underrun * f64::from(value < limit) };
            let moved = weights.limit_change * f64::from(limit_of(&self.bare, model) != Some(limit));
            *cost += weights.newest * (missed + moved - *cost);
        }
        self.choose(weights);
    }

    fn choose(&mut self, weights: &Weights) {
        let price = |model: usize| {
            let limit = limit_of(&self.bare, model);
            self.costs[model]
                + weights.model_change * f64::from(model != self.model)
                + weights.limit_change * f64::from(limit != self.limit)
        };
        let mut best = (self.model, price(self.model));
        for model in 0..MODELS {
            let price = price(model);
            if price < best.1 {
                best = (model, price);
            }
        }
        self.model = best.0;
        self.limit = limit_of(&self.bare, self.model);
    }
}

/// The limit at which overruns, underruns and a change cost least; of equals the smallest.
fn cheapest(
    usage: &DecayingHistogram,
    scheme: &Scheme,
    weights: &Weights,
    before: Option<f64>,
) -> Option<f64> {
    let histogram = usage.weights();
    let total = histogram.total();
    let mut below = 0.0;
    let mut best: Option<(f64, f64)> = None;
    for (bucket, weight) in histogram.weights() {
        let limit = scheme.buckets.start(bucket + 1);
        let above = total - below - weight;
        let moved = weights.limit_change * f64::from(before != Some(limit));
        let cost = (weights.overrun * above + weights.underrun * below) / total + moved;
        if best.is_none_or(|(_, least)| cost < least) {
            best = Some((limit, cost));
        }
        below += weight;
    }
    best.map(|(limit, _)| limit)
}

impl Model for AutopilotMl {
    type State = AutopilotMlState;

    fn observe(&self, state: &mut AutopilotMlState, observation: &Observation) {
        let at = observation.at.as_millisecond();
        if let Some(bytes) = observation.memory {
            state.memory.add(&self.memory, &self.weights.memory, bytes, at);
        }
        if let Some(cores) = observation.cpu {
            state.cpu.add(&self.cpu, &self.weights.cpu, cores, at);
        }
    }

    fn observe_oom(&self, state: &mut AutopilotMlState, kill: &Kill) {
        let (at, needed) = (kill.at.as_second(), bumped(kill.reached));
        state.memory.add(&self.memory, &self.weights.memory, needed, kill.at.as_millisecond());
        state.killed.raise(needed, at, at + DAY);
    }

    fn limits(&self, state: &AutopilotMlState, now: Timestamp) -> Limits {
        let floor = MEMORY_FLOOR.max(state.killed.at(now.as_second()));
        Limits {
            memory: state.memory.limit.map(|bytes| bytes.max(floor)),
            cpu: state.cpu.limit.map(|cores| cores.max(CPU_FLOOR)),
        }
    }
}
