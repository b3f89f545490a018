//! Reads `[pool.NAME]`, `[policy.NAME]` and `[quota.TEAM]`.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use crate::config::limits::{NUMBER_MAX, POOL_NAME_MAX};
use crate::config::node_types::node_type;
use crate::config::placement::attribute;
use crate::config::reader::{Key, Table, Value};
use crate::config::values::{
    cores, count, duration, duration_from, flag, line, list, memory, number, share, word,
};
use crate::domain::money::MicroCents;
use crate::domain::node::{NodeSource, PoolName, PoolSpec};
use crate::domain::placement::BY_NODE;
use crate::domain::policy::{Policy, PolicyMode, SizeBounds};
use crate::domain::quantity::{Bytes, Millicores, Resources, Share};
use crate::domain::quota::Quota;

/// Cluster Autoscaler's `--scale-down-utilization-threshold`.
const SCALE_DOWN_BELOW_DEFAULT: f64 = 0.5;
/// Cluster Autoscaler's `--scale-down-unneeded-time`.
const SCALE_DOWN_AFTER_DEFAULT: SignedDuration = SignedDuration::from_mins(10);
/// Cluster Autoscaler adds nodes as soon as tasks wait for them.
const COOLDOWN_UP_DEFAULT: SignedDuration = SignedDuration::ZERO;
/// Cluster Autoscaler's `--scale-down-delay-after-add`.
const COOLDOWN_DOWN_DEFAULT: SignedDuration = SignedDuration::from_mins(10);

/// A node cannot join sooner than an engine looks.
const JOIN_TIMEOUT_MIN: SignedDuration = SignedDuration::from_secs(1);
/// The provider that needs no settings: slices of this machine.
const LOCAL: &str = "local";

/// The name of a pool, short enough for the names of its nodes.
pub(super) fn pool_name(text: &str) -> Result<PoolName, &'static str> {
    let name = PoolName::new(text)?;
    if text.len() > POOL_NAME_MAX { Err("the name of a pool has at most 50 characters") } else { Ok(name) }
}

/// Reads a node pool; nothing if its size is refused.
pub(super) fn pool(table: &Table<'_>) -> Option<PoolSpec> {
    let known = table.optional("type", node_type);
    let size = known.as_ref().map(|known| known.allocatable().base);
    let (cpu, memory) = match size {
        Some(size) => (Some(table.or("cpu", size.cpu, cores)), Some(table.or("memory", size.memory, memory))),
        // A type that is not known is told of; its size is not missing besides.
        None if table.has("type") => (table.optional("cpu", cores), table.optional("memory", memory)),
        None => (
            table.required(&["cpu"], "the cores of one node, such as cpu = 0.5", cores),
            table.required(&["memory"], "the memory of one node, such as memory = \"512MiB\"", memory),
        ),
    };
    let min = table.or("min", 1, count(0));
    let max = table.optional("max", count(1));
    if let Some(max) = max
        && min > max
    {
        table.refuse_key(
            "min",
            format!("min = {min} above max = {max}"),
            &format!("a min of at most {max}"),
            None,
        );
    }
    let pool = PoolSpec {
        size: Resources::ZERO,
        min,
        max: max.unwrap_or(min.max(1)),
        price_per_hour: table
            .optional("price_per_hour", number(0.0..=NUMBER_MAX, "a price such as 0.05"))
            .map(MicroCents::from_units)
            .or(known.as_ref().map(|known| known.price_per_hour)),
        attributes: {
            let own = table.or("attributes", BTreeMap::new(), attributes);
            known.map_or_else(BTreeMap::new, |known| known.attributes()).into_iter().chain(own).collect()
        },
        reserved_for: table.or("reserved_for", Vec::new(), |value| {
            let expected = "an array of teams and workloads such as [\"shop\"]";
            Some(list(value, expected, line)?.into_iter().map(|(name, _)| name).collect())
        }),
        scale_down_below: table.or("scale_down_below", Share::new(SCALE_DOWN_BELOW_DEFAULT), share),
        scale_down_after: table.or("scale_down_after", SCALE_DOWN_AFTER_DEFAULT, duration),
        cooldown_up: table.or("cooldown_up", COOLDOWN_UP_DEFAULT, duration),
        cooldown_down: table.or("cooldown_down", COOLDOWN_DOWN_DEFAULT, duration),
        source: source(table),
    };
    Some(PoolSpec { size: Resources::new(cpu?, memory?), ..pool })
}

