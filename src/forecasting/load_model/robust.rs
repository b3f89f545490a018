//! A line through observations as they come, that a few wild ones do not bend.
//!
//! In: loads with amounts, one after another. Out: which of them are outliers, how far single ones lie off the line,
//! and how sure its slope is.
//!
//! - Recursive least squares with forgetting, in the form of decayed moments (Ljung, System Identification, ch. 11),
//!   each observation weighted as a Huber M-estimator does (P. J. Huber, Robust Statistics, 1981, ch. 7): full weight
//!   up to `HUBER` scales, less beyond. The scale is Huber's proposal 2, recursively.
//! - Errors of neighbouring observations are alike, so the plain formula for the slope's variance is too sure of
//!   itself. Here it is the long-run variance by batch means (Law and Kelton, Simulation Modeling and Analysis,
//!   ch. 9), over batches of four lengths, of which the largest answer holds.
//! - The band of single observations is widened at a miss and narrowed at a hit, so that it holds 9 of 10 whatever
//!   the distribution (quantile tracking: Gibbs and Candes, Adaptive Conformal Inference, 2021).

use serde::{Deserialize, Serialize};

/// In scales: 95 % as good as least squares where errors are normal.
const HUBER: f64 = 1.345;
/// The mean square of a standard normal variable that is cut at `HUBER`.
const HUBER_MEAN_SQUARE: f64 = 0.7102;
/// An observation further off than so many scales is an outlier.
const FAR: f64 = 3.0;
/// The least scale, in mean amounts: real services are no more even than that.
const SCALE_MIN: f64 = 0.02;
/// Moments are those of about so many observations.
const MEMORY: f64 = 500.0;
/// The scale is that of about so many.
const SCALE_MEMORY: f64 = 100.0;
/// The share of observations that may lie outside the band, and how far one of them moves it.
const OUTSIDE: f64 = 0.1;
const BAND_STEP: f64 = 0.05;
/// The band in scales before anything is known: that of normal errors.
const BAND_START: f64 = 1.645;
/// Observations of a batch, for each of the four lengths.
const BATCHES: [u16; 4] = [8, 32, 128, 512];
/// With fewer batches nothing is said about their variance.
const BATCHES_MIN: u16 = 6;
const BATCHES_MEMORY: f64 = 50.0;

/// Sums of errors over one batch, and the variance of such sums for one observation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Batch {
    tilted: f32,
    level: f32,
    inside: u16,
    batches: u16,
    tilted_variance: f32,
    level_variance: f32,
}

impl Batch {
    fn add(&mut self, tilted: f64, level: f64, length: u16) {
        self.tilted += tilted as f32;
        self.level += level as f32;
        self.inside += 1;
        if self.inside < length {
            return;
        }
        self.batches = self.batches.saturating_add(1);
        let share = (1.0 / f64::from(self.batches)).max(1.0 / BATCHES_MEMORY) as f32;
        let of = |sum: f32| sum * sum / f32::from(length);
        self.tilted_variance += share * (of(self.tilted) - self.tilted_variance);
        self.level_variance += share * (of(self.level) - self.level_variance);
        (self.tilted, self.level, self.inside) = (0.0, 0.0, 0);
    }
}

/// The line so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct RobustLine {
    weight: f64,
    load: f64,
    amount: f64,
    load_square: f64,
    product: f64,
    variance: f64,
    /// The share of observations beyond `HUBER`.
    cut: f64,
    band: f64,
    batches: [Batch; 4],
}

/// How sure a line is, in variances for one observation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Doubt {
    /// Of the slope, per standard deviation of load.
    pub(super) tilted: f64,
    /// Of the level.
    pub(super) level: f64,
}

impl RobustLine {
    /// A line to begin with: through the medians of the slopes and levels of a few first observations (Theil and
    /// Sen), so that one wild observation among them is no matter.
    pub(super) fn begin(first: &[(f64, f64)]) -> Self {
        let mut slopes = Vec::new();
        for (i, a) in first.iter().enumerate() {
            let between = first[i + 1..].iter().map(|b| (b.1 - a.1) / (b.0 - a.0));
            // Two observations of one load have none.
            slopes.extend(between.filter(|slope| slope.is_finite()));
        }
        let slope = median(&mut slopes).unwrap_or(0.0);
        let mut levels: Vec<f64> = first.iter().map(|(load, amount)| amount - slope * load).collect();
        let level = median(&mut levels).unwrap_or(0.0);
        let mut errors: Vec<f64> = levels.iter().map(|each| (each - level).abs()).collect();
        // The median of absolute errors, as the scale of normal ones.
        let scale = median(&mut errors).unwrap_or(0.0) * 1.4826;
        let count = first.len().max(1) as f64;
        let load = first.iter().map(|(load, _)| load).sum::<f64>() / count;
        let load_square: f64 = first.iter().map(|(each, _)| (each - load).powi(2)).sum();
        Self {
            weight: count,
            load,
            amount: level + slope * load,
            load_square,
            product: slope * load_square,
            variance: scale * scale,
            cut: 0.18,
            band: BAND_START,
            batches: Default::default(),
        }
    }

