//! `loadline report`: requested, used, recommended and idle, by workload and owner, with prices.

use clap::Args;
use jiff::Timestamp;

use crate::api::client::Client;
use crate::cli::output::{Output, say, say_json};
use crate::cli::report_table::report_table;

/// `loadline report`
#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// From this instant on, for example 2026-11-22T00:00:00Z. Default: 24 hours before `--to`.
    #[arg(long)]
    from: Option<Timestamp>,
    /// Before this instant. Default: now.
    #[arg(long)]
    to: Option<Timestamp>,
}

pub(super) async fn run(client: &Client, output: Output, args: ReportArgs) -> anyhow::Result<()> {
    let report = client.report(args.from, args.to).await?;
    match output {
        Output::Json => say_json(&report),
        Output::Table => {
            say(&report_table(&report))?;
            Ok(())
        }
    }
}
