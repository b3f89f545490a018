//! The constants of the VPA estimator, read from `models/vpa-v1.json`. Not here: what they do (`vpa`).

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::estimation::EstimationError;
use crate::estimation::decaying_histogram::Scheme;
use crate::estimation::histogram::Buckets;

/// The published constants; the file is part of the program, so reading it cannot fail at run time.
static PUBLISHED: LazyLock<VpaParameters> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../models/vpa-v1.json"))
        .expect("models/vpa-v1.json fits VpaParameters")
});

/// What is remembered of one resource. Amounts are cores for CPU, bytes for memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourceParameters {
    /// The size of the first bucket.
    pub first_bucket: f64,
    /// The buckets reach at least so far.
    pub largest: f64,
    /// The time in which a sample's weight halves.
    pub half_life_seconds: u32,
    /// The weight of a sample.
    pub sample_weight: f64,
    /// Never recommend less.
    pub floor: f64,
}

/// A correction for little history: times `(1 + multiplier / days)^exponent`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfidenceParameters {
    /// What the days of history are set against.
    pub multiplier: f64,
    /// Above 0 widens upwards, below 0 downwards.
    pub exponent: f64,
}

/// Every constant of the estimator. The default is `models/vpa-v1.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VpaParameters {
    /// The name of the model that they are.
    pub name: String,
    /// CPU.
    pub cpu: ResourceParameters,
    /// Memory.
    pub memory: ResourceParameters,
    /// How much each bucket is larger than the one before.
    pub bucket_growth: f64,
    /// Each task gives one peak of memory in each interval of this length.
    pub memory_interval_seconds: u32,
    /// After this many intervals without a sample, what was before counts for nothing.
    pub memory_intervals: u32,
    /// The share of usage that the recommended request covers.
    pub target_percentile: f64,
    /// The share that the lower bound covers.
    pub lower_percentile: f64,
    /// The share that the upper bound covers.
    pub upper_percentile: f64,
    /// What percentiles are multiplied by.
    pub margin: f64,
    /// Samples that make a day of history.
    pub samples_per_day: u32,
    /// How the upper bound narrows with history.
    pub upper_confidence: ConfidenceParameters,
    /// How the lower bound rises with history.
    pub lower_confidence: ConfidenceParameters,
    /// A task killed for want of memory needs at least so many bytes more than it had.
    pub oom_bump_bytes: u64,
    /// And at least so many times what it had.
    pub oom_bump_ratio: f64,
    /// No size is recommended from fewer samples.
    pub min_samples: u64,
}

impl Default for VpaParameters {
    fn default() -> Self {
        PUBLISHED.clone()
    }
}

impl VpaParameters {
    /// Checks every constant; errors name the first one that is out of its range.
    pub fn check(&self) -> Result<(), EstimationError> {
        let positive = "a finite number above 0";
        let share = "a share above 0 and at most 1";
        let above_one = "a finite number of at least 1";
        let rules = [
            ("cpu.first_bucket", self.cpu.first_bucket, positive),
            ("cpu.largest", self.cpu.largest, positive),
            ("cpu.half_life_seconds", f64::from(self.cpu.half_life_seconds), positive),
            ("cpu.sample_weight", self.cpu.sample_weight, positive),
            ("memory.first_bucket", self.memory.first_bucket, positive),
            ("memory.largest", self.memory.largest, positive),
            ("memory.half_life_seconds", f64::from(self.memory.half_life_seconds), positive),
            ("memory.sample_weight", self.memory.sample_weight, positive),
            ("bucket_growth - 1", self.bucket_growth - 1.0, positive),
            ("memory_interval_seconds", f64::from(self.memory_interval_seconds), positive),
            ("memory_intervals", f64::from(self.memory_intervals), positive),
            ("samples_per_day", f64::from(self.samples_per_day), positive),
            ("target_percentile", self.target_percentile, share),
            ("lower_percentile", self.lower_percentile, share),
            ("upper_percentile", self.upper_percentile, share),
            ("margin", self.margin, above_one),
            ("oom_bump_ratio", self.oom_bump_ratio, above_one),
            ("cpu.floor + 1", self.cpu.floor + 1.0, above_one),
            ("memory.floor + 1", self.memory.floor + 1.0, above_one),
            ("upper_confidence.multiplier", self.upper_confidence.multiplier, positive),
            ("lower_confidence.multiplier", self.lower_confidence.multiplier, positive),
        ];
        for (name, found, expected) in rules {
            let fits = found.is_finite()
                && found > 0.0
                && (expected != share || found <= 1.0)
                && (expected != above_one || found >= 1.0);
            if !fits {
                return Err(EstimationError::Parameter { name, found, expected });
            }
        }
        for (name, resource) in [("cpu buckets", &self.cpu), ("memory buckets", &self.memory)] {
            let buckets = self.bucket_count(resource);
            if !(2.0..=BUCKETS_MAX).contains(&buckets) {
                return Err(EstimationError::Parameter { name, found: buckets, expected: "from 2 to 10000" });
            }
        }
        Ok(())
    }

