//! `loadline scale`: another number of instances, for good or for a while.

use clap::Args;

use crate::api::client::Client;
use crate::api::dto::ScaleRequest;
use crate::cli::change::{Lasting, say_changed};
use crate::cli::output::Output;

/// `loadline scale`
#[derive(Debug, Args)]
pub(super) struct ScaleArgs {
    /// The service.
    name: String,
    /// Instances wanted.
    count: u32,
    /// Mean it, although more than half the instances go.
    #[arg(long)]
    ack: bool,
    #[command(flatten)]
    how: Lasting,
}

pub(super) async fn run(client: &Client, output: Output, args: ScaleArgs) -> anyhow::Result<()> {
    let body = ScaleRequest {
        count: args.count,
        for_seconds: args.how.seconds(),
        message: args.how.message,
        acknowledged: args.ack,
    };
    say_changed(output, &client.scale(&args.name, &body).await?)
}
