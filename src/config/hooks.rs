//! Reads `[[webhook]]` and `[[command_hook]]`: who is told what.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde::Serialize;

use crate::config::reader::{Table, Value};
use crate::config::task::secret;
use crate::config::values::{command, duration, duration_from, line, list, name, tries, word};
use crate::controllers::notices::{HookFilter, OWNER_EVENTS, Patience};
use crate::domain::workload::{SecretRef, WorkloadName};
use crate::ports::notifier::NoticeKind;

const TIMEOUT_DEFAULT: SignedDuration = SignedDuration::from_secs(10);
const TIMEOUT_MIN: SignedDuration = SignedDuration::from_millis(1);
/// Long enough for a weekend without anybody.
const AGE_DEFAULT: SignedDuration = SignedDuration::from_hours(3 * 24);
/// A command that failed so often has something wrong with it.
const COMMAND_TRIES_DEFAULT: u32 = 3;
const SPACING_DEFAULT: SignedDuration = SignedDuration::from_mins(10);

/// `[[webhook]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WebhookConfig {
    /// What it is called; where it was told up to is kept under this.
    pub name: String,
    /// Where it listens.
    pub url: String,
    /// The secret that its signatures are made with.
    pub secret: SecretRef,
    /// What it is told.
    pub filter: HookFilter,
    /// An answer later than this is none.
    pub timeout: SignedDuration,
    /// How long a notice is tried.
    pub patience: Patience,
}

/// `[[command_hook]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CommandHookConfig {
    /// What it is called; where it was told up to is kept under this.
    pub name: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// What it is told.
    pub filter: HookFilter,
    /// After this it is killed.
    pub timeout: SignedDuration,
    /// How long a notice is tried.
    pub patience: Patience,
    /// Of one event of one workload it is told once in this time.
    pub spacing: SignedDuration,
}

/// Reads all of one key, which no two of the same name may share.
pub(super) fn hooks<T>(root: &Table<'_>, key: &'static str, read: fn(&Table<'_>) -> Option<T>) -> Vec<T> {
    let mut names: BTreeSet<&str> = BTreeSet::new();
    let found = root.optional(key, |value| {
        let hooks = value.elements(&format!("tables such as [[{key}]]"))?;
        let read = hooks.iter().filter_map(|hook| {
            hook.table(key.to_owned(), hook.place(), |table| {
                let name = table.get("name").and_then(|name| name.text("a name in quotes"));
                if let Some(name) = name.filter(|name| !names.insert(name)) {
                    let found = format!("another {key} named `{name}`");
                    table.refuse_key("name", found, "a name of its own", None);
                }
                read(table)
            })?
        });
        Some(read.collect())
    });
    found.unwrap_or_default()
}

pub(super) fn webhook(table: &Table<'_>) -> Option<WebhookConfig> {
    let name = table.required(&["name"], "a name such as \"chat\"", hook_name);
    let url = table.required(&["url"], "a URL such as \"https://example.com/hook\"", url);
    let secret = secret(table);
    let kinds = NoticeKind::ALL.map(|kind| (kind.as_str(), kind));
    let kinds = table.optional("events", |value| list(value, "an array of kinds", word(&kinds)));
    let (teams, workloads) = owners(table);
    let filter = HookFilter { kinds: set(kinds), events: BTreeSet::new(), teams, workloads };
    let timeout = table.or("timeout", TIMEOUT_DEFAULT, duration_from(TIMEOUT_MIN));
    let patience = patience(table, None);
    Some(WebhookConfig { name: name?, url: url?, secret: secret?, filter, timeout, patience })
}

pub(super) fn command_hook(table: &Table<'_>) -> Option<CommandHookConfig> {
    let name = table.required(&["name"], "a name such as \"mail\"", hook_name);
    let command = table.required(&["command"], "a command such as [\"./mail-owner\"]", command);
    let words = OWNER_EVENTS.map(|event| (event, event));
    let events = table.optional("events", |value| list(value, "an array of events", word(&words)));
    let events = match events {
        Some(events) => events.into_iter().map(|(event, _)| event.to_owned()).collect(),
        None => OWNER_EVENTS.map(str::to_owned).into(),
    };
    let (teams, workloads) = owners(table);
    let filter = HookFilter { kinds: BTreeSet::new(), events, teams, workloads };
    let timeout = table.or("timeout", TIMEOUT_DEFAULT, duration_from(TIMEOUT_MIN));
    let patience = patience(table, Some(COMMAND_TRIES_DEFAULT));
    let spacing = table.or("spacing", SPACING_DEFAULT, duration);
    Some(CommandHookConfig { name: name?, command: command?, filter, timeout, patience, spacing })
}

fn hook_name(value: &Value<'_>) -> Option<String> {
    name(WorkloadName::new)(value).map(|name| name.to_string())
}

fn url(value: &Value<'_>) -> Option<String> {
    let expected = "a URL such as \"https://example.com/hook\"";
    let text = value.text(expected)?;
    let parsed = reqwest::Url::parse(text).ok();
    if parsed.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
        return Some(text.to_owned());
    }
    // An address may hold a password, so what was found is not repeated.
    value.refuse_as("a text that is none".to_owned(), expected, None)
}

fn owners(table: &Table<'_>) -> (BTreeSet<String>, BTreeSet<WorkloadName>) {
    let teams = table.optional("teams", |value| list(value, "an array of teams", line));
    let workloads =
        table.optional("workloads", |value| list(value, "an array of workloads", name(WorkloadName::new)));
    (set(teams), set(workloads))
}

fn patience(table: &Table<'_>, default: Option<u32>) -> Patience {
    Patience {
        tries: table.optional("max_tries", tries(1)).or(default),
        age: table.or("max_age", AGE_DEFAULT, duration),
    }
}

fn set<T: Ord, P>(found: Option<Vec<(T, P)>>) -> BTreeSet<T> {
    found.into_iter().flatten().map(|(value, _)| value).collect()
}
