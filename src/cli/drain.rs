//! `loadline drain`: moves everything off a node, or lets it take tasks again.

use clap::Args;

use crate::api::client::Client;
use crate::api::requests::LastingRequest;
use crate::cli::change::{Lasting, say_changed};
use crate::cli::output::Output;

/// `loadline drain`
#[derive(Debug, Args)]
pub(super) struct DrainArgs {
    /// The node.
    node: String,
    /// Let the node take tasks again.
    #[arg(long, conflicts_with = "lasting")]
    undo: bool,
    #[command(flatten)]
    how: Lasting,
}

pub(super) async fn run(client: &Client, output: Output, args: DrainArgs) -> anyhow::Result<()> {
    let for_seconds = args.how.seconds();
    let message = args.how.message;
    let changed = if args.undo {
        client.activate(&args.node, &message).await?
    } else {
        client.drain(&args.node, &LastingRequest { message, for_seconds }).await?
    };
    say_changed(output, &changed)
}
