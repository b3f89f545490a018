//! `loadline dataset`: usage as traces, recorded, generated, imported and described.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use jiff::Timestamp;
use serde::Serialize;

use crate::analytics::{TraceFormat, encode_rows};
use crate::api::client::Client;
use crate::cli::dataset_describe::{self, DescribeArgs};
use crate::cli::dataset_import::{self, ImportArgs};
use crate::cli::exit::{Exit, ended};
use crate::cli::output::{Output, say};
use crate::replay::families::{self, Family, Plan, Truth};

/// `loadline dataset`
#[derive(Debug, Args)]
pub(super) struct DatasetArgs {
    #[command(subcommand)]
    action: DatasetAction,
}

#[derive(Debug, Subcommand)]
enum DatasetAction {
    /// Write what the engine recorded as a usage trace, one row per task and interval.
    Record {
        /// The file: `.parquet` or `.csv`.
        file: PathBuf,
        /// From this instant on. Default: 24 hours before `--to`.
        #[arg(long)]
        from: Option<Timestamp>,
        /// Before this instant. Default: now.
        #[arg(long)]
        to: Option<Timestamp>,
        /// Seconds from one row of a task to the next.
        #[arg(long, default_value_t = 300)]
        interval: u32,
    },
    /// Write generated usage with known truth; the same arguments give the same file.
    Generate(GenerateArgs),
    /// Make a usage trace of a public one, as it is published.
    Import(ImportArgs),
    /// Show what is in a usage trace: series, intervals, gaps, sizes and their course.
    Describe(DescribeArgs),
}

#[derive(Debug, Args)]
struct GenerateArgs {
    /// The file: `.parquet` or `.csv`.
    file: PathBuf,
    /// Families, split by commas. Default: all.
    #[arg(long, value_delimiter = ',')]
    family: Vec<String>,
    /// Workloads of each family.
    #[arg(long, default_value_t = 3)]
    workloads: u32,
    /// Days.
    #[arg(long, default_value_t = 14, value_parser = clap::value_parser!(i64).range(1..=3650))]
    days: i64,
    /// Seconds from one row of a task to the next.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(i64).range(1..=3600))]
    interval: i64,
    /// The seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write what is true of each workload to this file, as JSON: levels, growth, period, events.
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
}

/// The file of truths.
#[derive(Serialize)]
struct TruthFile {
    seed: u64,
    days: i64,
    interval: i64,
    workloads: Vec<Truth>,
}

impl DatasetArgs {
    /// Whether no engine is needed.
    pub(super) fn is_local(&self) -> bool {
        !matches!(self.action, DatasetAction::Record { .. })
    }
}

/// Runs what needs an engine, and all else too.
pub(super) async fn run(client: &Client, output: Output, args: DatasetArgs) -> anyhow::Result<()> {
    match args.action {
        DatasetAction::Record { file, from, to, interval } => record(client, &file, interval, from, to).await,
        DatasetAction::Generate(_) | DatasetAction::Import(_) | DatasetAction::Describe(_) => {
            run_local(output, &args)
        }
    }
}

/// Runs what needs no engine.
pub(super) fn run_local(output: Output, args: &DatasetArgs) -> anyhow::Result<()> {
    match &args.action {
        DatasetAction::Record { .. } => anyhow::bail!("recording needs an engine"),
        DatasetAction::Generate(args) => generate(args),
        DatasetAction::Import(args) => dataset_import::run(output, args),
        DatasetAction::Describe(args) => dataset_describe::run(output, args),
    }
}

/// Writes generated usage, and says what is true of each family in it.
fn generate(args: &GenerateArgs) -> anyhow::Result<()> {
    let format = match args.file.extension().and_then(|extension| extension.to_str()) {
        Some("parquet") => TraceFormat::Parquet,
        Some("csv") => TraceFormat::Csv,
        _ => return Err(wrong_name(&args.file)),
    };
    let known: Vec<&str> = Family::ALL.iter().map(|(_, name, _)| *name).collect();
    let wrong = args.family.iter().find(|name| !known.contains(&name.as_str()));
    if let Some(name) = wrong {
        let message = format!("there is no family `{name}`; there are {}", known.join(", "));
        return Err(ended(Exit::BadInput, message));
    }
    let chosen = || {
        let asked = |name: &str| args.family.is_empty() || args.family.iter().any(|family| family == name);
        Family::ALL.into_iter().filter(move |(_, name, _)| asked(name))
    };
    let families: Vec<Family> = chosen().map(|(family, ..)| family).collect();
    let plan = Plan { workloads: args.workloads, days: args.days, interval: args.interval, seed: args.seed };
    let (rows, workloads) = families::generate(&families, plan);
    let bytes = encode_rows(format, &rows)?;
    std::fs::write(&args.file, &bytes).with_context(|| format!("cannot write {}", args.file.display()))?;
    say(&format!("{} rows written to {}", rows.len(), args.file.display()))?;
    if let Some(path) = &args.truth {
        let Plan { seed, days, interval, .. } = plan;
        let truths = serde_json::to_string_pretty(&TruthFile { seed, days, interval, workloads })?;
        std::fs::write(path, truths + "\n").with_context(|| format!("cannot write {}", path.display()))?;
        say(&format!("what is true of each workload written to {}", path.display()))?;
    }
    for (_, name, truth) in chosen() {
        say(&format!("{name}: {truth}"))?;
    }
    Ok(())
}

/// A trace's name tells its format.
pub(super) fn wrong_name(file: &Path) -> anyhow::Error {
    let expected = format!("{}: expected a file name that ends in .parquet or .csv", file.display());
    ended(Exit::BadInput, expected)
}

/// Writes what the engine recorded to a file, a row a task and `interval` seconds.
pub(super) async fn record(
    client: &Client,
    file: &Path,
    interval: u32,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
) -> anyhow::Result<()> {
    let format = match file.extension().and_then(|extension| extension.to_str()) {
        Some("parquet") => "parquet",
        Some("csv") => "csv",
        _ => return Err(wrong_name(file)),
    };
    let spinner = ProgressBar::new_spinner().with_message("collecting what was recorded");
    spinner.enable_steady_tick(Duration::from_millis(100));
    let bytes = client.trace(format, interval, from, to).await;
    spinner.finish_and_clear();
    let bytes = bytes?;
    std::fs::write(file, &bytes).with_context(|| format!("cannot write {}", file.display()))?;
    say(&format!("{} bytes written to {}", bytes.len(), file.display()))?;
    Ok(())
}
