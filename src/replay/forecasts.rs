//! Load traces past forecasts, origin by origin: pinball loss, coverage and width, ours beside plain methods.
//!
//! In: a series. Out: figures a method and horizon. At each origin a method knows what came before it and nothing
//! else. Not here: the methods (`forecasting`), files (`analytics`), tables (`cli`).

use std::collections::BTreeMap;

use serde::Serialize;

use crate::domain::load_series::LoadSeries;
use crate::forecasting::baselines::{Baseline, Method};
use crate::forecasting::{Forecaster, Structure};

/// Horizons in seconds that are scored; those shorter than the interval of a series are left out.
pub const HORIZONS: [i64; 6] = [300, 1800, 3600, 21_600, 86_400, 172_800];

/// Levels of pinball loss.
pub const LEVELS: [f64; 12] = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99];

/// Levels whose coverage is told: the share of loads at or below the quantile.
pub const COVERED: [f64; 5] = [0.5, 0.8, 0.9, 0.95, 0.99];

/// Seconds before the first origin that counts.
const WARM_UP: i64 = 3 * 86_400;

/// Seconds from one origin to the next.
const STRIDE: i64 = 1860;

/// The methods, in the order of the figures.
pub const METHODS: [&str; 5] = ["loadline", "naive-day", "naive-week", "ets", "holt-winters"];

const BASELINES: [Method; 4] = [Method::NaiveDay, Method::NaiveWeek, Method::Ets, Method::HoltWinters];

/// What a method came to at one horizon of one series.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Forecasts that were scored.
    pub forecasts: u64,
    /// Pinball loss, mean over levels and forecasts, in units of the load.
    pub pinball: f64,
    /// Share of loads at or below the quantile, a level of `COVERED` each.
    pub coverage: [f64; COVERED.len()],
    /// Mean distance from the 5 % to the 95 % quantile, in units of the load.
    pub width: f64,
}

/// A series' figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeriesScore {
    /// The series.
    pub name: String,
    /// Its mean load.
    pub mean: f64,
    /// Whether there was structure at the end.
    pub structure: Structure,
    /// A row a horizon, with figures in the order of `METHODS`.
    pub horizons: BTreeMap<i64, [Figures; METHODS.len()]>,
    /// Coverage of the highest load of the next 5 min, 30 min, 1 h at 50, 90, 95, 99 %.
    pub peaks: BTreeMap<i64, [f64; 5]>,
}

fn pinball(level: f64, quantile: f64, load: f64) -> f64 {
    let missed = load - quantile;
    if missed >= 0.0 { level * missed } else { (level - 1.0) * missed }
}

fn all_levels() -> Vec<f64> {
    LEVELS.iter().chain(&COVERED).chain(&[0.05, 0.95]).copied().collect()
}

impl Figures {
    fn add(&mut self, quantiles: &[f64], load: f64) {
        let (losses, rest) = quantiles.split_at(LEVELS.len());
        let loss: f64 =
            LEVELS.iter().zip(losses).map(|(level, quantile)| pinball(*level, *quantile, load)).sum();
        self.forecasts += 1;
        self.pinball += loss / LEVELS.len() as f64;
        for (sum, quantile) in self.coverage.iter_mut().zip(rest) {
            *sum += f64::from(u8::from(load <= *quantile));
        }
        self.width += rest[COVERED.len() + 1] - rest[COVERED.len()];
    }

    fn mean(mut self) -> Self {
        let count = (self.forecasts as f64).max(1.0);
        self.pinball /= count;
        self.coverage = self.coverage.map(|sum| sum / count);
        self.width /= count;
        self
    }
}

const PEAK_WINDOWS: [i64; 3] = [300, 1800, 3600];
const PEAK_COVERED: [f64; 4] = [0.5, 0.9, 0.95, 0.99];

/// Scores one series; none where it is too short or has no interval.
pub fn score(series: &LoadSeries) -> Option<SeriesScore> {
    let step = series.step()?.max(1);
    let horizons: Vec<i64> = HORIZONS.into_iter().filter(|horizon| *horizon >= step).collect();
    let mut ours = Forecaster::new(step);
    let mut others: Vec<Baseline> =
        BASELINES.iter().map(|method| Baseline::new(*method, step, &horizons)).collect();
    let mut sums = vec![[Figures::default(); METHODS.len()]; horizons.len()];
    let mut peaks = [[0.0; 5]; PEAK_WINDOWS.len()];
    let levels = all_levels();
    let stride = STRIDE.max(step);
    let first = series.times.first()?;
    for (at, (&time, &load)) in series.times.iter().zip(&series.loads).enumerate() {
        let _ = ours.observe(time, load);
        for other in &mut others {
            other.observe(time, load);
        }
        if time - first < WARM_UP || time.div_euclid(stride) == series.times[at - 1].div_euclid(stride) {
            continue;
        }
        for (place, horizon) in horizons.iter().enumerate() {
            let Some(actual) = load_at(series, at, time + horizon, step) else { continue };
            let Some(said) = ours.quantiles(time + horizon, &levels) else { continue };
            let rest: Option<Vec<_>> = others.iter().map(|other| other.quantiles(place, &levels)).collect();
            let Some(rest) = rest else { continue };
            for (sum, said) in sums[place].iter_mut().zip(std::iter::once(&said).chain(&rest)) {
                sum.add(said, actual);
            }
        }
        for (window, sum) in PEAK_WINDOWS.iter().zip(&mut peaks).filter(|(window, _)| **window >= step) {
            let ahead = series.times[at + 1..].iter().take_while(|next| **next <= time + window).count();
            let count = i64::try_from(ahead).unwrap_or(0);
            if count * step < *window {
                continue;
            }
            let highest = series.loads[at + 1..=at + ahead].iter().copied().fold(0.0, f64::max);
            sum[4] += 1.0;
            for (covered, level) in sum.iter_mut().zip(PEAK_COVERED) {
                let quantile = ours.max_quantile(time, time + window, level).unwrap_or(0.0);
                *covered += f64::from(u8::from(highest <= quantile));
            }
        }
    }
    let mean = series.loads.iter().sum::<f64>() / series.loads.len() as f64;
    let figures = horizons.into_iter().zip(sums).map(|(horizon, sums)| (horizon, sums.map(Figures::mean)));
    let peaks = PEAK_WINDOWS.into_iter().zip(peaks).map(|(window, sum)| {
        let count = sum[4].max(1.0);
        (window, [sum[0] / count, sum[1] / count, sum[2] / count, sum[3] / count, sum[4]])
    });
    Some(SeriesScore {
        name: series.name.clone(),
        mean,
        structure: ours.structure(),
        horizons: figures.filter(|(_, figures)| figures[0].forecasts > 0).collect(),
        peaks: peaks.collect(),
    })
}

/// The load at a time, where it was measured.
fn load_at(series: &LoadSeries, from: usize, time: i64, step: i64) -> Option<f64> {
    let rest = &series.times[from..];
    let at = from + rest.partition_point(|known| *known < time);
    let near = |at: usize| series.times.get(at).filter(|known| (**known - time).abs() * 2 <= step);
    near(at).map(|_| series.loads[at])
}
