//! Reads health checks: `[service.NAME.startup]`, `.readiness` and `.liveness`.

use jiff::SignedDuration;

use crate::config::reader::{Table, Value};
use crate::config::scale::url_path;
use crate::config::values::{command, duration_from, flag, interval, tries};
use crate::config::workload::Ports;
use crate::domain::workload::{HealthCheck, HealthChecks, Probe};

/// An answer must come within a second, as by Kubernetes' default.
const TIMEOUT_DEFAULT: SignedDuration = SignedDuration::from_secs(1);
const TIMEOUT_MIN: SignedDuration = SignedDuration::from_millis(1);

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
    Some(HealthCheck { probe: probe?, interval, timeout, failures, passes })
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
    match (table.has("http"), table.has("tcp"), table.has("exec")) {
        (true, false, false) => http.map(|path| Probe::Http { path, port }),
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

fn yes(value: &Value<'_>) -> Option<()> {
    if flag(value)? { Some(()) } else { value.refuse("true, or no key `tcp` at all") }
}
