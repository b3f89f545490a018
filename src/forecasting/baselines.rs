//! What a forecast is compared with: seasonal naive and exponential smoothing, with the same conformal quantiles.
//!
//! In: `(time, load)` in order. Out: quantiles at fixed horizons. They run in backtests only; the scaler never asks
//! them.
//!
//! - seasonal naive: the load a day, or a week, before, the last that is known.
//! - ETS: exponential smoothing without a season, with a damped trend (Hyndman & Athanasopoulos, "Forecasting:
//!   Principles and Practice", 3rd edition, 8.3); its three parameters are those of a grid with the least squared
//!   one-step error so far.
//! - Holt-Winters: the same with an additive daily season (8.3, damped).
//! - MSTL: the seasons of a day and, once two are known, of a week by repeated local regressions (Bandara, Hyndman &
//!   Bergmeir 2021; crate stlrs), anew each day; what is left by ETS as above.

use std::collections::VecDeque;

use stlrs::Mstl;

use crate::forecasting::conformal::{LEVELS, Tracker};
use crate::forecasting::history::{DAY, Ring};

/// Steps of quantiles and days over which the size of residuals is averaged, as the forecaster has them.
const RATE: f64 = 0.02;
const SIZE_DAYS: f64 = 2.0;

/// A plain method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The load a day before.
    NaiveDay,
    /// The load a week before; a day before until a week is known.
    NaiveWeek,
    /// Exponential smoothing with a damped trend.
    Ets,
    /// Exponential smoothing with a damped trend and a daily season.
    HoltWinters,
    /// Seasons of a day and a week by decomposition, the rest by exponential smoothing.
    Mstl,
}

/// A plain method that follows one series, at given horizons.
#[derive(Debug)]
pub struct Baseline {
    method: Method,
    step: i64,
    horizons: Vec<i64>,
    /// Loads by step, two weeks and a day of them.
    loads: Ring,
    smoothers: Vec<Smoother>,
    decomposed: Decomposed,
    first: Option<i64>,
    last: Option<i64>,
    trackers: Vec<Tracker<{ LEVELS.len() }>>,
    said: Vec<VecDeque<(i64, f64)>>,
}

/// The seasons that a decomposition found.
#[derive(Debug, Default)]
struct Decomposed {
    /// The step after the last one that it knew.
    end: i64,
    /// The last cycle of each season.
    cycles: Vec<Vec<f64>>,
}

impl Decomposed {
    /// What seasons add at a step.
    fn at(&self, at: i64) -> f64 {
        let of = |cycle: &Vec<f64>| {
            let length = i64::try_from(cycle.len()).unwrap_or(1).max(1);
            cycle[(at - self.end).rem_euclid(length) as usize]
        };
        self.cycles.iter().map(of).sum()
    }
}

/// Exponential smoothing with fixed parameters.
#[derive(Debug)]
struct Smoother {
    alpha: f64,
    beta: f64,
    damping: f64,
    /// Weight of a new season's value; none where there is no season.
    gamma: f64,
    level: f64,
    trend: f64,
    season: Vec<f64>,
    errors: f64,
    begun: bool,
}

impl Smoother {
    fn place(&self, at: i64) -> usize {
        at.rem_euclid(i64::try_from(self.season.len()).unwrap_or(1)) as usize
    }

    fn ahead(&self, at: i64, steps: i64) -> f64 {
        // The sum of the damped trend over so many steps.
        let damped = if self.damping < 1.0 {
            self.damping * (1.0 - self.damping.powf(steps as f64)) / (1.0 - self.damping)
        } else {
            steps as f64
        };
        self.level + damped * self.trend + self.season[self.place(at + steps)]
    }

    fn push(&mut self, at: i64, load: f64, memory: f64) {
        if !self.begun {
            (self.level, self.begun) = (load, true);
            return;
        }
        let place = self.place(at);
        let before = self.level + self.damping * self.trend;
        let error = load - before - self.season[place];
        self.errors += (error * error - self.errors) / memory;
        self.level = before + self.alpha * error;
        self.trend = self.damping * self.trend + self.alpha * self.beta * error;
        self.season[place] += self.gamma * (1.0 - self.alpha) * error;
    }
}

impl Baseline {
    /// A method that is asked about `horizons`, in seconds, of a load that comes every `step` seconds.
    pub fn new(method: Method, step: i64, horizons: &[i64]) -> Self {
        let mut smoothers = Vec::new();
        let a_day = usize::try_from(DAY / step).unwrap_or(1).max(1);
        let grid: &[f64] = match method {
            Method::Ets | Method::HoltWinters | Method::Mstl => &[0.02, 0.05, 0.1, 0.2, 0.4, 0.8],
            _ => &[],
        };
        for &alpha in grid {
            for beta in [0.0, 0.02, 0.1] {
                for damping in [0.9, 0.98] {
                    let seasonal = method == Method::HoltWinters;
                    smoothers.push(Smoother {
                        alpha,
                        beta,
                        damping,
                        gamma: if seasonal { 0.3 } else { 0.0 },
                        level: 0.0,
                        trend: 0.0,
                        season: vec![0.0; if seasonal { a_day } else { 1 }],
                        errors: 0.0,
                        begun: false,
                    });
                }
            }
        }
        Self {
            method,
            step,
            horizons: horizons.to_vec(),
            loads: Ring::new(15 * DAY / step),
            smoothers,
            decomposed: Decomposed::default(),
            first: None,
            last: None,
            trackers: horizons.iter().map(|_| Tracker::new(&LEVELS)).collect(),
            said: horizons.iter().map(|_| VecDeque::new()).collect(),
        }
    }

