//! A histogram that forgets: a sample's weight halves with each half-life that passes after it.
//!
//! As in the Kubernetes Vertical Pod Autoscaler (`pkg/recommender/util/decaying_histogram.go`) old
//! weights stay as they are and new samples weigh more: `2^((t - reference) / half-life)` times their
//! weight. Percentiles do not see the difference. The reference moves before the factor overflows.

use serde::{Deserialize, Serialize};

use crate::estimation::histogram::{Buckets, Histogram};

/// The reference moves when a sample would weigh 2^100 times its weight.
const EXPONENT_MAX: f64 = 100.0;

/// What the histograms of one quantity have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct Scheme {
    /// The buckets.
    pub buckets: Buckets,
    /// The half-life in milliseconds, above 0.
    pub half_life: i64,
}

/// Weights of buckets that fade.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DecayingHistogram {
    /// The instant whose samples weigh what they weigh, in milliseconds since the epoch; a multiple of
    /// the half-life, so that moving it scales by a power of two, exactly. Absent before the first sample.
    reference: Option<i64>,
    histogram: Histogram,
}

impl DecayingHistogram {
    /// Adds a sample that was taken at `at` (milliseconds since the epoch).
    pub fn add(&mut self, scheme: &Scheme, value: f64, weight: f64, at: i64) {
        let factor = self.factor(scheme, at);
        self.histogram.add(scheme.buckets.index(value), weight * factor);
    }

    /// Takes back a sample that was added with the same value, weight and instant.
    pub fn subtract(&mut self, scheme: &Scheme, value: f64, weight: f64, at: i64) {
        let factor = self.factor(scheme, at);
        self.histogram.subtract(scheme.buckets.index(value), weight * factor);
    }

    /// Adds everything that another histogram of the same scheme holds.
    pub fn merge(&mut self, scheme: &Scheme, other: &Self) {
        let Some(theirs) = other.reference else { return };
        let mut other = other.histogram.clone();
        match self.reference {
            None => self.reference = Some(theirs),
            Some(ours) if ours < theirs => self.shift(scheme, theirs),
            Some(ours) => other.scale(halvings(scheme, theirs, ours)),
        }
        self.histogram.merge(&other);
    }

    /// The end of the bucket at which a share (0 to 1) of the faded weight is reached; absent where
    /// there is none.
    pub fn percentile(&self, scheme: &Scheme, share: f64) -> Option<f64> {
        self.histogram.percentile(&scheme.buckets, share)
    }

    /// The faded weights; only their proportions mean something.
    pub fn weights(&self) -> &Histogram {
        &self.histogram
    }

    /// Whether nothing is left in it.
    pub fn is_empty(&self) -> bool {
        self.histogram.is_empty()
    }

    /// The bytes that it occupies.
    pub fn memory(&self) -> usize {
        size_of::<Self>() - size_of::<Histogram>() + self.histogram.memory()
    }

    /// Whether it can have come from this scheme: for what is read from a disk.
    pub fn is_sound(&self, scheme: &Scheme) -> bool {
        self.histogram.is_sound(&scheme.buckets)
    }

    fn factor(&mut self, scheme: &Scheme, at: i64) -> f64 {
        let half_life = scheme.half_life as f64;
        let reference = *self.reference.get_or_insert_with(|| nearest_multiple(at, scheme.half_life));
        let exponent = at.saturating_sub(reference) as f64 / half_life;
        if exponent <= EXPONENT_MAX {
            return exponent.exp2();
        }
        let moved = nearest_multiple(at, scheme.half_life);
        self.shift(scheme, moved);
        (at.saturating_sub(moved) as f64 / half_life).exp2()
    }

    fn shift(&mut self, scheme: &Scheme, to: i64) {
        if let Some(from) = self.reference.replace(to) {
            self.histogram.scale(halvings(scheme, from, to));
        }
    }
}

/// The factor that weights are multiplied by when the reference moves on.
fn halvings(scheme: &Scheme, from: i64, to: i64) -> f64 {
    let count = to.saturating_sub(from) / scheme.half_life;
    2_f64.powi(i32::try_from(-count).unwrap_or(i32::MIN))
}

