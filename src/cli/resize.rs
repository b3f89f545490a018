//! `loadline resize`: another size for the tasks of a workload.

use clap::Args;

use crate::api::client::Client;
use crate::api::requests::ResizeRequest;
use crate::cli::change::{Message, say_changed};
use crate::cli::output::Output;
use crate::cli::run::bytes;

/// `loadline resize`
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("size").required(true).multiple(true)))]
pub(super) struct ResizeArgs {
    /// The workload.
    name: String,
    /// Cores reserved.
    #[arg(long, group = "size")]
    cpu: Option<f64>,
    /// Memory reserved, for example 512MiB; the limit moves with it unless it is given.
    #[arg(long, group = "size", value_parser = bytes)]
    memory: Option<u64>,
    /// Cores at most.
    #[arg(long, group = "size")]
    cpu_limit: Option<f64>,
    /// Memory at most.
    #[arg(long, group = "size", value_parser = bytes)]
    memory_limit: Option<u64>,
    #[command(flatten)]
    why: Message,
}

pub(super) async fn run(client: &Client, output: Output, args: ResizeArgs) -> anyhow::Result<()> {
    let body = ResizeRequest {
        cpu: args.cpu,
        memory: args.memory,
        cpu_limit: args.cpu_limit,
        memory_limit: args.memory_limit,
        message: args.why.message,
    };
    say_changed(output, &client.resize(&args.name, &body).await?)
}
