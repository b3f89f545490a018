//! Recurrence rules of RFC 5545: `FREQ=WEEKLY;BYDAY=MO,FR;BYHOUR=6`, with a first time if one is given.
//! In: the text. Out: a pattern of civil times.
//!
//! A rule is expanded on the clock on the wall; what becomes of times that it skips or shows twice is
//! `civil`'s to say, as for cron expressions. Without `DTSTART` a rule counts its intervals from Monday,
//! 1 January 2001, 00:00, and takes from there what it does not say (`FREQ=DAILY` is midnight).

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};
use rrule::{Frequency, RRuleSet};

use crate::domain::civil::{CivilTimes, Pattern};

/// Where rules without a first time begin: a Monday, the first of a month and of a year.
const ANCHOR: &str = "20010101T000000";
/// Occurrences that a rule with `COUNT` may have: they are counted from the first one each time.
const COUNT_MAX: u32 = 10_000;

/// The last time of a rule.
#[derive(Clone, Copy)]
enum Until {
    Instant(Timestamp),
    Civil(DateTime),
}

/// A recurrence rule.
#[derive(Clone)]
pub(super) struct Recurrence {
    /// Civil times written as if they were UTC, which has no gaps.
    set: RRuleSet,
    start: DateTime,
    /// The first time may be moved by multiples of this without changing what follows.
    stride: Option<Duration>,
    every_hour: bool,
    until: Option<Until>,
}

/// Whether a schedule is written as a recurrence rule.
pub(super) fn is_rule(text: &str) -> bool {
    let upper = text.trim_start().to_ascii_uppercase();
    ["RRULE", "FREQ=", "DTSTART", "RDATE", "EXDATE", "EXRULE"].iter().any(|word| upper.starts_with(word))
}

impl Recurrence {
    /// Reads a rule: `FREQ=...`, `RRULE:FREQ=...`, or `DTSTART:20260105T060000 RRULE:FREQ=...`.
    pub(super) fn new(text: &str, zone: &TimeZone, zone_name: &str) -> Result<Self, String> {
        let mut rule = None;
        let mut start = None;
        for part in text.split_whitespace() {
            let upper = part.to_ascii_uppercase();
            if upper.starts_with("DTSTART") {
                start = Some(first_time(part, zone, zone_name)?);
            } else if upper.starts_with("RRULE:") || upper.starts_with("FREQ=") {
                let given = upper.strip_prefix("RRULE:").unwrap_or(&upper).to_owned();
                if rule.replace(given).is_some() {
                    return Err("a schedule has one rule".to_owned());
                }
            } else {
                let name = part.split([':', ';', '=']).next().unwrap_or(part);
                return Err(format!("`{name}` is not known here: a schedule has DTSTART and one RRULE"));
            }
        }
        let rule = rule.ok_or("there is no rule such as RRULE:FREQ=DAILY")?;
        let (kept, until) = split_until(&rule)?;
        let written = start.map_or_else(|| ANCHOR.to_owned(), |at| at.strftime("%Y%m%dT%H%M%S").to_string());
        let set: RRuleSet = format!("DTSTART:{written}Z\nRRULE:{kept}")
            .parse()
            .map_err(|error: rrule::RRuleError| plain(&error.to_string()))?;
        let parsed = set.get_rrule().first().ok_or("there is no rule")?;
        if parsed.get_interval() == 0 {
            return Err("INTERVAL is at least 1".to_owned());
        }
        match parsed.get_count() {
            Some(_) if start.is_none() => {
                return Err("COUNT counts from DTSTART, which is not given".to_owned());
            }
            Some(count) if count > COUNT_MAX => return Err(format!("COUNT is at most {COUNT_MAX}")),
            _ => {}
        }
        let stride =
            stride(parsed.get_freq(), parsed.get_interval()).filter(|_| parsed.get_count().is_none());
        let every_hour = !kept.contains("BYHOUR")
            && matches!(parsed.get_freq(), Frequency::Hourly | Frequency::Minutely | Frequency::Secondly)
            && stride_of(parsed.get_freq(), parsed.get_interval()) <= 3600;
        let start = civil_of(set.get_dt_start().timestamp()).ok_or("DTSTART is out of range")?;
        Ok(Self { set, start, stride, every_hour, until })
    }
}

