//! One series: observations in, quantiles of what comes out.
//!
//! In: `(time, load)` in order, planned events. Out: quantiles at a time, of the highest load in a window, the course
//! with its expected values, whether there is structure. It reads no clock: a horizon is counted from the last
//! observation, so that a metric that is late is forecast over a longer one.

use serde::{Deserialize, Serialize};

use crate::forecasting::conformal::{LEVELS, PEAK_LEVELS, Tracker, first_score};
use crate::forecasting::event::{self, Event};
use crate::forecasting::experts::Origin;
use crate::forecasting::history::{DAY, History};
use crate::forecasting::learning::{HORIZONS, Learnt, WINDOWS, between};
use crate::forecasting::node::Mix;
use crate::forecasting::seasons::{Scale, Seasons};

/// An observation farther ahead of the last one is a broken clock.
const AHEAD_MAX: i64 = 15 * DAY;

/// A window's course is looked at in no more places.
const PLACES: i64 = 48;

/// Before anything was learnt, residuals are as large as this on average: a third of the load.
const UNSEEN: f64 = 0.3;

/// Residuals grow with the horizon to this power until more is learnt; a random walk's do with one half.
const GROWTH: f64 = 0.3;

/// Levels from which the expected load is computed: the mean of the quantiles at them.
const EXPECTED: [f64; 9] = [0.05, 0.15, 0.25, 0.35, 0.5, 0.65, 0.75, 0.85, 0.95];

/// Why an observation was not taken in. The forecaster is as before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refused {
    /// It is no number, infinite or negative.
    #[error("a load is a finite number of at least 0")]
    NoLoad,
    /// It is not later than the last one.
    #[error("the observation is not later than the last one")]
    OutOfOrder,
    /// It is more than 15 days later than the last one: nothing of the past can be used for it.
    #[error("the observation is more than 15 days later than the last one: begin a new forecaster")]
    TooFarAhead,
}

/// Whether the past of a series tells more of its future than its level does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Structure {
    /// Too little was seen, under two days.
    Unknown,
    /// Seasons tell no more than the level does: the forecast is the recent level with wide quantiles.
    None,
    /// Seasons tell more.
    Seasonal,
}

/// The course of a load: for each time its expected value and its quantiles.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Path {
    /// Seconds since 1970.
    pub times: Vec<i64>,
    /// The expected load at each time.
    pub expected: Vec<f64>,
    /// For each level asked for, the quantile at each time.
    pub quantiles: Vec<Vec<f64>>,
}

/// A forecaster of one series.
///
/// Quantiles are calibrated by adaptive conformal inference, a tracker for each of seven horizons from 5 minutes
/// to 2 days and each of five windows: after every slot of (at least) 5 minutes each quantile of the residual moves up
/// where the load was above it and down where it was below (`conformal`). What they are tracked on are forecasts
/// as they were issued, never refitted ones. Between horizons quantiles are interpolated in the logarithm of the time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forecaster {
    history: History,
    learnt: Learnt,
    events: Vec<Event>,
}

/// All that a forecast needs, made once for many times.
struct View<'a> {
    seasons: Seasons<'a>,
    origin: Origin,
    mixes: [Mix; HORIZONS.len()],
    last: i64,
}

impl Forecaster {
    /// Bytes of what was learnt of a series, beside its history of loads and forecasts.
    pub const LIVE_BYTES: usize = size_of::<Self>();

    /// A forecaster of a load that is observed every `step` seconds, more or less.
    pub fn new(step: i64) -> Self {
        let history = History::new(step.clamp(1, DAY));
        let learnt = Learnt::new(&history);
        Self { history, learnt, events: Vec::new() }
    }

    /// Takes in that the load was `load` at `time`, in seconds since 1970.
    pub fn observe(&mut self, time: i64, load: f64) -> Result<(), Refused> {
        if !load.is_finite() || load < 0.0 {
            return Err(Refused::NoLoad);
        }
        if let Some(last) = self.history.last {
            if time <= last {
                return Err(Refused::OutOfOrder);
            }
            if time.saturating_sub(last) > AHEAD_MAX {
                return Err(Refused::TooFarAhead);
            }
        }
        // What a planned event made of the load is no part of its usual course.
        if let Some(load) = event::without(&self.events, time, load)
            && let Some(closed) = self.history.push(time, load)
        {
            self.learnt.learn(&self.history, closed);
        }
        Ok(())
    }

    /// What is planned, in place of what was. Events that say nothing sound are left out.
    pub fn set_events(&mut self, events: Vec<Event>) {
        self.events = events;
        self.events.retain(Event::is_sound);
    }

