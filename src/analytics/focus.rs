//! A statement as a Cost and Usage dataset of FOCUS 1.3 (the `FinOps` Open Cost and Usage Specification): a row a
//! day, node and workload, and a row a day and node for what was not allocated. The rows of a node and day add
//! up to its charge. Each row is an allocated charge of the specification's split cost allocation: `ResourceId`
//! is the node, `AllocatedResourceId` the workload or task, null for the part that is not allocated.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use crate::accounting::amount::CoreTime;
use crate::accounting::bill::report::Frame;
use crate::accounting::bill::statement::{Cell, Key, Place, Statement};
use crate::accounting::bill::taken::Subject;
use crate::analytics::table::{Cells, Table};
use crate::domain::money::MicroCents;

/// The allocation method, as `docs/reports.md` describes it.
const METHOD: &str = "loadline-node-hour-by-request";
/// Who provides, publishes and invoices: nobody outside is known.
const PROVIDER: &str = "Loadline";
const UNIT: &str = "Core-Hours";

/// One row before it is cut into columns.
struct Row<'a> {
    day: i64,
    place: &'a Place,
    subject: Option<&'a Subject>,
    cost: MicroCents,
    cores: f64,
    /// Its share of the origin charge.
    ratio: f64,
}

/// The dataset. The statement is daily and tells nodes apart.
pub fn focus_table(frame: &Frame, statement: &Statement) -> Table {
    let cells = statement.cells();
    let mut origins: BTreeMap<(i64, u32), i64> = BTreeMap::new();
    for (key, cell) in &cells {
        *origins.entry((key.day, key.place)).or_default() += cell.total();
    }
    let rows: Vec<Row<'_>> = cells
        .iter()
        .filter(|(_, cell)| cell.total() != 0)
        .filter_map(|(key, cell)| row(*key, cell, statement, origins[&(key.day, key.place)]))
        .collect();
    table(frame, &rows)
}

fn row<'a>(key: Key, cell: &Cell, statement: &'a Statement, origin: i64) -> Option<Row<'a>> {
    Some(Row {
        day: key.day,
        place: statement.place_of(key.place)?,
        subject: key.subject.and_then(|number| statement.subjects.get(number)),
        cost: MicroCents::new(cell.total()),
        cores: CoreTime::core_hours(cell.cpu_requested()),
        ratio: if origin == 0 { 0.0 } else { cell.total() as f64 / origin as f64 },
    })
}

