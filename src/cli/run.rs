//! `loadline run`: one run of a cron job or a job now, perhaps with other arguments, environment or size.

use std::collections::BTreeMap;

use clap::Args;

use crate::api::client::Client;
use crate::api::dto::RunDto;
use crate::api::requests::RunRequest;
use crate::cli::change::{Message, say_changed};
use crate::cli::cron::{explained, run_id, runs_of};
use crate::cli::exit::{Exit, ended};
use crate::cli::output::{Output, say, say_json};
use crate::cli::wait::{Wait, for_run};
use crate::domain::quantity::Bytes;
use crate::domain::world::RunOutcome;

/// `loadline run`
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The cron job or job.
    name: String,
    /// An argument after the program, in place of those of the spec; once for each.
    #[arg(long = "arg", value_name = "TEXT", allow_hyphen_values = true)]
    args: Vec<String>,
    /// Without the arguments of the spec.
    #[arg(long, conflicts_with = "args")]
    no_args: bool,
    /// A variable of the environment, beside or in place of those of the spec; once for each.
    #[arg(short, long = "env", value_name = "NAME=VALUE", value_parser = assignment)]
    env: Vec<(String, String)>,
    /// Cores, in place of those of the spec.
    #[arg(long)]
    cpu: Option<f64>,
    /// Memory, in place of that of the spec, for example 512MiB.
    #[arg(long, value_parser = bytes)]
    memory: Option<u64>,
    #[command(flatten)]
    why: Message,
    #[command(flatten)]
    wait: Wait,
}

pub(super) async fn run(client: &Client, output: Output, args: RunArgs) -> anyhow::Result<()> {
    let body = RunRequest {
        args: (args.no_args || !args.args.is_empty()).then_some(args.args),
        env: args.env.into_iter().collect::<BTreeMap<_, _>>(),
        cpu: args.cpu,
        memory: args.memory,
        message: args.why.message,
    };
    let before: Vec<RunDto> =
        if args.wait.wait { client.runs(&runs_of(&args.name), 100).await? } else { Vec::new() };
    let changed = client.run(&args.name, &body).await?;
    if !args.wait.wait {
        return say_changed(output, &changed);
    }
    let run = for_run(client, &args.name, &before, &args.wait).await?;
    match output {
        Output::Json => say_json(&run)?,
        Output::Table => say(&format!("{} {}", run_id(&run), run.outcome.as_str()))?,
    }
    if run.outcome == RunOutcome::Succeeded {
        return Ok(());
    }
    Err(ended(
        Exit::EndedBadly,
        format!("the run of {} {}: {}", args.name, run.outcome.as_str(), explained(&run)),
    ))
}

/// Reads `NAME=VALUE`.
fn assignment(text: &str) -> Result<(String, String), String> {
    let found = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, value) = found.ok_or_else(|| "expected NAME=VALUE".to_owned())?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Reads an amount of memory.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let read: Result<Bytes, _> = text.parse();
    read.map(Bytes::get).map_err(|_| "expected an amount of memory such as 512MiB".to_owned())
}