    /// Bytes of the history: 15 days of loads by slot, and the forecasts that wait for what comes of them.
    pub fn history_bytes(&self) -> usize {
        self.history.bytes() + self.learnt.pending_bytes()
    }

    /// When the last observation was.
    pub fn last(&self) -> Option<i64> {
        self.history.last
    }

    /// Whether there is structure to go by.
    pub fn structure(&self) -> Structure {
        match self.history.last {
            Some(last) if last - self.history.first > 2 * DAY => {
                if self.learnt.structure {
                    Structure::Seasonal
                } else {
                    Structure::None
                }
            }
            _ => Structure::Unknown,
        }
    }

    /// The load that is not exceeded at `at` with the chance `level`; none before the first observation.
    pub fn quantile(&self, at: i64, level: f64) -> Option<f64> {
        Some(self.quantile_of(&self.view()?, at, level))
    }

    /// The quantiles at `at`, one for each of `levels`.
    pub fn quantiles(&self, at: i64, levels: &[f64]) -> Option<Vec<f64>> {
        let view = self.view()?;
        Some(self.quantiles_of(&view, at, levels))
    }

    /// The course from `from` on over `horizon` seconds, a value every `step`, with the quantiles at `levels`.
    pub fn path(&self, from: i64, horizon: i64, step: i64, levels: &[f64]) -> Option<Path> {
        let view = self.view()?;
        let mut path = Path { quantiles: vec![Vec::new(); levels.len()], ..Path::default() };
        let all: Vec<f64> = EXPECTED.iter().chain(levels).copied().collect();
        let mut at = from;
        while at <= from.saturating_add(horizon) {
            let values = self.quantiles_of(&view, at, &all);
            let (expected, asked) = values.split_at(EXPECTED.len());
            path.times.push(at);
            path.expected.push(expected.iter().sum::<f64>() / EXPECTED.len() as f64);
            for (quantiles, value) in path.quantiles.iter_mut().zip(asked) {
                quantiles.push(*value);
            }
            at += step.max(1);
        }
        Some(path)
    }

    /// The load that is not exceeded once from `from` to `to` with the chance `level`: what capacity must hold.
    ///
    /// What was learnt are windows that begin now, so one that begins later is wider than need be, never narrower.
    pub fn max_quantile(&self, from: i64, to: i64, level: f64) -> Option<f64> {
        let view = self.view()?;
        let (from, to) = (from.max(view.last + 1), to.max(view.last + 1));
        let slot = self.history.slot;
        let stride = ((to - from) / PLACES).max(slot);
        let mut highest: f64 = 0.0;
        let mut at = from;
        loop {
            let median = view.seasons.scale.down(view.median(slot, at));
            highest = highest.max(event::with(&self.events, at, median, median));
            if at >= to {
                break;
            }
            at = (at + stride).min(to);
        }
        let scale = view.seasons.scale;
        let missed = spread(|at| &self.learnt.peaks[at], &PEAK_LEVELS, &WINDOWS, slot, to - view.last, level);
        let peak = scale.down(scale.up(highest) + missed);
        // No minute is told to be higher than the highest one.
        let single = self.quantile_of(&view, to, level).max(self.quantile_of(&view, from, level));
        Some(peak.max(single))
    }

    fn view(&self) -> Option<View<'_>> {
        let last = self.history.last?;
        let scale: Scale = self.learnt.scale();
        let seasons = Seasons { history: &self.history, scale, known: self.history.open - 1 };
        let origin = Origin::new(&seasons, self.history.open, self.history.level);
        Some(View { seasons, origin, mixes: self.learnt.mixes(), last })
    }

    fn quantile_of(&self, view: &View<'_>, at: i64, level: f64) -> f64 {
        self.quantiles_of(view, at, &[level])[0]
    }

    fn quantiles_of(&self, view: &View<'_>, at: i64, levels: &[f64]) -> Vec<f64> {
        let (slot, scale) = (self.history.slot, view.seasons.scale);
        let center = view.median(slot, at);
        let value = |level: f64| {
            let missed = spread(
                |node| &self.learnt.nodes[node].tracker,
                &LEVELS,
                &HORIZONS,
                slot,
                at - view.last,
                level,
            );
            scale.down(center + missed)
        };
        let median = value(0.5);
        levels.iter().map(|level| event::with(&self.events, at, value(*level), median)).collect()
    }
}

impl View<'_> {
    /// The mixture's value at a time, on the scale.
    fn median(&self, slot: i64, at: i64) -> f64 {
        let said = self.origin.say(&self.seasons, at.div_euclid(slot));
        between(&HORIZONS, slot, at - self.last).blend(|node| self.mixes[node].of(&said))
    }
}

