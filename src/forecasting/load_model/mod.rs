//! The load model of a service: what an instance uses, and how quick it is, as functions of its load.
//!
//! In: observations of instances over a few seconds each. Out: a `LoadModel` whenever asked for one, and the news that
//! a revision costs more or less than the one before. State: under 1 KB a service.
//!
//! - `robust`: takes observations one by one; finds wild ones, and learns how much errors vary.
//! - `bins`: keeps what is left of them, by load.
//! - `fit`: least squares and rising curves over bins, by linfa.
//! - `relation`: whether a resource follows load.
//! - `latency`: the knee, and where an objective breaks.
//! - `revision`: what a new revision takes over from the one before, and how they differ.
//!
//! Not here: who measures, and when an instance is steady (`controllers::load_feed`). Method and figures:
//! `docs/load-models.md`.

mod bins;
mod fit;
mod latency;
mod relation;
mod revision;
mod robust;
#[cfg(test)]
mod truth;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::load_model::{
    Bound, CostChange, Estimated, KeptOut, LoadModel, ModelPoint, Relation, Saturation,
};
use crate::forecasting::load_model::bins::{Bin, Bins};
use crate::forecasting::load_model::fit::Point;
use crate::forecasting::load_model::relation::relation;
use crate::forecasting::load_model::revision::Prior;
use crate::forecasting::load_model::robust::{RobustLine, median};

/// Observations that a line begins with.
const FIRST: usize = 8;
/// An instance that uses this share of its CPU limit, or was held back for this share of the time, is full.
const FULL_SHARE: f64 = 0.95;
const THROTTLED_SHARE: f64 = 0.25;
/// Observations with a larger share of errors do not count: errors cost something else than answers.
const ERRORS_MAX: f64 = 0.2;
/// A load so many times the largest one seen is not believed until so many have come in a row.
const LEAP: f64 = 4.0;
const LEAPS_MIN: u8 = 5;
/// So many full instances are a load at which they are full.
const FULL_MIN: u32 = 5;

/// An instance over a few seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    /// The end of that time.
    pub at: Timestamp,
    /// Requests per second that it answered.
    pub load: f64,
    /// Cores in use.
    pub cpu: f64,
    /// Bytes in use.
    pub memory: f64,
    /// The 95th percentile of latency in seconds; absent without enough answers.
    pub latency: Option<f64>,
    /// The share of answers that were errors.
    pub errors: f64,
    /// The share of time in which it was held back by its CPU limit, where that is known.
    pub throttled: Option<f64>,
    /// Its CPU limit in cores, where it has one.
    pub cpu_limit: Option<f64>,
}

/// Why an observation is not even looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsteady {
    /// The instance became ready a short while ago.
    Starting,
    /// A rollout is going on.
    Rollout,
}

/// What the model is asked with.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Asked {
    /// Cores that an instance may use: its limit, or its request where there is no limit.
    pub cores: Option<f64>,
    /// The owner's objective for the 95th percentile of latency, in seconds.
    pub latency: Option<f64>,
}

/// Full instances.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Full {
    seen: u32,
    load: f32,
    square: f32,
}

/// What is known of a service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceModel {
    revision: u64,
    observations: u64,
    outliers: u64,
    kept_out: KeptOut,
    /// The first observations, until there are enough for a line: load, CPU, memory.
    first: Vec<(f32, f32, f32)>,
    bins: Bins,
    cpu: RobustLine,
    memory: RobustLine,
    seen: Option<(f32, f32)>,
    leaps: u8,
    full: Full,
    prior: Option<Prior>,
    change: Option<CostChange>,
    at: Option<Timestamp>,
}

impl ServiceModel {
    /// The revision that it is about.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Turns to another revision: what is known of the one before fades as the new one becomes known.
    pub fn follow(&mut self, revision: u64) {
        if revision == self.revision {
            return;
        }
        let prior = Prior::of(self).or_else(|| self.prior.take());
        let (kept_out, cpu, memory) = (self.kept_out, self.cpu.clone(), self.memory.clone());
        *self = Self { revision, kept_out, cpu, memory, prior, ..Self::default() };
    }

