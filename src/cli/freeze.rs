//! `loadline freeze`, `loadline unfreeze` and `loadline freezes`: kinds of change that do not happen for
//! a while.

use clap::Args;

use crate::api::client::Client;
use crate::api::requests::LastingRequest;
use crate::cli::change::{Lasting, Message, say_changed};
use crate::cli::output::{Output, age, now, or_dash, plain, say_json, say_table, state_cell, table};
use crate::domain::action::Switch;

/// `loadline freeze`
#[derive(Debug, Args)]
pub(super) struct FreezeArgs {
    /// The kind of change: deploys, scaling, draining or cron.
    switch: Switch,
    #[command(flatten)]
    how: Lasting,
}

/// `loadline unfreeze`
#[derive(Debug, Args)]
pub(super) struct UnfreezeArgs {
    /// The kind of change: deploys, scaling, draining or cron.
    switch: Switch,
    #[command(flatten)]
    why: Message,
}

/// `loadline freezes`
#[derive(Debug, Args)]
pub(super) struct FreezesArgs {}

pub(super) async fn freeze(client: &Client, output: Output, args: FreezeArgs) -> anyhow::Result<()> {
    let body = LastingRequest { for_seconds: args.how.seconds(), message: args.how.message };
    say_changed(output, &client.freeze(args.switch.as_str(), &body).await?)
}

pub(super) async fn unfreeze(client: &Client, output: Output, args: UnfreezeArgs) -> anyhow::Result<()> {
    say_changed(output, &client.unfreeze(args.switch.as_str(), &args.why.message).await?)
}

pub(super) async fn list(client: &Client, output: Output, _args: FreezesArgs) -> anyhow::Result<()> {
    let freezes = client.freezes().await?;
    if output == Output::Json {
        return say_json(&freezes);
    }
    let now = now();
    let mut rows = table(&["kind", "state", "since", "ends", "by", "message"]);
    for freeze in freezes {
        rows.add_row(vec![
            freeze.switch.into(),
            state_cell(if freeze.frozen { "frozen" } else { "-" }),
            or_dash(freeze.since, |at| age(at, now)).into(),
            or_dash(freeze.until, |at| age(at, now)).into(),
            or_dash(freeze.by, |by| by).into(),
            plain(&freeze.message.unwrap_or_default()).into(),
        ]);
    }
    say_table(&rows)
}
