//! `loadline report`: requested, used, recommended and idle, by workload and owner, with prices; with `--month`
//! or `--by` what the nodes cost, split among those who had them.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};
use jiff::Timestamp;

use crate::api::bill::BillRequest;
use crate::api::client::Client;
use crate::cli::bill_table::bill_table;
use crate::cli::exit::{Exit, ended};
use crate::cli::output::{Output, say, say_error, say_json};
use crate::cli::report_table::report_table;

/// `loadline report`
#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// From this instant on, for example 2026-11-22T00:00:00Z. Default: 24 hours before `--to`.
    #[arg(long, conflicts_with = "month")]
    from: Option<Timestamp>,
    /// Before this instant. Default: now.
    #[arg(long, conflicts_with = "month")]
    to: Option<Timestamp>,
    /// The bill of the nodes in a month of UTC, for example 2026-11.
    #[arg(long)]
    month: Option<String>,
    /// What the rows of the bill stand for; without a month and `--from`, of this month.
    #[arg(long, value_enum)]
    by: Option<ByArg>,
    /// The form of the bill.
    #[arg(long, value_enum)]
    format: Option<BillFormat>,
    /// How cost that no task caused is split: none, even, proportional, or weights such as `shop=3,search=1`.
    #[arg(long)]
    share: Option<String>,
    /// Where a file goes; standard output without it.
    #[arg(long)]
    file: Option<PathBuf>,
    /// Take this bill (CSV with the columns node, from, to, cost and kind) for the month in place of the price
    /// list; an empty file goes back to the list.
    #[arg(long, value_name = "CSV", requires = "month", conflicts_with_all = ["by", "format", "share", "file"])]
    import_bill: Option<PathBuf>,
}

/// What rows stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ByArg {
    Team,
    CostCentre,
    Service,
    Pool,
    Workload,
    Task,
}

/// The form of a bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum BillFormat {
    /// For people, in the terminal.
    Table,
    /// Comma-separated values.
    Csv,
    /// Apache Parquet.
    Parquet,
    /// FOCUS 1.3 as CSV.
    Focus,
    /// FOCUS 1.3 as Parquet.
    FocusParquet,
    /// A page fit to print.
    Html,
}

pub(super) async fn run(client: &Client, output: Output, args: ReportArgs) -> anyhow::Result<()> {
    if let Some(file) = &args.import_bill {
        return import(client, output, args.month.clone().unwrap_or_default(), file).await;
    }
    if args.month.is_some() || args.by.is_some() || args.format.is_some() || args.share.is_some() {
        return bill(client, output, &args).await;
    }
    if args.file.is_some() {
        return Err(ended(
            Exit::BadInput,
            "--file goes with --format csv, parquet, focus, focus-parquet or html",
        ));
    }
    let report = client.report(args.from, args.to).await?;
    match output {
        Output::Json => say_json(&report),
        Output::Table => {
            say(&report_table(&report))?;
            Ok(())
        }
    }
}

async fn bill(client: &Client, output: Output, args: &ReportArgs) -> anyhow::Result<()> {
    let word = |value: Option<clap::builder::PossibleValue>| value.map(|value| value.get_name().to_owned());
    let format = args.format.filter(|format| *format != BillFormat::Table);
    let mut query = vec![
        ("month", args.month.clone()),
        ("from", args.from.map(|at| at.to_string())),
        ("to", args.to.map(|at| at.to_string())),
        ("by", word(args.by.and_then(|by| by.to_possible_value()))),
        ("share", args.share.clone()),
    ];
    let Some(format) = format else {
        if args.file.is_some() {
            return Err(ended(Exit::BadInput, "a table goes to the terminal: leave --file out"));
        }
        let report = client.cost_report(&query).await?;
        return match output {
            Output::Json => say_json(&report),
            Output::Table => Ok(say(&bill_table(&report))?),
        };
    };
    query.push(("format", word(format.to_possible_value())));
    let (content, warnings) = client.cost_file(&query).await?;
    for warning in &warnings {
        say_error(&format!("warning: {warning}"));
    }
    match &args.file {
        Some(file) => {
            std::fs::write(file, content).with_context(|| format!("cannot write {}", file.display()))
        }
        None => Ok(std::io::stdout().write_all(&content)?),
    }
}

async fn import(client: &Client, output: Output, month: String, file: &PathBuf) -> anyhow::Result<()> {
    let csv = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let done = client.import_bill(&BillRequest { month: month.clone(), csv }).await?;
    match output {
        Output::Json => say_json(&done),
        Output::Table if done.lines == 0 => Ok(say(&format!("{month}: the price list counts again"))?),
        Output::Table => {
            let cost = crate::domain::money::MicroCents::new(done.cost_micro_cents);
            Ok(say(&format!(
                "{month}: {} lines, {cost} in all, count in place of the price list",
                done.lines
            ))?)
        }
    }
}
