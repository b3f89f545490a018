//! Reads `[service.NAME.rollout]`.

use jiff::SignedDuration;
use toml::de::DeValue;

use crate::config::reader::{Table, Value};
use crate::config::values::{command, count, duration, duration_from, number, share, tries, whole, word};
use crate::domain::quantity::Share;
use crate::domain::strategy::{Acceptance, Comparison, Portion, Strategy};
use crate::domain::workload::RolloutSpec;

const DEADLINE_DEFAULT: SignedDuration = SignedDuration::from_mins(5);
const FAILURES_DEFAULT: u32 = 3;
/// The least that a rollout may go without progress.
const DEADLINE_MIN: SignedDuration = SignedDuration::from_secs(1);
/// How long a group is watched.
const WAIT_DEFAULT: SignedDuration = SignedDuration::from_mins(1);
const COMMAND_LIMIT_DEFAULT: SignedDuration = SignedDuration::from_mins(1);
/// Most groups of a canary.
const GROUPS_MAX: usize = 20;
const RATIO_MAX: f64 = 1000.0;
const REQUESTS_MAX: i64 = 1_000_000_000;

const GROUPS_EXPECTED: &str = "groups such as [1, \"25%\"]";
const ACCEPT_EXPECTED: &str =
    "\"ready\", \"time\", \"manual\", \"metric\", { metric = { ... } } or { command = [...] }";

/// The words of `strategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Rolling,
    Canary,
    BlueGreen,
}

/// Reads how a service moves from one revision to the next.
pub(super) fn rollout(table: &Table<'_>) -> RolloutSpec {
    let default = RolloutSpec {
        strategy: Strategy::Rolling,
        max_surge: 1,
        deadline: DEADLINE_DEFAULT,
        max_failures: FAILURES_DEFAULT,
        min_ready: SignedDuration::ZERO,
    };
    table
        .table("rollout", |table| RolloutSpec {
            strategy: strategy(table),
            // Without surge, a rollout would have to go below the declared count.
            max_surge: table.or("max_surge", default.max_surge, count(1)),
            deadline: table.or("deadline", default.deadline, duration_from(DEADLINE_MIN)),
            max_failures: table.or("max_failures", default.max_failures, tries(1)),
            min_ready: table.or("min_ready", default.min_ready, duration),
        })
        .unwrap_or(default)
}

fn strategy(table: &Table<'_>) -> Strategy {
    let words = [("rolling", Word::Rolling), ("canary", Word::Canary), ("blue-green", Word::BlueGreen)];
    let chosen = table.or("strategy", Word::Rolling, word(&words));
    let groups = table.optional("groups", groups);
    let wait = table.optional("wait", duration);
    let accept = table.optional("accept", accept);
    let hold = table.optional("hold", duration);
    let only_for = |key: &str, strategy: &str| {
        if table.has(key) {
            let found = format!("`{key}` without strategy = \"{strategy}\"");
            table.refuse_key(key, found, &format!("`{key}` with strategy = \"{strategy}\" only"), None);
        }
    };
    if chosen != Word::Canary {
        only_for("groups", "canary");
    }
    if chosen != Word::BlueGreen {
        only_for("hold", "blue-green");
    }
    match chosen {
        Word::Rolling => {
            for key in ["wait", "accept"] {
                if table.has(key) {
                    let expected = "it with strategy = \"canary\" or \"blue-green\" only";
                    table.refuse_key(key, format!("`{key}` of a rolling rollout"), expected, None);
                }
            }
            Strategy::Rolling
        }
        Word::Canary => {
            if !table.has("groups") {
                table.refuse_absence(&["groups"], "no `groups` of a canary".to_owned(), GROUPS_EXPECTED);
            }
            let (groups, accept) = (groups.unwrap_or_default(), accept.unwrap_or_default());
            Strategy::Canary { groups, wait: wait.unwrap_or(WAIT_DEFAULT), accept }
        }
        Word::BlueGreen => {
            if matches!(accept, Some(Acceptance::Metric(_))) {
                let found = "a metric of instances that get no requests".to_owned();
                let expected = "\"ready\", \"time\", \"manual\" or a command before the switch";
                table.refuse_key("accept", found, expected, None);
            }
            Strategy::BlueGreen {
                wait: wait.unwrap_or_default(),
                accept: accept.unwrap_or_default(),
                hold: hold.unwrap_or_default(),
            }
        }
    }
}

