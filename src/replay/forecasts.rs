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

/// Windows in seconds whose highest load is scored.
const WINDOWS: [i64; 4] = [300, 1800, 3600, 21_600];

/// Levels whose coverage is told: the share of loads at or below the quantile.
pub const COVERED: [f64; 5] = [0.5, 0.8, 0.9, 0.95, 0.99];

/// Seconds before the first origin that counts.
const WARM_UP: i64 = 3 * 86_400;

/// Seconds from one origin to the next: no part of an hour, so that origins lie at all minutes of it.
const STRIDE: i64 = 1860;

/// The method whose loss the others are told against.
const NAIVE: usize = 1;

/// The methods, in the order of the figures.
pub const METHODS: [&str; 6] = ["loadline", "naive-day", "naive-week", "ets", "holt-winters", "mstl"];

const BASELINES: [Method; 5] =
    [Method::NaiveDay, Method::NaiveWeek, Method::Ets, Method::HoltWinters, Method::Mstl];

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
    /// A row a window: coverage of the highest load in it.
    pub peaks: BTreeMap<i64, Peaks>,
}

/// How often the highest load of a window was at or below what Loadline said of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Peaks {
    /// Windows that were scored.
    pub windows: u64,
    /// Share of windows, a level of `COVERED` each.
    pub coverage: [f64; COVERED.len()],
}

/// What the series of a trace came to at one horizon.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Seconds ahead.
    pub horizon: i64,
    /// Series whose loss can be compared: seasonal naive's is not zero.
    pub series: usize,
    /// Pinball loss over that of the first plain method, geometric mean over series, in the order of `METHODS`.
    pub ratio: [f64; METHODS.len()],
    /// Mean coverage over all series, a level of `COVERED` each, in the order of `METHODS`.
    pub coverage: [[f64; COVERED.len()]; METHODS.len()],
    /// Mean width over the mean load.
    pub width: [f64; METHODS.len()],
}

/// What the highest loads of windows came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PeakSummary {
    /// Seconds of the window, which begins at the origin.
    pub window: i64,
    /// Mean coverage over series, a level of `COVERED` each.
    pub coverage: [f64; COVERED.len()],
}

/// What a trace came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ForecastReport {
    /// The trace.
    pub trace: String,
    /// Names of the methods, in the order of all figures.
    pub methods: [&'static str; METHODS.len()],
    /// A row a horizon.
    pub summary: Vec<Summary>,
    /// A row a window.
    pub peaks: Vec<PeakSummary>,
    /// Each series.
    pub series: Vec<SeriesScore>,
    /// Series that are shorter than what is needed before the first origin.
    pub too_short: Vec<String>,
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

/// A series under way.
struct Scorer<'a> {
    series: &'a LoadSeries,
    step: i64,
    horizons: Vec<i64>,
    ours: Forecaster,
    others: Vec<Baseline>,
    sums: Vec<[Figures; METHODS.len()]>,
    peaks: [Peaks; WINDOWS.len()],
}

/// Scores one series; none where it is too short for one origin.
pub fn score(series: &LoadSeries) -> Option<SeriesScore> {
    let mut scorer = Scorer::new(series)?;
    scorer.run(&mut |_, _| ());
    scorer.score()
}

impl<'a> Scorer<'a> {
    fn new(series: &'a LoadSeries) -> Option<Self> {
        let step = series.step()?.max(1);
        let horizons: Vec<i64> = HORIZONS.into_iter().filter(|horizon| *horizon >= step).collect();
        let others = BASELINES.iter().map(|method| Baseline::new(*method, step, &horizons)).collect();
        let sums = vec![[Figures::default(); METHODS.len()]; horizons.len()];
        let ours = Forecaster::new(step);
        let peaks = [Peaks::default(); WINDOWS.len()];
        Some(Self { series, step, horizons, ours, others, sums, peaks })
    }

    /// Asks and scores at each origin; `told` hears what each method said there.
    fn run(&mut self, told: &mut impl FnMut(i64, &[f64])) {
        let stride = STRIDE.max(self.step);
        let Some(&first) = self.series.times.first() else { return };
        for (at, (&time, &load)) in self.series.times.iter().zip(&self.series.loads).enumerate() {
            // A gap that no forecaster spans begins a new one, as the engine would.
            if self.ours.observe(time, load).is_err() {
                self.ours = Forecaster::new(self.step);
            }
            for other in &mut self.others {
                other.observe(time, load);
            }
            let due = at > 0 && time.div_euclid(stride) != self.series.times[at - 1].div_euclid(stride);
            if due && time - first >= WARM_UP {
                self.ask(at, time, told);
                self.ask_peaks(at, time);
            }
        }
    }