fn nearest_multiple(of: i64, unit: i64) -> i64 {
    of.saturating_add(unit / 2).div_euclid(unit).saturating_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn scheme() -> Scheme {
        Scheme { buckets: Buckets::exponential(0.01, 1000.0, 1.05), half_life: 24 * HOUR }
    }

    /// The end of the bucket that a value falls into.
    fn end(value: f64) -> f64 {
        let buckets = scheme().buckets;
        buckets.start(buckets.index(value) + 1)
    }

    #[test]
    fn a_day_old_sample_weighs_half() {
        let scheme = scheme();
        let mut histogram = DecayingHistogram::default();
        // Weights seen from the second day: 3 * 1/2 of 1.0, 1 * 1 of 2.0: 60 % and 40 %.
        histogram.add(&scheme, 1.0, 3.0, 0);
        histogram.add(&scheme, 2.0, 1.0, 24 * HOUR);
        assert_eq!(histogram.percentile(&scheme, 0.59), Some(end(1.0)));
        assert_eq!(histogram.percentile(&scheme, 0.61), Some(end(2.0)));
    }

    #[test]
    fn the_order_of_samples_does_not_matter() {
        let scheme = scheme();
        let samples = [(1.0, 30), (0.2, 3), (4.0, 7), (0.5, 50), (1.0, 31), (2.5, -900)];
        let of = |order: &mut dyn Iterator<Item = &(f64, i64)>| {
            let mut histogram = DecayingHistogram::default();
            order.for_each(|&(value, hours)| histogram.add(&scheme, value, 0.1, hours * HOUR));
            histogram
        };
        let (forth, back) = (of(&mut samples.iter()), of(&mut samples.iter().rev()));
        for share in [0.1, 0.3, 0.5, 0.7, 0.9] {
            assert_eq!(forth.percentile(&scheme, share), back.percentile(&scheme, share), "{share}");
        }
    }

    #[test]
    fn the_reference_moves_before_weights_overflow() {
        let scheme = scheme();
        let mut histogram = DecayingHistogram::default();
        for day in 0..5000 {
            histogram.add(&scheme, if day % 2 == 0 { 1.0 } else { 8.0 }, 1.0, day * 24 * HOUR);
        }
        assert!(histogram.is_sound(&scheme));
        // The last day was odd: 1 + 1/4 + .. = 4/3 against 1/2 + 1/8 + .. = 2/3.
        assert_eq!(histogram.percentile(&scheme, 0.33), Some(end(1.0)));
        assert_eq!(histogram.percentile(&scheme, 0.34), Some(end(8.0)));
        assert!(histogram.reference.is_some_and(|at| at > 4800 * 24 * HOUR));
    }

    #[test]
    fn a_sample_taken_back_after_the_reference_moved_is_gone() {
        let scheme = scheme();
        let mut histogram = DecayingHistogram::default();
        histogram.add(&scheme, 1.0, 1.0, 0);
        histogram.add(&scheme, 9.0, 1.0, 99 * 24 * HOUR);
        histogram.add(&scheme, 2.0, 1.0, 101 * 24 * HOUR);
        histogram.subtract(&scheme, 9.0, 1.0, 99 * 24 * HOUR);
        assert_eq!(histogram.percentile(&scheme, 1.0), Some(end(2.0)));
    }

    #[test]
    fn merging_joins_histograms_of_different_ages() {
        let scheme = scheme();
        let (mut old, mut new, mut both) =
            (DecayingHistogram::default(), DecayingHistogram::default(), DecayingHistogram::default());
        for (days, value) in [(0, 1.0), (1, 3.0), (2, 2.0)] {
            old.add(&scheme, value, 1.0, days * 24 * HOUR);
            both.add(&scheme, value, 1.0, days * 24 * HOUR);
        }
        for (days, value) in [(3, 0.5), (4, 6.0)] {
            new.add(&scheme, value, 1.0, days * 24 * HOUR);
            both.add(&scheme, value, 1.0, days * 24 * HOUR);
        }
        let mut forth = old.clone();
        forth.merge(&scheme, &new);
        new.merge(&scheme, &old);
        for percent in (5..100).step_by(5) {
            let share = f64::from(percent) / 100.0;
            assert_eq!(forth.percentile(&scheme, share), both.percentile(&scheme, share), "{share}");
            assert_eq!(new.percentile(&scheme, share), both.percentile(&scheme, share), "{share}");
        }
    }
}
