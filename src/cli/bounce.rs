//! `loadline bounce`: replaces instances of a service by equal ones.

use clap::Args;

use crate::api::client::Client;
use crate::api::requests::BounceRequest;
use crate::cli::change::{Message, say_changed};
use crate::cli::output::Output;

/// `loadline bounce`
#[derive(Debug, Args)]
pub(super) struct BounceArgs {
    /// The service.
    name: String,
    /// This instance only, for example web.3.
    #[arg(long, value_name = "ID")]
    task: Option<String>,
    #[command(flatten)]
    why: Message,
}

pub(super) async fn run(client: &Client, output: Output, args: BounceArgs) -> anyhow::Result<()> {
    let body = BounceRequest { task: args.task, message: args.why.message };
    say_changed(output, &client.bounce(&args.name, &body).await?)
}
