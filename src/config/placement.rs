//! Reads `placement` of a workload: conditions on nodes, neighbours, evenness, strategy.

use toml::de::DeValue;

use crate::config::reader::{Key, Place, Table, Value};
use crate::config::values::{any_number, flag, line, list, name, tries, word};
use crate::domain::node::PoolName;
use crate::domain::placement::{
    BY_NODE, Constraint, Neighbour, Operator, PlacementSpec, SpreadOver, Strategy,
};
use crate::domain::quantity::Resources;
use crate::domain::workload::WorkloadName;

/// A request with the conditions on the node that it is placed on.
#[derive(Debug)]
pub(super) struct PlacementUse {
    /// What must fit.
    pub(super) request: Resources,
    /// Where it is written, or where the workload begins.
    pub(super) at: Place,
    /// What must hold of the node.
    pub(super) conditions: Vec<Condition>,
}

/// One condition with its positions.
#[derive(Debug)]
pub(super) struct Condition {
    /// The condition.
    pub(super) constraint: Constraint,
    /// Where the attribute's name is written.
    pub(super) at: Place,
    /// Where each of its values is written.
    pub(super) values_at: Vec<Place>,
}

const CONDITION_EXPECTED: &str = "a value such as \"ssd\", several such as [\"ssd\", \"nvme\"], or one of \
     { not_in = [...] }, { exists = true }, { above = 4 } and { below = 4 }";

/// Reads where tasks may go; the conditions come with their places as well.
pub(super) fn placement(table: &Table<'_>) -> (PlacementSpec, Vec<Condition>) {
    let pool = table.optional("pool", |value| {
        let name = name(PoolName::new)(value)?;
        let constraint = Constraint::is_in("pool", vec![name.to_string()]);
        Some(Condition { constraint, at: value.place(), values_at: vec![value.place()] })
    });
    let attributes = table.or("attributes", Vec::new(), |value| {
        let entries = value.entries("a table such as { disk = [\"ssd\", \"nvme\"] }")?;
        Some(entries.iter().filter_map(|(key, value)| condition(key, value)).collect())
    });
    let conditions: Vec<Condition> = pool.into_iter().chain(attributes).collect();
    let strategies = [("pack", Strategy::Pack), ("spread", Strategy::Spread)];
    let spec = PlacementSpec {
        constraints: conditions.iter().map(|condition| condition.constraint.clone()).collect(),
        strategy: table.or("strategy", Strategy::Pack, word(&strategies)),
        spread_over: spread_over(table),
        affinity: table.or("affinity", Vec::new(), neighbours),
        anti_affinity: table.or("anti_affinity", Vec::new(), neighbours),
    };
    (spec, conditions)
}

fn spread_over(table: &Table<'_>) -> Option<SpreadOver> {
    let by = table.optional("spread_over", place);
    let max_skew = table.optional("max_skew", tries(1));
    if max_skew.is_some() && !table.has("spread_over") {
        let expected = "`spread_over` beside it, such as spread_over = \"zone\"";
        table.refuse_key("max_skew", "`max_skew` by itself".to_owned(), expected, None);
    }
    Some(SpreadOver { by: by?, max_skew: max_skew.unwrap_or(1) })
}

/// What counts as one place: a node, or the nodes with one value of an attribute.
fn place(value: &Value<'_>) -> Option<String> {
    let expected = "\"node\", or the name of an attribute such as \"zone\"";
    let text = value.text(expected)?;
    if text == BY_NODE || is_attribute(text) { Some(text.to_owned()) } else { value.refuse(expected) }
}

fn neighbours(value: &Value<'_>) -> Option<Vec<Neighbour>> {
    let expected =
        "an array such as [\"cache\"] or [{ service = \"cache\", by = \"zone\", required = true }]";
    Some(list(value, expected, neighbour)?.into_iter().map(|(rule, _)| rule).collect())
}

fn neighbour(value: &Value<'_>) -> Option<Neighbour> {
    let service = name(WorkloadName::new);
    let (workload, by, required) = match value.get() {
        DeValue::Table(_) => value.table("placement".to_owned(), value.place(), |table| {
            let workload = table.required(&["service"], "the name of a service", &service);
            (workload, table.or("by", BY_NODE.to_owned(), place), table.or("required", false, flag))
        })?,
        _ => (service(value), BY_NODE.to_owned(), false),
    };
    Some(Neighbour { workload: workload?, by, required })
}

fn condition(key: &Key<'_>, value: &Value<'_>) -> Option<Condition> {
    let attribute = attribute(key)?;
    let of = |operator, any_of, values_at| Condition {
        constraint: Constraint { attribute: attribute.clone(), operator, any_of },
        at: key.at,
        values_at,
    };
    if let DeValue::Table(_) = value.get() {
        return value.table(format!("placement.attributes.{}", key.text), key.at, |table| {
            let (operator, any_of) = operator(table, value)?;
            Some(of(operator, any_of, Vec::new()))
        })?;
    }
    let (any_of, values_at) = values(value)?.into_iter().unzip();
    Some(of(Operator::In, any_of, values_at))
}

/// One value or several.
fn values(value: &Value<'_>) -> Option<Vec<(String, Place)>> {
    match value.get() {
        DeValue::Array(values) if values.is_empty() => {
            value.refuse_as("no value".to_owned(), CONDITION_EXPECTED, None)
        }
        DeValue::Array(_) => list(value, CONDITION_EXPECTED, line),
        _ => line(value).map(|text| vec![(text, value.place())]),
    }
}

fn operator(table: &Table<'_>, value: &Value<'_>) -> Option<(Operator, Vec<String>)> {
    let texts = |value: &Value<'_>| Some(values(value)?.into_iter().map(|(text, _)| text).collect());
    let one_of: Option<Vec<String>> = table.optional("in", texts);
    let none_of: Option<Vec<String>> = table.optional("not_in", texts);
    let exists = table.optional("exists", flag);
    let number = |value: &Value<'_>| any_number(value).map(|number| vec![number.to_string()]);
    let above = table.optional("above", number);
    let below = table.optional("below", number);
    let keys = ["in", "not_in", "exists", "above", "below"];
    if keys.iter().filter(|key| table.has(key)).count() != 1 {
        return value.refuse_as("a condition that is not exactly one".to_owned(), CONDITION_EXPECTED, None);
    }
    let presence = |exists: bool| if exists { Operator::Exists } else { Operator::Absent };
    let found = [
        one_of.map(|values| (Operator::In, values)),
        none_of.map(|values| (Operator::NotIn, values)),
        exists.map(|exists| (presence(exists), Vec::new())),
        above.map(|number| (Operator::Above, number)),
        below.map(|number| (Operator::Below, number)),
    ];
    found.into_iter().flatten().next()
}

fn is_attribute(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    !text.is_empty() && text.chars().all(allowed)
}

/// The name of a node's attribute.
pub(super) fn attribute(key: &Key<'_>) -> Option<String> {
    if is_attribute(key.text) {
        return Some(key.text.to_owned());
    }
    key.refuse("the name of an attribute such as `disk` or `zone`", None)
}
