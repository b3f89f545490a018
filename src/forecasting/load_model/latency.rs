//! How latency rises with load, and where that ends.
//!
//! In: typical 95th percentiles of latency by load. Out: the knee, or why there is none; the load at which an objective
//! breaks.
//!
//! The curve is that of a queue with one server, `R = S / (1 - load / capacity)` (L. Kleinrock, Queueing Systems 1,
//! 1975, ch. 3), whose quantiles have the same shape as its mean. As `1 / R` it is a line in load. What was observed
//! goes first: an objective that an observed load breaks is broken there, by the curve that never falls and lies
//! nearest to the observations.

use crate::domain::load_model::{Estimated, Knee, Objective};
use crate::forecasting::load_model::fit::{self, Point};

/// Observations and bins of them that a knee needs.
const OBSERVATIONS_MIN: f64 = 20.0;
const POINTS_MIN: usize = 4;
/// Latency that rises by less over all loads has no knee yet.
const RISE_MIN: f64 = 1.3;
/// The share of variance that the curve has to explain.
const EXPLAINED_MIN: f64 = 0.5;
/// A bin of fewer observations says little.
const WEIGHT_MIN: f64 = 3.0;

/// Latencies by load, in order, that count.
pub(super) fn believed(points: Vec<Point>) -> Vec<Point> {
    points.into_iter().filter(|point| point.2 >= WEIGHT_MIN && point.1 > 0.0).collect()
}

/// The knee, or why there is none.
pub(super) fn knee(points: &[Point]) -> Result<Knee, String> {
    let weight = points.iter().fold(0.0, |sum, point| sum + point.2);
    if points.len() < POINTS_MIN || weight < OBSERVATIONS_MIN {
        return Err(format!(
            "{weight:.0} observations of latency at {} different loads are too few",
            points.len()
        ));
    }
    let rising = fit::rising(points);
    let (Some(first), Some(last), Some(highest)) = (rising.first(), rising.last(), points.last()) else {
        return Err("no latency was observed".to_owned());
    };
    if last / first < RISE_MIN {
        return Err(format!("p95 hardly rises up to {:.1} requests/s an instance", highest.0));
    }
    let Some((unloaded, capacity)) = curve(points) else {
        return Err("p95 does not rise as waiting does".to_owned());
    };
    let half = jackknife(points, capacity);
    // Nothing answers more than it can: what was observed is a lower bound.
    let capacity = Estimated {
        value: capacity.max(highest.0),
        low: (capacity - half).max(highest.0.min(capacity)),
        high: capacity.max(highest.0) + half,
    };
    Ok(Knee { unloaded, capacity })
}

/// Latency without load, and capacity.
fn curve(points: &[Point]) -> Option<(f64, f64)> {
    // Latencies scatter in proportion, so inverse ones do too: weights are over their squares.
    let inverse: Vec<Point> = points
        .iter()
        .map(|(load, latency, weight)| (*load, 1.0 / latency, weight * latency * latency))
        .collect();
    let (level, slope) = fit::line(&inverse)?;
    let moments = fit::moments(&inverse)?;
    let off = |point: &Point| point.2 * (point.1 - level - slope * point.0).powi(2);
    let left = inverse.iter().map(off).sum::<f64>() / moments.weight;
    let explained = 1.0 - left / moments.variance.max(f64::MIN_POSITIVE);
    (slope < 0.0 && level > 0.0 && explained >= EXPLAINED_MIN).then(|| (1.0 / level, -level / slope))
}

/// Half of the 95 % interval of the capacity, by leaving out each point in turn.
fn jackknife(points: &[Point], capacity: f64) -> f64 {
    let without = |left_out: usize| {
        let others: Vec<Point> =
            points.iter().enumerate().filter(|(i, _)| *i != left_out).map(|(_, point)| *point).collect();
        // A curve that stands or falls with one point is not known at all.
        curve(&others).map_or(2.0 * capacity, |(_, capacity)| capacity)
    };
    let all: Vec<f64> = (0..points.len()).map(without).collect();
    let count = all.len() as f64;
    let mean = all.iter().sum::<f64>() / count;
    let variance = all.iter().map(|each| (each - mean).powi(2)).sum::<f64>() * (count - 1.0) / count;
    2.0 * variance.sqrt()
}

/// Where an objective breaks.
pub(super) fn objective(points: &[Point], knee: Option<&Knee>, latency: f64) -> Objective {
    let rising = fit::rising(points);
    let none = Objective { latency, breaks_at: None, extrapolated: false };
    let Some(above) = rising.iter().position(|each| *each > latency) else {
        let Some((knee, last)) = knee.zip(points.last()) else { return none };
        let at = knee.load_at(latency);
        let beyond = |load: f64| load.max(last.0);
        let at = Estimated { value: beyond(at.value), low: beyond(at.low), high: beyond(at.high) };
        return Objective { breaks_at: Some(at), extrapolated: true, ..none };
    };
    let high = points[above].0;
    let Some(below) = above.checked_sub(1) else {
        let at = Estimated { value: high, low: 0.0, high };
        return Objective { breaks_at: Some(at), ..none };
    };
    let low = points[below].0;
    let share = (latency - rising[below]) / (rising[above] - rising[below]);
    let at = Estimated { value: low + share * (high - low), low, high };
    Objective { breaks_at: Some(at), ..none }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(loads: &[f64], capacity: f64, unloaded: f64) -> Vec<Point> {
        loads.iter().map(|load| (*load, unloaded / (1.0 - load / capacity), 30.0)).collect()
    }

    #[test]
    fn a_queue_is_recognised() {
        let points = queue(&[10.0, 20.0, 40.0, 60.0, 80.0], 100.0, 0.02);
        let knee = knee(&points).expect("a knee");
        assert!(
            (knee.capacity.value - 100.0).abs() < 1e-6 && (knee.unloaded - 0.02).abs() < 1e-9,
            "{knee:?}"
        );
        let seen = objective(&points, Some(&knee), 0.05);
        let at = seen.breaks_at.expect("a load");
        assert!(
            !seen.extrapolated && (at.low - 60.0).abs() < 1e-9 && (at.high - 80.0).abs() < 1e-9,
            "{seen:?}"
        );
        let beyond = objective(&points, Some(&knee), 0.2);
        assert!(beyond.extrapolated, "{beyond:?}");
        assert!((beyond.breaks_at.expect("a load").value - 90.0).abs() < 1e-6, "{beyond:?}");
    }

    #[test]
    fn what_is_flat_or_unknown_has_no_knee() {
        let flat: Vec<Point> = [10.0, 20.0, 30.0, 40.0].map(|load| (load, 0.02, 30.0)).to_vec();
        assert!(knee(&flat).expect_err("none").starts_with("p95 hardly rises up to 40.0"));
        assert!(knee(&flat[..2]).expect_err("none").contains("too few"));
        let found = objective(&flat, None, 0.05);
        assert_eq!((found.breaks_at, found.extrapolated), (None, false));
        assert_eq!(objective(&flat, None, 0.01).breaks_at.map(|at| at.value), Some(10.0));
    }
}