    /// Asks all methods at an origin; those that some cannot answer are scored for none.
    fn ask(&mut self, at: usize, time: i64, told: &mut impl FnMut(i64, &[f64])) {
        let levels = all_levels();
        for (place, horizon) in self.horizons.iter().enumerate() {
            let ours = std::iter::once(self.ours.quantiles(time + horizon, &levels));
            let others = self.others.iter().map(|other| other.quantiles(place, &levels));
            let Some(said) = ours.chain(others).collect::<Option<Vec<_>>>() else { continue };
            for of_method in &said {
                told(time, of_method);
            }
            let Some(actual) = self.load_at(at, time + horizon) else { continue };
            for (sum, said) in self.sums[place].iter_mut().zip(&said) {
                sum.add(said, actual);
            }
        }
    }

    fn ask_peaks(&mut self, at: usize, time: i64) {
        for (window, peaks) in WINDOWS.iter().zip(&mut self.peaks) {
            let ahead = self.series.times[at + 1..].partition_point(|next| *next <= time + window);
            // A window with gaps has no highest load that is known.
            if *window < self.step || i64::try_from(ahead).unwrap_or(0) < window / self.step {
                continue;
            }
            let loads = &self.series.loads[at + 1..=at + ahead];
            let highest = loads.iter().copied().fold(0.0, f64::max);
            peaks.windows += 1;
            for (sum, level) in peaks.coverage.iter_mut().zip(COVERED) {
                let said = self.ours.max_quantile(time, time + window, level);
                *sum += f64::from(u8::from(said.is_some_and(|said| highest <= said)));
            }
        }
    }

    /// The load at a time, where it was measured.
    fn load_at(&self, from: usize, time: i64) -> Option<f64> {
        let times = &self.series.times;
        let at = from + times[from..].partition_point(|known| *known < time);
        times.get(at).filter(|known| (**known - time) * 2 <= self.step).map(|_| self.series.loads[at])
    }

    fn score(self) -> Option<SeriesScore> {
        let sums = self.horizons.into_iter().zip(self.sums).filter(|(_, sums)| sums[0].forecasts > 0);
        let horizons: BTreeMap<_, _> =
            sums.map(|(horizon, sums)| (horizon, sums.map(Figures::mean))).collect();
        let peaks = WINDOWS.into_iter().zip(self.peaks).filter(|(_, peaks)| peaks.windows > 0);
        (!horizons.is_empty()).then(|| SeriesScore {
            name: self.series.name.clone(),
            mean: self.series.loads.iter().sum::<f64>() / self.series.loads.len() as f64,
            structure: self.ours.structure(),
            horizons,
            peaks: peaks
                .map(|(window, Peaks { windows, coverage })| {
                    (window, Peaks { windows, coverage: coverage.map(|sum| sum / windows as f64) })
                })
                .collect(),
        })
    }
}

/// What a trace came to, of the scores of its series, each with its name.
pub fn report(trace: &str, scores: Vec<(String, Option<SeriesScore>)>) -> ForecastReport {
    let too_short =
        scores.iter().filter(|(_, score)| score.is_none()).map(|(name, _)| name.clone()).collect();
    let series: Vec<SeriesScore> = scores.into_iter().filter_map(|(_, score)| score).collect();
    let mut summary = Vec::new();
    for horizon in HORIZONS {
        let of: Vec<_> =
            series.iter().filter_map(|score| Some((score.mean, score.horizons.get(&horizon)?))).collect();
        if !of.is_empty() {
            summary.push(summed(horizon, &of));
        }
    }
    let peaks = WINDOWS.into_iter().filter_map(|window| {
        let of: Vec<&Peaks> = series.iter().filter_map(|score| score.peaks.get(&window)).collect();
        let mean = |level: usize| of.iter().map(|peaks| peaks.coverage[level]).sum::<f64>() / of.len() as f64;
        (!of.is_empty()).then(|| PeakSummary { window, coverage: std::array::from_fn(mean) })
    });
    let peaks = peaks.collect();
    ForecastReport { trace: trace.to_owned(), methods: METHODS, summary, peaks, series, too_short }
}

