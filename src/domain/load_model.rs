//! What an instance of a service uses as a function of its load, as far as it is known, in figures and words.
//! Not here: how it is found out (`forecasting::load_model`).

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use crate::domain::quantity::Bytes;

/// An amount that is not known exactly: the best value, and the bounds of its 95 % interval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimated {
    /// The best value.
    pub value: f64,
    /// The lower bound.
    pub low: f64,
    /// The upper bound; infinite where nothing bounds it, which is nothing in JSON.
    #[serde(deserialize_with = "or_unbounded")]
    pub high: f64,
}

fn or_unbounded<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    if from.is_human_readable() {
        return Ok(Option::deserialize(from)?.unwrap_or(f64::INFINITY));
    }
    f64::deserialize(from)
}

impl Estimated {
    /// A value with the same distance to either bound, never below zero.
    pub fn around(value: f64, half: f64) -> Self {
        Self { value, low: (value - half).max(0.0), high: value + half }
    }
}

/// `base + slope * load`, for one instance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Use without load.
    pub base: Estimated,
    /// Use for one request a second more.
    pub slope: Estimated,
    /// Half the width of the band in which 9 of 10 single observations lie.
    pub band: f64,
    /// The share of the variance between loads that the line explains, from 0 to 1.
    pub explained: f64,
}

impl Line {
    /// The use expected at a load.
    pub fn at(&self, load: f64) -> f64 {
        self.base.value + self.slope.value * load
    }

    /// The use that 19 of 20 observations at a load stay under.
    pub fn upper_at(&self, load: f64) -> f64 {
        self.at(load) + self.band
    }

    /// The load at which use reaches an amount; its interval is that of the slope.
    pub fn load_at(&self, amount: f64) -> Option<Estimated> {
        let of = |slope: f64| if slope > 0.0 { (amount - self.base.value) / slope } else { f64::INFINITY };
        let value = of(self.slope.value);
        (value.is_finite() && value > 0.0).then(|| Estimated {
            value,
            low: of(self.slope.high),
            high: of(self.slope.low),
        })
    }
}

/// How one resource depends on load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// It follows load.
    Clear(Line),
    /// It cannot be said to follow load.
    Unclear {
        /// Why.
        why: String,
        /// What is used on average, where anything was observed.
        mean: Option<f64>,
    },
}

impl Relation {
    /// The line, if there is one.
    pub fn line(&self) -> Option<&Line> {
        match self {
            Self::Clear(line) => Some(line),
            Self::Unclear { .. } => None,
        }
    }

    /// What is used at a load: on the line, or the mean where use does not follow load.
    pub fn at(&self, load: f64) -> Option<f64> {
        match self {
            Self::Clear(line) => Some(line.at(load)),
            Self::Unclear { mean, .. } => *mean,
        }
    }
}

/// How the 95th percentile of latency rises with load: `unloaded / (1 - load / capacity)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Knee {
    /// Latency without load, in seconds.
    pub unloaded: f64,
    /// The load at which requests would wait without end.
    pub capacity: Estimated,
}

impl Knee {
    /// The latency expected at a load; without end from the capacity on.
    pub fn at(&self, load: f64) -> f64 {
        let free = 1.0 - load / self.capacity.value;
        if free > 0.0 { self.unloaded / free } else { f64::INFINITY }
    }

    /// The load at which latency reaches an objective.
    pub fn load_at(&self, objective: f64) -> Estimated {
        let share = (1.0 - self.unloaded / objective).max(0.0);
        let of = |capacity: f64| capacity * share;
        let Estimated { value, low, high } = self.capacity;
        Estimated { value: of(value), low: of(low), high: of(high) }
    }
}

/// What ends an instance's capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// CPU use reaches its limit, or the request where there is no limit.
    Cpu,
    /// Latency grows without end.
    Queue,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cpu => "CPU",
            Self::Queue => "waiting requests",
        })
    }
}

/// The load at which an instance is full.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Saturation {
    /// Requests per second.
    pub load: Estimated,
    /// What is full then.
    pub bound: Bound,
    /// Observations at their limit that say so; without any, it is computed from lower loads.
    pub seen: u64,
}

