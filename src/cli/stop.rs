//! `loadline stop`: stops one task; a service replaces it.

use clap::Args;

use crate::api::client::Client;
use crate::cli::change::{Message, say_changed};
use crate::cli::output::Output;

/// `loadline stop`
#[derive(Debug, Args)]
pub(super) struct StopArgs {
    /// The task, for example web.3.
    task: String,
    #[command(flatten)]
    why: Message,
}

pub(super) async fn run(client: &Client, output: Output, args: StopArgs) -> anyhow::Result<()> {
    say_changed(output, &client.stop_task(&args.task, &args.why.message).await?)
}
