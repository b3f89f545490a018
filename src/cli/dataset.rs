//! `loadline dataset`: recorded usage as traces.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};

use crate::api::client::Client;
use crate::cli::output::say;

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
        from: Option<String>,
        /// Before this instant. Default: now.
        #[arg(long)]
        to: Option<String>,
        /// Seconds from one row of a task to the next.
        #[arg(long, default_value_t = 300)]
        interval: u32,
    },
}

pub(super) async fn run(client: &Client, args: DatasetArgs) -> anyhow::Result<()> {
    let DatasetAction::Record { file, from, to, interval } = args.action;
    let bounds = [("from", from), ("to", to)];
    let bounds: Vec<String> =
        bounds.into_iter().filter_map(|(name, value)| Some(format!("&{name}={}", value?))).collect();
    record(client, &file, interval, &bounds.concat()).await
}

/// Writes what the engine recorded to a file, a row a task and `interval` seconds.
pub(super) async fn record(client: &Client, file: &Path, interval: u32, bounds: &str) -> anyhow::Result<()> {
    let format = match file.extension().and_then(|extension| extension.to_str()) {
        Some("parquet") => "parquet",
        Some("csv") => "csv",
        _ => anyhow::bail!("{}: expected a file name that ends in .parquet or .csv", file.display()),
    };
    let bytes = client.download(&format!("/v1/trace?format={format}&interval={interval}{bounds}")).await?;
    std::fs::write(file, &bytes).with_context(|| format!("cannot write {}", file.display()))?;
    say(&format!("{} bytes written to {}", bytes.len(), file.display()))?;
    Ok(())
}
