//! The course of earlier days and weeks, as it was known at an instant.
//!
//! In: the history, a slot that is asked about, a slot up to which things are known. Out: the logarithm of the
//! load that earlier days, or weeks, had at that time. A day without observations there is left out.

use crate::forecasting::history::{DAY, History};

/// Weight of the day before the last one, and so on, against the last.
const DAY_DECAY: f64 = 0.9;

/// So many days back are looked at.
const DAYS: i64 = 7;

/// Weight of the week before the last one.
const WEEK_DECAY: f64 = 0.6;

/// Seconds to either side over which noise is smoothed.
const SMOOTH: i64 = 0;

/// The scale on which loads are compared: differences are shares for loads well above `floor`, amounts below.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    pub(super) floor: f64,
}

impl Scale {
    pub(super) fn up(self, load: f64) -> f64 {
        (load + self.floor).ln()
    }

    pub(super) fn down(self, value: f64) -> f64 {
        // No load is beyond what a float of the scale tells apart.
        (value.min(700.0).exp() - self.floor).max(0.0)
    }
}

/// What was known when slot `known` had closed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seasons<'a> {
    pub(super) history: &'a History,
    pub(super) scale: Scale,
    pub(super) known: i64,
}

impl Seasons<'_> {
    /// Smoothed mean around a slot.
    fn around(&self, slot: i64) -> Option<f64> {
        let reach = SMOOTH / self.history.slot;
        let (mut sum, mut count) = (0.0, 0.0);
        for near in slot - reach..=(slot + reach).min(self.known) {
            let mean = self.history.mean(near);
            if !mean.is_nan() {
                sum += mean;
                count += 1.0;
            }
        }
        (count > 0.0).then(|| self.scale.up(sum / count))
    }

    /// Weighted mean over slots before `slot`, `period` apart.
    fn course(&self, slot: i64, period: i64, repeats: i64, decay: f64) -> Option<f64> {
        let (mut sum, mut weights, mut weight) = (0.0, 0.0, 1.0);
        let first = ((slot - self.known + period - 1) / period).max(1);
        for back in first..first + repeats {
            if let Some(value) = self.around(slot - back * period) {
                sum += weight * value;
                weights += weight;
            }
            weight *= decay;
        }
        (weights > 0.0).then(|| sum / weights)
    }

    /// What earlier days had at the time of `slot`.
    pub(super) fn day(&self, slot: i64) -> Option<f64> {
        self.course(slot, self.history.slots(DAY), DAYS, DAY_DECAY)
    }

    /// What earlier weeks had at the time of `slot`.
    pub(super) fn week(&self, slot: i64) -> Option<f64> {
        self.course(slot, self.history.slots(7 * DAY), 2, WEEK_DECAY)
    }

    /// Mean of `count` slots, `stride` apart, up to the known one.
    pub(super) fn recent(&self, count: i64, stride: i64) -> Option<f64> {
        let (mut sum, mut found) = (0.0, 0.0);
        for back in 0..count {
            let mean = self.history.mean(self.known - back * stride);
            if !mean.is_nan() {
                sum += mean;
                found += 1.0;
            }
        }
        (found > 0.0).then(|| self.scale.up(sum / found))
    }
}
