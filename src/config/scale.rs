//! Reads `[service.NAME.scale]`: how the number of instances follows the load.

use jiff::SignedDuration;

use crate::config::limits::{
    COUNT_MAX, NUMBER_MAX, PERIOD_SECONDS_MAX, STABILIZATION_SECONDS_MAX, UTILIZATION_MAX,
};
use crate::config::reader::{Table, Value};
use crate::config::values::{count, line, list, number, whole, word};
use crate::config::workload::Ports;
use crate::domain::scale::{MetricTarget, ScaleSpec, ScalingAmount, ScalingRule, ScalingRules, SelectPolicy};

/// Kubernetes' tolerance (`horizontal-pod-autoscaler-tolerance`).
const TOLERANCE_DEFAULT: f64 = 0.1;
const METRICS_PATH_DEFAULT: &str = "/metrics";
/// The keys that give metrics.
const METRIC_KEYS: &[&str] = &["cpu", "memory", "requests_per_second", "metrics"];
const RULE_AMOUNT_MAX: i64 = 1_000_000;

/// Reads the table; `ports` are those of the service.
pub(super) fn scale(table: &Table<'_>, ports: &Ports) -> ScaleSpec {
    let min = table.or("min", 1, count(1));
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
    ScaleSpec {
        min,
        max: max.unwrap_or(COUNT_MAX),
        metrics,
        tolerance,
        up: up.unwrap_or_else(ScalingRules::default_up),
        down: down.unwrap_or_else(ScalingRules::default_down),
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

fn target(value: &Value<'_>) -> Option<f64> {
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
fn metric_name(value: &Value<'_>) -> Option<String> {
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