/// What was observed at about the same load.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ModelPoint {
    /// Mean load, in requests per second and instance.
    pub load: f64,
    /// Mean CPU use, in cores.
    pub cpu: f64,
    /// Mean memory use, in bytes.
    pub memory: f64,
    /// Typical 95th percentile of latency, in seconds; absent without enough answers.
    pub latency: Option<f64>,
    /// Observations that count.
    pub weight: f64,
}

/// A revision that uses more or less CPU than the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CostChange {
    /// The earlier revision.
    pub from: u64,
    /// The later one.
    pub to: u64,
    /// Use of the later one over that of the earlier one.
    pub ratio: Estimated,
    /// Whether that is per request; else it is all use at the same load.
    pub per_request: bool,
}

impl fmt::Display for CostChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |ratio: f64| (ratio - 1.0).abs() * 100.0;
        let word = if self.ratio.value >= 1.0 { "more" } else { "less" };
        let of = if self.per_request { "CPU per request" } else { "CPU at the same load" };
        let (near, far) = if self.ratio.value >= 1.0 {
            (self.ratio.low, self.ratio.high)
        } else {
            (self.ratio.high, self.ratio.low)
        };
        write!(
            f,
            "revision {} uses {:.0} % {word} {of} than {} (95 % interval {:.0} to {:.0} %)",
            self.to,
            percent(self.ratio.value),
            self.from,
            percent(near),
            percent(far)
        )
    }
}

/// Observations that were kept out, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptOut {
    /// The instance had just become ready.
    pub starting: u64,
    /// A rollout was going on.
    pub rollout: u64,
    /// It used all that it may.
    pub saturated: u64,
    /// Many answers were errors, which cost something else.
    pub errors: u64,
    /// No amounts that can be.
    pub broken: u64,
}

impl KeptOut {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.starting + self.rollout + self.saturated + self.errors + self.broken
    }
}

/// What is known of a service's instances as functions of their load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadModel {
    /// The revision that it is about.
    pub revision: u64,
    /// When the newest observation was made.
    pub at: Option<Timestamp>,
    /// Observations of this revision that were taken in.
    pub observations: u64,
    /// Observations of the service that were not, whatever the revision.
    pub kept_out: KeptOut,
    /// Observations that lay far off the line and do not count.
    pub outliers: u64,
    /// How many observations' weight the revision before still has.
    pub prior_weight: f64,
    /// The lowest and the highest load that was observed of an instance.
    pub load_seen: Option<(f64, f64)>,
    /// CPU in cores.
    pub cpu: Relation,
    /// Memory in bytes.
    pub memory: Relation,
    /// The 95th percentile of latency, where it rises with load.
    pub knee: Option<Knee>,
    /// Why there is no knee.
    pub no_knee: Option<String>,
    /// The load at which an instance is full.
    pub saturation: Option<Saturation>,
    /// The owner's objective for the 95th percentile of latency, in seconds, and the load at which an
    /// instance breaks it.
    pub objective: Option<Objective>,
    /// What was observed, by load.
    pub points: Vec<ModelPoint>,
    /// How this revision differs from the one before.
    pub change: Option<CostChange>,
}

/// An objective for latency, and what the model says about it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Objective {
    /// The 95th percentile of latency stays under so many seconds.
    pub latency: f64,
    /// The load at which an instance breaks it; absent where none that was seen does and nothing points to one.
    pub breaks_at: Option<Estimated>,
    /// Whether that load lies beyond what was observed.
    pub extrapolated: bool,
}

impl LoadModel {
    /// The load that one instance may have so that neither its CPU use at that load exceeds a share of `cores`
    /// nor its latency the objective; absent where nothing bounds it.
    pub fn load_within(&self, cores: f64, share: f64) -> Option<f64> {
        let by_cpu = self.cpu.line().and_then(|line| line.load_at(cores * share)).map(|load| load.value);
        let by_objective = self.objective.and_then(|objective| objective.breaks_at).map(|load| load.value);
        let by_queue = self.knee.map(|knee| knee.capacity.value * share);
        by_cpu.into_iter().chain(by_objective).chain(by_queue).reduce(f64::min).filter(|load| *load > 0.0)
    }

