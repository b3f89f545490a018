//! Reads what every kind of workload has: what runs, with what size, environment and placement.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use toml::de::DeValue;

use crate::config::limits::PRIORITY_MAX;
use crate::config::placement::{PlacementUse, placement};
use crate::config::reader::{Key, Place, Table, Value};
use crate::config::values::{command, cores, duration, line, memory, name, path, share, whole};
use crate::domain::policy::PolicyName;
use crate::domain::quantity::{Bytes, Millicores, Resources, Share, TaskSize};
use crate::domain::workload::{EnvValue, Owner, RestartPolicy, SecretRef, TaskTemplate};
use crate::scheduling::launching::RESERVED_PREFIX;

/// Requests that let a newcomer's first service start on any machine.
const CPU_DEFAULT: Millicores = Millicores::new(100);
const MEMORY_DEFAULT: Bytes = Bytes::mib(128);
/// As `docker stop` waits.
const STOP_GRACE_DEFAULT: SignedDuration = SignedDuration::from_secs(10);
/// First wait; it doubles.
const BACKOFF_DEFAULT: SignedDuration = SignedDuration::from_secs(1);
/// As the kubelet's longest backoff.
const BACKOFF_MAX_DEFAULT: SignedDuration = SignedDuration::from_mins(5);
/// As the kubelet forgets failures.
const RESET_AFTER_DEFAULT: SignedDuration = SignedDuration::from_mins(10);
const JITTER_DEFAULT: f64 = 0.1;

/// What parts of the specs say of other parts, checked when all are read.
#[derive(Debug, Default)]
pub(super) struct Uses {
    /// Policies that workloads name.
    pub(super) policies: Vec<(PolicyName, Place)>,
    /// Stable addresses that services ask for.
    pub(super) front_doors: Vec<(u16, Place)>,
    /// Requests that must fit on a node somewhere.
    pub(super) placements: Vec<PlacementUse>,
}

/// Reads `team` and `cost_centre`.
pub(super) fn owner(table: &Table<'_>) -> Owner {
    Owner { team: table.optional("team", line), cost_centre: table.optional("cost_centre", line) }
}

/// Reads `policy`.
pub(super) fn policy(table: &Table<'_>, uses: &mut Uses) -> Option<PolicyName> {
    let policy = table.optional("policy", name(PolicyName::new))?;
    uses.policies.push((policy.clone(), table.place_of("policy")));
    Some(policy)
}

/// Reads what a process is started with.
pub(super) fn template(table: &Table<'_>, uses: &mut Uses) -> TaskTemplate {
    let priority = i64::from(PRIORITY_MAX);
    let size = size(table);
    let (placement, conditions) = table.table("placement", placement).unwrap_or_default();
    let larger = if table.has("memory") && !table.has("cpu") { "memory" } else { "cpu" };
    uses.placements.push(PlacementUse { request: size.request, at: table.place_of(larger), conditions });
    TaskTemplate {
        command: table.required(&["command"], "a command such as [\"./web\"]", command).unwrap_or_default(),
        env: table.or("env", BTreeMap::new(), environment),
        working_dir: table.optional("working_dir", path),
        user: table.optional("user", user),
        size,
        stop_grace: table.or("stop_grace", STOP_GRACE_DEFAULT, duration),
        placement,
        priority: table
            .optional("priority", whole(-priority..=priority))
            .and_then(|priority| i32::try_from(priority).ok())
            .unwrap_or_default(),
    }
}

/// Reads request and limit. A limit without a request is both, as in Kubernetes; memory without a limit
/// is limited to its request, CPU without a limit is not capped.
fn size(table: &Table<'_>) -> TaskSize {
    let cpu = table.optional("cpu", cores);
    let cpu_limit = table.optional("cpu_limit", cores);
    let bytes = table.optional("memory", memory);
    let memory_limit = table.optional("memory_limit", memory);
    if let (Some(request), Some(limit)) = (cpu, cpu_limit)
        && limit < request
    {
        let found = format!("cpu_limit = {limit} below cpu = {request}");
        table.refuse_key("cpu_limit", found, "a limit that is not below the request", None);
    }
    if let (Some(request), Some(limit)) = (bytes, memory_limit)
        && limit < request
    {
        let found = format!("memory_limit = {limit} below memory = {request}");
        table.refuse_key("memory_limit", found, "a limit that is not below the request", None);
    }
    let memory = bytes.or(memory_limit).unwrap_or(MEMORY_DEFAULT);
    TaskSize {
        request: Resources::new(cpu.or(cpu_limit).unwrap_or(CPU_DEFAULT), memory),
        cpu_limit,
        memory_limit: memory_limit.unwrap_or(memory),
    }
}