fn groups(value: &Value<'_>) -> Option<Vec<Portion>> {
    let elements = value.elements(GROUPS_EXPECTED)?;
    if elements.is_empty() || elements.len() > GROUPS_MAX {
        return value.refuse_as(
            format!("{} groups", elements.len()),
            &format!("1 to {GROUPS_MAX} groups"),
            None,
        );
    }
    let mut groups: Vec<Portion> = Vec::new();
    for element in &elements {
        let portion = portion(element)?;
        let before = groups.iter().rev().find_map(|before| smaller(*before, portion));
        if before == Some(false) {
            let expected = "more instances than in the groups before";
            return element.refuse_as(format!("a group of {}", element.written()), expected, None);
        }
        groups.push(portion);
    }
    Some(groups)
}

/// Whether one portion is smaller than another of the same kind.
fn smaller(one: Portion, other: Portion) -> Option<bool> {
    match (one, other) {
        (Portion::Count(one), Portion::Count(other)) => Some(one < other),
        (Portion::Share(one), Portion::Share(other)) => Some(one < other),
        _ => None,
    }
}

fn portion(value: &Value<'_>) -> Option<Portion> {
    let DeValue::String(text) = value.get() else { return count(1)(value).map(Portion::Count) };
    let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    if let Some(percent) = percent.filter(|percent| *percent >= 0.1 && *percent < 100.0) {
        return Some(Portion::Share(Share::new(percent / 100.0)));
    }
    let hint = text.parse::<u32>().ok().map(|number| number.to_string());
    value.refuse_hint("instances such as 2, or a share such as \"25%\" (below 100 %)", hint)
}

fn accept(value: &Value<'_>) -> Option<Acceptance> {
    let DeValue::Table(_) = value.get() else {
        let words = ["ready", "time", "manual", "metric"].map(|word| (word, word));
        value.text(ACCEPT_EXPECTED)?;
        return Some(match word(&words)(value)? {
            "ready" => Acceptance::Ready,
            "manual" => Acceptance::Manual,
            "metric" => Acceptance::Metric(Comparison::default()),
            _ => Acceptance::Time,
        });
    };
    value.table("accept".to_owned(), value.place(), |table| {
        let metric = table.table("metric", comparison);
        let command = table.optional("command", command);
        let time_limit = table.optional("time_limit", duration_from(DEADLINE_MIN));
        let expected = "exactly one of `metric` and `command`";
        match (table.has("metric"), table.has("command")) {
            (true, false) => {
                if table.has("time_limit") {
                    let found = "a time limit of a metric".to_owned();
                    table.refuse_key("time_limit", found, "a time limit of a command only", None);
                }
                metric.map(Acceptance::Metric)
            }
            (false, true) => command.map(|command| Acceptance::Command {
                command,
                time_limit: time_limit.unwrap_or(COMMAND_LIMIT_DEFAULT),
            }),
            (true, true) => {
                table.refuse_key("command", "both `metric` and `command`".to_owned(), expected, None);
                None
            }
            (false, false) => {
                let keys = &["metric", "command"];
                table.refuse_absence(keys, "neither `metric` nor `command`".to_owned(), expected);
                None
            }
        }
    })?
}

fn comparison(table: &Table<'_>) -> Comparison {
    let default = Comparison::default();
    let ratio = || number(1.0..=RATIO_MAX, "a ratio from 1 to 1000");
    let requests = |value: &Value<'_>| whole(1..=REQUESTS_MAX)(value).and_then(|n| u64::try_from(n).ok());
    Comparison {
        latency_ratio: table.or("latency_ratio", default.latency_ratio, ratio()),
        latency_floor: table.or("latency_floor", default.latency_floor, duration),
        errors_ratio: table.or("errors_ratio", default.errors_ratio, ratio()),
        errors_floor: table.or("errors_floor", default.errors_floor, share),
        cpu_ratio: table.optional("cpu_ratio", ratio()),
        min_requests: table.or("min_requests", default.min_requests, requests),
    }
}
