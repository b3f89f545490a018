//! Fits over bins: a weighted line, by linfa, and a curve that never falls.
//!
//! In: loads with amounts and weights. Out: coefficients. Not here: which observations are believed (`robust`), what
//! follows from a fit (`relation`, `latency`).

use linfa::Dataset;
use linfa::traits::Fit;
use linfa_linear::LinearRegression;
use ndarray::{Array1, Array2};

/// A load, an amount, a weight.
pub(super) type Point = (f64, f64, f64);

/// Moments of points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Moments {
    pub(super) weight: f64,
    pub(super) load: f64,
    pub(super) amount: f64,
    /// Variance of load.
    pub(super) spread: f64,
    /// Variance of amount.
    pub(super) variance: f64,
}

pub(super) fn moments(points: &[Point]) -> Option<Moments> {
    let weight: f64 = points.iter().map(|point| point.2).sum();
    if weight <= 0.0 {
        return None;
    }
    let mean = |of: fn(&Point) -> f64| points.iter().map(|point| point.2 * of(point)).sum::<f64>() / weight;
    let (load, amount) = (mean(|point| point.0), mean(|point| point.1));
    let spread = points.iter().map(|point| point.2 * (point.0 - load).powi(2)).sum::<f64>() / weight;
    let variance = points.iter().map(|point| point.2 * (point.1 - amount).powi(2)).sum::<f64>() / weight;
    Some(Moments { weight, load, amount, spread, variance })
}

/// The line of least weighted squares as level at no load and slope; none where the points have one load.
pub(super) fn line(points: &[Point]) -> Option<(f64, f64)> {
    let (level, slope) = solved(points, true)?;
    Some((level?, slope))
}

/// The same through a level of nothing.
pub(super) fn line_from_zero(points: &[Point]) -> Option<f64> {
    solved(points, false).map(|(_, slope)| slope)
}

/// linfa's least squares knows no weights: rows are scaled by their roots, the column of ones included. Loads and
/// amounts are brought to about 1 first, so that the problem is well conditioned.
fn solved(points: &[Point], with_level: bool) -> Option<(Option<f64>, f64)> {
    let largest = |of: fn(&Point) -> f64| points.iter().map(|point| of(point).abs()).fold(0.0, f64::max);
    let (load, amount) = (largest(|point| point.0), largest(|point| point.1));
    let moments = moments(points)?;
    if load <= 0.0 || (with_level && moments.spread <= 1e-12 * load * load) {
        return None;
    }
    let amount = if amount > 0.0 { amount } else { 1.0 };
    let root = |weight: f64| (weight / moments.weight).sqrt();
    let columns = if with_level { 2 } else { 1 };
    let records = Array2::from_shape_fn((points.len(), columns), |(row, column)| {
        let (each, _, weight) = points[row];
        root(weight) * if column == 0 { each / load } else { 1.0 }
    });
    let targets: Array1<f64> = points.iter().map(|(_, each, weight)| root(*weight) * each / amount).collect();
    let fitted = LinearRegression::new().with_intercept(false).fit(&Dataset::new(records, targets)).ok()?;
    let slope = fitted.params()[0] * amount / load;
    let level = with_level.then(|| fitted.params()[1] * amount);
    (slope.is_finite() && level.unwrap_or(0.0).is_finite()).then_some((level, slope))
}

/// The amounts of the curve that never falls and lies nearest to the points, which are in order of load: neighbours
/// that fall are pooled (Best and Chakravarti, Active set algorithms for isotonic regression, 1990). linfa's own
/// slopes within a pool, so that it says too little on the left of it.
pub(super) fn rising(points: &[Point]) -> Vec<f64> {
    let mut pools: Vec<(f64, f64, usize)> = Vec::new();
    for (_, amount, weight) in points {
        let mut pool = (*amount, *weight, 1);
        while let Some(before) = pools.pop_if(|before| before.0 > pool.0) {
            let weight = before.1 + pool.1;
            pool = ((before.0 * before.1 + pool.0 * pool.1) / weight, weight, before.2 + pool.2);
        }
        pools.push(pool);
    }
    pools.into_iter().flat_map(|(amount, _, count)| std::iter::repeat_n(amount, count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weighted_line_is_that_of_repeated_points() {
        let points = [(1.0, 2.0, 3.0), (2.0, 5.0, 1.0), (4.0, 6.0, 2.0)];
        let mut repeated = Vec::new();
        for (load, amount, weight) in points {
            repeated.extend((0..weight as usize).map(|_| (load, amount, 1.0)));
        }
        let (weighted, plain) = (line(&points).expect("a line"), line(&repeated).expect("a line"));
        assert!((weighted.0 - plain.0).abs() < 1e-9 && (weighted.1 - plain.1).abs() < 1e-9);
        // The closed form.
        let moments = moments(&repeated).expect("points");
        let product: f64 =
            repeated.iter().map(|p| (p.0 - moments.load) * (p.1 - moments.amount)).sum::<f64>() / 6.0;
        assert!((plain.1 - product / moments.spread).abs() < 1e-9, "{plain:?}");
    }

    #[test]
    fn one_load_makes_no_line() {
        assert_eq!(line(&[(5.0, 1.0, 10.0), (5.0, 2.0, 10.0)]), None);
        assert_eq!(line(&[]), None);
        assert!((line_from_zero(&[(5.0, 1.0, 1.0)]).expect("a slope") - 0.2).abs() < 1e-9);
    }

    #[test]
    fn a_rising_curve_pools_what_falls_and_keeps_the_sum() {
        let points = [(1.0, 1.0, 1.0), (2.0, 3.0, 1.0), (3.0, 2.0, 3.0), (4.0, 1.9, 1.0), (5.0, 6.0, 1.0)];
        let rising = rising(&points);
        assert!(rising.windows(2).all(|pair| pair[0] <= pair[1] + 1e-9), "{rising:?}");
        let (before, after): (f64, f64) = points
            .iter()
            .zip(&rising)
            .fold((0.0, 0.0), |sums, (point, fit)| (sums.0 + point.1 * point.2, sums.1 + fit * point.2));
        assert!((before - after).abs() < 1e-6, "{rising:?}");
        assert!((rising[0] - 1.0).abs() < 1e-9 && (rising[4] - 6.0).abs() < 1e-9, "{rising:?}");
    }
}