pub(super) fn environment(value: &Value<'_>) -> Option<BTreeMap<String, EnvValue>> {
    let entries = value.entries("a table such as { LEVEL = \"debug\" }")?;
    let read = entries.iter().filter_map(|(key, value)| Some((variable(key)?, env_value(key, value)?)));
    Some(read.collect())
}

/// A variable's name as POSIX shells can use it.
fn variable(key: &Key<'_>) -> Option<String> {
    let text = key.text;
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if text.starts_with(RESERVED_PREFIX) {
        return key.refuse("a name that does not begin with LOADLINE_: those are Loadline's own", None);
    }
    if begins && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Some(text.to_owned());
    }
    let plain: String = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let hint = plain.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_').then_some(plain);
    key.refuse("the name of an environment variable such as `LOG_LEVEL`", hint)
}

fn env_value(key: &Key<'_>, value: &Value<'_>) -> Option<EnvValue> {
    let expected = "a string, { secret_file = \"...\" } or { secret_env = \"...\" }";
    match value.get() {
        DeValue::Table(_) => value.table(format!("env.{}", key.text), key.at, secret)?.map(EnvValue::Secret),
        // A value is never repeated in an error: it may be what should have been a secret.
        DeValue::String(text) if text.contains('\0') => {
            value.refuse_as("a text with a zero byte".to_owned(), expected, None)
        }
        DeValue::String(text) => Some(EnvValue::Plain(text.to_string())),
        DeValue::Array(_) => value.refuse(expected),
        _ => value.refuse_as("a value without quotes".to_owned(), expected, None),
    }
}

/// Reads `secret_file` or `secret_env`.
pub(super) fn secret(table: &Table<'_>) -> Option<SecretRef> {
    let expected = "exactly one of `secret_file` and `secret_env`";
    let file = table.optional("secret_file", path);
    let variable = table.optional("secret_env", line);
    match (table.has("secret_file"), table.has("secret_env")) {
        (true, false) => file.map(SecretRef::File),
        (false, true) => variable.map(SecretRef::Env),
        (true, true) => {
            table.refuse_key("secret_env", "both `secret_file` and `secret_env`".to_owned(), expected, None);
            None
        }
        (false, false) => {
            let keys = &["secret_file", "secret_env"];
            table.refuse_absence(keys, "neither `secret_file` nor `secret_env`".to_owned(), expected);
            None
        }
    }
}

/// A user's name as Debian's `adduser` allows it, or a number.
fn user(value: &Value<'_>) -> Option<String> {
    let text = line(value)?;
    let number = text.chars().all(|c| c.is_ascii_digit());
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let rest = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    if number || (begins && rest) {
        Some(text)
    } else {
        value.refuse("a user such as \"www-data\" or \"1000\"")
    }
}

/// Reads `[service.NAME.restart]`, or `retry` of a cron job or job.
pub(super) fn restart(table: &Table<'_>, key: &'static str) -> RestartPolicy {
    let default = RestartPolicy {
        backoff: BACKOFF_DEFAULT,
        backoff_max: BACKOFF_MAX_DEFAULT,
        jitter: Share::new(JITTER_DEFAULT),
        reset_after: RESET_AFTER_DEFAULT,
    };
    table
        .table(key, |table| {
            let backoff = table.optional("backoff", duration);
            let longest = table.optional("backoff_max", duration);
            if let (Some(backoff), Some(longest)) = (backoff, longest)
                && backoff > longest
            {
                let found = format!("backoff = {backoff:#} above backoff_max = {longest:#}");
                table.refuse_key("backoff", found, "a first wait that is not above the longest", None);
            }
            let backoff = backoff.unwrap_or(default.backoff.min(longest.unwrap_or(default.backoff)));
            RestartPolicy {
                backoff,
                backoff_max: longest.unwrap_or(default.backoff_max.max(backoff)),
                jitter: table.or("jitter", default.jitter, share),
                reset_after: table.or("reset_after", default.reset_after, duration),
            }
        })
        .unwrap_or(default)
}
