//! When a cron job is due: an expression and a time zone.

use std::fmt;
use std::str::FromStr;

use croner::parser::{CronParser, Seconds};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// A five- or six-field cron expression (six: seconds first) read in an IANA time zone.
///
/// A time that the clock skips in spring fires at the first instant after the gap; a time that it
/// shows twice in autumn fires once, at its first showing; a step through the hour fires in both.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct CronSchedule {
    written: Written,
    cron: croner::Cron,
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

impl CronSchedule {
    /// Reads an expression and a zone name such as `Europe/Berlin` or `UTC`.
    pub fn new(expression: &str, zone: &str) -> Result<Self, CronError> {
        let tz = TimeZone::get(zone).map_err(|_| CronError::Zone(zone.to_owned()))?;
        let cron = CronParser::builder()
            .seconds(Seconds::Optional)
            .build()
            .parse(expression)
            .map_err(|error| CronError::Expression(error.to_string()))?;
        let written = Written { expression: expression.to_owned(), zone: zone.to_owned() };
        Ok(Self { written, cron, zone: tz })
    }

    /// The first instant after `after` at which it is due; none where the expression has no more.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let start = after.to_zoned(self.zone.clone());
        self.cron.find_next_occurrence(&start, false).ok().map(|zoned| zoned.timestamp())
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

    #[test]
    fn bad_fields_and_zones_are_refused() {
        assert!(matches!(CronSchedule::new("61 * * * *", "UTC"), Err(CronError::Expression(_))));
        assert!(matches!(CronSchedule::new("* * * *", "UTC"), Err(CronError::Expression(_))));
        assert!(matches!(CronSchedule::new("0 0 * * *", "Mars/Base"), Err(CronError::Zone(_))));
    }
}
