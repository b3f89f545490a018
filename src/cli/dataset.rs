//! `loadline dataset`: recorded usage as traces.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use jiff::Timestamp;

use crate::api::client::Client;
use crate::cli::exit::{Exit, ended};
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
        from: Option<Timestamp>,
        /// Before this instant. Default: now.
        #[arg(long)]
        to: Option<Timestamp>,
        /// Seconds from one row of a task to the next.
        #[arg(long, default_value_t = 300)]
        interval: u32,
    },
}

pub(super) async fn run(client: &Client, args: DatasetArgs) -> anyhow::Result<()> {
    let DatasetAction::Record { file, from, to, interval } = args.action;
    record(client, &file, interval, from, to).await
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
        _ => {
            let expected = format!("{}: expected a file name that ends in .parquet or .csv", file.display());
            return Err(ended(Exit::BadInput, expected));
        }
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
