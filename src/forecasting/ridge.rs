//! Regression that forgets: weighted sums of squares of the past, solved with a pull towards given weights.
//!
//! In: regressors and what came of them, one by one. Out: weights. The sums are kept instead of an inverse
//! (Haykin, Adaptive Filter Theory, chapter 10: recursive least squares), since they stay sound when regressors vanish.

use serde::{Deserialize, Serialize};

use crate::forecasting::experts::INPUTS;

const SUMS: usize = INPUTS * (INPUTS + 1) / 2;

/// Sums of products.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Ridge {
    squares: [f32; SUMS],
    products: [f32; INPUTS],
}

impl Ridge {
    pub(super) fn new() -> Self {
        Self { squares: [0.0; SUMS], products: [0.0; INPUTS] }
    }

    /// Takes in that `inputs` came to `output`; what came before counts `keep` times as much.
    pub(super) fn learn(&mut self, inputs: &[f64; INPUTS], output: f64, keep: f64, weight: f64) {
        let mut at = 0;
        for row in 0..INPUTS {
            for column in 0..=row {
                let sum = f64::from(self.squares[at]) * keep + weight * inputs[row] * inputs[column];
                self.squares[at] = sum as f32;
                at += 1;
            }
            let sum = f64::from(self.products[row]) * keep + weight * inputs[row] * output;
            self.products[row] = sum as f32;
        }
    }

    /// The weights of least squared error, pulled to `prior` with the weight of `pull` squares.
    pub(super) fn solve(&self, prior: &[f64; INPUTS], pull: f64) -> [f64; INPUTS] {
        // Cholesky: the matrix is positive since `pull` is.
        let mut lower = [[0.0_f64; INPUTS]; INPUTS];
        let mut at = 0;
        for row in 0..INPUTS {
            for column in 0..=row {
                let mut sum = f64::from(self.squares[at]);
                at += 1;
                if row == column {
                    sum += pull;
                }
                let done = lower[row].iter().zip(&lower[column]).take(column);
                sum -= done.map(|(one, other)| one * other).sum::<f64>();
                lower[row][column] =
                    if row == column { sum.max(pull * 1e-3).sqrt() } else { sum / lower[column][column] };
            }
        }
        let mut weights = [0.0; INPUTS];
        for row in 0..INPUTS {
            let mut sum = f64::from(self.products[row]) + pull * prior[row];
            for inner in 0..row {
                sum -= lower[row][inner] * weights[inner];
            }
            weights[row] = sum / lower[row][row];
        }
        for row in (0..INPUTS).rev() {
            let mut sum = weights[row];
            for inner in row + 1..INPUTS {
                sum -= lower[inner][row] * weights[inner];
            }
            weights[row] = sum / lower[row][row];
        }
        weights
    }
}
