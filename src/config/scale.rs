//! Reads `[service.NAME.scale]`: how the number of instances follows the load.

use jiff::SignedDuration;

use crate::config::limits::{
    COUNT_MAX, NUMBER_MAX, PERIOD_SECONDS_MAX, STABILIZATION_SECONDS_MAX, UTILIZATION_MAX,
};
use crate::config::reader::{Table, Value};
use crate::config::scale_event::events;
use crate::config::scale_queue::queue;
use crate::config::scale_window::windows;
use crate::config::values::{count, duration_from, line, list, number, share, whole, word};
use crate::config::workload::Ports;
use crate::domain::scale::{
    BUDGET, CountPolicyKind, MetricTarget, QueueSource, QueueTarget, SEASON, ScaleSpec, ScalingAmount,
    ScalingRule, ScalingRules, SelectPolicy, ZeroSpec,
};

/// Kubernetes' tolerance (`horizontal-pod-autoscaler-tolerance`).
const TOLERANCE_DEFAULT: f64 = 0.1;
/// Where Prometheus text is usually found.
pub(super) const METRICS_PATH_DEFAULT: &str = "/metrics";
/// The keys that give metrics.
const METRIC_KEYS: &[&str] = &["cpu", "memory", "requests_per_second", "queue", "metrics"];
const RULE_AMOUNT_MAX: i64 = 1_000_000;
/// The shares of time that a budget may be.
const BUDGET_RANGE: std::ops::RangeInclusive<f64> = 0.000_1..=0.5;
/// The shortest season.
const SEASON_MIN: SignedDuration = SignedDuration::from_secs(10);
/// The least of what must last some time.
const LASTING_MIN: SignedDuration = SignedDuration::from_secs(1);
/// Keys that say how a count goes to zero and comes back.
const ZERO_KEYS: [&str; 3] = ["idle_after", "hold_timeout", "hold_requests"];
const HELD_MAX: i64 = 100_000;

/// Reads the table; `ports` are those of the service.
pub(super) fn scale(table: &Table<'_>, ports: &Ports) -> ScaleSpec {
    let min = table.or("min", 1, count(0));
    let max = table.required(&["max"], "the most instances, such as max = 10", count(1));
    if let Some(max) = max.filter(|max| min > *max) {
        let found = format!("min = {min} above max = {max}");
        table.refuse_key("min", found, &format!("a min of at most {max}"), None);
    }
    let tolerance = table.or("tolerance", TOLERANCE_DEFAULT, number(0.0..=1.0, "a share from 0 to 1"));
    let metrics = metrics(table, ports);
    let (up, down) = table
        .table("behavior", |behavior| {
            let up = behavior.table("scaleUp", |t| rules(t, ScalingRules::default_up()));
            let down = behavior.table("scaleDown", |t| rules(t, ScalingRules::default_down()));
            (up, down)
        })
        .unwrap_or_default();
    let (policy, budget, season) = policy(table);
    let events = table.or("event", Vec::new(), |value| events(value, table, &metrics));
    let scale = ScaleSpec {
        min,
        max: max.unwrap_or(COUNT_MAX),
        metrics,
        tolerance,
        up: up.unwrap_or_else(ScalingRules::default_up),
        down: down.unwrap_or_else(ScalingRules::default_down),
        policy,
        budget,
        season,
        events,
        windows: table.or("window", Vec::new(), |value| windows(value, table)),
        zero: zero(table),
    };
    check_zero(table, &scale, ports);
    scale
}

fn policy(table: &Table<'_>) -> (CountPolicyKind, f64, SignedDuration) {
    let words = CountPolicyKind::ALL.map(|kind| (kind.as_str(), kind));
    let policy = table.or("policy", CountPolicyKind::default(), word(&words));
    let expected = "a share of time from 0.0001 to 0.5, such as 0.01";
    let budget = table.or("budget", BUDGET, number(BUDGET_RANGE, expected));
    let season = table.or("season", SEASON, season);
    for key in ["budget", "season"].into_iter().filter(|key| table.has(key)) {
        if policy != CountPolicyKind::Loadline {
            let found = format!("a {key} of policy \"{policy}\", which has none");
            table.refuse_key(key, found, &format!("policy = \"loadline\", or no `{key}`"), None);
        }
    }
    (policy, budget, season)
}

/// Some seconds to a day.
fn season(value: &Value<'_>) -> Option<SignedDuration> {
    let found = duration_from(SEASON_MIN)(value)?;
    if found > SEASON {
        return value.refuse("a duration from 10s to 24h");
    }
    Some(found)
}

fn zero(table: &Table<'_>) -> ZeroSpec {
    let default = ZeroSpec::default();
    ZeroSpec {
        idle_after: table.or("idle_after", default.idle_after, duration_from(LASTING_MIN)),
        hold_timeout: table.or("hold_timeout", default.hold_timeout, duration_from(LASTING_MIN)),
        hold_requests: table
            .optional("hold_requests", whole(1..=HELD_MAX))
            .and_then(|held| u32::try_from(held).ok())
            .unwrap_or(default.hold_requests),
    }
}

/// A count of zero needs something that ends it.
fn check_zero(table: &Table<'_>, scale: &ScaleSpec, ports: &Ports) {
    if !scale.reaches_zero() {
        for key in ZERO_KEYS.into_iter().filter(|key| table.has(key)) {
            let found = format!("`{key}` where the count never goes to 0");
            table.refuse_key(key, found, &format!("min = 0, or no `{key}`"), None);
        }
        return;
    }
    let seen_from_outside = |metric: &MetricTarget| matches!(metric, MetricTarget::Queue(QueueTarget { source, .. }) if *source != QueueSource::FrontDoor);
    if ports.is_empty() && !scale.metrics.iter().any(seen_from_outside) {
        let expected = "a port, since requests wake it, or a `queue` with a `url` or a `service`";
        let key = if table.has("min") { "min" } else { "window" };
        table.refuse_key(key, "a count of 0 that nothing ends".to_owned(), expected, None);
    }
}

