//! `loadline revisions`: the versions of a workload's spec, and what each changed.

use clap::Args;

use crate::api::client::Client;
use crate::cli::output::{Output, plain, say_listing, table, time};

/// `loadline revisions`
#[derive(Debug, Args)]
pub(super) struct RevisionsArgs {
    /// The workload.
    name: String,
}

pub(super) async fn run(client: &Client, output: Output, args: RevisionsArgs) -> anyhow::Result<()> {
    let found = client.revisions(&args.name).await?;
    say_listing(output, &found, "no revision is known", || {
        let mut rows = table(&["revision", "in force", "at", "by", "changed"]);
        for revision in &found {
            rows.add_row(vec![
                revision.number.to_string(),
                if revision.in_force { "yes" } else { "" }.to_owned(),
                time(revision.at),
                revision.by.clone(),
                plain(&revision.lines.join("\n")),
            ]);
        }
        rows
    })
}
