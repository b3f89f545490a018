//! `loadline stop`: stops one task; a service replaces it.

use clap::Args;

use crate::api::client::Client;
use crate::api::dto::MessageRequest;
use crate::cli::change::{Message, say_changed};
use crate::cli::output::Output;
use crate::cli::query::named;

/// `loadline stop`
#[derive(Debug, Args)]
pub(super) struct StopArgs {
    /// The task, for example web.3.
    task: String,
    #[command(flatten)]
    why: Message,
}

pub(super) async fn run(client: &Client, output: Output, args: StopArgs) -> anyhow::Result<()> {
    let body = MessageRequest { message: args.why.message };
    say_changed(output, &client.post(&named("tasks", &args.task, "/stop"), &body).await?)
}