impl Pattern for Recurrence {
    fn times(&self, from: DateTime, inclusive: bool) -> CivilTimes<'_> {
        let mut set = self.set.clone().limit();
        if let (Some(stride), Ok(passed)) = (self.stride, Duration::try_from(from.duration_since(self.start)))
        {
            // Two strides early, so that a set of times that began before `from` is whole.
            let strides = (passed.as_secs() / stride.as_secs()).saturating_sub(2);
            let moved = Duration::from_secs(strides.saturating_mul(stride.as_secs()));
            set = strides_on(&set, moved);
        }
        let last = match self.until {
            Some(Until::Civil(last)) => Some(last),
            _ => None,
        };
        let times = set.into_iter().map_while(|at| civil_of(at.timestamp()));
        let wanted = times.skip_while(move |at| if inclusive { *at < from } else { *at <= from });
        Box::new(wanted.take_while(move |at| last.is_none_or(|last| *at <= last)))
    }

    fn every_hour(&self) -> bool {
        self.every_hour
    }

    fn until(&self) -> Option<Timestamp> {
        match self.until {
            Some(Until::Instant(at)) => Some(at),
            _ => None,
        }
    }
}

fn strides_on(set: &RRuleSet, by: Duration) -> RRuleSet {
    let moved = RRuleSet::new(*set.get_dt_start() + by).limit();
    set.get_rrule().iter().fold(moved, |moved, rule| moved.rrule(rule.clone()))
}

fn stride_of(frequency: Frequency, interval: u16) -> u64 {
    let unit = match frequency {
        Frequency::Secondly => 1,
        Frequency::Minutely => 60,
        Frequency::Hourly => 3600,
        Frequency::Daily => 86_400,
        Frequency::Weekly => 7 * 86_400,
        Frequency::Monthly | Frequency::Yearly => 0,
    };
    unit * u64::from(interval)
}

/// Months and years are of different lengths, and few enough to go through.
fn stride(frequency: Frequency, interval: u16) -> Option<Duration> {
    let seconds = stride_of(frequency, interval);
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

fn civil_of(second: i64) -> Option<DateTime> {
    Timestamp::from_second(second).ok().map(|at| Offset::UTC.to_datetime(at))
}

/// Reads `DTSTART:20260105T060000`, with `Z` or `;TZID=` as well.
fn first_time(part: &str, zone: &TimeZone, zone_name: &str) -> Result<DateTime, String> {
    let expected = || format!("`{part}` is not a first time such as DTSTART:20260105T060000");
    let rest = part.get("DTSTART".len()..).unwrap_or_default();
    let (parameters, value) = rest.split_once([':', '=']).ok_or_else(expected)?;
    let (parameters, value) = match value.split_once(':') {
        // `;TZID=Europe/Berlin:2026...` was split at its first sign.
        Some((more, value)) => (format!("{parameters}={more}"), value),
        None => (parameters.to_owned(), value),
    };
    if let Some(named) = parameters.strip_prefix(";TZID=") {
        if named != zone_name {
            return Err(format!("DTSTART is in {named}, time_zone is {zone_name}: they must be the same"));
        }
    } else if !parameters.is_empty() && parameters != ";VALUE=DATE" {
        return Err(expected());
    }
    match written_time(value).ok_or_else(expected)? {
        Until::Civil(at) => Ok(at),
        Until::Instant(at) => Ok(zone.to_datetime(at)),
    }
}

/// `20260105`, `20260105T060000` or `20260105T060000Z`.
fn written_time(text: &str) -> Option<Until> {
    let text = text.to_ascii_uppercase();
    if let Some(utc) = text.strip_suffix('Z') {
        let at = DateTime::strptime("%Y%m%dT%H%M%S", utc).ok()?;
        return Offset::UTC.to_timestamp(at).ok().map(Until::Instant);
    }
    if text.contains('T') {
        return DateTime::strptime("%Y%m%dT%H%M%S", &text).ok().map(Until::Civil);
    }
    Date::strptime("%Y%m%d", &text).ok().map(|date| Until::Civil(date.at(0, 0, 0, 0)))
}

/// The rule without `UNTIL`, which is compared here: in local time or in UTC, as written.
fn split_until(rule: &str) -> Result<(String, Option<Until>), String> {
    let mut until = None;
    let mut kept = Vec::new();
    for part in rule.split(';').filter(|part| !part.is_empty()) {
        if let Some(value) = part.strip_prefix("UNTIL=") {
            let bad = || format!("`{value}` is not a last time such as UNTIL=20261231T235959");
            let mut last = written_time(value).ok_or_else(bad)?;
            if let (Until::Civil(day), false) = (&mut last, value.contains('T')) {
                // A last day is in to its end.
                *day = day.date().at(23, 59, 59, 0);
            }
            until = Some(last);
        } else {
            kept.push(part);
        }
    }
    if until.is_some() && kept.iter().any(|part| part.starts_with("COUNT=")) {
        return Err("a rule has COUNT or UNTIL, not both".to_owned());
    }
    Ok((kept.join(";"), until))
}

/// The crate's words without its own name.
fn plain(message: &str) -> String {
    let message = message.strip_prefix("RRule parsing error: ").unwrap_or(message);
    message.strip_prefix("RRule validation error: ").unwrap_or(message).to_owned()
}
