//! The load that is forecast for an instant, from what was recorded and what is planned, in words that say how far it can
//! be trusted.
//!
//! In: load samples in order, planned events, an instant. Out: a high load for that instant, or why there is no forecast
//! of it: it is past, lies further ahead than forecasts reach, or further than the past that is known.

use jiff::{SignedDuration, Timestamp};

use crate::domain::load::LoadSample;
use crate::domain::planned::{PlannedEvent, PlannedLoad};
use crate::forecasting::learning::HORIZONS;
use crate::forecasting::{Event, Forecaster, Refused, Structure};

/// The chances that are told: the load is below with the last one.
const LEVELS: [f64; 3] = [0.05, 0.5, 0.95];

/// A load with what it rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    /// Requests per second.
    pub load: f64,
    /// What it was made from, in words.
    pub words: String,
}

/// The load that is below with a chance of 95 % at an instant; else why that cannot be told.
pub fn expected(samples: &[LoadSample], events: &[PlannedEvent], at: Timestamp) -> Result<Expected, String> {
    let forecaster = fed(samples, events);
    let last = forecaster.last().ok_or("no load was recorded")?;
    let first = samples.first().map_or(last, |sample| sample.at.as_second());
    let ahead = at.as_second() - last;
    let reach = HORIZONS[HORIZONS.len() - 1];
    if ahead <= 0 {
        return Err("that time is not after what was recorded".to_owned());
    }
    if ahead > reach {
        return Err(format!("that time is {} ahead, and forecasts reach {}", span(ahead), span(reach)));
    }
    if ahead > last - first {
        return Err(format!(
            "that time is {} ahead, and no more than {} was recorded",
            span(ahead),
            span(last - first)
        ));
    }
    let quantiles = forecaster.quantiles(at.as_second(), &LEVELS).ok_or("no load was recorded")?;
    let [low, middle, high] = [quantiles[0], quantiles[1], quantiles[2]];
    let structure = match forecaster.structure() {
        Structure::Seasonal => "it follows the rhythm of days and weeks",
        Structure::None => "no rhythm was found, so it is the recent level, and wide",
        Structure::Unknown => "under two days are known, so it is little more than the recent level",
    };
    let planned =
        on(events, at).map_or_else(String::new, |event| format!("; event `{}` is in it", event.name));
    let words = format!(
        "the forecast for that time, {} ahead: 95 % sure to be below {high:.1}/s, 5 % below {low:.1}/s, the middle is \
         {middle:.1}/s; {structure}{planned}",
        span(ahead)
    );
    Ok(Expected { load: high, words })
}

/// A load that knows nothing of what is planned for an instant, with that.
pub fn with_event(load: f64, events: &[PlannedEvent], at: Timestamp) -> Option<(f64, String)> {
    let event = on(events, at)?;
    Some(match event.load {
        PlannedLoad::Factor(factor) => (load * factor, format!("times {factor} for event `{}`", event.name)),
        PlannedLoad::Requests(told) => (told, format!("but {told:.1}/s is told for event `{}`", event.name)),
    })
}

/// The event that goes on; of several the last one, as for the forecaster.
fn on(events: &[PlannedEvent], at: Timestamp) -> Option<&PlannedEvent> {
    events.iter().rev().find(|event| event.is_on(at))
}

/// A forecaster that knows all samples since the last gap that it cannot bridge.
fn fed(samples: &[LoadSample], events: &[PlannedEvent]) -> Forecaster {
    let seconds = |sample: &LoadSample| sample.at.as_second();
    let lasted =
        samples.first().zip(samples.last()).map_or(0, |(first, last)| seconds(last) - seconds(first));
    let step = lasted / i64::try_from(samples.len()).unwrap_or(i64::MAX).max(1);
    let new = || {
        let mut forecaster = Forecaster::new(step);
        forecaster.set_events(events.iter().map(Event::from).collect());
        forecaster
    };
    let mut forecaster = new();
    for sample in samples {
        if forecaster.observe(seconds(sample), sample.requests_per_second) == Err(Refused::TooFarAhead) {
            forecaster = new();
            // A sample that is no load is left out here too.
            let _ = forecaster.observe(seconds(sample), sample.requests_per_second);
        }
    }
    forecaster
}

/// A time in hours, or in minutes where it is short.
fn span(seconds: i64) -> String {
    if seconds < 2 * 3600 {
        format!("{} min", SignedDuration::from_secs(seconds).as_mins())
    } else {
        format!("{:.1} h", seconds as f64 / 3600.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::workload::WorkloadName;

    /// Days of a rhythm between 40 and 160 requests per second, a sample each minute, the height at 6 o'clock.
    fn days(days: i64) -> Vec<LoadSample> {
        let load = |minute: i64| 100.0 + 60.0 * (minute as f64 / 1440.0 * std::f64::consts::TAU).sin();
        let wobble = |minute: i64| 1.0 + 0.02 * f64::from(minute.rem_euclid(7) as i32 - 3);
        (0..days * 1440)
            .map(|minute| LoadSample {
                workload: WorkloadName::new("web").expect("a name"),
                at: instant(minute),
                requests_per_second: load(minute) * wobble(minute),
                errors_per_second: 0.0,
                latency_p50: None,
                latency_p95: None,
                ready: 1,
            })
            .collect()
    }

    fn instant(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).expect("an instant")
    }

    #[test]
    fn the_height_of_tomorrow_is_forecast_and_told_with_its_width() {
        let samples = days(8);
        let found = expected(&samples, &[], instant(8 * 1440 + 360)).expect("a forecast");
        assert!((150.0..200.0).contains(&found.load), "{found:?}");
        assert!(found.words.starts_with("the forecast for that time, 6.0 h ahead: 95 % sure"), "{found:?}");
        assert!(found.words.contains("rhythm of days"), "{found:?}");
        let sale = PlannedEvent {
            name: "sale".to_owned(),
            from: instant(8 * 1440 + 300),
            until: instant(8 * 1440 + 400),
            load: PlannedLoad::Factor(2.0),
        };
        let more =
            expected(&samples, std::slice::from_ref(&sale), instant(8 * 1440 + 360)).expect("a forecast");
        assert!((more.load / found.load - 2.0).abs() < 0.01, "{more:?}");
        assert!(more.words.ends_with("event `sale` is in it"), "{more:?}");
        let (load, words) = with_event(10.0, &[sale], instant(8 * 1440 + 360)).expect("an event");
        assert!((load - 20.0).abs() < 1e-9 && words.contains("`sale`"), "{words}");
        assert_eq!(with_event(10.0, &[], instant(0)), None);
    }

    #[test]
    fn what_cannot_be_forecast_is_told_why() {
        let samples = days(1);
        let why =
            |at: i64, samples: &[LoadSample]| expected(samples, &[], instant(at)).expect_err("no forecast");
        assert!(why(1440 + 49 * 60, &samples).contains("forecasts reach 48.0 h"));
        assert!(why(1440 + 30 * 60, &samples).contains("no more than 24.0 h was recorded"));
        assert!(why(700, &samples).contains("not after"));
        assert_eq!(why(700, &[]), "no load was recorded");
        let young = expected(&samples, &[], instant(1440 + 60)).expect("a forecast");
        assert!(young.words.contains("under two days"), "{young:?}");
        // A gap of weeks begins anew.
        let mut late = days(1);
        late.iter_mut().skip(720).for_each(|sample| sample.at += SignedDuration::from_hours(24 * 30));
        assert!(expected(&late, &[], instant(30 * 1440 + 1500)).is_ok());
    }
}
