//! A histogram with exponential buckets that keeps only the buckets in use: what it counts is weight,
//! what it tells are percentiles. Not here: forgetting (`decaying_histogram`).
//!
//! Bucket sizes grow by a factor, as in the Kubernetes Vertical Pod Autoscaler
//! (`pkg/recommender/util/histogram_options.go`): bucket n begins at `first * (growth^n - 1) / (growth - 1)`.

use serde::{Deserialize, Serialize};

/// A bucket with less weight counts as empty (a thousandth of the lightest sample's weight in VPA).
pub const EPSILON: f64 = 1e-4;

/// The bounds of the buckets; shared by all histograms of one quantity.
#[derive(Debug, Clone, PartialEq)]
pub struct Buckets {
    /// `starts[n]` is where bucket n begins; one more than there are buckets.
    starts: Vec<f64>,
    /// `(growth - 1) / first`: turns a value into `growth^n - 1`.
    scale: f64,
    /// Buckets per doubling of `growth^n`; absent where all buckets have the same size.
    per_doubling: Option<f64>,
}

impl Buckets {
    /// Buckets from zero to at least `largest`. The first one has the size `first`, each following one
    /// is `growth` times the one before. All must be positive and `growth` above 1.
    pub fn exponential(first: f64, largest: f64, growth: f64) -> Self {
        let scale = (growth - 1.0) / first;
        let count = (largest * scale).ln_1p() / growth.ln();
        let count = count.ceil() as i32 + 1;
        let starts = (0..=count).map(|n| (growth.powi(n) - 1.0) / scale).collect();
        Self { starts, scale, per_doubling: Some(1.0 / growth.log2()) }
    }

    /// Buckets of the same size from zero to at least `largest`. Both must be positive.
    pub fn linear(size: f64, largest: f64) -> Self {
        let count = (largest / size).ceil() as u32;
        let starts = (0..=count).map(|n| f64::from(n) * size).collect();
        Self { starts, scale: 1.0 / size, per_doubling: None }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.starts.len() - 1
    }

    /// Where bucket `n` begins.
    pub fn start(&self, n: usize) -> f64 {
        self.starts[n.min(self.count())]
    }

    /// The largest value that a percentile can be.
    pub fn largest(&self) -> f64 {
        self.starts[self.count() - 1]
    }

    /// The bucket that a value falls into; the last one takes everything above.
    pub fn index(&self, value: f64) -> usize {
        let last = self.count() - 1;
        // NaN and everything up to the first bound.
        if value.is_nan() || value < self.starts[1] {
            return 0;
        }
        if value >= self.starts[last] {
            return last;
        }
        let guess = match self.per_doubling {
            Some(per_doubling) => (log2_roughly(value * self.scale + 1.0) * per_doubling) as usize,
            None => (value * self.scale) as usize,
        };
        let mut n = guess.min(last);
        // The guess is off by one bucket at most; the table settles which side of a bound it is.
        while self.starts[n] > value {
            n -= 1;
        }
        while self.starts[n + 1] <= value {
            n += 1;
        }
        n
    }
}

/// The binary logarithm of a number from 1 up, within 0.01: exponent and mantissa are read off its
/// bits. A library logarithm costs several times as much, and the table corrects the rest.
fn log2_roughly(value: f64) -> f64 {
    let bits = value.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as f64 - 1023.0;
    let mantissa = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | 0x3ff0_0000_0000_0000) - 1.0;
    exponent + mantissa + 0.343_7 * mantissa * (1.0 - mantissa)
}

/// Weights of the buckets in use.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// The bucket that `weights[0]` belongs to.
    first: u16,
    /// From the lowest bucket that ever had weight to the highest. 64 bits each: a busy workload adds a
    /// tenth to a bucket that holds millions, which 32 bits would swallow.
    weights: Vec<f64>,
    /// Their sum.
    total: f64,
}

impl Histogram {
    /// Adds weight to a bucket.
    pub fn add(&mut self, bucket: usize, weight: f64) {
        let slot = self.slot(bucket);
        self.weights[slot] += weight;
        self.total += weight;
    }

