//! Reads `[[service.NAME.scale.window]]`: times at which a count has other bounds.

use jiff::SignedDuration;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use toml::de::DeValue;

use crate::config::cron::{schedule, zone};
use crate::config::reader::{Table, Value};
use crate::config::values::{count, duration_from, list};
use crate::config::wording::nearest;
use crate::domain::scale::{ScaleWindow, WeekDays, WindowTimes};
use crate::domain::scale_window::DAY_MINUTES;

const WINDOWS_MAX: usize = 100;
const EXAMPLE: &str = "tables such as [[service.web.scale.window]] with days, from, to, min and max";
const DAYS_EXPECTED: &str = "days such as \"mon-fri\", \"sat,sun\" or \"daily\"";
const CLOCK_EXPECTED: &str = "a time of day from \"00:00\" to \"24:00\"";
/// The least time that a window is open, and the most.
const OPEN_MIN: SignedDuration = SignedDuration::from_mins(1);
const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// Reads the windows of a service.
pub(super) fn windows(value: &Value<'_>, scale: &Table<'_>) -> Option<Vec<ScaleWindow>> {
    let found = list(value, EXAMPLE, |value| value.table(scale.path("window"), value.place(), window)?)?;
    if found.len() > WINDOWS_MAX {
        return value.refuse_as(format!("{} windows", found.len()), &format!("at most {WINDOWS_MAX}"), None);
    }
    Some(found.into_iter().map(|(window, _)| window).collect())
}

fn window(table: &Table<'_>) -> Option<ScaleWindow> {
    let min = table.optional("min", count(0));
    let max = table.optional("max", count(0));
    if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        table.refuse_key(
            "min",
            format!("min = {min} above max = {max}"),
            &format!("a min of at most {max}"),
            None,
        );
    }
    if !table.has("min") && !table.has("max") {
        let found = format!("neither `min` nor `max` in [{}]", table.name());
        table.refuse_absence(&["min", "max"], found, "what holds in this window, such as min = 4");
    }
    let times = if table.has("schedule") || table.has("duration") { scheduled(table) } else { weekly(table) };
    Some(ScaleWindow { times: times?, min, max })
}

fn scheduled(table: &Table<'_>) -> Option<WindowTimes> {
    for key in ["days", "from", "to"].into_iter().filter(|key| table.has(key)) {
        let expected = "either `schedule` with `duration`, or `days`, `from` and `to`";
        table.refuse_key(key, format!("`{key}` beside a schedule"), expected, None);
        // It is known, if out of place.
        table.get(key);
    }
    let schedule = schedule(table);
    let length = "how long it is open, such as \"8h\"";
    let duration = table.required(&["duration"], length, duration_from(OPEN_MIN));
    Some(WindowTimes::Scheduled { schedule: schedule?, duration: duration? })
}

fn weekly(table: &Table<'_>) -> Option<WindowTimes> {
    let days = table.or("days", Some(WeekDays::ALL), |value| Some(days(value)));
    let from = table.required(&["from"], "when it opens, such as \"08:00\"", clock);
    let to = table.required(&["to"], "when it closes, such as \"20:00\"", clock);
    let named = table.or("time_zone", Some("UTC".to_owned()), |value| Some(zone(value)));
    let (from, to) = (from?, to?);
    if from == to || from == DAY_MINUTES {
        let found = "a window that opens when it closes".to_owned();
        table.refuse_key("from", found, "another time; a whole day is from \"00:00\" to \"24:00\"", None);
        return None;
    }
    Some(WindowTimes::Weekly { days: days?, from, to, zone: TimeZone::get(&named?).ok()? })
}

fn clock(value: &Value<'_>) -> Option<u16> {
    let text = value.text(CLOCK_EXPECTED)?;
    let read = |text: &str| {
        let (hours, minutes) = text.split_once(':')?;
        let both = hours.len() == 2 && minutes.len() == 2;
        let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
        let minute = hours * 60 + minutes;
        (both && minutes < 60 && minute <= DAY_MINUTES).then_some(minute)
    };
    let padded = if text.contains(':') { format!("0{text}") } else { format!("{text:0>2}:00") };
    match read(text) {
        Some(minute) => Some(minute),
        None => value.refuse_hint(CLOCK_EXPECTED, read(&padded).map(|_| padded)),
    }
}

/// `mon-fri`, `sat,sun`, `daily`, or an array of such.
fn days(value: &Value<'_>) -> Option<WeekDays> {
    if matches!(value.get(), DeValue::Array(_)) {
        let each = list(value, DAYS_EXPECTED, days)?;
        let all = each.into_iter().fold(WeekDays::default(), |all, (days, _)| {
            DAYS.iter().filter(|(_, day)| days.has(*day)).fold(all, |all, (_, day)| all.with(*day))
        });
        return if all.is_empty() { value.refuse(DAYS_EXPECTED) } else { Some(all) };
    }
    let text = value.text(DAYS_EXPECTED)?;
    if matches!(text, "daily" | "every day" | "*") {
        return Some(WeekDays::ALL);
    }
    let mut all = WeekDays::default();
    for part in text.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Some(first), Some(last)) = (day(first), day(last)) else {
            let written = part.split('-').find(|name| day(name).is_none()).unwrap_or(part);
            let hint = nearest(written, DAYS.map(|(name, _)| name));
            return value.refuse_as(format!("unknown day \"{written}\""), DAYS_EXPECTED, hint);
        };
        let mut next = first;
        all = all.with(next);
        while next != last {
            next = next.next();
            all = all.with(next);
        }
    }
    Some(all)
}

/// A day by its name or the beginning of it.
fn day(name: &str) -> Option<Weekday> {
    let name = name.trim().to_lowercase();
    let long = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let known = long.iter().position(|long| name.len() >= 3 && long.starts_with(name.as_str()))?;
    DAYS.get(known).map(|(_, day)| *day)
}
