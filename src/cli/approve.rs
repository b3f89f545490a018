//! `loadline approve`: carries out a decision that waits for a person.

use clap::Args;

use crate::api::client::Client;
use crate::cli::change::Message;
use crate::cli::output::{Output, say, say_json};

/// `loadline approve`
#[derive(Debug, Args)]
pub(super) struct ApproveArgs {
    /// The decision's number.
    decision: u64,
    #[command(flatten)]
    why: Message,
}

pub(super) async fn run(client: &Client, output: Output, args: ApproveArgs) -> anyhow::Result<()> {
    let approved = client.approve(args.decision, &args.why.message).await?;
    match output {
        Output::Json => say_json(&approved),
        Output::Table => Ok(say(&format!("decision {} is carried out", approved.decision))?),
    }
}
