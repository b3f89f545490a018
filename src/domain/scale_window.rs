//! Times at which a count has other bounds: hours of some days of the week, or a schedule with a length.
//!
//! In: an instant. Out: whether a window is open. Hours are those that the clock on the wall shows: a
//! window over a clock change is as much shorter or longer as the day is.

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::cron::CronSchedule;

/// Minutes of a day.
pub const DAY_MINUTES: u16 = 24 * 60;

/// Days of the week.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WeekDays(u8);

impl WeekDays {
    /// Every day.
    pub const ALL: Self = Self(0b111_1111);

    /// With one day more.
    #[must_use]
    pub fn with(self, day: Weekday) -> Self {
        Self(self.0 | bit(day))
    }

    /// Whether a day is one of them.
    pub fn has(self, day: Weekday) -> bool {
        self.0 & bit(day) != 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

fn bit(day: Weekday) -> u8 {
    1 << day.to_monday_zero_offset()
}

impl std::fmt::Display for WeekDays {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        if *self == Self::ALL {
            return f.pad("every day");
        }
        let days =
            NAMES.iter().enumerate().filter(|(day, _)| self.0 & (1 << day) != 0).map(|(_, name)| *name);
        f.pad(&days.collect::<Vec<_>>().join(","))
    }
}

/// When a window is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowTimes {
    /// Hours of some days of the week.
    Weekly {
        /// The days on which it opens.
        days: WeekDays,
        /// It opens at this minute of the day.
        from: u16,
        /// It closes at this minute: of the same day if that is later, else of the next one.
        to: u16,
        /// Whose clock it goes by.
        #[serde(with = "jiff::fmt::serde::tz::required")]
        zone: TimeZone,
    },
    /// Each time that a schedule names, for so long.
    Scheduled {
        /// When it opens.
        schedule: CronSchedule,
        /// How long it is open.
        duration: SignedDuration,
    },
}

impl WindowTimes {
    /// Whether it is open at an instant: from its first one on, and no longer at its last.
    pub fn is_open(&self, now: Timestamp) -> bool {
        match self {
            Self::Weekly { days, from, to, zone } => {
                let shown = zone.to_datetime(now);
                let minute = minute_of(shown.time());
                let yesterday = shown.weekday().previous();
                if from < to {
                    return days.has(shown.weekday()) && (*from..*to).contains(&minute);
                }
                (days.has(shown.weekday()) && minute >= *from) || (days.has(yesterday) && minute < *to)
            }
            Self::Scheduled { schedule, duration } => {
                let Ok(since) = now.checked_sub(*duration) else { return false };
                schedule.next_after(since).is_some_and(|opened| opened <= now)
            }
        }
    }
}

fn minute_of(time: Time) -> u16 {
    u16::from(time.hour().unsigned_abs()) * 60 + u16::from(time.minute().unsigned_abs())
}

impl std::fmt::Display for WindowTimes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Weekly { days, from, to, zone } => {
                let (clock, zone) = (|m: u16| format!("{:02}:{:02}", m / 60, m % 60), zone.iana_name());
                let zone = zone.unwrap_or("UTC");
                f.pad(&format!("{days} {} to {} ({zone})", clock(*from), clock(*to)))
            }
            Self::Scheduled { schedule, duration } => f.pad(&format!("{schedule} for {duration:#}")),
        }
    }
}

