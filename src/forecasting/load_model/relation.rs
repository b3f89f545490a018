//! Whether a resource follows load, and how sure that is.
//!
//! In: observations by load, how much errors vary. Out: a line with intervals, or why there is none.

use crate::domain::load_model::{Estimated, Line, Relation};
use crate::forecasting::load_model::fit::{self, Moments, Point};
use crate::forecasting::load_model::robust::Doubt;

/// With fewer observations nothing is said.
pub(super) const OBSERVATIONS_MIN: f64 = 20.0;
/// The standard deviation of load, in means, that a slope can be told from.
const SPREAD_MIN: f64 = 0.05;
/// The share of the variance between loads that a line has to explain.
const EXPLAINED_MIN: f64 = 0.5;
/// What use has to change by over the loads that were seen, in means, to follow load.
const EFFECT_MIN: f64 = 0.05;

/// A line through observations by load, with variances.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Fitted {
    pub(super) base: f64,
    pub(super) slope: f64,
    pub(super) slope_variance: f64,
    /// Of the level at the mean load.
    pub(super) level_variance: f64,
    pub(super) moments: Moments,
    pub(super) explained: f64,
}

impl Fitted {
    /// None where all observations have one load.
    pub(super) fn of(points: &[Point], doubt: Doubt) -> Option<Self> {
        let moments = fit::moments(points)?;
        let (mut base, mut slope) = fit::line(points)?;
        if base < 0.0 {
            // Nothing uses less than nothing.
            (base, slope) = (0.0, fit::line_from_zero(points)?);
        }
        let off = |point: &Point| point.2 * (point.1 - base - slope * point.0).powi(2);
        let left = points.iter().map(off).sum::<f64>() / moments.weight;
        let explained = if moments.variance > 0.0 { (1.0 - left / moments.variance).max(0.0) } else { 0.0 };
        Some(Self {
            base,
            slope,
            slope_variance: doubt.tilted / (moments.weight * moments.spread),
            level_variance: doubt.level / moments.weight,
            moments,
            explained,
        })
    }

    /// Of what the line says at a load.
    pub(super) fn variance_at(&self, load: f64) -> f64 {
        self.level_variance + self.slope_variance * (load - self.moments.load).powi(2)
    }

    /// Standard errors either side of a 95 % interval: Student's, by its usual approximation.
    fn quantile(&self) -> f64 {
        1.96 + 2.4 / (self.moments.weight - 2.0).max(1.0)
    }

    fn line(&self, band: f64) -> Line {
        let half = |variance: f64| self.quantile() * variance.sqrt();
        Line {
            base: Estimated::around(self.base, half(self.variance_at(0.0))),
            slope: Estimated::around(self.slope, half(self.slope_variance)),
            band,
            explained: self.explained,
        }
    }
}

/// Whether use follows load; `observations` are those that the points are made of.
pub(super) fn relation(points: &[Point], observations: f64, doubt: Doubt, band: f64) -> Relation {
    let moments = fit::moments(points);
    let mean = moments.map(|moments| moments.amount);
    let unclear = |why: String| Relation::Unclear { why, mean };
    let Some(moments) = moments.filter(|_| observations >= OBSERVATIONS_MIN) else {
        return unclear(format!("{observations:.0} observations, {OBSERVATIONS_MIN:.0} are needed"));
    };
    let spread = moments.spread.sqrt();
    if spread < SPREAD_MIN * moments.load || moments.load <= 0.0 {
        return unclear(format!(
            "load hardly varies: {:.1} requests/s, {spread:.1} either way",
            moments.load
        ));
    }
    let Some(fitted) = Fitted::of(points, doubt) else {
        return unclear("all observations have the same load".to_owned());
    };
    let line = fitted.line(band);
    if fitted.slope < 0.0 && line.slope.high <= 0.0 {
        return unclear("use falls as load rises".to_owned());
    }
    if fitted.slope <= 0.0 || fitted.slope - (line.slope.high - fitted.slope) <= 0.0 {
        return unclear("what it would be per request cannot be told from nothing".to_owned());
    }
    let loads = points.iter().map(|point| point.0);
    let width = loads.clone().fold(0.0, f64::max) - loads.fold(f64::INFINITY, f64::min);
    let effect = fitted.slope * width / moments.amount.max(f64::MIN_POSITIVE);
    if effect < EFFECT_MIN {
        return unclear(format!("use changes by {:.1} % over all loads that were seen", effect * 100.0));
    }
    if fitted.explained < EXPLAINED_MIN {
        return unclear(format!("load explains {:.0} % of how use differs", fitted.explained * 100.0));
    }
    Relation::Clear(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SURE: Doubt = Doubt { tilted: 1e-6, level: 1e-6 };

    fn why(points: &[Point], observations: f64, doubt: Doubt) -> String {
        match relation(points, observations, doubt, 0.1) {
            Relation::Unclear { why, .. } => why,
            Relation::Clear(line) => format!("{line:?}"),
        }
    }

    #[test]
    fn what_is_not_clear_says_why() {
        let rising = [(1.0, 1.1, 50.0), (10.0, 2.0, 50.0), (20.0, 3.0, 50.0)];
        assert!(relation(&rising, 150.0, SURE, 0.1).line().is_some());
        assert_eq!(why(&rising, 3.0, SURE), "3 observations, 20 are needed");
        assert!(why(&[(10.0, 1.0, 50.0), (10.2, 1.1, 50.0)], 100.0, SURE).starts_with("load hardly varies"));
        assert_eq!(why(&[(1.0, 5.0, 50.0), (10.0, 1.0, 50.0)], 100.0, SURE), "use falls as load rises");
        let doubt = Doubt { tilted: 1e6, level: 1e6 };
        assert!(why(&rising, 150.0, doubt).contains("cannot be told from nothing"));
        assert!(
            why(&[(1.0, 5.0, 50.0), (10.0, 5.01, 50.0)], 100.0, SURE).starts_with("use changes by 0.2 %")
        );
        let wild = [(1.0, 1.0, 9.0), (2.0, 9.0, 9.0), (3.0, 1.0, 9.0), (4.0, 9.0, 9.0), (5.0, 1.5, 9.0)];
        assert!(why(&wild, 45.0, SURE).starts_with("load explains"), "{}", why(&wild, 45.0, SURE));
    }
}
