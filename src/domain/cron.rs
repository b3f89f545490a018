//! When a cron job is due: an expression or a recurrence rule, and a time zone.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use croner::parser::{CronParser, Seconds};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use serde::{Deserialize, Serialize};

use crate::domain::civil::{CivilTimes, Occurrences, Pattern};
use crate::domain::recurrence::{Recurrence, is_rule};

/// Schedules by name, with what each means.
pub const NICKNAMES: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * SUN"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// A five- or six-field cron expression (six: seconds first), a name such as `@daily`, or a rule of
/// RFC 5545 (`FREQ=...`), read in an IANA time zone.
///
/// A time that the clock skips in spring is due at the first instant after the gap; a time that it shows
/// twice in autumn once, at its first showing; what goes through every hour follows the clock (`civil`).
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct CronSchedule {
    written: Written,
    pattern: Arc<dyn Pattern + Send + Sync>,
    zone: TimeZone,
}

/// A schedule as its owner wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Written {
    expression: String,
    zone: String,
}

/// Why a schedule cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// The expression is not one.
    #[error("{0}")]
    Expression(String),
    /// No such zone in the IANA data base.
    #[error("unknown time zone `{0}`")]
    Zone(String),
}

/// A cron expression.
struct Fields {
    cron: croner::Cron,
    every_hour: bool,
}

impl Fields {
    fn new(expression: &str) -> Result<Self, CronError> {
        let wrong = |text: String| CronError::Expression(text);
        let text = expression.trim();
        let text = match text.strip_prefix('@') {
            None => text,
            Some(_) => NICKNAMES
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(text))
                .map(|(_, fields)| *fields)
                .ok_or_else(|| wrong(format!("`{text}` is not a schedule's name such as @daily")))?,
        };
        let parse = |text: &str| CronParser::builder().seconds(Seconds::Optional).build().parse(text);
        let cron = parse(text).map_err(|error| wrong(error.to_string()))?;
        let fields: Vec<&str> = text.split_whitespace().collect();
        let hours = fields.len().checked_sub(4).and_then(|index| fields.get(index)).unwrap_or(&"*");
        // On any one day, which hours does this field alone name?
        let alone = parse(&format!("0 {hours} * * *")).map_err(|error| wrong(error.to_string()))?;
        let alone = Self { cron: alone, every_hour: false };
        let day = DateTime::constant(2001, 1, 1, 0, 0, 0, 0);
        let every_hour = alone.times(day, true).take_while(|at| at.date() == day.date()).count() == 24;
        Ok(Self { cron, every_hour })
    }
}

impl Pattern for Fields {
    fn times(&self, start: DateTime, inclusive: bool) -> CivilTimes<'_> {
        // In UTC no time is skipped or shown twice.
        let find = move |from: DateTime, inclusive: bool| {
            let from = Offset::UTC.to_timestamp(from).ok()?.to_zoned(TimeZone::UTC);
            self.cron.find_next_occurrence(&from, inclusive).ok().map(|found| found.datetime())
        };
        Box::new(std::iter::successors(find(start, inclusive), move |last| {
            find(*last, false).filter(|next| next > last)
        }))
    }

    fn every_hour(&self) -> bool {
        self.every_hour
    }
}

impl CronSchedule {
    /// Reads an expression or a rule, and a zone name such as `Europe/Berlin` or `UTC`.
    pub fn new(expression: &str, zone: &str) -> Result<Self, CronError> {
        let tz = TimeZone::get(zone).map_err(|_| CronError::Zone(zone.to_owned()))?;
        let pattern: Arc<dyn Pattern + Send + Sync> = if is_rule(expression) {
            Arc::new(Recurrence::new(expression, &tz, zone).map_err(CronError::Expression)?)
        } else {
            Arc::new(Fields::new(expression)?)
        };
        let written = Written { expression: expression.to_owned(), zone: zone.to_owned() };
        Ok(Self { written, pattern, zone: tz })
    }

    /// The instants after `after` at which it is due, oldest first.
    pub fn after(&self, after: Timestamp) -> impl Iterator<Item = Timestamp> + '_ {
        Occurrences::new(self.pattern.as_ref(), &self.zone, after)
    }

    /// The first instant after `after` at which it is due; none where the schedule has no more.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        self.after(after).next()
    }

    /// Whether a schedule is written as a recurrence rule rather than as a cron expression.
    pub fn is_rule(expression: &str) -> bool {
        is_rule(expression)
    }

    /// The expression as written.
    pub fn expression(&self) -> &str {
        &self.written.expression
    }

    /// The zone's name as written.
    pub fn zone(&self) -> &str {
        &self.written.zone
    }
}

impl TryFrom<Written> for CronSchedule {
    type Error = CronError;
    fn try_from(written: Written) -> Result<Self, CronError> {
        Self::new(&written.expression, &written.zone)
    }
}

impl From<CronSchedule> for Written {
    fn from(schedule: CronSchedule) -> Self {
        schedule.written
    }
}

