//! Reads node types: `config/node-types.toml`, which the binary carries, and files of the same form that owners
//! write. Not here: which of them a plan uses (`cli`), CSV price lists (`planning`).

use std::collections::BTreeMap;

use crate::config::error::SpecError;
use crate::config::reader::{Document, Key, Report, Table, Value};
use crate::config::source::Source;
use crate::config::values::{cores, duration, line, list, memory, number, share, tries};
use crate::config::wording::nearest;
use crate::domain::money::MicroCents;
use crate::domain::node_type::{Capacity, NodeType, Overhead, Purchase};
use crate::domain::quantity::{Bytes, Millicores, Resources};

/// Facts about common types of public clouds.
const SHIPPED: &str = include_str!("../../config/node-types.toml");
/// A dearer node is a mistake.
const PRICE_MAX: f64 = 1e6;
/// The resource that GPUs are.
pub const GPU: &str = "gpu";

/// The types that the binary carries.
///
/// # Errors
/// Where the file was broken when the binary was built; a test keeps that from happening.
pub fn shipped_node_types() -> Result<Vec<NodeType>, Vec<SpecError>> {
    parse_node_types("config/node-types.toml", SHIPPED)
}

/// Reads node types from a text that stands in `file`.
pub fn parse_node_types(file: &str, text: &str) -> Result<Vec<NodeType>, Vec<SpecError>> {
    let sources = [Source::named(file, text)];
    let report = Report::default();
    let mut types = Vec::new();
    Document::read(&report, &sources, 0, |root| {
        let providers = root.get("provider").and_then(|value| value.entries("tables such as [provider.ec2]"));
        for (key, value) in providers.unwrap_or_default() {
            let name = format!("provider.{}", key.text);
            types.extend(value.table(name, key.at, |table| provider(key.text, table)).unwrap_or_default());
        }
    });
    let errors = report.into_errors(&sources);
    if errors.is_empty() { Ok(types) } else { Err(errors) }
}

/// What types of a provider have in common.
struct Common {
    provider: String,
    region: String,
    zones: Vec<Option<String>>,
    arch: String,
    overhead: Overhead,
    boot_time: Option<jiff::SignedDuration>,
}

fn provider(name: &str, table: &Table<'_>) -> Vec<NodeType> {
    let region = table.required(&["region"], "a region such as region = \"us-east-1\"", line);
    let zones = table.optional("zones", |value| list(value, "an array such as [\"a\", \"b\"]", line));
    let zones: Vec<Option<String>> =
        zones.unwrap_or_default().into_iter().map(|(zone, _)| Some(zone)).collect();
    let common = Common {
        provider: name.to_owned(),
        region: region.unwrap_or_default(),
        zones: if zones.is_empty() { vec![None] } else { zones },
        arch: table.or("arch", "amd64".to_owned(), line),
        overhead: table.table("overhead", overhead).unwrap_or(Overhead::NONE),
        boot_time: table.optional("boot_time", duration),
    };
    // Kept for people: where the numbers are from, and of when.
    table.optional("source", line);
    table.optional("date", line);
    let entries = table.get("types").and_then(|value| value.entries("a table of types by name"));
    let read = |(key, value): (Key<'_>, Value<'_>)| {
        let of = |table: &Table<'_>| node_types(key.text, table, &common);
        value.table(format!("provider.{name}.types.{}", key.text), key.at, of).unwrap_or_default()
    };
    entries.unwrap_or_default().into_iter().flat_map(read).collect()
}

fn overhead(table: &Table<'_>) -> Overhead {
    Overhead {
        cpu_share: table.or("cpu_share", Overhead::NONE.cpu_share, share),
        cpu: table.or("cpu", Millicores::ZERO, cores),
        memory_share: table.or("memory_share", Overhead::NONE.memory_share, share),
        memory: table.or("memory", Bytes::ZERO, memory),
    }
}