    /// The model in sentences, the most telling first.
    pub fn words(&self) -> Vec<String> {
        let mut said = Vec::new();
        said.extend(self.change.map(|change| change.to_string()));
        said.push(match &self.cpu {
            Relation::Clear(line) => format!(
                "CPU: {:.3} cores without load, {:.2} ms a request (95 % interval {:.2} to {:.2})",
                line.base.value,
                line.slope.value * 1e3,
                line.slope.low * 1e3,
                line.slope.high * 1e3
            ),
            Relation::Unclear { why, .. } => format!("CPU: no clear relation to load: {why}"),
        });
        said.push(match &self.memory {
            Relation::Clear(line) => format!(
                "memory: {} without load, {} for each request a second",
                Bytes::from_f64(line.base.value),
                Bytes::from_f64(line.slope.value)
            ),
            Relation::Unclear { why, mean: Some(mean) } => {
                format!("memory: {} whatever the load: {why}", Bytes::from_f64(*mean))
            }
            Relation::Unclear { why, mean: None } => format!("memory: no clear relation to load: {why}"),
        });
        said.push(match (&self.knee, &self.no_knee) {
            (Some(knee), _) => format!(
                "latency: p95 of {:.0} ms without load, doubled at {:.1} requests/s",
                knee.unloaded * 1e3,
                knee.load_at(2.0 * knee.unloaded).value
            ),
            (None, why) => format!("latency: no knee: {}", why.as_deref().unwrap_or("nothing observed")),
        });
        said.extend(self.saturation.map(|full| {
            let how = if full.seen > 0 {
                format!("seen {} times", full.seen)
            } else {
                "computed from lower loads".to_owned()
            };
            format!(
                "an instance is full ({}) at {:.1} requests/s ({:.1} to {:.1}), {how}",
                full.bound, full.load.value, full.load.low, full.load.high
            )
        }));
        said.extend(self.objective.map(|objective| {
            let latency = objective.latency * 1e3;
            match objective.breaks_at {
                Some(at) => format!(
                    "p95 exceeds its objective of {latency:.0} ms at {:.1} requests/s{}",
                    at.value,
                    if objective.extrapolated { ", beyond what was observed" } else { "" }
                ),
                None => format!("p95 keeps its objective of {latency:.0} ms at every load that was observed"),
            }
        }));
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_in_the_direction_that_it_has() {
        let change = |value: f64| CostChange {
            from: 13,
            to: 14,
            ratio: Estimated { value, low: value - 0.05, high: value + 0.05 },
            per_request: true,
        };
        assert_eq!(
            change(1.31).to_string(),
            "revision 14 uses 31 % more CPU per request than 13 (95 % interval 26 to 36 %)"
        );
        assert_eq!(
            change(0.8).to_string(),
            "revision 14 uses 20 % less CPU per request than 13 (95 % interval 15 to 25 %)"
        );
    }

    #[test]
    fn a_load_is_found_on_the_line_and_on_the_curve() {
        let line = Line {
            base: Estimated::around(0.1, 0.01),
            slope: Estimated::around(0.01, 0.002),
            band: 0.05,
            explained: 0.9,
        };
        let full = line.load_at(1.0).expect("a load");
        assert!((full.value - 90.0).abs() < 1e-9 && (full.low - 75.0).abs() < 1e-9, "{full:?}");
        assert_eq!(line.load_at(0.05), None, "it uses more without load");
        let knee = Knee { unloaded: 0.01, capacity: Estimated::around(100.0, 10.0) };
        assert!((knee.load_at(0.04).value - 75.0).abs() < 1e-9);
        assert!((knee.at(75.0) - 0.04).abs() < 1e-9 && knee.at(100.0).is_infinite());
        assert!(knee.load_at(0.005).value.abs() < 1e-9, "faster than it is without load");
    }
}