    /// Takes weight from a bucket, down to none.
    pub fn subtract(&mut self, bucket: usize, weight: f64) {
        let Some(slot) = bucket.checked_sub(usize::from(self.first)) else { return };
        if let Some(kept) = self.weights.get_mut(slot) {
            *kept = (*kept - weight).max(0.0);
            self.total = (self.total - weight).max(0.0);
        }
    }

    /// Multiplies every weight and lets go of buckets at the edges that became empty.
    pub fn scale(&mut self, factor: f64) {
        self.weights.iter_mut().for_each(|weight| *weight *= factor);
        self.total *= factor;
        let used = self.weights.iter().rposition(|&weight| weight >= EPSILON).map_or(0, |last| last + 1);
        self.weights.truncate(used);
        let lead = self.weights.iter().take_while(|&&weight| weight < EPSILON).count();
        self.weights.drain(..lead);
        self.first += lead as u16;
        if self.weights.is_empty() {
            self.total = 0.0;
        }
    }

    /// Adds the weights of another histogram with the same buckets.
    pub fn merge(&mut self, other: &Self) {
        for (slot, &weight) in other.weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
            self.add(usize::from(other.first) + slot, weight);
        }
    }

    /// Takes away the weights of another histogram with the same buckets, down to none.
    pub fn unmerge(&mut self, other: &Self) {
        for (slot, &weight) in other.weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
            self.subtract(usize::from(other.first) + slot, weight);
        }
    }

    /// The buckets from the lowest to the highest that ever had weight, each with its weight.
    pub fn weights(&self) -> impl Iterator<Item = (usize, f64)> {
        self.weights.iter().enumerate().map(|(slot, &weight)| (usize::from(self.first) + slot, weight))
    }

    /// The sum of all weights.
    pub fn total(&self) -> f64 {
        self.total
    }

    /// Whether no bucket has weight worth counting.
    pub fn is_empty(&self) -> bool {
        self.weights.iter().all(|&weight| weight < EPSILON)
    }

    /// The end of the bucket at which a share (0 to 1) of the weight is reached, as VPA answers it: no
    /// interpolation, and the start of the last bucket, which has no end. Absent where there is no
    /// weight.
    pub fn percentile(&self, buckets: &Buckets, share: f64) -> Option<f64> {
        let highest = self.weights.iter().rposition(|&weight| weight >= EPSILON)?;
        let threshold = share * self.total;
        let mut sum = 0.0;
        let reached = self.weights[..highest].iter().position(|&weight| {
            // What counts as empty at the lower edge cannot answer, even for a share of zero.
            sum += weight;
            weight >= EPSILON && sum >= threshold
        });
        let bucket = usize::from(self.first) + reached.unwrap_or(highest);
        Some(if bucket + 1 < buckets.count() { buckets.start(bucket + 1) } else { buckets.start(bucket) })
    }

    /// The bytes that it occupies.
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.weights.capacity() * size_of::<f64>()
    }

    /// Whether it can have come from histograms with these buckets: for what is read from a disk.
    pub fn is_sound(&self, buckets: &Buckets) -> bool {
        usize::from(self.first) + self.weights.len() <= buckets.count()
            && self.weights.iter().chain([&self.total]).all(|weight| weight.is_finite() && *weight >= 0.0)
    }

    /// The place of a bucket's weight, made where it is missing.
    fn slot(&mut self, bucket: usize) -> usize {
        let first = usize::from(self.first);
        if self.weights.is_empty() {
            self.first = bucket as u16;
            self.weights.push(0.0);
            return 0;
        }
        if bucket < first {
            let missing = first - bucket;
            self.weights.reserve_exact(missing);
            self.weights.splice(0..0, std::iter::repeat_n(0.0, missing));
            self.first = bucket as u16;
            return 0;
        }
        let slot = bucket - first;
        if slot >= self.weights.len() {
            // Exactly: doubling would waste most of what leaving out unused buckets saves.
            self.weights.reserve_exact(slot + 1 - self.weights.len());
            self.weights.resize(slot + 1, 0.0);
        }
        slot
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cpu() -> Buckets {
        Buckets::exponential(0.01, 1000.0, 1.05)
    }

    fn near(found: Option<f64>, expected: f64) -> bool {
        found.is_some_and(|found| (found - expected).abs() <= expected * 1e-9)
    }

    #[test]
    fn the_published_ranges_give_176_buckets() {
        assert_eq!(cpu().count(), 176);
        assert_eq!(Buckets::exponential(1e7, 1e12, 1.05).count(), 176);
    }

    #[test]
    fn bounds_follow_the_formula() {
        let buckets = cpu();
        // 0.01, then 0.01 + 0.0105, then + 0.011025: the first sizes by hand.
        for (n, start) in [(0, 0.0), (1, 0.01), (2, 0.0205), (3, 0.031_525)] {
            assert!((buckets.start(n) - start).abs() < 1e-12, "{n}");
        }
        for (value, bucket) in [(0.0, 0), (0.009, 0), (0.01, 1), (0.0204, 1), (0.0206, 2), (1e9, 175)] {
            assert_eq!(buckets.index(value), bucket, "{value}");
        }
    }

    #[test]
    fn a_percentile_is_the_end_of_its_bucket() {
        let buckets = cpu();
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(&buckets, 0.9), None);
        histogram.add(buckets.index(0.015), 9.0);
        histogram.add(buckets.index(0.025), 1.0);
        assert!(near(histogram.percentile(&buckets, 0.5), 0.0205));
        assert!(near(histogram.percentile(&buckets, 0.9), 0.0205), "nine tenths are reached, not passed");
        assert!(near(histogram.percentile(&buckets, 0.91), 0.031_525));
        histogram.add(175, 100.0);
        assert_eq!(
            histogram.percentile(&buckets, 0.9),
            Some(buckets.largest()),
            "the last bucket has no end"
        );
    }

    #[test]
    fn what_is_subtracted_was_never_there() {
        let buckets = cpu();
        let mut histogram = Histogram::default();
        histogram.add(20, 1.0);
        histogram.add(5, 1.0);
        histogram.subtract(20, 1.0);
        assert!(near(histogram.percentile(&buckets, 1.0), buckets.start(6)));
        histogram.subtract(5, 3.0);
        histogram.subtract(170, 1.0);
        assert!(histogram.is_empty());
        assert_eq!(histogram.percentile(&buckets, 0.5), None);
    }

    #[test]
    fn scaling_forgets_what_became_too_light() {
        let mut histogram = Histogram::default();
        histogram.add(3, 1e-3);
        histogram.add(50, 1.0);
        histogram.add(90, 1e-3);
        let wide = histogram.memory();
        histogram.scale(0.01);
        assert_eq!(histogram.first, 50);
        assert_eq!(histogram.weights, [0.01]);
        assert!(histogram.memory() <= wide);
        histogram.scale(1e-9);
        assert!(histogram.is_empty() && histogram.total == 0.0);
    }

    #[test]
    fn a_damaged_histogram_is_not_sound() {
        let buckets = cpu();
        let sound = Histogram { first: 170, weights: vec![1.0; 6], total: 6.0 };
        assert!(sound.is_sound(&buckets));
        assert!(!Histogram { first: 171, ..sound.clone() }.is_sound(&buckets));
        assert!(!Histogram { total: f64::NAN, ..sound }.is_sound(&buckets));
    }

    proptest! {
        #[test]
        fn every_value_lies_within_its_bucket(exponent in -4.0..3.0_f64) {
            let (buckets, value) = (cpu(), 10_f64.powf(exponent));
            let n = buckets.index(value);
            prop_assert!(buckets.start(n) <= value || n == 0);
            prop_assert!(value < buckets.start(n + 1) || n == buckets.count() - 1);
        }

        #[test]
        fn merging_is_adding_everything_to_one(
            left in proptest::collection::vec((0_usize..176, 0.1..9.0_f64), 0..40),
            right in proptest::collection::vec((0_usize..176, 0.1..9.0_f64), 0..40),
        ) {
            let of = |samples: &[(usize, f64)]| {
                let mut histogram = Histogram::default();
                for &(bucket, weight) in samples {
                    histogram.add(bucket, weight);
                }
                histogram
            };
            let mut merged = of(&left);
            merged.merge(&of(&right));
            let both = of(&[left, right].concat());
            let buckets = cpu();
            for percent in [1, 33, 77, 99] {
                let share = f64::from(percent) / 100.0;
                prop_assert_eq!(merged.percentile(&buckets, share), both.percentile(&buckets, share));
            }
        }
    }
}
