//! The commands that change one thing by hand: `delete`, `run`, `scale`, `drain`, `approve`.

use clap::Args;

use crate::api::client::Client;
use crate::api::dto::{Approved, Changed, MessageRequest, ScaleRequest};
use crate::cli::output::{Output, say, say_json};

/// `loadline delete`
#[derive(Debug, Args)]
pub(super) struct DeleteArgs {
    /// The workload.
    name: String,
    /// Delete a pool of that name instead: its nodes are drained and removed.
    #[arg(long, conflicts_with = "policy")]
    pool: bool,
    /// Delete a policy of that name instead.
    #[arg(long)]
    policy: bool,
}

/// `loadline run`
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The cron job or job.
    name: String,
    /// Why, for the record.
    #[arg(short, long, default_value = "")]
    message: String,
}

/// `loadline scale`
#[derive(Debug, Args)]
pub(super) struct ScaleArgs {
    /// The service.
    name: String,
    /// Instances wanted.
    count: u32,
    /// Why, for the record.
    #[arg(short, long, default_value = "")]
    message: String,
}

/// `loadline drain`
#[derive(Debug, Args)]
pub(super) struct DrainArgs {
    /// The node.
    node: String,
    /// Let the node take tasks again.
    #[arg(long)]
    undo: bool,
    /// Why, for the record.
    #[arg(short, long, default_value = "")]
    message: String,
}

/// `loadline approve`
#[derive(Debug, Args)]
pub(super) struct ApproveArgs {
    /// The decision's number.
    decision: u64,
}

/// Prints what a call changed.
pub(super) fn say_changed(output: Output, changed: &Changed) -> anyhow::Result<()> {
    match output {
        Output::Json => say_json(changed)?,
        Output::Table if changed.changes.is_empty() => say("nothing to change"),
        Output::Table => changed.changes.iter().for_each(|line| say(line)),
    }
    Ok(())
}

pub(super) async fn delete(client: &Client, output: Output, args: DeleteArgs) -> anyhow::Result<()> {
    let kind = match (args.pool, args.policy) {
        (true, _) => "pools",
        (_, true) => "policies",
        _ => "workloads",
    };
    say_changed(output, &client.delete(&format!("/v1/{kind}/{}", args.name)).await?)
}

pub(super) async fn run(client: &Client, output: Output, args: RunArgs) -> anyhow::Result<()> {
    let body = MessageRequest { message: args.message };
    say_changed(output, &client.post(&format!("/v1/workloads/{}/run", args.name), &body).await?)
}

pub(super) async fn scale(client: &Client, output: Output, args: ScaleArgs) -> anyhow::Result<()> {
    let body =
        ScaleRequest { count: args.count, message: args.message, acknowledged: true, for_seconds: None };
    say_changed(output, &client.post(&format!("/v1/workloads/{}/scale", args.name), &body).await?)
}

pub(super) async fn drain(client: &Client, output: Output, args: DrainArgs) -> anyhow::Result<()> {
    let verb = if args.undo { "activate" } else { "drain" };
    let body = MessageRequest { message: args.message };
    say_changed(output, &client.post(&format!("/v1/nodes/{}/{verb}", args.node), &body).await?)
}

pub(super) async fn approve(client: &Client, output: Output, args: ApproveArgs) -> anyhow::Result<()> {
    let path = format!("/v1/decisions/{}/approve", args.decision);
    let approved: Approved = client.post(&path, &MessageRequest::default()).await?;
    match output {
        Output::Json => say_json(&approved)?,
        Output::Table => say(&format!("decision {} is carried out", approved.decision)),
    }
    Ok(())
}
