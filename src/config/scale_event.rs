//! Reads `[[service.NAME.scale.event]]`: times whose load the owner knows ahead.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::config::cron::zone;
use crate::config::limits::NUMBER_MAX;
use crate::config::reader::{Table, Value};
use crate::config::values::{line, list, number};
use crate::domain::planned::{PlannedEvent, PlannedLoad};
use crate::domain::scale::MetricTarget;

const EVENTS_MAX: usize = 100;
const EXAMPLE: &str = "tables such as [[service.web.scale.event]] with name, from, until and factor";
const TIME_EXPECTED: &str = "a time such as \"2026-11-27 18:00\" or \"2026-11-27T18:00:00+01:00\"";
/// A load that is more than so many times the usual one is a mistake.
const FACTOR_MAX: f64 = 1000.0;

/// Reads the events of a service that follows `metrics`.
pub(super) fn events(
    value: &Value<'_>,
    scale: &Table<'_>,
    metrics: &[MetricTarget],
) -> Option<Vec<PlannedEvent>> {
    let read = |table: &Table<'_>| event(table, metrics);
    let found = list(value, EXAMPLE, |value| value.table(scale.path("event"), value.place(), read)?)?;
    if found.len() > EVENTS_MAX {
        return value.refuse_as(format!("{} events", found.len()), &format!("at most {EVENTS_MAX}"), None);
    }
    Some(found.into_iter().map(|(event, _)| event).collect())
}

fn event(table: &Table<'_>, metrics: &[MetricTarget]) -> Option<PlannedEvent> {
    let name = table.required(&["name"], "what it is called, such as \"sale\"", line);
    let named = table.or("time_zone", Some("UTC".to_owned()), |value| Some(zone(value)));
    let local = TimeZone::get(&named.unwrap_or_else(|| "UTC".to_owned())).ok()?;
    let from = table.required(&["from"], TIME_EXPECTED, |value| instant(value, &local));
    let until = table.required(&["until"], TIME_EXPECTED, |value| instant(value, &local));
    if let (Some(from), Some(until)) = (from, until)
        && from >= until
    {
        table.refuse_key("until", "an event that ends before it begins".to_owned(), "a later time", None);
    }
    let load = load(table, metrics);
    let (name, from, until, load) = (name?, from?, until?, load?);
    (from < until).then_some(PlannedEvent { name, from, until, load })
}

fn load(table: &Table<'_>, metrics: &[MetricTarget]) -> Option<PlannedLoad> {
    let expected = "a factor from 0 to 1000, such as 2.5";
    let factor = table.optional("factor", number(0.0..=FACTOR_MAX, expected));
    let expected = "requests per second over all instances, such as 800";
    let requests = table.optional("load", number(0.0..=NUMBER_MAX, expected));
    if table.has("factor") && table.has("load") {
        table.refuse_key("load", "`load` beside `factor`".to_owned(), "one of them", None);
        return None;
    }
    if !table.has("factor") && !table.has("load") {
        let found = format!("neither `factor` nor `load` in [{}]", table.name());
        table.refuse_absence(&["factor", "load"], found, "what the load is then, such as factor = 2.5");
    }
    if requests.is_some() && !metrics.iter().any(|metric| matches!(metric, MetricTarget::Requests { .. })) {
        let found = "a load in requests per second of a service that does not follow them".to_owned();
        table.refuse_key("load", found, "`factor`, or a service with `requests_per_second`", None);
        return None;
    }
    factor.map(PlannedLoad::Factor).or(requests.map(PlannedLoad::Requests))
}

/// An instant with its offset, or a time on the clock of `local`.
fn instant(value: &Value<'_>, local: &TimeZone) -> Option<Timestamp> {
    let text = value.text(TIME_EXPECTED)?;
    if let Ok(at) = text.parse() {
        return Some(at);
    }
    let civil = text.parse::<DateTime>().ok().and_then(|civil| local.to_zoned(civil).ok());
    match civil {
        Some(zoned) => Some(zoned.timestamp()),
        None => value.refuse(TIME_EXPECTED),
    }
}