    pub(super) fn slope(&self) -> f64 {
        if self.load_square > 0.0 { self.product / self.load_square } else { 0.0 }
    }

    pub(super) fn at(&self, load: f64) -> f64 {
        self.amount + self.slope() * (load - self.load)
    }

    /// The scale of errors; never nothing, or the first observation off a perfect line would be infinitely far.
    fn scale(&self) -> f64 {
        self.variance.sqrt().max(SCALE_MIN * self.amount.abs()).max(1e-12)
    }

    /// Takes in an observation; tells whether it is an outlier. Where outliers go on, the line comes to them, and
    /// they are none any more.
    pub(super) fn observe(&mut self, load: f64, amount: f64) -> bool {
        let (expected, scale) = (self.at(load), self.scale());
        let error = amount - expected;
        let size = error.abs() / scale;
        let believed = error.clamp(-HUBER * scale, HUBER * scale);
        let is_cut = size > HUBER;
        self.cut += (f64::from(u8::from(is_cut)) - self.cut) / SCALE_MEMORY;
        let missed = f64::from(u8::from(size > self.band));
        self.band = (self.band + BAND_STEP * (missed - OUTSIDE)).max(0.1);
        let spread = (self.load_square / self.weight).sqrt();
        let tilt = if spread > 0.0 { (load - self.load) / spread } else { 0.0 };
        // Errors cut at `HUBER` say too little of the others: the mean of the cut's derivative makes up for it.
        let whole = believed / (1.0 - self.cut).max(0.3);
        for (batch, length) in self.batches.iter_mut().zip(BATCHES) {
            batch.add(whole * tilt, whole, length);
        }
        let share = (1.0 / (self.weight + 1.0)).max(1.0 / SCALE_MEMORY);
        self.variance += share * (believed * believed / HUBER_MEAN_SQUARE - self.variance);
        self.update(load, amount, if is_cut { HUBER / size } else { 1.0 });
        size > FAR
    }

    fn update(&mut self, load: f64, amount: f64, weight: f64) {
        let kept = if self.weight >= MEMORY { 1.0 - 1.0 / MEMORY } else { 1.0 };
        self.weight = self.weight * kept + weight;
        let (from_load, from_amount) = (load - self.load, amount - self.amount);
        let share = weight / self.weight;
        self.load += share * from_load;
        self.amount += share * from_amount;
        self.load_square = self.load_square * kept + weight * from_load * (load - self.load);
        self.product = self.product * kept + weight * from_load * (amount - self.amount);
    }

    /// The same line with the weight of a few observations.
    pub(super) fn faded(&self, weight: f64) -> Self {
        let share = if self.weight > weight { weight / self.weight } else { 1.0 };
        Self {
            weight: self.weight * share,
            load_square: self.load_square * share,
            product: self.product * share,
            ..self.clone()
        }
    }

    /// Half the width of the band of single observations.
    pub(super) fn band(&self) -> f64 {
        self.band * self.scale()
    }

    pub(super) fn doubt(&self) -> Doubt {
        let single = self.variance / (1.0 - self.cut).max(0.3).powi(2) * HUBER_MEAN_SQUARE;
        let mut doubt = Doubt { tilted: single, level: single };
        for batch in self.batches.iter().filter(|batch| batch.batches >= BATCHES_MIN) {
            doubt.tilted = doubt.tilted.max(batch.tilted_variance.into());
            doubt.level = doubt.level.max(batch.level_variance.into());
        }
        doubt
    }
}

/// The middle value; sorts.
pub(super) fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wild_beginning_does_not_bend_the_line() {
        let mut first: Vec<(f64, f64)> = (0..8).map(|i| (f64::from(i), 1.0 + 0.5 * f64::from(i))).collect();
        first[3].1 = 1000.0;
        let line = RobustLine::begin(&first);
        assert!((line.slope() - 0.5).abs() < 1e-9 && (line.at(10.0) - 6.0).abs() < 1e-9, "{line:?}");
    }

    #[test]
    fn what_lies_far_off_is_told_and_what_stays_there_is_followed() {
        let mut line = RobustLine::begin(&[(0.0, 1.0), (1.0, 1.1), (2.0, 0.9), (3.0, 1.05), (4.0, 1.0)]);
        for i in 0..200 {
            line.observe(f64::from(i % 5), 1.0 + 0.1 * f64::from(i % 3 - 1));
        }
        assert!(line.observe(2.0, 50.0) && !line.observe(2.0, 1.05));
        assert!((line.at(2.0) - 1.0).abs() < 0.02, "{}", line.at(2.0));
        for i in 0..1500 {
            line.observe(f64::from(i % 5), 2.0 + 0.1 * f64::from(i % 3 - 1));
        }
        assert!((line.at(2.0) - 2.0).abs() < 0.1, "{}", line.at(2.0));
    }
}