fn table(frame: &Frame, rows: &[Row<'_>]) -> Table {
    let count = rows.len();
    let text = |of: &dyn Fn(&Row<'_>) -> Option<String>| Cells::Text(rows.iter().map(of).collect());
    let some = |of: &dyn Fn(&Row<'_>) -> String| Cells::Text(rows.iter().map(|row| Some(of(row))).collect());
    let same = |value: &str| Cells::constant(value, count);
    let cost = || Cells::Money(rows.iter().map(|row| row.cost).collect());
    let cores = || Cells::Real(rows.iter().map(|row| row.cores).collect());
    let period = |of: &dyn Fn(&Row<'_>) -> Timestamp| Cells::Time(rows.iter().map(of).collect());
    let columns = vec![
        ("AllocatedMethodDetails", text(&method_details)),
        ("AllocatedMethodId", text(&|row| row.place.node.as_ref().map(|_| METHOD.to_owned()))),
        ("AllocatedResourceId", text(&|row| row.subject.map(subject_id))),
        ("AllocatedResourceName", text(&|row| row.subject.map(subject_id))),
        ("AllocatedTags", text(&|row| row.subject.map(tags))),
        ("BilledCost", cost()),
        ("BillingAccountId", same("loadline")),
        ("BillingAccountName", same(PROVIDER)),
        ("BillingAccountType", same("Engine")),
        ("BillingCurrency", same(&frame.currency)),
        ("BillingPeriodEnd", period(&|row| month_of(row.day).1)),
        ("BillingPeriodStart", period(&|row| month_of(row.day).0)),
        ("ChargeCategory", same("Usage")),
        ("ChargeClass", Cells::null(count)),
        ("ChargeDescription", some(&description)),
        ("ChargeFrequency", same("Usage-Based")),
        ("ChargePeriodEnd", period(&|row| day_start(row.day + 1))),
        ("ChargePeriodStart", period(&|row| day_start(row.day))),
        ("ConsumedQuantity", cores()),
        ("ConsumedUnit", same(UNIT)),
        ("ContractedCost", cost()),
        ("EffectiveCost", cost()),
        ("HostProviderName", same(PROVIDER)),
        ("InvoiceId", Cells::null(count)),
        ("InvoiceIssuerName", same(PROVIDER)),
        ("ListCost", cost()),
        ("PricingCategory", same("Standard")),
        ("PricingQuantity", cores()),
        ("PricingUnit", same(UNIT)),
        ("ProviderName", same(PROVIDER)),
        ("PublisherName", same(PROVIDER)),
        ("ResourceId", text(&|row| row.place.node.as_ref().map(ToString::to_string))),
        ("ResourceName", text(&|row| row.place.node.as_ref().map(ToString::to_string))),
        ("ResourceType", text(&|row| row.place.node.as_ref().map(|_| "Node".to_owned()))),
        ("ServiceCategory", same("Compute")),
        ("ServiceName", same("Loadline nodes")),
        ("ServiceProviderName", same(PROVIDER)),
        ("ServiceSubcategory", same("Virtual Machines")),
        ("SubAccountId", text(&|row| row.place.pool.as_ref().map(ToString::to_string))),
        ("SubAccountName", text(&|row| row.place.pool.as_ref().map(ToString::to_string))),
        ("SubAccountType", text(&|row| row.place.pool.as_ref().map(|_| "Pool".to_owned()))),
        ("Tags", some(&|row| row.subject.map_or_else(|| "{}".to_owned(), tags))),
        ("x_CostMicroCents", Cells::MicroCents(rows.iter().map(|row| row.cost).collect())),
    ];
    Table { columns, rows: count }
}

fn subject_id(subject: &Subject) -> String {
    match subject.task {
        Some(number) => format!("{}.{number}", subject.workload),
        None => subject.workload.to_string(),
    }
}

fn tags(subject: &Subject) -> String {
    let mut tags = serde_json::Map::new();
    tags.insert("workload".to_owned(), json!(subject.workload.as_str()));
    for (key, value) in [("team", &subject.owner.team), ("cost_centre", &subject.owner.cost_centre)] {
        if let Some(value) = value {
            tags.insert(key.to_owned(), json!(value));
        }
    }
    serde_json::Value::Object(tags).to_string()
}

fn method_details(row: &Row<'_>) -> Option<String> {
    row.place.node.as_ref()?;
    let element = json!({"AllocatedRatio": row.ratio, "UsageUnit": UNIT, "UsageQuantity": row.cores});
    Some(json!({"Elements": [element]}).to_string())
}

fn description(row: &Row<'_>) -> String {
    match (&row.place.node, row.subject) {
        (Some(node), Some(subject)) => format!("{} on node {node}", subject_id(subject)),
        (Some(node), None) => format!("Overhead and free capacity of node {node}"),
        (None, _) => "Shared cost".to_owned(),
    }
}

/// The start of a day of UTC.
fn day_start(day: i64) -> Timestamp {
    Timestamp::from_second(day * 86_400).unwrap_or(Timestamp::MAX)
}

/// The month of UTC that a day is in.
fn month_of(day: i64) -> (Timestamp, Timestamp) {
    let date = day_start(day).to_zoned(TimeZone::UTC).date();
    let next = date.last_of_month().tomorrow().unwrap_or(date);
    let start = |date: jiff::civil::Date| {
        date.to_zoned(TimeZone::UTC).map_or(day_start(day), |zoned| zoned.timestamp())
    };
    (start(date.first_of_month()), start(next))
}