    fn scheme(&self, resource: &ResourceParameters) -> Scheme {
        Scheme {
            buckets: Buckets::exponential(resource.first_bucket, resource.largest, self.bucket_growth),
            half_life: i64::from(resource.half_life_seconds) * 1000,
        }
    }

    fn bucket_count(&self, resource: &ResourceParameters) -> f64 {
        let growth = (resource.largest * (self.bucket_growth - 1.0) / resource.first_bucket).ln_1p();
        (growth / self.bucket_growth.ln()).ceil() + 1.0
    }
}

/// Checked parameters with what is computed from them once.
#[derive(Debug, Clone, PartialEq)]
pub struct VpaModel {
    parameters: VpaParameters,
    cpu: Scheme,
    memory: Scheme,
}

impl VpaModel {
    /// A model with these parameters; errors name the first one that is out of its range.
    pub fn new(parameters: VpaParameters) -> Result<Self, EstimationError> {
        parameters.check()?;
        let (cpu, memory) = (parameters.scheme(&parameters.cpu), parameters.scheme(&parameters.memory));
        Ok(Self { parameters, cpu, memory })
    }

    /// The parameters.
    pub fn parameters(&self) -> &VpaParameters {
        &self.parameters
    }

    /// The histogram of CPU, in cores.
    pub fn cpu(&self) -> &Scheme {
        &self.cpu
    }

    /// The histogram of memory peaks, in bytes.
    pub fn memory(&self) -> &Scheme {
        &self.memory
    }

    /// The length of a memory interval in milliseconds.
    pub fn memory_interval(&self) -> i64 {
        i64::from(self.parameters.memory_interval_seconds) * 1000
    }
}

/// More buckets than this are a mistake: the published constants make 176.
const BUCKETS_MAX: f64 = 10_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_file_has_the_published_constants() {
        let parameters = VpaParameters::default();
        parameters.check().expect("sound constants");
        assert_eq!(parameters.name, "vpa-v1");
        let of = |r: &ResourceParameters| (r.first_bucket, r.largest, r.sample_weight, r.floor);
        assert_eq!(of(&parameters.cpu), (0.01, 1000.0, 0.1, 0.025));
        assert_eq!(of(&parameters.memory), (1e7, 1e12, 1.0, 250e6));
        assert_eq!((parameters.cpu.half_life_seconds, parameters.memory.half_life_seconds), (86_400, 86_400));
        assert_eq!((parameters.memory_interval_seconds, parameters.memory_intervals), (86_400, 8));
        assert_eq!(parameters.oom_bump_bytes, 100 << 20);
        for resource in [&parameters.cpu, &parameters.memory] {
            assert_eq!(parameters.scheme(resource).buckets.count(), 176);
        }
    }

    #[test]
    fn constants_out_of_range_are_named() {
        let published = VpaParameters::default;
        let mut odd_bucket = published();
        odd_bucket.cpu.first_bucket = f64::NAN;
        for (expected, parameters) in [
            ("margin", VpaParameters { margin: 0.5, ..published() }),
            ("target_percentile", VpaParameters { target_percentile: 1.5, ..published() }),
            ("cpu.first_bucket", odd_bucket),
            ("bucket_growth - 1", VpaParameters { bucket_growth: 1.0, ..published() }),
            ("cpu buckets", VpaParameters { bucket_growth: 1.000_001, ..published() }),
        ] {
            let error = parameters.check().expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
