//! Reads a schedule and a time zone, and says which field of the schedule is wrong.

use jiff::Timestamp;

use crate::config::reader::{Table, Value};
use crate::config::wording::{nearest, one_of};
use crate::domain::cron::{CronError, CronSchedule, NICKNAMES};

/// The zone of schedules that name none.
const ZONE_DEFAULT: &str = "UTC";
/// Names and ranges of the six fields; the first may be left out.
const FIELDS: [(&str, u32, u32, &str); 6] = [
    ("second", 0, 59, "0 to 59"),
    ("minute", 0, 59, "0 to 59"),
    ("hour", 0, 23, "0 to 23"),
    ("day of the month", 1, 31, "1 to 31"),
    ("month", 1, 12, "1 to 12 or JAN to DEC"),
    ("day of the week", 0, 7, "0 to 7 or SUN to SAT"),
];

/// Reads the keys `schedule` and `time_zone`.
pub(super) fn schedule(table: &Table<'_>) -> Option<CronSchedule> {
    let zone = table.or("time_zone", Some(ZONE_DEFAULT.to_owned()), |value| Some(zone(value)));
    let example = "a schedule such as \"*/5 * * * *\"";
    table.required(&["schedule"], example, |value| {
        let text = value.text(example)?;
        if CronSchedule::is_rule(text) {
            return rule(value, text, &zone?);
        }
        check_expression(value, text)?;
        let schedule = CronSchedule::new(text, &zone?).ok()?;
        // An expression that has no occurrence after this instant has none ever: its fields repeat.
        if schedule.next_after(Timestamp::UNIX_EPOCH).is_none() {
            return value.refuse("a schedule that is due at some time");
        }
        Some(schedule)
    })
}

/// Reads a recurrence rule of RFC 5545.
fn rule(value: &Value<'_>, text: &str, zone: &str) -> Option<CronSchedule> {
    let expected = "a rule such as \"FREQ=WEEKLY;BYDAY=MO,FR;BYHOUR=6\"";
    match CronSchedule::new(text, zone) {
        Ok(schedule) if schedule.next_after(Timestamp::UNIX_EPOCH).is_none() => {
            value.refuse("a schedule that is due at some time")
        }
        Ok(schedule) => Some(schedule),
        Err(error) => value.refuse_as(format!("\"{text}\" ({error})"), expected, None),
    }
}

/// The name of a time zone.
pub(super) fn zone(value: &Value<'_>) -> Option<String> {
    let expected = "a time zone such as \"Europe/Berlin\"";
    let text = value.text(expected)?;
    if !matches!(CronSchedule::new("* * * * *", text), Err(CronError::Zone(_))) {
        return Some(text.to_owned());
    }
    let known: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
    let last = text.rsplit('/').next().unwrap_or(text);
    // People know the city and forget the continent.
    let by_city =
        || known.iter().find(|zone| zone.rsplit('/').next().is_some_and(|c| c.eq_ignore_ascii_case(last)));
    let hint = nearest(text, known.iter().map(String::as_str)).or_else(|| by_city().cloned());
    value.refuse_as(format!("unknown time zone \"{text}\""), expected, hint)
}

/// Tries each field alone, so that the error names the field.
fn check_expression(value: &Value<'_>, text: &str) -> Option<()> {
    let reads = |expression: &str| CronSchedule::new(expression, ZONE_DEFAULT).is_ok();
    if text.trim_start().starts_with('@') {
        if reads(text) {
            return Some(());
        }
        if text.trim().eq_ignore_ascii_case("@reboot") {
            let expected = "a time; what runs once when it is declared is a job, [job.NAME]";
            return value.refuse(expected);
        }
        let names = NICKNAMES.map(|(name, _)| name);
        return value.refuse_hint(&one_of(&names.map(str::to_owned)), nearest(text.trim(), names));
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    if !(5..=6).contains(&fields.len()) {
        return value.refuse_as(
            format!("a schedule of {} fields", fields.len()),
            "5 fields (minute, hour, day of the month, month, day of the week), or 6 with the second first",
            None,
        );
    }
    let left_out = FIELDS.len() - fields.len();
    let mut good = true;
    for (index, field) in fields.iter().enumerate() {
        let mut alone = ["*"; 6];
        alone[index + left_out] = field;
        if !reads(&alone.join(" ")) {
            refuse_field(value, text, field, index + left_out);
            good = false;
        }
    }
    if good && !reads(text) {
        return value.refuse("a cron expression");
    }
    good.then_some(())
}

/// Reports a field, which is a part of `text`.
fn refuse_field(value: &Value<'_>, text: &str, field: &str, index: usize) {
    let (name, min, max, range) = FIELDS[index];
    // `5/15` is Quartz's way to write `5-59/15`.
    let hint = field
        .split_once('/')
        .filter(|(_, step)| step.parse::<u32>().is_ok_and(|step| step > 0))
        .and_then(|(start, step)| {
            let start: u32 = start.parse().ok().filter(|start| (min..=max).contains(start))?;
            Some(if start == min { format!("*/{step}") } else { format!("{start}-{max}/{step}") })
        });
    // Where the text holds no escapes, the field's own column is known.
    let plain = value.written().get(1..).is_some_and(|written| written.starts_with(text));
    let offset = field.as_ptr() as usize - text.as_ptr() as usize;
    let at = value.place().after(if plain { 1 + offset } else { 0 });
    let expected = format!("{range}, `*`, or a list, range or step of these");
    value.refuse_at::<()>(at, format!("`{field}` for the {name}"), &expected, hint);
}
