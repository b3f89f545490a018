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
const LIVES: usize = HALF_LIVES.len();
const MODELS: usize = LIVES * MARGINS.len();
/// More buckets than either resource has; a test holds that.
const BUCKETS_MAX: usize = 192;

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
    cpu: [Scheme; LIVES],
    memory: [Scheme; LIVES],
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
    usage: [DecayingHistogram; LIVES],
    /// The bucket at whose end the limit of each half-life lies, without margin; absent before the first sample.
    bare: Option<[usize; LIVES]>,
    /// The limit of each model.
    limits: [f64; MODELS],
    /// What each model's limits cost.
    costs: [f64; MODELS],
    model: usize,
    limit: Option<f64>,
}

/// The limit of each model, by the half-lives' limits without margin.
fn limits_of(schemes: &[Scheme; LIVES], bare: [usize; LIVES]) -> [f64; MODELS] {
    std::array::from_fn(|model| {
        let life = model / MARGINS.len();
        schemes[life].buckets.start(bare[life] + 1) * (1.0 + MARGINS[model % MARGINS.len()])
    })
}

impl Ensemble {
    fn add(&mut self, schemes: &[Scheme; LIVES], weights: &Weights, value: f64, at: i64) {
        for (usage, scheme) in self.usage.iter_mut().zip(schemes) {
            usage.add(scheme, value, 1.0, at);
        }
        let bare = cheapest(&self.usage, weights, self.bare);
        let limits = limits_of(schemes, bare);
        if self.bare.is_some() {
            // A limit is judged by the sample that came after it was said.
            for ((cost, before), limit) in self.costs.iter_mut().zip(self.limits).zip(limits) {
                let below = weights.underrun * f64::from(value < before);
                let missed = if value > before { weights.overrun } else { below };
                let moved = weights.limit_change * f64::from(limit.to_bits() != before.to_bits());
                *cost += weights.newest * (missed + moved - *cost);
            }
        }
        (self.bare, self.limits) = (Some(bare), limits);
        self.choose(weights);
    }

    fn choose(&mut self, weights: &Weights) {
        let price = |model: usize| {
            self.costs[model]
                + weights.model_change * f64::from(model != self.model)
                + weights.limit_change * f64::from(Some(self.limits[model]) != self.limit)
        };
        let mut best = (self.model, price(self.model));
        for model in 0..MODELS {
            let price = price(model);
            if price < best.1 {
                best = (model, price);
            }
        }
        self.model = best.0;
        self.limit = Some(self.limits[self.model]);
    }
}

/// For each half-life the bucket at whose end overruns, underruns and a change cost least; of equals the
/// lowest.
///
/// The three histograms are summed side by side: each sum waits for the one before it, three at once do not
/// wait for each other. And the division that makes a cost of a sum rounds the larger of two sums never to the
/// smaller cost, so only sums below the least so far are divided.
fn cheapest(
    usage: &[DecayingHistogram; LIVES],
    weights: &Weights,
    before: Option<[usize; LIVES]>,
) -> [usize; LIVES] {
    let spans = usage.each_ref().map(|usage| usage.weights().span());
    let totals = usage.each_ref().map(|usage| usage.weights().total());
    let low = spans.iter().map(|(first, _)| *first).min().unwrap_or_default();
    let high = spans.iter().map(|(first, weights)| first + weights.len()).max().unwrap_or_default();
    let mut sums = [[0.0; LIVES]; BUCKETS_MAX];
    let sums = &mut sums[..high - low];
    for (life, (first, weights)) in spans.iter().enumerate() {
        for (row, weight) in sums[first - low..].iter_mut().zip(*weights) {
            row[life] = *weight;
        }
    }
    let mut below = [0.0; LIVES];
    for row in &mut *sums {
        for ((sum, below), total) in row.iter_mut().zip(&mut below).zip(totals) {
            let weight = *sum;
            let above = total - *below - weight;
            *sum = weights.overrun * above + weights.underrun * *below;
            *below += weight;
        }
    }
    std::array::from_fn(|life| {
        let (first, weights_of_life) = spans[life];
        let own = &sums[first - low..][..weights_of_life.len()];
        let kept = before.and_then(|before| before[life].checked_sub(first)).filter(|slot| *slot < own.len());
        first + least(own, life, totals[life], weights.limit_change, kept)
    })
}

