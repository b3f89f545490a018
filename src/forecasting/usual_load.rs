//! The load that is usual at an hour of the week, from what was recorded. A profile, no forecast: it knows no trend and
//! no holidays, and says what it was made from.
//!
//! In: load samples, an instant. Out: a high load for that hour, or nothing where nothing was recorded at such hours.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::domain::load::LoadSample;

/// Samples this far either side of the hour count.
const AROUND: i64 = 1800;
const DAY: i64 = 86_400;
const WEEK: i64 = 7 * DAY;
/// The share of samples that lie below what is told.
const SHARE: f64 = 0.95;
/// How far back is looked.
pub const LOOK_BACK: SignedDuration = SignedDuration::from_hours(28 * 24);

/// What is usual at an hour.
#[derive(Debug, Clone, PartialEq)]
pub struct Usual {
    /// Requests per second that 95 % of the samples stay under.
    pub load: f64,
    /// What it was made from, in words.
    pub words: String,
}

/// What is usual at the hour of the week of `at`; at its hour of the day where no such week was recorded.
pub fn usual(samples: &[LoadSample], at: Timestamp) -> Option<Usual> {
    of_period(samples, at, WEEK, "weeks at that hour of the week")
        .or_else(|| of_period(samples, at, DAY, "days at that hour of the day"))
}

fn of_period(samples: &[LoadSample], at: Timestamp, period: i64, name: &str) -> Option<Usual> {
    let mut loads = Vec::new();
    let mut periods = BTreeSet::new();
    for sample in samples.iter().filter(|sample| sample.requests_per_second.is_finite()) {
        let ahead = at.as_second() - sample.at.as_second();
        let turns = (ahead + period / 2).div_euclid(period);
        if (ahead - turns * period).abs() <= AROUND {
            loads.push(sample.requests_per_second);
            periods.insert(turns);
        }
    }
    loads.sort_by(f64::total_cmp);
    let rank = ((loads.len() as f64 * SHARE).ceil() as usize).clamp(1, loads.len().max(1)) - 1;
    loads.get(rank).map(|load| Usual {
        load: *load,
        words: format!(
            "the recorded load of {} {name}: 95 % of {} samples are below {load:.1}/s; this is a profile, no forecast",
            periods.len(),
            loads.len()
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::workload::WorkloadName;

    fn sample(second: i64, load: f64) -> LoadSample {
        LoadSample {
            workload: WorkloadName::new("web").expect("a name"),
            at: Timestamp::from_second(second).expect("an instant"),
            requests_per_second: load,
            errors_per_second: 0.0,
            latency_p50: None,
            latency_p95: None,
            ready: 1,
        }
    }

    #[test]
    fn the_same_hour_of_the_week_comes_before_the_same_hour_of_the_day() {
        let at = Timestamp::from_second(100 * WEEK).expect("an instant");
        let base = 100 * WEEK;
        let friday = [sample(base - WEEK, 500.0), sample(base - 2 * WEEK + 600, 400.0)];
        let others =
            [sample(base - DAY, 50.0), sample(base - 3 * DAY, 60.0), sample(base - WEEK + 7200, 9.0)];
        let all: Vec<LoadSample> = friday.iter().chain(&others).cloned().collect();
        let found = usual(&all, at).expect("a load");
        assert!((found.load - 500.0).abs() < 1e-9, "{found:?}");
        assert!(found.words.starts_with("the recorded load of 2 weeks"), "{found:?}");
        let found = usual(&others, at).expect("a load");
        assert!((found.load - 60.0).abs() < 1e-9 && found.words.contains("2 days"), "{found:?}");
        assert_eq!(usual(&others[2..], at), None, "nothing was recorded at that hour");
        assert_eq!(usual(&[], at), None);
    }
}
