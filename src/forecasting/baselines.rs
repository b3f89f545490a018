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

use std::collections::VecDeque;

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
    last: Option<i64>,
    trackers: Vec<Tracker<{ LEVELS.len() }>>,
    said: Vec<VecDeque<(i64, f64)>>,
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
        (self.level + damped * self.trend + self.season[self.place(at + steps)]).max(0.0)
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
            Method::Ets | Method::HoltWinters => &[0.02, 0.05, 0.1, 0.2, 0.4, 0.8],
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
        for smoother in &mut self.smoothers {
            smoother.push(at, load, 7.0 * a_day);
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

    fn value(&self, at: i64, steps: i64) -> Option<f64> {
        match self.method {
            Method::NaiveDay => self.naive(at, steps, DAY),
            Method::NaiveWeek => self.naive(at, steps, 7 * DAY).or_else(|| self.naive(at, steps, DAY)),
            Method::Ets | Method::HoltWinters => {
                let best = self.smoothers.iter().min_by(|one, other| one.errors.total_cmp(&other.errors))?;
                Some(best.ahead(at, steps))
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
