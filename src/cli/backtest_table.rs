//! A backtest's report as tables for people.

use crate::charts::cells::{self, Cells};
use crate::cli::output::{say, say_table, table};
use crate::replay::backtest::Report;

/// Prints the tables of one trace and resource.
pub(super) fn say_report(report: &Report) -> anyhow::Result<()> {
    let resource = cells::resource(report.resource);
    say(&format!("{}: {resource}, {}", report.trace, cells::extent(report)))?;
    say_cells(&cells::figures(report))?;
    for line in cells::withheld(report) {
        say(&line)?;
    }
    say("\ncold start")?;
    say_cells(&cells::cold_start(report))?;
    Ok(say(&format!("{}\n", cells::LEGEND))?)
}

/// Prints a table of text.
pub(super) fn say_cells(cells: &Cells) -> anyhow::Result<()> {
    let mut rows = table(&cells.head);
    for row in &cells.rows {
        rows.add_row(row.clone());
    }
    say_table(&rows)
}