impl FromStr for CronSchedule {
    type Err = CronError;
    fn from_str(expression: &str) -> Result<Self, CronError> {
        Self::new(expression, "UTC")
    }
}

impl PartialEq for CronSchedule {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Eq for CronSchedule {}

impl fmt::Debug for CronSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CronSchedule({} {})", self.written.expression, self.written.zone)
    }
}

impl fmt::Display for CronSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.written.expression, self.written.zone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(expression: &str, zone: &str, after: &str) -> String {
        let schedule = CronSchedule::new(expression, zone).expect("a schedule");
        schedule.next_after(after.parse().expect("a time")).expect("an occurrence").to_string()
    }

    #[test]
    fn each_twenty_seconds() {
        assert_eq!(next("*/20 * * * * *", "UTC", "2026-11-22T10:00:05Z"), "2026-11-22T10:00:20Z");
        assert_eq!(next("*/20 * * * * *", "UTC", "2026-11-22T10:00:20Z"), "2026-11-22T10:00:40Z");
    }

    #[test]
    fn a_skipped_hour_fires_after_the_gap_and_a_doubled_one_once() {
        assert_eq!(next("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z"), "2026-03-29T01:00:00Z");
        assert_eq!(next("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z"), "2026-10-25T00:30:00Z");
        assert_eq!(next("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z"), "2026-10-26T01:30:00Z");
    }

    /// Occurrences between two instants, as the clock of the zone shows them, with their offset.
    fn shown(expression: &str, zone: &str, from: &str, to: &str) -> Vec<String> {
        let schedule = CronSchedule::new(expression, zone).expect("a schedule");
        let tz = TimeZone::get(zone).expect("a zone");
        let end: Timestamp = to.parse().expect("a time");
        let found = schedule.after(from.parse().expect("a time")).take_while(|at| *at <= end);
        found.map(|at| at.to_zoned(tz.clone()).strftime("%d %H:%M %:z").to_string()).collect()
    }

    /// Two writings of the same schedule mean the same at a change of the clock.
    fn both(cron: &str, rule: &str, zone: &str, from: &str, to: &str, expected: &[&str]) {
        assert_eq!(shown(cron, zone, from, to), expected, "{cron} in {zone}");
        assert_eq!(shown(rule, zone, from, to), expected, "{rule} in {zone}");
    }

    #[test]
    fn spring_in_several_zones() {
        let (daily, rule) = ("30 2 * * *", "FREQ=DAILY;BYHOUR=2;BYMINUTE=30");
        let (from, to) = ("2026-03-27T23:00:00Z", "2026-03-30T21:00:00Z");
        let berlin = ["28 02:30 +01:00", "29 03:00 +02:00", "30 02:30 +02:00"];
        both(daily, rule, "Europe/Berlin", from, to, &berlin);
        let (from, to) = ("2026-03-07T05:00:00Z", "2026-03-10T03:00:00Z");
        let new_york = ["07 02:30 -05:00", "08 03:00 -04:00", "09 02:30 -04:00"];
        both(daily, rule, "America/New_York", from, to, &new_york);
        // Half an hour is skipped: 02:00 to 02:30.
        let (from, to) = ("2026-10-03T00:00:00Z", "2026-10-04T14:00:00Z");
        let quarter = ("15 2 * * *", "FREQ=DAILY;BYHOUR=2;BYMINUTE=15");
        both(quarter.0, quarter.1, "Australia/Lord_Howe", from, to, &["04 02:30 +11:00"]);
        // Samoa skipped 30 December 2011.
        let (from, to) = ("2011-12-29T12:00:00Z", "2011-12-31T11:00:00Z");
        let apia = ["29 12:00 -10:00", "31 00:00 +14:00", "31 12:00 +14:00"];
        both("0 12 * * *", "FREQ=DAILY;BYHOUR=12", "Pacific/Apia", from, to, &apia);
    }

    #[test]
    fn autumn_in_several_zones() {
        let (from, to) = ("2026-10-24T22:00:00Z", "2026-10-26T22:00:00Z");
        let berlin = ["25 02:30 +02:00", "26 02:30 +01:00"];
        both("30 2 * * *", "FREQ=DAILY;BYHOUR=2;BYMINUTE=30", "Europe/Berlin", from, to, &berlin);
        let (from, to) = ("2026-11-01T04:00:00Z", "2026-11-02T22:00:00Z");
        let new_york = ["01 01:30 -04:00", "02 01:30 -05:00"];
        both("30 1 * * *", "FREQ=DAILY;BYHOUR=1;BYMINUTE=30", "America/New_York", from, to, &new_york);
        // 01:30 to 02:00 comes twice.
        let (from, to) = ("2026-04-04T13:30:00Z", "2026-04-05T13:00:00Z");
        let lord_howe = ["05 01:45 +11:00"];
        both("45 1 * * *", "FREQ=DAILY;BYHOUR=1;BYMINUTE=45", "Australia/Lord_Howe", from, to, &lord_howe);
    }

    #[test]
    fn what_goes_through_every_hour_follows_the_clock() {
        let (step, rule) = ("*/30 * * * *", "FREQ=MINUTELY;INTERVAL=30");
        let spring = ["29 01:30 +01:00", "29 03:00 +02:00", "29 03:30 +02:00"];
        both(step, rule, "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29T01:30:00Z", &spring);
        let autumn =
            ["25 02:00 +02:00", "25 02:30 +02:00", "25 02:00 +01:00", "25 02:30 +01:00", "25 03:00 +01:00"];
        both(step, rule, "Europe/Berlin", "2026-10-24T23:30:00Z", "2026-10-25T02:00:00Z", &autumn);
        let lord_howe = ["05 01:40 +11:00", "05 01:40 +10:30", "05 02:00 +10:30"];
        let (from, to) = ("2026-04-04T14:20:00Z", "2026-04-04T15:30:00Z");
        both("*/20 * * * *", "FREQ=MINUTELY;INTERVAL=20", "Australia/Lord_Howe", from, to, &lord_howe);
        both(
            "0 * * * *",
            "FREQ=HOURLY",
            "Europe/Berlin",
            "2026-10-24T23:30:00Z",
            "2026-10-25T01:30:00Z",
            &["25 02:00 +02:00", "25 02:00 +01:00"],
        );
        // One that names hours is due in each of them once, though its minutes are steps.
        let nights = "*/30 2 * * *";
        let autumn = ["25 02:00 +02:00", "25 02:30 +02:00"];
        assert_eq!(shown(nights, "Europe/Berlin", "2026-10-24T22:30:00Z", "2026-10-25T20:00:00Z"), autumn);
        let spring = ["29 03:00 +02:00"];
        assert_eq!(shown(nights, "Europe/Berlin", "2026-03-28T22:30:00Z", "2026-03-29T20:00:00Z"), spring);
    }

    #[test]
    fn rules_begin_and_end() {
        let counted = "DTSTART:20260105T060000 RRULE:FREQ=WEEKLY;COUNT=3";
        let (from, to) = ("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z");
        assert_eq!(
            shown(counted, "UTC", from, to),
            ["05 06:00 +00:00", "12 06:00 +00:00", "19 06:00 +00:00"]
        );
        let schedule = CronSchedule::new(counted, "UTC").expect("a schedule");
        assert_eq!(schedule.next_after("2026-01-19T06:00:00Z".parse().expect("a time")), None);
        let until = "DTSTART;TZID=Europe/Berlin:20260328T023000 RRULE:FREQ=DAILY;UNTIL=20260329";
        assert_eq!(shown(until, "Europe/Berlin", from, to), ["28 02:30 +01:00", "29 03:00 +02:00"]);
        let utc = "FREQ=DAILY;BYHOUR=2;UNTIL=20260102T010000Z";
        assert_eq!(shown(utc, "Europe/Berlin", from, to), ["01 02:00 +01:00", "02 02:00 +01:00"]);
        let last_friday = "FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=18";
        assert_eq!(next(last_friday, "UTC", "2026-11-22T00:00:00Z"), "2026-11-27T18:00:00Z");
        assert_eq!(next("FREQ=WEEKLY;INTERVAL=2", "UTC", "2026-11-22T00:00:00Z"), "2026-11-30T00:00:00Z");
        assert_eq!(next("FREQ=SECONDLY;INTERVAL=7", "UTC", "2026-11-22T00:00:00Z"), "2026-11-22T00:00:06Z");
    }

    #[test]
    fn bad_rules_are_refused() {
        for bad in [
            "FREQ=FORTNIGHTLY",
            "FREQ=DAILY;COUNT=3",
            "FREQ=DAILY;COUNT=3;UNTIL=20260101",
            "DTSTART;TZID=Asia/Tokyo:20260101T000000 RRULE:FREQ=DAILY",
            "RRULE:FREQ=DAILY EXDATE:20260101T000000",
            "DTSTART:20260101T000000",
            "FREQ=DAILY;BYHOUR=25",
        ] {
            assert!(matches!(CronSchedule::new(bad, "UTC"), Err(CronError::Expression(_))), "{bad}");
        }
    }

    #[test]
    fn bad_fields_and_zones_are_refused() {
        assert!(matches!(CronSchedule::new("61 * * * *", "UTC"), Err(CronError::Expression(_))));
        assert!(matches!(CronSchedule::new("* * * *", "UTC"), Err(CronError::Expression(_))));
        assert!(matches!(CronSchedule::new("0 0 * * *", "Mars/Base"), Err(CronError::Zone(_))));
        assert!(matches!(CronSchedule::new("@reboot", "UTC"), Err(CronError::Expression(_))));
        assert_eq!(next("@midnight", "UTC", "2026-11-22T10:00:00Z"), "2026-11-23T00:00:00Z");
    }
}