/// A type in each zone, and as spot too where that has a price.
fn node_types(name: &str, table: &Table<'_>, common: &Common) -> Vec<NodeType> {
    let price = || number(0.0..=PRICE_MAX, "a price such as 0.05");
    let cpu = table.required(&["cpu"], "the whole machine's cores, such as cpu = 2", cores);
    let memory = table.required(&["memory"], "the whole machine's memory, such as memory = \"8GiB\"", memory);
    let on_demand = table.required(&["price_per_hour"], "a price such as price_per_hour = 0.05", price());
    let spot = table.optional("spot_price_per_hour", price());
    let gpu = table.optional(GPU, tries(1));
    let arch = table.or("arch", common.arch.clone(), line);
    let (Some(cpu), Some(memory), Some(on_demand)) = (cpu, memory, on_demand) else { return Vec::new() };
    let extra: BTreeMap<String, u64> =
        gpu.into_iter().map(|count| (GPU.to_owned(), u64::from(count))).collect();
    let machine = Capacity { base: Resources::new(cpu, memory), extra };
    let prices = [(Some(on_demand), Purchase::OnDemand), (spot, Purchase::Spot)];
    let priced = prices.into_iter().filter_map(|(price, purchase)| Some((price?, purchase)));
    let made =
        priced.flat_map(|(price, purchase)| common.zones.iter().map(move |zone| (price, purchase, zone)));
    made.map(|(price, purchase, zone)| NodeType {
        name: name.to_owned(),
        provider: common.provider.clone(),
        region: common.region.clone(),
        zone: zone.clone(),
        arch: arch.clone(),
        machine: machine.clone(),
        overhead: common.overhead,
        price_per_hour: MicroCents::from_units(price),
        purchase,
        boot_time: common.boot_time,
    })
    .collect()
}

/// Reads the name of a shipped type that is paid for by the hour.
pub(super) fn node_type(value: &Value<'_>) -> Option<NodeType> {
    let name = line(value)?;
    let types = shipped_node_types().unwrap_or_default();
    let found = types.iter().find(|known| known.name == name && known.purchase == Purchase::OnDemand);
    if let Some(found) = found {
        return Some(found.clone());
    }
    let hint = nearest(&name, types.iter().map(|known| known.name.as_str()));
    value.refuse_hint("a type that `loadline node-types` lists", hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_types_read_and_have_room_for_tasks() {
        let types = shipped_node_types().expect("valid types");
        assert!((100..=400).contains(&types.len()), "{}", types.len());
        for known in &types {
            let left = known.allocatable().base;
            assert!(left.cpu > Millicores::ZERO && left.memory > Bytes::ZERO, "{}", known.name);
            assert!(left.fits(known.machine.base) && left != known.machine.base, "{}", known.name);
            assert!(known.price_per_hour > MicroCents::ZERO, "{}", known.name);
        }
        for provider in ["ec2", "gce", "azure"] {
            assert!(types.iter().any(|known| known.provider == provider), "{provider}");
        }
        let large = types.iter().find(|known| known.name == "m7i.large").expect("m7i.large");
        assert_eq!(large.price_per_hour, MicroCents::from_units(0.1008));
    }

    #[test]
    fn own_types_have_zones_and_spot_prices_and_mistakes_are_told() {
        let text = "[provider.own]\nregion = \"cellar\"\nzones = [\"a\", \"b\"]\n[provider.own.types]\n\
            \"big\" = { cpu = 8, memory = \"32GiB\", price_per_hour = 0.4, spot_price_per_hour = 0.1, gpu = 2 }\n";
        let types = parse_node_types("own.toml", text).expect("valid types");
        assert_eq!(types.len(), 4);
        assert_eq!(types[1].attributes()["zone"], "b");
        assert_eq!(types[2].purchase, Purchase::Spot);
        assert_eq!(types[0].machine.extra["gpu"], 2);
        let errors =
            parse_node_types("own.toml", &text.replace("cpu = 8", "cpus = 8")).expect_err("a mistake");
        assert!(errors[0].to_string().starts_with("own.toml:5:"), "{}", errors[0]);
    }
}
