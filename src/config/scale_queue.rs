//! Reads `queue` of `[service.NAME.scale]`: work that waits, and where it is counted.

use jiff::SignedDuration;
use toml::de::DeValue;

use crate::config::reader::{Table, Value};
use crate::config::scale::{METRICS_PATH_DEFAULT, metric_name, target, url_path};
use crate::config::values::{duration_from, flag, line, name};
use crate::config::workload::Ports;
use crate::domain::scale::{QueueSource, QueueTarget};
use crate::domain::workload::WorkloadName;

const EXAMPLE: &str = "a table such as { url = \"http://127.0.0.1:9187/metrics\", length = \"jobs_waiting\", \
                       length_per_instance = 20 }";
/// The least age that can be kept to.
const AGE_MIN: SignedDuration = SignedDuration::from_millis(100);
/// What is said where a queue has no place, or more than one.
const ONE_SOURCE: &str = "exactly one of `url`, `service` and `front_door`";

/// Reads the table; `ports` are those of the service.
pub(super) fn queue(value: &Value<'_>, scale: &Table<'_>, ports: &Ports) -> Option<QueueTarget> {
    if matches!(value.get(), DeValue::Table(_)) {
        return value.table(scale.path("queue"), value.place(), |table| read(table, ports))?;
    }
    value.refuse(EXAMPLE)
}

fn read(table: &Table<'_>, ports: &Ports) -> Option<QueueTarget> {
    let source = source(table, ports);
    let length = table.optional("length", metric_name);
    let length_per_instance = table.optional("length_per_instance", target);
    let age = table.optional("age", metric_name);
    let max_age = table.optional("max_age", duration_from(AGE_MIN));
    let source = source?;
    let counted = source == QueueSource::FrontDoor;
    if counted {
        for key in ["length", "age", "max_age"].into_iter().filter(|key| table.has(key)) {
            let found = format!("`{key}` of the front door, which counts by itself");
            table.refuse_key(key, found, "`length_per_instance` alone", None);
        }
    }
    let pair = |one: &str, other: &str| {
        if table.has(one) && !table.has(other) {
            table.refuse_key(one, format!("`{one}` without `{other}`"), &format!("`{other}` as well"), None);
        }
    };
    if !counted {
        pair("length", "length_per_instance");
        pair("length_per_instance", "length");
        pair("age", "max_age");
        pair("max_age", "age");
    }
    let has_length = table.has("length_per_instance");
    let has_age = table.has("max_age") || table.has("age");
    if !has_length && !has_age && !table.has("length") {
        table.refuse_absence(
            &["length_per_instance"],
            format!("no target in [{}]", table.name()),
            if counted {
                "length_per_instance = 20"
            } else {
                "`length` with `length_per_instance`, or `age` with `max_age`"
            },
        );
    }
    Some(QueueTarget { source, length, length_per_instance, age, max_age })
}

fn source(table: &Table<'_>, ports: &Ports) -> Option<QueueSource> {
    let given = ["url", "service", "front_door"].into_iter().filter(|key| table.has(key)).count();
    let url = table.optional("url", url);
    let service = table.optional("service", name(WorkloadName::new));
    let port = table.optional("port", line);
    let path = table.optional("path", url_path);
    let front_door = table.optional("front_door", flag);
    if given == 0 {
        table.refuse_absence(&["url"], format!("no source in [{}]", table.name()), ONE_SOURCE);
        return None;
    }
    if given > 1 {
        table.refuse_key(
            if table.has("front_door") { "front_door" } else { "service" },
            "a second source".to_owned(),
            ONE_SOURCE,
            None,
        );
        return None;
    }
    for key in ["port", "path"].into_iter().filter(|key| table.has(key) && !table.has("service")) {
        table.refuse_key(key, format!("`{key}` without `service`"), "`service` as well", None);
    }
    match (url, service, front_door) {
        (Some(url), _, _) => Some(QueueSource::Url(url)),
        (_, Some(service), _) => {
            let path = path.unwrap_or_else(|| METRICS_PATH_DEFAULT.to_owned());
            Some(QueueSource::Service { service, port, path })
        }
        (_, _, Some(true)) => {
            if ports.is_empty() {
                let found = "a front door in a service without ports".to_owned();
                table.refuse_key("front_door", found, "ports = [\"http\"] in the service", None);
            }
            Some(QueueSource::FrontDoor)
        }
        (_, _, Some(false)) => {
            table.refuse_key("front_door", "front_door = false".to_owned(), ONE_SOURCE, None);
            None
        }
        _ => None,
    }
}

/// An address of Prometheus text.
fn url(value: &Value<'_>) -> Option<String> {
    let expected = "an address such as \"http://127.0.0.1:9187/metrics\"";
    let text = value.text(expected)?;
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let host = rest.and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let plain = text.chars().all(|c| c.is_ascii_graphic());
    if !host.is_empty() && !host.contains('@') && plain {
        return Some(text.to_owned());
    }
    let hint = (rest.is_none() && plain && !text.contains("://")).then(|| format!("http://{text}"));
    value.refuse_hint(expected, hint)
}
