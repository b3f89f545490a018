//! `loadline drain`: moves everything off a node, or lets it take tasks again.

use clap::Args;

use crate::api::client::Client;
use crate::api::dto::MessageRequest;
use crate::api::requests::LastingRequest;
use crate::cli::change::{Lasting, say_changed};
use crate::cli::output::Output;
use crate::cli::query::named;

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
        client.post(&named("nodes", &args.node, "/activate"), &MessageRequest { message }).await?
    } else {
        let body = LastingRequest { message, for_seconds };
        client.post(&named("nodes", &args.node, "/drain"), &body).await?
    };
    say_changed(output, &changed)
}
