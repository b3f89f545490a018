//! Recursive least squares with forgetting, on few features, slow to believe outliers.
//!
//! In: features with what came of them. Out: what features lead to. After Ljung, "System Identification"
//! (2nd ed. 1999), section 11.2; errors are clipped as Huber's M-estimator clips them.

use serde::{Deserialize, Serialize};

/// Features of a regression.
pub(super) const FEATURES: usize = 6;
/// The features of one instant.
pub(super) type Features = [f64; FEATURES];

/// The trace of the covariance stays below this: while nothing excites a direction, forgetting would
/// blow it up without end.
const TRACE_MAX: f64 = 5.0;

/// Weights of features, learnt one by one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Regression {
    weights: Features,
    covariance: [Features; FEATURES],
}

impl Regression {
    /// Begins with `weights`; `doubt` is the variance of each.
    pub(super) fn new(weights: Features, doubt: f64) -> Self {
        let mut covariance = [[0.0; FEATURES]; FEATURES];
        for (i, row) in covariance.iter_mut().enumerate() {
            row[i] = doubt;
        }
        Self { weights, covariance }
    }

    /// What `features` lead to.
    pub(super) fn predict(&self, features: &Features) -> f64 {
        dot(&self.weights, features)
    }

    /// Takes in that `features` led to `value`; what was learnt before keeps `keep` of its weight. An error
    /// beyond `clip` counts as `clip`.
    pub(super) fn learn(&mut self, features: &Features, value: f64, clip: f64, keep: f64) {
        let gains: Features = std::array::from_fn(|i| dot(&self.covariance[i], features));
        let scale = keep + dot(&gains, features);
        let error = (value - self.predict(features)).clamp(-clip, clip);
        if !(error.is_finite() && scale.is_finite() && scale > 0.0) {
            return;
        }
        let mut trace = 0.0;
        for i in 0..FEATURES {
            self.weights[i] += gains[i] / scale * error;
            for j in 0..FEATURES {
                self.covariance[i][j] = (self.covariance[i][j] - gains[i] * gains[j] / scale) / keep;
            }
            trace += self.covariance[i][i];
        }
        if trace > TRACE_MAX {
            self.covariance.iter_mut().flatten().for_each(|value| *value *= TRACE_MAX / trace);
        }
    }
}

fn dot(a: &Features, b: &Features) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_the_weights_that_made_the_values() {
        let mut regression = Regression::new([0.0; FEATURES], 1.0);
        let truth = [0.5, -0.25, 2.0, 0.0, 1.0, 0.1];
        for step in 0..2_000_u32 {
            let features: Features = std::array::from_fn(|i| (f64::from(step) * (0.7 + i as f64)).sin());
            let outlier = if step % 97 == 0 { 50.0 } else { 0.0 };
            regression.learn(&features, dot(&truth, &features) + outlier, 0.5, 0.999);
        }
        for (i, (weight, truth)) in regression.weights.iter().zip(truth).enumerate() {
            assert!((weight - truth).abs() < 0.05, "{i}: {weight} for {truth}");
        }
    }
}