fn metrics(table: &Table<'_>, ports: &Ports) -> Vec<MetricTarget> {
    let utilization = || number(0.01..=UTILIZATION_MAX, "a share of the request such as 0.7");
    let mut metrics = Vec::new();
    metrics.extend(table.optional("cpu", utilization()).map(|utilization| MetricTarget::Cpu { utilization }));
    metrics.extend(
        table.optional("memory", utilization()).map(|utilization| MetricTarget::Memory { utilization }),
    );
    metrics.extend(table.optional("requests_per_second", |value| {
        ports.needed(value, "requests through a port")?;
        Some(MetricTarget::Requests { per_instance: target(value)? })
    }));
    metrics.extend(table.optional("queue", |value| queue(value, table, ports)).map(MetricTarget::Queue));
    let listed = table.optional("metrics", |value| {
        list(value, "an array of metrics", |value| prometheus(value, table, ports))
    });
    // An empty list is not refused, but gives no metric.
    let refused = METRIC_KEYS.iter().any(|key| table.has(key)) && listed.is_none();
    metrics.extend(listed.into_iter().flatten().map(|(metric, _)| metric));
    if metrics.is_empty() && !refused {
        table.refuse_absence(
            METRIC_KEYS,
            format!("no metric in [{}]", table.name()),
            "a metric with its target, such as cpu = 0.7 or requests_per_second = 50",
        );
    }
    metrics
}

/// A target for each instance.
pub(super) fn target(value: &Value<'_>) -> Option<f64> {
    let positive = f64::MIN_POSITIVE..=NUMBER_MAX;
    number(positive, "a number above 0 for each instance")(value)
}

fn prometheus(value: &Value<'_>, scale: &Table<'_>, ports: &Ports) -> Option<MetricTarget> {
    value.table(scale.path("metrics"), value.place(), |table| {
        let metric = table.required(&["prometheus"], "the name of a metric", metric_name);
        let port = table.optional("port", |value| ports.known(value));
        let path = table.or("path", METRICS_PATH_DEFAULT.to_owned(), url_path);
        let per_instance =
            table.required(&["per_instance"], "a target for each instance, such as 10", target);
        ports.needed(value, "a metric on a port")?;
        Some(MetricTarget::Prometheus { metric: metric?, port, path, per_instance: per_instance? })
    })?
}

/// A metric's name as Prometheus allows it.
pub(super) fn metric_name(value: &Value<'_>) -> Option<String> {
    let text = line(value)?;
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == ':');
    if begins && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':') {
        Some(text)
    } else {
        value.refuse("the name of a Prometheus metric such as \"queue_length\"")
    }
}

/// A path on an HTTP server.
pub(super) fn url_path(value: &Value<'_>) -> Option<String> {
    let expected = "a path such as \"/healthz\"";
    let text = value.text(expected)?;
    if text.starts_with('/') && text.chars().all(|c| c.is_ascii_graphic()) {
        return Some(text.to_owned());
    }
    let rooted = format!("/{text}");
    let hint = (!text.is_empty() && !text.contains(':') && text.chars().all(|c| c.is_ascii_graphic()))
        .then_some(rooted);
    value.refuse_hint(expected, hint)
}

fn rules(table: &Table<'_>, default: ScalingRules) -> ScalingRules {
    let words =
        [("Max", SelectPolicy::Max), ("Min", SelectPolicy::Min), ("Disabled", SelectPolicy::Disabled)];
    ScalingRules {
        stabilization: table
            .optional("stabilizationWindowSeconds", whole(0..=STABILIZATION_SECONDS_MAX))
            .map_or(default.stabilization, SignedDuration::from_secs),
        select: table.or("selectPolicy", default.select, word(&words)),
        rules: table.or("policies", default.rules, |value| policies(value, table)),
        tolerance: table.optional("tolerance", share),
    }
}

fn policies(value: &Value<'_>, rules: &Table<'_>) -> Option<Vec<ScalingRule>> {
    let expected = "at least one rule such as { type = \"Pods\", value = 4, periodSeconds = 15 }";
    let policies = list(value, expected, |value| rule(value, rules))?;
    if policies.is_empty() {
        return value.refuse_as("no rule".to_owned(), expected, None);
    }
    Some(policies.into_iter().map(|(rule, _)| rule).collect())
}

fn rule(value: &Value<'_>, rules: &Table<'_>) -> Option<ScalingRule> {
    value.table(rules.path("policies"), value.place(), |table| {
        let in_percent = word(&[("Pods", false), ("Percent", true)]);
        let in_percent = table.required(&["type"], "\"Pods\" or \"Percent\"", in_percent);
        let value = table.required(&["value"], "a whole number above 0", whole(1..=RULE_AMOUNT_MAX));
        let period = table.required(&["periodSeconds"], "a number of seconds", whole(1..=PERIOD_SECONDS_MAX));
        let value = u32::try_from(value?).ok()?;
        let amount =
            if in_percent? { ScalingAmount::Percent(value) } else { ScalingAmount::Instances(value) };
        Some(ScalingRule { amount, period: SignedDuration::from_secs(period?) })
    })?
}
