//! `loadline delete`: stops and forgets a workload, or forgets a pool, a policy or a quota.

use clap::Args;

use crate::api::client::Client;
use crate::cli::change::{Message, say_changed};
use crate::cli::output::Output;

/// `loadline delete`
#[derive(Debug, Args)]
pub(super) struct DeleteArgs {
    /// The workload.
    name: String,
    /// Delete a pool of that name instead: its nodes are drained and removed.
    #[arg(long, conflicts_with_all = ["policy", "quota"])]
    pool: bool,
    /// Delete a policy of that name instead.
    #[arg(long, conflicts_with = "quota")]
    policy: bool,
    /// Delete the quota of the team of that name instead.
    #[arg(long)]
    quota: bool,
    #[command(flatten)]
    why: Message,
}

pub(super) async fn run(client: &Client, output: Output, args: DeleteArgs) -> anyhow::Result<()> {
    let (name, message) = (&args.name, &args.why.message);
    let changed = match (args.pool, args.policy, args.quota) {
        (true, ..) => client.delete_pool(name, message).await?,
        (_, true, _) => client.delete_policy(name, message).await?,
        (_, _, true) => client.delete_quota(name, message).await?,
        _ => client.delete_workload(name, message).await?,
    };
    say_changed(output, &changed)
}