/// Where its nodes come from. `local` is the cluster itself.
fn source(table: &Table<'_>) -> NodeSource {
    let provider = table.optional("provider", line).filter(|provider| provider != LOCAL);
    if provider.is_none() {
        for key in ["group", "rehearse"].into_iter().filter(|key| table.has(key)) {
            let found = format!("`{key}` without a `provider` other than \"{LOCAL}\"");
            table.refuse_key(key, found, "a provider that the engine's settings name", None);
        }
    }
    NodeSource {
        provider,
        group: table.optional("group", line),
        rehearse: table.or("rehearse", false, flag),
        join_timeout: table.optional("join_timeout", duration_from(JOIN_TIMEOUT_MIN)),
    }
}

fn attributes(value: &Value<'_>) -> Option<BTreeMap<String, String>> {
    let entries = value.entries("a table such as { disk = \"ssd\" }")?;
    Some(entries.iter().filter_map(|(key, value)| Some((own_attribute(key)?, line(value)?))).collect())
}

fn own_attribute(key: &Key<'_>) -> Option<String> {
    if key.text == "pool" {
        return key.refuse("another attribute: `pool` is the pool's own name", None);
    }
    if key.text == BY_NODE {
        return key.refuse("another attribute: `node` is the node itself", None);
    }
    attribute(key)
}

/// Reads a policy.
pub(super) fn policy(table: &Table<'_>) -> Policy {
    let modes = [PolicyMode::Off, PolicyMode::Observe, PolicyMode::Approve, PolicyMode::Auto]
        .map(|mode| (mode.as_str(), mode));
    let mode = word(&modes);
    let default = Policy::default();
    let both = table.optional("mode", &mode);
    Policy {
        size: table.or("size", both.unwrap_or(default.size), &mode),
        count: table.or("count", both.unwrap_or(default.count), &mode),
        bounds: bounds(table),
        min_change: table.or("min_change", default.min_change, share),
        max_disruption: table.or("max_disruption", default.max_disruption, count(1)),
    }
}

/// The name of a team, as `team` of a workload has it.
pub(super) fn team(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() { Err("the name of a team is not empty") } else { Ok(text.to_owned()) }
}

/// Reads a team's quota.
pub(super) fn quota(table: &Table<'_>) -> Quota {
    let keys = &["cpu", "memory", "tasks"];
    if !keys.iter().any(|key| table.has(key)) {
        let found = format!("none of `cpu`, `memory` and `tasks` in [{}]", table.name());
        table.refuse_absence(keys, found, "at least one of them");
    }
    Quota {
        cpu: table
            .optional("cpu", number(0.0..=NUMBER_MAX, "a number of cores such as 8"))
            .map(Millicores::from_cores),
        memory: table.optional("memory", memory),
        tasks: table.optional("tasks", count(0)),
    }
}

fn bounds(table: &Table<'_>) -> SizeBounds {
    let min_cpu: Option<Millicores> = table.optional("min_cpu", cores);
    let max_cpu = table.optional("max_cpu", cores);
    let min_memory: Option<Bytes> = table.optional("min_memory", memory);
    let max_memory = table.optional("max_memory", memory);
    if let (Some(min), Some(max)) = (min_cpu, max_cpu)
        && min > max
    {
        table.refuse_key(
            "min_cpu",
            format!("min_cpu = {min} above max_cpu = {max}"),
            "at most max_cpu",
            None,
        );
    }
    if let (Some(min), Some(max)) = (min_memory, max_memory)
        && min > max
    {
        let found = format!("min_memory = {min} above max_memory = {max}");
        table.refuse_key("min_memory", found, "at most max_memory", None);
    }
    SizeBounds { min_cpu, max_cpu, min_memory, max_memory }
}
