//! One horizon: methods mixed by their recent losses, and the quantiles of what the mixture misses.
//!
//! The mixture is the exponentially weighted average forecaster with discounted losses (Cesa-Bianchi & Lugosi 2006,
//! "Prediction, Learning, and Games", 2.11): a method's weight falls exponentially with its recent mean loss.

use serde::{Deserialize, Serialize};

use crate::forecasting::conformal::{LEVELS, Tracker};
use crate::forecasting::experts::{EXPERTS, INPUTS, PLAIN, RIDGE, Said};
use crate::forecasting::ridge::Ridge;

/// How much a weight falls with a loss: e to the power of minus so much for a loss as large again as the least.
const SHARPNESS: f64 = 3.0;

/// Squares by which the regression is pulled to its prior, as a share of the usual residual.
const PULL: f64 = 60.0;

/// Residuals larger than so many usual ones pull the regression no further.
const CLIP: f64 = 4.0;

/// A horizon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Node {
    ridge: Ridge,
    losses: [f32; EXPERTS],
    pub(super) tracker: Tracker<{ LEVELS.len() }>,
}

/// What a node makes of the methods' values: weights to apply to many slots.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mix {
    weights: [f64; EXPERTS],
    inputs: [f64; INPUTS],
}

impl Mix {
    /// The mixture's value.
    pub(super) fn of(&self, said: &Said) -> f64 {
        let regression = said.values[0] + dot(&self.inputs, &said.inputs);
        let mut sum = self.weights[RIDGE] * regression;
        for at in 0..RIDGE {
            sum += self.weights[at] * said.values[at];
        }
        sum
    }

    /// The regression's value.
    fn regression(&self, said: &Said) -> f64 {
        said.values[0] + dot(&self.inputs, &said.inputs)
    }
}

fn dot(one: &[f64; INPUTS], other: &[f64; INPUTS]) -> f64 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

/// The regression before it has learnt: at short horizons the level moved by the seasons' course, at long ones the
/// seasons themselves.
fn prior(days: f64) -> [f64; INPUTS] {
    let far = (days / 0.5).min(1.0);
    [0.1 * (1.0 - far), 0.1 * far, 0.35 * far, 0.35 * far, 0.7 * (1.0 - far)]
}

impl Node {
    pub(super) fn new() -> Self {
        Self { ridge: Ridge::new(), losses: [0.0; EXPERTS], tracker: Tracker::new(&LEVELS) }
    }

    /// Least recent loss of methods that know no season, and of those that do.
    pub(super) fn rivals(&self) -> Option<(f64, f64)> {
        let least = |losses: &[f32]| losses.iter().copied().fold(f32::INFINITY, f32::min);
        self.tracker
            .knows()
            .then(|| (f64::from(least(&self.losses[..PLAIN])), f64::from(least(&self.losses[PLAIN..]))))
    }

    /// How methods are mixed now; without structure only those that know no season.
    pub(super) fn mix(&self, horizon_days: f64, structure: bool) -> Mix {
        let pull = PULL * (self.tracker.size() * self.tracker.size()).max(1e-12);
        let inputs = self.ridge.solve(&prior(horizon_days), pull);
        let used = if structure { EXPERTS } else { PLAIN };
        let least = self.losses[..used].iter().copied().fold(f32::INFINITY, f32::min);
        let least = f64::from(least);
        let mut weights = [0.0; EXPERTS];
        let mut sum = 0.0;
        for (weight, loss) in weights.iter_mut().zip(&self.losses[..used]) {
            let excess = if least > 0.0 { f64::from(*loss) / least - 1.0 } else { 0.0 };
            *weight = (-SHARPNESS * excess).exp();
            sum += *weight;
        }
        for weight in &mut weights {
            *weight /= sum;
        }
        Mix { weights, inputs }
    }

    /// Takes in what came of what was said of a slot: `mean` of it.
    pub(super) fn learn(&mut self, said: &Said, mean: f64, (memory, ridge_memory): (f64, f64), mix: &Mix) {
        let share = self.tracker.share_of_next(memory);
        for (at, loss) in self.losses.iter_mut().enumerate() {
            let value = if at == RIDGE { mix.regression(said) } else { said.values[at] };
            let known = f64::from(*loss);
            *loss = (known + ((mean - value).abs() - known) * share) as f32;
        }
        let regression = mix.regression(said);
        let usual = self.tracker.size();
        let missed = mean - regression;
        let missed = if self.tracker.knows() { missed.clamp(-CLIP * usual, CLIP * usual) } else { missed };
        self.ridge.learn(&said.inputs, regression + missed - said.values[0], 1.0 - 1.0 / ridge_memory, 1.0);
    }
}
