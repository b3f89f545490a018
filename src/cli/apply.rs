//! `loadline apply`: sends spec files to the engine, after a look at what they would change.

use std::path::PathBuf;

use clap::Args;

use crate::api::answers::{Applied, DiffDto};
use crate::api::client::Client;
use crate::api::dto::{ApplyRequest, SpecFile};
use crate::cli::change::{Message, say_changes};
use crate::cli::exit::{Exit, ended};
use crate::cli::output::{
    BAD, DIM, GOOD, Output, WARN, can_ask, confirmed, paint, plain, say, say_error, say_json,
};
use crate::cli::wait::{Earlier, Wait, earlier, for_rollouts};

/// `loadline apply`
#[derive(Debug, Args)]
pub(super) struct ApplyArgs {
    /// Spec files, or folders of them.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Only show what would change; exit code 7 if anything would.
    #[arg(long, conflicts_with_all = ["yes", "wait"])]
    dry_run: bool,
    /// Do not ask. Without a terminal nothing is asked anyway.
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    why: Message,
    #[command(flatten)]
    wait: Wait,
}

pub(super) async fn run(client: &Client, output: Output, args: ApplyArgs) -> anyhow::Result<()> {
    let mut request =
        ApplyRequest { files: read_files(&args.paths)?, message: args.why.message, dry_run: true };
    if args.dry_run {
        let plan = client.apply(&request).await?;
        show(output, &plan)?;
        return if plan.changes.is_empty() { Ok(()) } else { Err(ended(Exit::WouldChange, "")) };
    }
    if !args.yes && output == Output::Table && can_ask() {
        let plan = client.apply(&request).await?;
        if plan.changes.is_empty() {
            return say_changes(&plan.changes);
        }
        show(output, &plan)?;
        if !confirmed("Apply this?")? {
            say_error("nothing was changed");
            return Ok(());
        }
    }
    request.dry_run = false;
    let earlier = if args.wait.wait { earlier(client).await? } else { Earlier::default() };
    let applied = client.apply(&request).await?;
    match output {
        Output::Json => say_json(&applied)?,
        Output::Table => say_changes(&applied.changes)?,
    }
    if args.wait.wait {
        for_rollouts(client, &services(&applied.diffs), &earlier, &args.wait).await?;
    }
    Ok(())
}

fn services(diffs: &[DiffDto]) -> Vec<String> {
    diffs.iter().filter(|diff| diff.kind == "service").map(|diff| diff.workload.clone()).collect()
}

fn show(output: Output, plan: &Applied) -> anyhow::Result<()> {
    match output {
        Output::Json => say_json(plan),
        Output::Table => {
            say_changes(&plan.changes)?;
            for diff in &plan.diffs {
                say(&format!("\n{} {}", diff.kind, paint(DIM.bold(), &diff.workload)))?;
                for line in &diff.lines {
                    say(&format!("  {}", coloured(&plain(line))))?;
                }
            }
            Ok(())
        }
    }
}

/// A line of a diff: green for what comes, red for what goes, yellow for what is other than before.
fn coloured(line: &str) -> String {
    let style = match line.chars().next() {
        Some('+') => GOOD,
        Some('-') => BAD,
        _ if line.contains(" -> ") => WARN,
        _ => return line.to_owned(),
    };
    paint(style, line)
}

/// Spec files as they are sent: names and texts.
fn read_files(paths: &[PathBuf]) -> anyhow::Result<Vec<SpecFile>> {
    let sources = crate::config::read_sources(paths).map_err(|errors| {
        ended(Exit::BadInput, crate::config::render_errors(&errors).trim_end().to_owned())
    })?;
    Ok(sources.into_iter().map(|(name, text)| SpecFile { name, text }).collect())
}
