//! `loadline apply`: sends spec files to the engine.

use std::path::PathBuf;

use clap::Args;

use crate::api::client::Client;
use crate::api::dto::ApplyRequest;
use crate::cli::manual::say_changed;
use crate::cli::output::Output;

/// `loadline apply`
#[derive(Debug, Args)]
pub(super) struct ApplyArgs {
    /// Spec files, or folders of them.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Why, for the record.
    #[arg(short, long, default_value = "")]
    message: String,
}

pub(super) async fn run(client: &Client, output: Output, args: ApplyArgs) -> anyhow::Result<()> {
    let request =
        ApplyRequest { files: super::read_files(&args.paths)?, message: args.message, dry_run: false };
    say_changed(output, &client.post("/v1/apply", &request).await?)
}
