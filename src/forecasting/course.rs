//! The course of a load over the next hours, from a forecaster that is fed as samples come.
//!
//! In: load samples in order, planned events, how far to look. Out: expected values with the 5 % and 95 % quantiles, and
//! what they rest on; it reaches no further than the past that is known, nor than forecasts do.

use jiff::{SignedDuration, Timestamp};

use crate::domain::load::LoadSample;
use crate::domain::load_forecast::{ForecastPoint, LoadForecast};
use crate::domain::planned::PlannedEvent;
use crate::forecasting::learning::HORIZONS;
use crate::forecasting::{Event, Forecaster, Refused, Structure};

/// The chances that are told.
const LEVELS: [f64; 2] = [0.05, 0.95];
/// Less than this tells nothing of what comes, in seconds.
const PAST_MIN: i64 = 60;
/// A sample follows another one after so many seconds where nothing is known of it.
const STEP: i64 = 5;

/// A forecaster and since when it knows the load.
#[derive(Debug, Clone)]
pub struct Course {
    forecaster: Forecaster,
    first: Option<i64>,
    step: i64,
}

impl Course {
    /// One that knows nothing; samples come every `step` seconds, more or less.
    pub fn new(step: i64) -> Self {
        let step = step.max(1);
        Self { forecaster: Forecaster::new(step), first: None, step }
    }

    /// One that knows all samples, in order.
    pub fn of(samples: &[LoadSample]) -> Self {
        let ends = samples.first().zip(samples.last());
        let lasted = ends.map_or(0, |(first, last)| last.at.as_second() - first.at.as_second());
        let intervals = i64::try_from(samples.len()).unwrap_or(i64::MAX).saturating_sub(1);
        let mut course = Self::new(if intervals > 0 { lasted / intervals } else { STEP });
        course.take(samples);
        course
    }

    /// Takes in what came since; after a gap that it cannot bridge it begins anew.
    pub fn take(&mut self, samples: &[LoadSample]) {
        for sample in samples {
            let at = sample.at.as_second();
            if self.forecaster.observe(at, sample.requests_per_second) == Err(Refused::TooFarAhead) {
                *self = Self::new(self.step);
                // A sample that is no load is left out here too.
                let _ = self.forecaster.observe(at, sample.requests_per_second);
            }
            if self.forecaster.last() == Some(at) {
                self.first.get_or_insert(at);
            }
        }
    }

    /// When the newest sample was.
    pub fn last(&self) -> Option<Timestamp> {
        Timestamp::from_second(self.forecaster.last()?).ok()
    }

    /// What is expected from `now` on.
    pub fn ahead(
        &mut self,
        events: &[PlannedEvent],
        now: Timestamp,
        (ahead, step): (SignedDuration, SignedDuration),
    ) -> LoadForecast {
        let none = |words: String| LoadForecast { points: Vec::new(), words };
        let (Some(first), Some(last)) = (self.first, self.forecaster.last()) else {
            return none("no load was recorded".to_owned());
        };
        let known = last - first;
        if known < PAST_MIN {
            return none("a minute of load is needed for a forecast".to_owned());
        }
        self.forecaster.set_events(events.iter().map(Event::from).collect());
        let from = now.as_second().max(last + 1);
        let reach = last + known.min(HORIZONS[HORIZONS.len() - 1]);
        let horizon = ahead.as_secs().min(reach - from);
        if horizon <= 0 {
            let silent = SignedDuration::from_secs(now.as_second() - last);
            return none(format!("no load came for {silent:#}, longer than what was known before"));
        }
        // A short past tells of a short time: a few points of it all the same.
        let step = step.as_secs().min(horizon / 4).max(1);
        let Some(path) = self.forecaster.path(from, horizon, step, &LEVELS) else {
            return none("no load was recorded".to_owned());
        };
        let at = |second: i64| Timestamp::from_second(second).unwrap_or(now);
        let values =
            path.times.iter().zip(&path.expected).zip(path.quantiles[0].iter().zip(&path.quantiles[1]));
        let point = |((time, expected), (low, high)): ((&i64, &f64), (&f64, &f64))| ForecastPoint {
            at: at(*time),
            expected: *expected,
            low: *low,
            high: *high,
        };
        let structure = match self.forecaster.structure() {
            Structure::Seasonal => "the rhythm of days and weeks",
            Structure::None => "no rhythm was found, so the recent level",
            Structure::Unknown => "under two days are known, so the recent level",
        };
        LoadForecast { points: values.map(point).collect(), words: structure.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::workload::WorkloadName;

    fn samples(minutes: std::ops::Range<i64>) -> Vec<LoadSample> {
        minutes
            .map(|minute| LoadSample {
                workload: WorkloadName::new("web").expect("a name"),
                at: Timestamp::from_second(minute * 60).expect("an instant"),
                requests_per_second: 100.0
                    + 60.0 * (minute as f64 / 1440.0 * std::f64::consts::TAU).sin()
                    + (minute % 5) as f64,
                errors_per_second: 0.0,
                latency_p50: None,
                latency_p95: None,
                ready: 1,
            })
            .collect()
    }

    fn hours(hours: i64) -> SignedDuration {
        SignedDuration::from_hours(hours)
    }

    #[test]
    fn a_rhythm_is_followed_within_its_band_and_fed_bit_by_bit_it_is_the_same() {
        let all = samples(0..8 * 1440);
        let mut whole = Course::of(&all);
        let now = whole.last().expect("samples");
        let told = whole.ahead(&[], now, (hours(12), SignedDuration::from_mins(10)));
        assert_eq!(told.points.len(), 73);
        assert!(told.points.iter().all(|point| point.low <= point.expected && point.expected <= point.high));
        // The height comes at 6 o'clock.
        let highest = told.points.iter().max_by(|a, b| a.expected.total_cmp(&b.expected)).expect("points");
        let after = highest.at.duration_since(now).as_secs_f64() / 3600.0;
        assert!((4.0..8.0).contains(&after) && (140.0..180.0).contains(&highest.expected), "{highest:?}");
        assert!(told.words.contains("rhythm of days"), "{}", told.words);
        let mut bits = Course::new(60);
        all.chunks(777).for_each(|part| bits.take(part));
        assert_eq!(bits.ahead(&[], now, (hours(12), SignedDuration::from_mins(10))), told);
    }

    #[test]
    fn it_reaches_no_further_than_the_past_and_says_why_there_is_none() {
        let mut young = Course::of(&samples(0..30));
        let now = young.last().expect("samples");
        let told = young.ahead(&[], now, (hours(6), SignedDuration::from_mins(5)));
        let last = told.points.last().expect("points").at;
        assert!(last.duration_since(now) <= SignedDuration::from_mins(29), "{last}");
        let late = young.ahead(&[], now + hours(2), (hours(6), SignedDuration::from_mins(5)));
        assert!(late.points.is_empty() && late.words.contains("no load came"), "{late:?}");
        let mut none = Course::new(5);
        assert_eq!(none.ahead(&[], now, (hours(6), hours(1))).words, "no load was recorded");
    }
}