/// The residual that is not exceeded with the chance `level`, so many seconds ahead. What was not learnt yet is as wide
/// as what was at a shorter time, and wider by how loads spread.
fn spread<'a, const N: usize>(
    tracker: impl Fn(usize) -> &'a Tracker<N>,
    levels: &[f64; N],
    times: &[i64],
    slot: i64,
    seconds: i64,
    level: f64,
) -> f64 {
    between(times, slot, seconds).blend(|at| match (0..=at).rev().find(|known| tracker(*known).knows()) {
        Some(known) => {
            let growth = (times[at] as f64 / times[known] as f64).powf(GROWTH);
            tracker(known).quantile(levels, level) * growth
        }
        None => first_score(level) * UNSEEN,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecasting::event::Planned;

    /// Minutes of a day's rhythm, with noise that is the same in each test.
    fn rhythm(minutes: i64) -> impl Iterator<Item = (i64, f64)> {
        let mut seed = 7_u64;
        (0..minutes).map(move |minute| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let noise = (seed >> 33) as f64 / f64::from(1_u32 << 31) - 0.5;
            let day = (minute as f64 / 1440.0 * std::f64::consts::TAU).sin();
            (minute * 60, 100.0 * (1.0 + 0.6 * day) * (1.0 + 0.1 * noise))
        })
    }

    fn fed(observations: impl Iterator<Item = (i64, f64)>) -> Forecaster {
        let mut forecaster = Forecaster::new(60);
        for (time, load) in observations {
            forecaster.observe(time, load).expect("an observation");
        }
        forecaster
    }

    #[test]
    fn what_is_no_load_or_comes_too_late_is_refused_and_changes_nothing() {
        let mut forecaster = fed(rhythm(3000));
        let before = forecaster.clone();
        let last = forecaster.last().expect("observations");
        for load in [f64::NAN, f64::INFINITY, -1.0] {
            assert_eq!(forecaster.observe(last + 60, load), Err(Refused::NoLoad));
        }
        assert_eq!(forecaster.observe(last, 1.0), Err(Refused::OutOfOrder));
        assert_eq!(forecaster.observe(last - 600, 1.0), Err(Refused::OutOfOrder));
        assert_eq!(forecaster.observe(last + 400 * DAY, 1.0), Err(Refused::TooFarAhead));
        assert_eq!(forecaster.observe(i64::MIN, 1.0), Err(Refused::OutOfOrder));
        assert!(forecaster == before);
    }

    #[test]
    fn a_rhythm_is_forecast_hours_ahead_within_its_noise() {
        let forecaster = fed(rhythm(12 * 1440 + 360));
        assert_eq!(forecaster.structure(), Structure::Seasonal);
        // From the height of the day to its depth, half a day ahead.
        let at = forecaster.last().expect("observations") + 43_200;
        let [low, middle, high] =
            [0.05, 0.5, 0.95].map(|level| forecaster.quantile(at, level).expect("a forecast"));
        assert!(low < middle && middle < high, "{low} {middle} {high}");
        assert!((middle - 40.0).abs() < 5.0 && high < 55.0, "{low} {middle} {high}");
        let path = forecaster.path(at, 3600, 600, &[0.5, 0.9]).expect("a path");
        assert_eq!((path.times.len(), path.quantiles.len()), (7, 2));
        assert!((path.quantiles[0][0] - middle).abs() < 1e-9 && (path.expected[0] - middle).abs() < 3.0);
    }

    #[test]
    fn the_highest_of_a_window_is_above_what_a_minute_has() {
        let forecaster = fed(rhythm(5 * 1440));
        let last = forecaster.last().expect("observations");
        let of =
            |seconds: i64, level: f64| forecaster.max_quantile(last, last + seconds, level).expect("one");
        for seconds in [300, 3600, 4 * 3600] {
            let single = forecaster.quantile(last + seconds, 0.9).expect("a forecast");
            assert!(of(seconds, 0.9) >= single, "{seconds} s: {} under {single}", of(seconds, 0.9));
            assert!(of(seconds, 0.5) <= of(seconds, 0.95) && of(seconds, 0.95) <= of(seconds, 0.999));
        }
    }

    #[test]
    fn noise_has_no_structure_and_its_quantiles_hold() {
        let mut seed = 1_u64;
        let mut forecaster = Forecaster::new(300);
        let (mut below, mut asked) = (0, 0);
        for slot in 0..10 * 288 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let load = 50.0 + 50.0 * (seed >> 33) as f64 / f64::from(1_u32 << 31);
            if slot > 3 * 288 {
                let said = forecaster.quantile(slot * 300, 0.9).expect("a forecast");
                below += i32::from(load <= said);
                asked += 1;
            }
            forecaster.observe(slot * 300, load).expect("an observation");
        }
        assert_eq!(forecaster.structure(), Structure::None);
        let share = f64::from(below) / f64::from(asked);
        assert!((share - 0.9).abs() < 0.02, "{share}");
    }

    #[test]
    fn what_was_not_measured_is_not_zero() {
        let forecaster = fed(rhythm(6 * 1440).filter(|(time, _)| !(3 * DAY..4 * DAY).contains(time)));
        let whole = fed(rhythm(6 * 1440));
        let at = 6 * DAY + 6 * 3600;
        let [gap, none] = [&forecaster, &whole].map(|of| of.quantile(at, 0.5).expect("a forecast"));
        assert!((gap / none - 1.0).abs() < 0.05, "{gap} with a day missing, {none} without");
    }

    #[test]
    fn a_planned_event_scales_its_time_and_no_other() {
        let event = Event { from: 5 * DAY, to: 5 * DAY + 7200, planned: Planned::Factor(3.0) };
        let crowded = rhythm(5 * 1440 + 360).map(|(time, load)| {
            (time, if (event.from..event.to).contains(&time) { 3.0 * load } else { load })
        });
        let mut forecaster = fed(rhythm(5 * 1440));
        let plain = forecaster.quantile(5 * DAY + 3600, 0.9).expect("a forecast");
        forecaster.set_events(vec![event]);
        let planned = forecaster.quantile(5 * DAY + 3600, 0.9).expect("a forecast");
        assert!((planned / plain - 3.0).abs() < 1e-9, "{planned} over {plain}");
        let peak = forecaster.max_quantile(5 * DAY, 5 * DAY + 3600, 0.9).expect("a forecast");
        assert!(peak >= planned && peak < 1.3 * planned, "{peak} under {planned}");
        for (time, load) in crowded.skip(5 * 1440) {
            forecaster.observe(time, load).expect("an observation");
        }
        // The day after knows nothing of the crowd.
        let usual = fed(rhythm(5 * 1440 + 360)).quantile(6 * DAY + 3600, 0.5).expect("a forecast");
        let after = forecaster.quantile(6 * DAY + 3600, 0.5).expect("a forecast");
        assert!((after / usual - 1.0).abs() < 0.02, "{after} against {usual}");
        let level = Event { from: 6 * DAY, to: 7 * DAY, planned: Planned::Level(900.0) };
        let unsound = Event { from: 0, to: i64::MAX, planned: Planned::Level(f64::NAN) };
        forecaster.set_events(vec![level, unsound]);
        assert!((forecaster.quantile(6 * DAY + 3600, 0.5).expect("a forecast") - 900.0).abs() < 1e-6);
    }

    #[test]
    fn one_lie_of_a_thousand_times_is_forgotten_within_the_hour() {
        let lie = 5 * DAY + 600;
        let told =
            rhythm(5 * 1440 + 80).map(|(time, load)| (time, if time == lie { 1000.0 * load } else { load }));
        let (lied, honest) = (fed(told), fed(rhythm(5 * 1440 + 80)));
        for ahead in [3600, 86_400] {
            let of = |forecaster: &Forecaster| forecaster.quantile(5 * DAY + 4800 + ahead, 0.5).expect("one");
            let ratio = of(&lied) / of(&honest);
            assert!((0.8..1.5).contains(&ratio), "{ahead} s ahead: {ratio}");
        }
    }

    #[test]
    fn a_checkpoint_goes_on_to_the_bit_and_live_state_is_small() {
        let mut forecaster = fed(rhythm(4 * 1440));
        let text = serde_json::to_string(&forecaster).expect("a checkpoint");
        let mut back: Forecaster = serde_json::from_str(&text).expect("a forecaster");
        for (time, load) in rhythm(4 * 1440 + 90).skip(4 * 1440) {
            forecaster.observe(time, load).expect("an observation");
            back.observe(time, load).expect("an observation");
        }
        let at = forecaster.last().expect("observations") + 9000;
        assert_eq!(forecaster.quantile(at, 0.9).map(f64::to_bits), back.quantile(at, 0.9).map(f64::to_bits));
        const { assert!(Forecaster::LIVE_BYTES < 1536) };
    }

    #[test]
    fn the_first_observation_gives_a_wide_forecast_and_none_gives_none() {
        assert_eq!(Forecaster::new(60).quantile(0, 0.5), None);
        let forecaster = fed([(0, 100.0)].into_iter());
        let [low, high] = [0.05, 0.95].map(|level| forecaster.quantile(60, level).expect("a forecast"));
        assert!(low < 75.0 && high > 133.0, "{low} to {high}");
        assert_eq!(forecaster.structure(), Structure::Unknown);
    }
}