fn summed(horizon: i64, of: &[(f64, &[Figures; METHODS.len()])]) -> Summary {
    let count = of.len() as f64;
    let compared: Vec<_> =
        of.iter().filter(|(_, figures)| figures.iter().all(|figures| figures.pinball > 0.0)).collect();
    let ratio = |method: usize| {
        let logs =
            compared.iter().map(|(_, figures)| (figures[method].pinball / figures[NAIVE].pinball).ln());
        (logs.sum::<f64>() / (compared.len() as f64).max(1.0)).exp()
    };
    Summary {
        horizon,
        series: compared.len(),
        ratio: std::array::from_fn(ratio),
        coverage: std::array::from_fn(|method| {
            let covered = |level: usize| of.iter().map(move |(_, figures)| figures[method].coverage[level]);
            std::array::from_fn(|level| covered(level).sum::<f64>() / count)
        }),
        width: std::array::from_fn(|method| {
            let width = |(load, figures): &(f64, &[Figures; METHODS.len()])| figures[method].width / load;
            of.iter().filter(|(load, _)| *load > 0.0).map(width).sum::<f64>() / count
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(days: i64, load: impl Fn(i64) -> f64) -> LoadSeries {
        let times: Vec<i64> = (0..days * 288).map(|slot| slot * 300).collect();
        let loads = times.iter().map(|time| load(*time)).collect();
        LoadSeries { name: "s".to_owned(), times, loads }
    }

    fn uneven(time: i64) -> f64 {
        let noise = (time / 300)
            .wrapping_mul(6_364_136_223_846_793_005)
            .rotate_left(24)
            .wrapping_mul(0x2545_F491_4F6C_DD1D);
        let noise = (noise.unsigned_abs() >> 40) as f64 / f64::from(1_u32 << 23);
        let day = (time as f64 / 86_400.0 * std::f64::consts::TAU).sin();
        100.0 * (1.2 + day) * (0.8 + 0.4 * noise)
    }

    fn said(series: &LoadSeries, before: i64) -> Vec<(i64, u64)> {
        let mut said = Vec::new();
        let mut tell = |time: i64, quantiles: &[f64]| {
            if time < before {
                said.extend(quantiles.iter().map(|quantile| (time, quantile.to_bits())));
            }
        };
        Scorer::new(series).expect("a series").run(&mut tell);
        said
    }

    #[test]
    fn nothing_looks_ahead() {
        let whole = series(9, uneven);
        for cut in [4 * 86_400, 5 * 86_400 + 4500, 8 * 86_400 + 300] {
            let changed = series(9, |time| if time < cut { uneven(time) } else { 1e6 });
            let at = whole.times.partition_point(|time| *time < cut);
            let (times, loads) = (whole.times[..at].to_vec(), whole.loads[..at].to_vec());
            let short = LoadSeries { name: "s".to_owned(), times, loads };
            let expected = said(&whole, cut);
            assert!(expected.len() > 1000);
            assert!(said(&changed, cut) == expected && said(&short, cut) == expected, "cut at {cut} s");
        }
    }

    #[test]
    fn pinball_and_coverage_are_what_their_definition_says() {
        let mut figures = Figures::default();
        // All quantiles at 10, the load at 20 and at 10: above, then at them.
        let quantiles = vec![10.0; LEVELS.len() + COVERED.len() + 2];
        figures.add(&quantiles, 20.0);
        figures.add(&quantiles, 10.0);
        let figures = figures.mean();
        let mean_level = LEVELS.iter().sum::<f64>() / LEVELS.len() as f64;
        assert!((figures.pinball - mean_level * 10.0 / 2.0).abs() < 1e-12);
        assert_eq!((figures.coverage, figures.width), ([0.5; COVERED.len()], 0.0));
    }

    #[test]
    fn a_rhythm_beats_naive_methods_and_a_short_series_is_named() {
        let score = score(&series(12, uneven)).expect("a score");
        for (horizon, figures) in &score.horizons {
            let [ours, day, week, ..] = figures.map(|figures| figures.pinball);
            let least = figures[1..].iter().map(|figures| figures.pinball).fold(f64::INFINITY, f64::min);
            // This rhythm is what Holt-Winters is made for; learning which method fits costs a little.
            assert!(ours < day && ours < week && ours < 1.15 * least, "{horizon} s ahead: {ours}, {least}");
        }
        let report = report("t", vec![("s".to_owned(), Some(score)), ("short".to_owned(), None)]);
        assert_eq!((report.summary.len(), report.too_short.as_slice()), (6, &["short".to_owned()][..]));
        assert!((report.summary[0].ratio[NAIVE] - 1.0).abs() < 1e-12);
        assert_eq!(super::score(&series(2, uneven)), None);
    }
}