    /// Counts an observation that says nothing.
    pub fn keep_out(&mut self, why: Unsteady) {
        match why {
            Unsteady::Starting => self.kept_out.starting += 1,
            Unsteady::Rollout => self.kept_out.rollout += 1,
        }
    }

    /// Takes in an observation of an instance of the revision.
    pub fn observe(&mut self, seen: &Observation) {
        if !self.is_possible(seen) {
            self.kept_out.broken += 1;
            return;
        }
        if seen.errors > ERRORS_MAX {
            self.kept_out.errors += 1;
            return;
        }
        if let Some(latency) = seen.latency.filter(|latency| latency.is_finite() && *latency > 0.0) {
            self.bins.add_latency(seen.load, latency);
        }
        let at_limit = seen.cpu_limit.is_some_and(|limit| seen.cpu >= FULL_SHARE * limit);
        if at_limit || seen.throttled.is_some_and(|share| share >= THROTTLED_SHARE) {
            self.kept_out.saturated += 1;
            self.full.add(seen.load);
            return;
        }
        let (load, cpu, memory) = (seen.load as f32, seen.cpu as f32, seen.memory as f32);
        let (low, high) = self.seen.unwrap_or((load, load));
        self.seen = Some((low.min(load), high.max(load)));
        self.at = self.at.max(Some(seen.at));
        self.observations += 1;
        if self.observations <= FIRST as u64 {
            self.first.push((load, cpu, memory));
            if self.first.len() == FIRST {
                self.begin();
            }
            return;
        }
        self.take(seen.load, seen.cpu, seen.memory);
    }

    /// Whether an observation can be; a load that leaps has to be seen again.
    fn is_possible(&mut self, seen: &Observation) -> bool {
        let amounts = [seen.load, seen.cpu, seen.memory, seen.errors];
        if !amounts.iter().all(|amount| amount.is_finite() && *amount >= 0.0) {
            return false;
        }
        let highest = self.seen.map_or(0.0, |(_, high)| f64::from(high));
        if self.observations < FIRST as u64 || highest <= 0.0 || seen.load <= LEAP * highest {
            self.leaps = 0;
            return true;
        }
        self.leaps = self.leaps.saturating_add(1);
        self.leaps > LEAPS_MIN
    }

    /// Begins the lines: with those of the revision before where the first observations agree with them.
    fn begin(&mut self) {
        let first = std::mem::take(&mut self.first);
        let pairs = |of: fn(&(f32, f32, f32)) -> f32| -> Vec<(f64, f64)> {
            first.iter().map(|each| (f64::from(each.0), f64::from(of(each)))).collect()
        };
        let follows = |line: &RobustLine, pairs: &[(f64, f64)]| {
            let mut off: Vec<f64> =
                pairs.iter().map(|(load, amount)| (amount - line.at(*load)).abs()).collect();
            let agrees = median(&mut off).is_some_and(|off| off <= line.band());
            if agrees { line.faded(FIRST as f64) } else { RobustLine::begin(pairs) }
        };
        let (cpu, memory) = (pairs(|each| each.1), pairs(|each| each.2));
        let known = self.prior.is_some();
        self.cpu = if known { follows(&self.cpu, &cpu) } else { RobustLine::begin(&cpu) };
        self.memory = if known { follows(&self.memory, &memory) } else { RobustLine::begin(&memory) };
        for (load, cpu, memory) in first {
            self.take(load.into(), cpu.into(), memory.into());
        }
    }

    fn take(&mut self, load: f64, cpu: f64, memory: f64) {
        let is_outlier = self.cpu.observe(load, cpu);
        // Memory that stands apart says nothing about CPU: it grows in steps.
        self.memory.observe(load, memory);
        if is_outlier {
            self.outliers += 1;
        } else {
            self.bins.add(load, cpu, memory);
        }
    }

    /// Compares the revision with the one before; tells of a change when it is first found.
    pub fn compare(&mut self) -> Option<CostChange> {
        let found = self.prior.as_ref()?.change(self)?;
        let is_new = self.change.is_none();
        self.change = Some(found);
        is_new.then_some(found)
    }