/// Other bounds at some times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleWindow {
    /// When.
    pub times: WindowTimes,
    /// Never fewer; as outside of the window where absent.
    pub min: Option<u32>,
    /// Never more; as outside of the window where absent.
    pub max: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::scale::{MetricTarget, ScaleBounds, ScaleSpec};

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn weekly(days: WeekDays, from: u16, to: u16) -> WindowTimes {
        let zone = TimeZone::get("Europe/Berlin").expect("a zone");
        WindowTimes::Weekly { days, from, to, zone }
    }

    fn work_days() -> WeekDays {
        use Weekday::{Friday, Monday, Thursday, Tuesday, Wednesday};
        [Monday, Tuesday, Wednesday, Thursday, Friday].into_iter().fold(WeekDays::default(), WeekDays::with)
    }

    #[test]
    fn hours_are_those_of_the_wall_clock() {
        let window = weekly(work_days(), 8 * 60, 20 * 60);
        // 23 November 2026 is a Monday; Berlin is an hour ahead of UTC.
        for (when, open) in [
            ("2026-11-23T06:59:59Z", false),
            ("2026-11-23T07:00:00Z", true),
            ("2026-11-23T18:59:59Z", true),
            ("2026-11-23T19:00:00Z", false),
            ("2026-11-22T12:00:00Z", false),
            // Two hours ahead in summer.
            ("2026-07-20T06:00:00Z", true),
            ("2026-07-20T18:00:00Z", false),
        ] {
            assert_eq!(window.is_open(at(when)), open, "{when}");
        }
        assert_eq!(window.to_string(), "mon,tue,wed,thu,fri 08:00 to 20:00 (Europe/Berlin)");
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_that_it_opens_on() {
        let friday = WeekDays::default().with(Weekday::Friday);
        let window = weekly(friday, 22 * 60, 6 * 60);
        for (when, open) in [
            ("2026-11-27T20:59:00Z", false),
            ("2026-11-27T21:00:00Z", true),
            ("2026-11-28T04:59:00Z", true),
            ("2026-11-28T05:00:00Z", false),
            ("2026-11-28T22:00:00Z", false),
            ("2026-11-27T03:00:00Z", false),
        ] {
            assert_eq!(window.is_open(at(when)), open, "{when}");
        }
        let whole = weekly(friday, 0, DAY_MINUTES);
        assert!(whole.is_open(at("2026-11-26T23:00:00Z")) && whole.is_open(at("2026-11-27T22:59:59Z")));
        assert!(!whole.is_open(at("2026-11-27T23:00:00Z")));
    }

    #[test]
    fn an_hour_that_comes_twice_is_open_twice() {
        let window = weekly(WeekDays::ALL, 2 * 60, 3 * 60);
        let open = |when| window.is_open(at(when));
        assert!(
            open("2026-10-25T00:30:00Z") && open("2026-10-25T01:30:00Z") && !open("2026-10-25T02:30:00Z")
        );
        // And one that is skipped, not at all.
        let spring = (0..48).map(|half| at("2026-03-28T23:00:00Z") + SignedDuration::from_mins(30 * half));
        assert_eq!(spring.filter(|when| window.is_open(*when)).count(), 0);
    }

    #[test]
    fn a_schedule_opens_for_its_length_once_or_often() {
        let black_friday = CronSchedule::new("DTSTART:20261127T180000 RRULE:FREQ=DAILY;COUNT=1", "UTC");
        let window = WindowTimes::Scheduled {
            schedule: black_friday.expect("a rule"),
            duration: SignedDuration::from_hours(8),
        };
        for (when, open) in [
            ("2026-11-27T17:59:59Z", false),
            ("2026-11-27T18:00:00Z", true),
            ("2026-11-28T01:59:59Z", true),
            ("2026-11-28T02:00:00Z", false),
            ("2027-11-27T18:00:00Z", false),
        ] {
            assert_eq!(window.is_open(at(when)), open, "{when}");
        }
    }

    #[test]
    fn the_first_open_window_gives_both_bounds_or_moves_one() {
        let mut spec = ScaleSpec::new(1, 10, vec![MetricTarget::Cpu { utilization: 0.5 }]);
        let window = |from, to, min, max| ScaleWindow { times: weekly(WeekDays::ALL, from, to), min, max };
        spec.windows = vec![
            window(8 * 60, 12 * 60, Some(4), Some(30)),
            window(8 * 60, 14 * 60, Some(20), None),
            window(22 * 60, 4 * 60, None, Some(0)),
        ];
        let bounds = |when| {
            let ScaleBounds { min, max, window } = spec.bounds_at(at(when));
            (min, max, window)
        };
        assert_eq!(bounds("2026-11-23T08:00:00Z"), (4, 30, Some(0)));
        assert_eq!(bounds("2026-11-23T12:00:00Z"), (20, 20, Some(1)));
        assert_eq!(bounds("2026-11-23T15:00:00Z"), (1, 10, None));
        assert_eq!(bounds("2026-11-23T23:00:00Z"), (0, 0, Some(2)));
        assert_eq!((spec.widest(), spec.reaches_zero()), ((0, 30), true));
        let here = spec.at(at("2026-11-23T08:00:00Z"));
        assert_eq!((here.min, here.max, here.windows.len()), (4, 30, 0));
    }

    #[test]
    fn specs_of_earlier_versions_load_and_new_ones_read_back() {
        let old = r#"{"min":1,"max":4,"metrics":[{"cpu":{"utilization":0.7}}],"tolerance":0.1,
            "up":{"stabilization":"PT0S","select":"max","rules":[]},
            "down":{"stabilization":"PT300S","select":"max","rules":[]}}"#;
        let mut spec: ScaleSpec = serde_json::from_str(old).expect("a spec of an earlier version");
        assert_eq!((spec.policy.as_str(), spec.budget, spec.windows.len()), ("hpa", 0.01, 0));
        spec.windows = vec![ScaleWindow { times: weekly(work_days(), 0, 60), min: Some(2), max: None }];
        let text = serde_json::to_string(&spec).expect("JSON");
        assert_eq!(serde_json::from_str::<ScaleSpec>(&text).expect("the same"), spec);
    }
}
