//! `loadline checks`: the newest answers of a task's health checks.

use clap::Args;

use crate::api::client::Client;
use crate::cli::output::{Output, first_line, plain, say, say_listing, state_cell, table, time};

/// `loadline checks`
#[derive(Debug, Args)]
pub(super) struct ChecksArgs {
    /// The task, for example web.3.
    task: String,
    /// The newest answer as a whole.
    #[arg(long)]
    body: bool,
}

pub(super) async fn run(client: &Client, output: Output, args: ChecksArgs) -> anyhow::Result<()> {
    let checks = client.checks(&args.task).await?;
    if args.body && output == Output::Table {
        let newest = checks.iter().max_by_key(|check| check.at);
        return Ok(say(&newest.map(|check| plain(&check.body)).unwrap_or_default())?);
    }
    say_listing(output, &checks, "no check was made yet", || {
        let mut rows = table(&["at", "check", "result", "took", "message", "answer"]);
        for check in &checks {
            rows.add_row(vec![
                time(check.at).into(),
                (&check.check).into(),
                state_cell(if check.passed { "passed" } else { "failed" }),
                format!("{:.0} ms", check.took * 1_000.0).into(),
                first_line(&check.message).into(),
                first_line(&check.body).into(),
            ]);
        }
        rows
    })
}