    /// What is known now.
    pub fn model(&self, asked: Asked) -> LoadModel {
        let prior_weight = self.prior_weight();
        let cpu = self.relation(|bin| bin.cpu, (&self.cpu, |prior| &prior.cpu), prior_weight);
        let memory = self.relation(|bin| bin.memory, (&self.memory, |prior| &prior.memory), prior_weight);
        let timed = self.bins.known().filter(|bin| bin.timed > 0.0);
        let latencies: Vec<Point> = latency::believed(
            timed
                .map(|bin| (bin.timed_load.into(), f64::from(bin.log_latency).exp(), bin.timed.into()))
                .collect(),
        );
        let (knee, no_knee) = match latency::knee(&latencies) {
            Ok(knee) => (Some(knee), None),
            Err(why) => (None, Some(why)),
        };
        let by_cpu = asked.cores.and_then(|cores| cpu.line()?.load_at(cores));
        LoadModel {
            revision: self.revision,
            at: self.at,
            observations: self.observations,
            kept_out: self.kept_out,
            outliers: self.outliers,
            prior_weight,
            load_seen: self.seen.map(|(low, high)| (low.into(), high.into())),
            saturation: self.saturation(by_cpu, knee.map(|knee| knee.capacity)),
            objective: asked.latency.map(|most| latency::objective(&latencies, knee.as_ref(), most)),
            cpu,
            memory,
            knee,
            no_knee,
            points: self.points(),
            change: self.change,
        }
    }

    fn prior_weight(&self) -> f64 {
        // A revision that differs is not judged by the one before.
        let prior = self.prior.as_ref().filter(|_| self.change.is_none());
        prior.map_or(0.0, |_| revision::weight_after(self.observations))
    }

    fn relation(
        &self,
        of: fn(&Bin) -> f32,
        (line, before): (&RobustLine, fn(&Prior) -> &revision::Known),
        prior_weight: f64,
    ) -> Relation {
        let mut points = self.bins.points(of);
        let mut observations = self.observations as f64;
        if let Some(prior) = self.prior.as_ref().filter(|_| prior_weight > 0.0) {
            points.extend(before(prior).points(prior_weight));
            // It stands for as many as it was made of, as far as it still counts.
            observations += prior_weight / revision::WEIGHT * before(prior).observations();
        }
        relation(&points, observations, line.doubt(), line.band())
    }

    fn saturation(&self, by_cpu: Option<Estimated>, by_queue: Option<Estimated>) -> Option<Saturation> {
        let computed = [(by_cpu, Bound::Cpu), (by_queue, Bound::Queue)];
        let nearest = computed
            .into_iter()
            .filter_map(|(load, bound)| Some((load?, bound)))
            .min_by(|a, b| a.0.value.total_cmp(&b.0.value));
        if self.full.seen >= FULL_MIN {
            // What was seen is worth more than what was computed.
            let half = 2.0 * (self.full.variance() / f64::from(self.full.seen)).sqrt();
            let load = Estimated::around(self.full.load.into(), half);
            return Some(Saturation { load, bound: Bound::Cpu, seen: self.full.seen.into() });
        }
        nearest.map(|(load, bound)| Saturation { load, bound, seen: 0 })
    }

    fn points(&self) -> Vec<ModelPoint> {
        let point = |bin: &Bin| ModelPoint {
            load: if bin.weight > 0.0 { bin.load } else { bin.timed_load }.into(),
            cpu: bin.cpu.into(),
            memory: bin.memory.into(),
            latency: (bin.timed > 0.0).then(|| f64::from(bin.log_latency).exp()),
            weight: bin.weight.into(),
        };
        self.bins.known().map(point).collect()
    }
}

impl Full {
    fn add(&mut self, load: f64) {
        self.seen = self.seen.saturating_add(1);
        let share = (1.0 / self.seen as f32).max(1.0 / 100.0);
        let off = load as f32 - self.load;
        self.load += share * off;
        self.square += share * (off * off - self.square);
    }

    fn variance(&self) -> f64 {
        self.square.into()
    }
}
