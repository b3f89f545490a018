//! From one revision to the next: what is taken over, and whether a request costs something else now.
//!
//! In: the model of a revision as it ends. Out: a few observations' weight of it for the next one, which fades, and
//! the change between the two once it cannot be chance.

use serde::{Deserialize, Serialize};

use crate::domain::load_model::{CostChange, Estimated};
use crate::forecasting::load_model::ServiceModel;
use crate::forecasting::load_model::fit::Point;
use crate::forecasting::load_model::relation::{Fitted, OBSERVATIONS_MIN};
use crate::forecasting::load_model::robust::RobustLine;

/// A new revision begins with the one before as if so many observations of itself said the same,
pub(super) const WEIGHT: f64 = 8.0;
/// and after so many of its own that weight is half.
const HALF: f64 = 32.0;
/// With less weight it is none.
const LEAST: f64 = 0.05;
/// A change is told from so many observations on,
const TOLD_FROM: u64 = 40;
/// where it is so many standard errors from none: it is looked for every minute, so chance has many tries,
const ERRORS_APART: f64 = 4.0;
/// and of a size that matters.
const CHANGE_MIN: f64 = 0.05;
/// A slope that is less well known than to this share of itself is not compared: then all use at the same load is.
const SLOPE_KNOWN: f64 = 0.2;

/// A resource as a revision left it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Known {
    base: f32,
    slope: f32,
    slope_variance: f32,
    level_variance: f32,
    load: f32,
    spread: f32,
    weight: f32,
}

/// A revision as it ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Prior {
    revision: u64,
    pub(super) cpu: Known,
    pub(super) memory: Known,
}

/// What a revision before weighs after so many observations of the new one.
pub(super) fn weight_after(observations: u64) -> f64 {
    let weight = WEIGHT * (-(observations as f64) / HALF).exp2();
    if weight >= LEAST { weight } else { 0.0 }
}

impl Known {
    fn of(points: &[Point], line: &RobustLine) -> Option<Self> {
        let fitted = Fitted::of(points, line.doubt())?;
        Some(Self {
            base: fitted.base as f32,
            slope: fitted.slope as f32,
            slope_variance: fitted.slope_variance as f32,
            level_variance: fitted.level_variance as f32,
            load: fitted.moments.load as f32,
            spread: fitted.moments.spread.sqrt() as f32,
            weight: fitted.moments.weight as f32,
        })
    }

    fn at(&self, load: f64) -> f64 {
        f64::from(self.base) + f64::from(self.slope) * load
    }

    /// Observations that it was made of.
    pub(super) fn observations(&self) -> f64 {
        self.weight.into()
    }

    /// Two observations on its line, as far apart as its loads were, of the given weight together.
    pub(super) fn points(&self, weight: f64) -> [Point; 2] {
        [-1.0, 1.0].map(|side| {
            let load = (f64::from(self.load) + side * f64::from(self.spread)).max(0.0);
            (load, self.at(load), weight / 2.0)
        })
    }
}

impl Prior {
    /// None where too little is known.
    pub(super) fn of(model: &ServiceModel) -> Option<Self> {
        if (model.observations as f64) < OBSERVATIONS_MIN {
            return None;
        }
        let cpu = Known::of(&model.bins.points(|bin| bin.cpu), &model.cpu)?;
        let memory = Known::of(&model.bins.points(|bin| bin.memory), &model.memory)?;
        Some(Self { revision: model.revision, cpu, memory })
    }

    /// How the CPU use of the later revision differs; none as long as that may be chance.
    pub(super) fn change(&self, now: &ServiceModel) -> Option<CostChange> {
        if now.observations < TOLD_FROM {
            return None;
        }
        let points = now.bins.points(|bin| bin.cpu);
        let fitted = Fitted::of(&points, now.cpu.doubt())?;
        let ratio = self.of_slopes(&fitted).map(|ratio| (ratio, true));
        let ((ratio, error), per_request) = ratio.or_else(|| Some((self.of_levels(&fitted)?, false)))?;
        let off = (ratio - 1.0).abs();
        (off >= CHANGE_MIN && off > ERRORS_APART * error).then(|| CostChange {
            from: self.revision,
            to: now.revision,
            ratio: Estimated::around(ratio, 1.96 * error),
            per_request,
        })
    }

    /// The ratio of the slopes with its standard error, where both are well known.
    fn of_slopes(&self, now: &Fitted) -> Option<(f64, f64)> {
        let relative = |slope: f64, variance: f64| 1.96 * variance.sqrt() / slope;
        let (slope, variance) = (f64::from(self.cpu.slope), f64::from(self.cpu.slope_variance));
        let well_known = slope > 0.0
            && now.slope > 0.0
            && relative(slope, variance) <= SLOPE_KNOWN
            && relative(now.slope, now.slope_variance) <= SLOPE_KNOWN;
        well_known.then(|| {
            let ratio = now.slope / slope;
            let squared = variance / slope.powi(2) + now.slope_variance / now.slope.powi(2);
            (ratio, ratio * squared.sqrt())
        })
    }

    /// The ratio of what is used at the later revision's mean load, where the earlier one had such loads too.
    fn of_levels(&self, now: &Fitted) -> Option<(f64, f64)> {
        let load = now.moments.load;
        let from_mean = load - f64::from(self.cpu.load);
        let expected = self.cpu.at(load);
        if expected <= 0.0 || from_mean.abs() > 3.0 * f64::from(self.cpu.spread) {
            return None;
        }
        let variance =
            f64::from(self.cpu.level_variance) + f64::from(self.cpu.slope_variance) * from_mean.powi(2);
        let ratio = now.moments.amount / expected;
        let squared = now.level_variance / now.moments.amount.powi(2) + variance / expected.powi(2);
        Some((ratio, ratio * squared.sqrt()))
    }
}
