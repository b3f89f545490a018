//! `loadline pause` and `loadline resume`: a workload without tasks for a while.

use clap::Args;

use crate::api::client::Client;
use crate::api::requests::LastingRequest;
use crate::cli::change::{Lasting, Message, say_changed};
use crate::cli::output::Output;

/// `loadline pause`
#[derive(Debug, Args)]
pub(super) struct PauseArgs {
    /// The workload.
    name: String,
    #[command(flatten)]
    how: Lasting,
}

/// `loadline resume`
#[derive(Debug, Args)]
pub(super) struct ResumeArgs {
    /// The workload.
    name: String,
    #[command(flatten)]
    why: Message,
}

pub(super) async fn pause(client: &Client, output: Output, args: PauseArgs) -> anyhow::Result<()> {
    let body = LastingRequest { for_seconds: args.how.seconds(), message: args.how.message };
    say_changed(output, &client.pause(&args.name, &body).await?)
}

pub(super) async fn resume(client: &Client, output: Output, args: ResumeArgs) -> anyhow::Result<()> {
    say_changed(output, &client.resume(&args.name, &args.why.message).await?)
}