/// The place of the least cost; the limit in force costs no change.
fn least(sums: &[[f64; LIVES]], life: usize, total: f64, change: f64, kept: Option<usize>) -> usize {
    let mut best = (0, f64::INFINITY, f64::INFINITY);
    for (slot, row) in sums.iter().enumerate() {
        let sum = row[life];
        if sum < best.2 && Some(slot) != kept {
            let cost = sum / total + change;
            if cost < best.1 {
                best = (slot, cost, sum);
            }
        }
    }
    let Some(kept) = kept else { return best.0 };
    let cost = sums[kept][life] / total;
    if cost < best.1 || (cost <= best.1 && kept < best.0) { kept } else { best.0 }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The same rules as they are published, bucket by bucket and model by model.
    #[derive(Default)]
    struct Plain {
        usage: [DecayingHistogram; LIVES],
        bare: [Option<f64>; LIVES],
        costs: [f64; MODELS],
        model: usize,
        limit: Option<f64>,
    }

    fn limit_of(bare: &[Option<f64>; LIVES], model: usize) -> Option<f64> {
        bare[model / MARGINS.len()].map(|limit| limit * (1.0 + MARGINS[model % MARGINS.len()]))
    }

    impl Plain {
        fn add(&mut self, schemes: &[Scheme; LIVES], weights: &Weights, value: f64, at: i64) {
            let before = self.bare;
            for ((usage, bare), scheme) in self.usage.iter_mut().zip(&mut self.bare).zip(schemes) {
                usage.add(scheme, value, 1.0, at);
                *bare = Self::cheapest(usage, scheme, weights, *bare);
            }
            for (model, cost) in self.costs.iter_mut().enumerate() {
                let Some(limit) = limit_of(&before, model) else { continue };
                let missed =
                    if value > limit { weights.overrun } else { weights.underrun * f64::from(value < limit) };
                let moved = weights.limit_change * f64::from(limit_of(&self.bare, model) != Some(limit));
                *cost += weights.newest * (missed + moved - *cost);
            }
            let price = |model: usize| {
                self.costs[model]
                    + weights.model_change * f64::from(model != self.model)
                    + weights.limit_change * f64::from(limit_of(&self.bare, model) != self.limit)
            };
            let mut best = (self.model, price(self.model));
            for model in 0..MODELS {
                if price(model) < best.1 {
                    best = (model, price(model));
                }
            }
            self.model = best.0;
            self.limit = limit_of(&self.bare, self.model);
        }

        fn cheapest(
            usage: &DecayingHistogram,
            scheme: &Scheme,
            weights: &Weights,
            before: Option<f64>,
        ) -> Option<f64> {
            let total = usage.weights().total();
            let mut below = 0.0;
            let mut best: Option<(f64, f64)> = None;
            for (bucket, weight) in usage.weights().weights() {
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
    }

    /// The next number of a sequence from 0 to 1.
    fn random(state: &mut u64) -> f64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 11) as f64 / (1_u64 << 53) as f64
    }

    #[test]
    fn the_quick_way_answers_as_the_plain_one_to_the_last_bit() {
        let swept = MlWeights::swept().expect("weights");
        let ml = AutopilotMl::new(swept);
        assert!(ml.cpu.iter().chain(&ml.memory).all(|scheme| scheme.buckets.count() <= BUCKETS_MAX));
        // Without a price of change, and with a high one, ties and kept limits matter more.
        let free = Weights { limit_change: 0.0, model_change: 0.0, newest: 0.1, ..swept.memory };
        let sticky = Weights { limit_change: 3.0, overrun: 1.0, ..swept.memory };
        for (case, weights) in [swept.memory, swept.cpu, free, sticky].into_iter().enumerate() {
            let schemes = if case % 2 == 0 { &ml.memory } else { &ml.cpu };
            let unit = if case % 2 == 0 { 1e8 } else { 0.1 };
            let (mut quick, mut plain) = (Ensemble::default(), Plain::default());
            let (mut state, mut at) = (case as u64 + 1, 0_i64);
            for step in 0..20_000_u32 {
                // Steady weeks, bursts, zeros, and silences that let buckets go.
                let burst = if random(&mut state) < 0.01 { 40.0 } else { 1.0 };
                let daily = 1.0 + (f64::from(step) / 288.0 * 6.3).sin();
                let idle = f64::from(random(&mut state) > 0.02);
                at += if random(&mut state) < 0.0005 { 40 * 86_400_000 } else { 300_000 };
                let value = unit * burst * idle * (daily + random(&mut state));
                quick.add(schemes, &weights, value, at);
                plain.add(schemes, &weights, value, at);
                assert_eq!(quick.limit.map(f64::to_bits), plain.limit.map(f64::to_bits), "{case} {step}");
                assert_eq!(quick.model, plain.model, "{case} {step}");
            }
        }
    }
}
