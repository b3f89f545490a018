//! The bill of the nodes as a table for people. Not here: what it says (`accounting`), its JSON.

use std::fmt::Write;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};
use jiff::SignedDuration;

use crate::accounting::bill::report::{BillReport, BillRow};
use crate::accounting::bill::savings::Saving;
use crate::domain::money::MicroCents;

/// The width of a bill in characters.
const WIDTH: u16 = 120;

/// The bill: a row a name, the total, and what recommendations saved.
pub(super) fn bill_table(report: &BillReport) -> String {
    let known =
        if report.until < report.to { format!(", known until {}", report.until) } else { String::new() };
    let head = format!("Cost by {}, {} to {}{known}, {}", report.by, report.from, report.to, report.currency);
    if report.rows.is_empty() {
        return format!("{head}\nNothing was charged and no task ran.\n");
    }
    let digits = if report.totals.cost.units().abs() >= 100.0 { 2 } else { 6 };
    let mut text = format!("{head}\n\n{}\n", rows(report, digits).trim_fmt());
    if !report.savings.is_empty() {
        let _ = writeln!(text, "\nApplied recommendations\n{}", savings(&report.savings, digits).trim_fmt());
    }
    text.push_str(&notes(report));
    text
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .set_header(header.iter().map(Cell::new));
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn shown(amount: MicroCents, digits: usize) -> String {
    format!("{:.digits$}", amount.units())
}

fn rows(report: &BillReport, digits: usize) -> Table {
    let header =
        ["NAME", "REQUESTED", "USED", "IDLE", "OVERHEAD", "FREE", "SHARED", "COST", "SAVED", "FORECAST"];
    let mut table = table(&header);
    for row in report.rows.iter().chain([&report.totals]) {
        let BillRow { parts, .. } = row;
        let amounts = [
            row.requested,
            parts.used,
            parts.idle + parts.unsampled,
            parts.overhead,
            parts.free,
            parts.shared,
            row.cost,
            row.saving,
            row.forecast,
        ];
        let cells = amounts.map(|amount| shown(amount, digits));
        table.add_row([row.name.clone()].into_iter().chain(cells));
    }
    table
}

fn savings(savings: &[Saving], digits: usize) -> Table {
    let mut table = table(&["WORKLOAD", "DECISION", "FROM", "TO", "PROMISED", "REALISED", "DIFFERENCE"]);
    for saving in savings {
        table.add_row([
            saving.workload.to_string(),
            saving.decision.to_string(),
            saving.from.request.to_string(),
            saving.to.request.to_string(),
            shown(saving.promised, digits),
            shown(saving.realised, digits),
            shown(saving.difference, digits),
        ]);
    }
    let sum = |of: fn(&Saving) -> MicroCents| shown(savings.iter().map(of).sum(), digits);
    let sums =
        [sum(|saving| saving.promised), sum(|saving| saving.realised), sum(|saving| saving.difference)];
    table.add_row(["sum", "", "", ""].into_iter().map(str::to_owned).chain(sums));
    table
}

fn notes(report: &BillReport) -> String {
    let mut text =
        "\nIdle: requested and not used, or not measured. Overhead: kept by the system, and nodes that come \
        or go.\nFree: had by nobody. Saved: by applied recommendations. docs/reports.md tells the rules.\n"
            .to_owned();
    match report.sampled_from {
        Some(from) => {
            let _ = writeln!(text, "Use is known from {from} on.");
        }
        None => text.push_str("Nothing was measured so far.\n"),
    }
    for warning in &report.warnings {
        let _ = writeln!(text, "Warning: {warning}.");
    }
    if report.unbilled_task_microseconds > 0 {
        let hours = SignedDuration::from_micros(report.unbilled_task_microseconds).as_secs_f64() / 3600.0;
        let _ = writeln!(text, "{hours:.2} task-hours ran on nodes that nothing was charged for.");
    }
    text
}
