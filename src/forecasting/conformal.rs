//! Intervals that track their own coverage: each quantile of the residual moves up when the load was above it and
//! down when it was below, so that in the long run it is above it in the share of time that it stands for.
//!
//! Adaptive conformal inference (Gibbs & Candes 2021, "Adaptive Conformal Inference Under Distribution Shift") in
//! the form of quantile tracking on scores (Angelopoulos, Candes & Tibshirani 2023, "Conformal PID Control for Time
//! Series Prediction", section 2.2): no assumption on the load, coverage holds for any sequence. Scores are
//! residuals over their recent mean size, so that a louder week widens all quantiles at once.

use serde::{Deserialize, Serialize};

/// Levels of a load at one time.
pub(super) const LEVELS: [f64; 9] = [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99];

/// Levels of the highest load of a window.
pub(super) const PEAK_LEVELS: [f64; 6] = [0.25, 0.5, 0.75, 0.9, 0.95, 0.99];

/// Residuals larger than so many times their mean size count no more for it: one lie moves little.
const CLIP: f64 = 8.0;

/// Quantiles of a residual at `N` levels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Tracker<const N: usize> {
    #[serde(with = "array")]
    scores: [f32; N],
    size: f32,
    count: f32,
}

/// The score of a level before anything was learnt: that of a Laplace distribution whose mean size is one, since
/// tails of loads are heavier than normal.
pub(super) fn first_score(level: f64) -> f64 {
    let tail = level.min(1.0 - level).max(1e-9);
    -(2.0 * tail).ln().copysign(0.5 - level)
}

/// Quantile of the normal distribution (Abramowitz & Stegun 26.2.23; wrong by less than 0.0005).
pub(crate) fn probit(level: f64) -> f64 {
    let tail = level.min(1.0 - level).max(1e-9);
    let t = (-2.0 * tail.ln()).sqrt();
    let above = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let below = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    (t - above / below).copysign(level - 0.5)
}

impl<const N: usize> Tracker<N> {
    pub(super) fn new(levels: &[f64; N]) -> Self {
        Self { scores: levels.map(|level| first_score(level) as f32), size: 0.0, count: 0.0 }
    }

    /// Whether anything was learnt.
    pub(super) fn knows(&self) -> bool {
        self.count > 0.0
    }

    /// How much the next residual counts in a mean over `memory` of them.
    pub(super) fn share_of_next(&self, memory: f64) -> f64 {
        (f64::from(self.count) + 1.0).min(memory).recip()
    }

    pub(super) fn size(&self) -> f64 {
        f64::from(self.size)
    }

    /// Takes in a residual; `memory` is over how many of them their size is averaged.
    pub(super) fn learn(&mut self, levels: &[f64; N], residual: f64, memory: f64, rate: f64) {
        let size = f64::from(self.size);
        if self.count > 3.0 && size > 0.0 {
            let score = residual / size;
            for (known, level) in self.scores.iter_mut().zip(levels) {
                let known_score = f64::from(*known);
                // Tails lie farther apart and are met less often: they move in larger steps.
                let step = rate * (0.3 + known_score.abs());
                let up = if score > known_score { *level } else { level - 1.0 };
                *known = (known_score + step * up) as f32;
            }
        }
        let share = self.share_of_next(memory);
        self.count += 1.0;
        let clipped =
            if self.count > 3.0 && size > 0.0 { residual.abs().min(CLIP * size) } else { residual.abs() };
        self.size = (size + (clipped - size) * share) as f32;
    }

    /// The residual that is not exceeded with the chance `level`.
    pub(super) fn quantile(&self, levels: &[f64; N], level: f64) -> f64 {
        let mut sorted = self.scores;
        sorted.sort_unstable_by(f32::total_cmp);
        let score = |at: usize| f64::from(sorted[at]);
        let above = levels.iter().position(|known| *known >= level).unwrap_or(N);
        // Between levels as a normal distribution runs; beyond them as it goes on from the outer two.
        let at = above.clamp(1, N - 1);
        let (low, high) = (probit(levels[at - 1]), probit(levels[at]));
        let share = (probit(level) - low) / (high - low);
        self.size() * (score(at - 1) + share * (score(at) - score(at - 1)))
    }
}

mod array {
    //! Arrays of any length, which serde knows up to 32 without a generic length only.

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer, const N: usize>(
        values: &[f32; N],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        values.as_slice().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        from: D,
    ) -> Result<[f32; N], D::Error> {
        let values = Vec::<f32>::deserialize(from)?;
        values.try_into().map_err(|_| Error::custom("another number of levels"))
    }
}