    /// Takes in that the load was `load` at `time`.
    pub fn observe(&mut self, time: i64, load: f64) {
        let at = time.div_euclid(self.step);
        if self.last.is_some_and(|last| at <= last) {
            return;
        }
        let begin = self.last.map_or(at, |last| (last + 1).max(at - self.loads.len()));
        for missed in begin..at {
            self.loads.set(missed, f64::NAN);
        }
        self.loads.set(at, load);
        let a_day = DAY as f64 / self.step as f64;
        let first = *self.first.get_or_insert(at);
        if self.method == Method::Mstl {
            self.decompose(first, at);
        }
        let seasonal = self.decomposed.at(at);
        for smoother in &mut self.smoothers {
            smoother.push(at, load - seasonal, 7.0 * a_day);
        }
        self.last = Some(at);
        for place in 0..self.horizons.len() {
            while let Some((target, said)) =
                self.said[place].front().copied().filter(|(target, _)| *target <= at)
            {
                self.said[place].pop_front();
                if target == at {
                    self.trackers[place].learn(&LEVELS, load - said, SIZE_DAYS * a_day, RATE);
                }
            }
            if let Some(value) = self.value(at, self.horizons[place] / self.step) {
                self.said[place].push_back((at + self.horizons[place] / self.step, value));
            }
        }
    }

    /// Finds the seasons anew, once a day; those of before stay where there are too few loads.
    fn decompose(&mut self, first: i64, at: i64) {
        let a_day = DAY / self.step;
        let known = (at + 1 - first).min(self.loads.len());
        let periods: Vec<usize> = [a_day, 7 * a_day]
            .into_iter()
            .filter(|period| *period > 1 && known >= 2 * period)
            .filter_map(|period| usize::try_from(period).ok())
            .collect();
        if periods.is_empty() || (!self.decomposed.cycles.is_empty() && at + 1 < self.decomposed.end + a_day)
        {
            return;
        }
        let mut before = 0.0;
        let held = (at + 1 - known..=at).map(|step| {
            // Where nothing was measured the last load is held: the method knows no gaps.
            let load = self.loads.get(step);
            before = if load.is_nan() { before } else { load };
            before
        });
        let loads: Vec<f64> = held.collect();
        if let Ok(found) = Mstl::fit(&loads, &periods) {
            let last = |(season, period): (&Vec<f64>, &usize)| season[season.len() - period..].to_vec();
            let cycles = found.seasonal().iter().zip(&periods).map(last).collect();
            self.decomposed = Decomposed { end: at + 1, cycles };
        }
    }

    fn value(&self, at: i64, steps: i64) -> Option<f64> {
        match self.method {
            Method::NaiveDay => self.naive(at, steps, DAY),
            Method::NaiveWeek => self.naive(at, steps, 7 * DAY).or_else(|| self.naive(at, steps, DAY)),
            Method::Ets | Method::HoltWinters | Method::Mstl => {
                let best = self.smoothers.iter().min_by(|one, other| one.errors.total_cmp(&other.errors))?;
                Some((best.ahead(at, steps) + self.decomposed.at(at + steps)).max(0.0))
            }
        }
    }

    fn naive(&self, at: i64, steps: i64, period: i64) -> Option<f64> {
        let period = period / self.step;
        let first = (steps + period - 1) / period;
        (first..first + 7)
            .map(|back| at + steps - back * period)
            .take_while(|past| *past > at - self.loads.len())
            .map(|past| self.loads.get(past))
            .find(|load| !load.is_nan())
    }

    /// The quantiles at the horizon in this place, one for each of `levels`; none where nothing is known.
    pub fn quantiles(&self, place: usize, levels: &[f64]) -> Option<Vec<f64>> {
        let value = self.value(self.last?, self.horizons[place] / self.step)?;
        let tracker = &self.trackers[place];
        Some(levels.iter().map(|level| (value + tracker.quantile(&LEVELS, *level)).max(0.0)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decomposition_knows_day_and_week_where_a_day_before_does_not() {
        let step = 1800;
        let load = |time: i64| {
            let day = (time as f64 / DAY as f64 * std::f64::consts::TAU).sin();
            let weekend = if time.rem_euclid(7 * DAY) >= 5 * DAY { 40.0 } else { 0.0 };
            100.0 + 30.0 * day - weekend
        };
        let mut missed = [Method::Mstl, Method::NaiveDay].map(|method| {
            let (mut baseline, mut missed) = (Baseline::new(method, step, &[DAY]), 0.0);
            for time in (0..20 * DAY).step_by(1800) {
                baseline.observe(time, load(time));
                if time >= 15 * DAY
                    && let Some(said) = baseline.value(time / step, DAY / step)
                {
                    missed += (said - load(time + DAY)).abs();
                }
            }
            missed / 240.0
        });
        missed[0] *= 2.0;
        assert!(missed[0] < missed[1], "{missed:?}");
    }
}
