//! Reads health checks: `[service.NAME.startup]`, `.readiness` and `.liveness`.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use crate::config::reader::{Key, Table, Value};
use crate::config::scale::url_path;
use crate::config::values::{command, duration, duration_from, flag, interval, list, tries, whole, word};
use crate::config::workload::Ports;
use crate::domain::workload::{HealthCheck, HealthChecks, HttpMethod, HttpOptions, Probe};

/// An answer must come within a second, as by Kubernetes' default.
const TIMEOUT_DEFAULT: SignedDuration = SignedDuration::from_secs(1);
const TIMEOUT_MIN: SignedDuration = SignedDuration::from_millis(1);

/// The statuses that a server can answer with in the end.
const STATUS_MIN: i64 = 200;
const STATUS_MAX: i64 = 599;

/// The keys that only a check over HTTP has.
const HTTP_KEYS: &[&str] = &["method", "headers", "statuses", "fatal_statuses"];

/// The keys of which a check has one.
const PROBE_KEYS: &[&str] = &["http", "tcp", "exec"];

/// How often a check asks, and how many failures it takes, where the spec does not say.
struct Timing {
    interval: SignedDuration,
    failures: u32,
}

/// A minute to start, asked often so that a quick start is noticed at once.
const STARTUP: Timing = Timing { interval: SignedDuration::from_secs(1), failures: 60 };
/// Asked often: until it fails, requests go to an instance that cannot answer them.
const READINESS: Timing = Timing { interval: SignedDuration::from_secs(1), failures: 3 };
/// Asked seldom and patiently: its failure costs a restart. Kubernetes' default.
const LIVENESS: Timing = Timing { interval: SignedDuration::from_secs(10), failures: 3 };

/// Reads the three tables.
pub(super) fn checks(table: &Table<'_>, ports: &Ports) -> HealthChecks {
    let read = |key, timing: Timing| table.table(key, |table| check(table, ports, &timing)).flatten();
    HealthChecks {
        startup: read("startup", STARTUP),
        readiness: read("readiness", READINESS),
        liveness: read("liveness", LIVENESS),
    }
}

fn check(table: &Table<'_>, ports: &Ports, timing: &Timing) -> Option<HealthCheck> {
    let probe = probe(table, ports);
    let interval = table.or("interval", timing.interval, interval);
    let timeout = table.or("timeout", TIMEOUT_DEFAULT, duration_from(TIMEOUT_MIN));
    let failures = table.or("failures", timing.failures, tries(1));
    let passes = table.or("passes", 1, tries(1));
    let delay = table.or("delay", SignedDuration::ZERO, duration);
    Some(HealthCheck { probe: probe?, interval, timeout, failures, passes, delay })
}

fn probe(table: &Table<'_>, ports: &Ports) -> Option<Probe> {
    let expected = "exactly one of `http`, `tcp` and `exec`";
    let port = table.optional("port", |value| ports.known(value));
    let http = table.optional("http", |value| {
        ports.needed(value, "a check over http")?;
        url_path(value)
    });
    let tcp = table.optional("tcp", |value| {
        ports.needed(value, "a check over tcp")?;
        yes(value)
    });
    let exec = table.optional("exec", command);
    let options = http_options(table);
    match (table.has("http"), table.has("tcp"), table.has("exec")) {
        (true, false, false) => http.map(|path| Probe::Http { path, port, options }),
        (false, true, false) => tcp.map(|()| Probe::Tcp { port }),
        (false, false, true) => {
            if table.has("port") {
                let found = "a port of a check by command".to_owned();
                table.refuse_key("port", found, "a port for `http` and `tcp` only", None);
            }
            exec.map(|command| Probe::Exec { command })
        }
        (false, false, false) => {
            table.refuse_absence(PROBE_KEYS, format!("no probe in [{}]", table.name()), expected);
            None
        }
        (http, _, exec) => {
            let second = if exec { "exec" } else { "tcp" };
            let first = if http { "http" } else { "tcp" };
            table.refuse_key(second, format!("both `{first}` and `{second}`"), expected, None);
            None
        }
    }
}

/// Reads what only a check over HTTP has.
fn http_options(table: &Table<'_>) -> HttpOptions {
    let methods = [("GET", HttpMethod::Get), ("HEAD", HttpMethod::Head), ("POST", HttpMethod::Post)];
    let options = HttpOptions {
        method: table.or("method", HttpMethod::Get, word(&methods)),
        headers: table.or("headers", BTreeMap::new(), headers),
        statuses: table.or("statuses", Vec::new(), statuses),
        fatal_statuses: table.or("fatal_statuses", Vec::new(), statuses),
    };
    if !table.has("http") {
        for key in HTTP_KEYS.iter().filter(|key| table.has(key)) {
            table.refuse_key(key, format!("`{key}` without `http`"), "a key of a check over http", None);
        }
    }
    if let Some(both) = options.fatal_statuses.iter().find(|status| options.statuses.contains(status)) {
        let found = format!("{both} in `statuses` as well");
        table.refuse_key("fatal_statuses", found, "statuses that do not pass", None);
    }
    options
}

fn headers(value: &Value<'_>) -> Option<BTreeMap<String, String>> {
    let entries = value.entries("a table such as { Host = \"shop.example\" }")?;
    let read = entries.iter().filter_map(|(key, value)| Some((header(key)?, header_value(value)?)));
    Some(read.collect())
}

/// A token as RFC 9110 defines it.
fn header(key: &Key<'_>) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if !key.text.is_empty() && key.text.chars().all(allowed) {
        return Some(key.text.to_owned());
    }
    key.refuse("the name of a header such as `Host`", None)
}

fn header_value(value: &Value<'_>) -> Option<String> {
    let expected = "a header's value in quotes, of visible ASCII characters";
    let text = value.quoted(expected)?;
    let allowed = |c: char| c == ' ' || c.is_ascii_graphic();
    if text.chars().all(allowed) { Some(text.to_owned()) } else { value.refuse(expected) }
}

fn statuses(value: &Value<'_>) -> Option<Vec<u16>> {
    let status = |value: &Value<'_>| {
        whole(STATUS_MIN..=STATUS_MAX)(value).and_then(|status| u16::try_from(status).ok())
    };
    let read = list(value, "an array of HTTP statuses such as [200, 204]", status)?;
    Some(read.into_iter().map(|(status, _)| status).collect())
}

fn yes(value: &Value<'_>) -> Option<()> {
    if flag(value)? { Some(()) } else { value.refuse("true, or no key `tcp` at all") }
}
