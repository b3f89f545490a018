//! `loadline actions` and `loadline cancel`: what is in force by hand, and the end of it or of a run.

use clap::Args;
use jiff::Timestamp;

use crate::api::client::Client;
use crate::cli::change::{Message, say_changed};
use crate::cli::exit::{Exit, ended};
use crate::cli::output::{Output, age, now, or_dash, plain, say_listing, table};
use crate::domain::action::ActionKey;
use crate::domain::workload::WorkloadName;

/// `loadline actions`
#[derive(Debug, Args)]
pub(super) struct ActionsArgs {}

/// `loadline cancel`
#[derive(Debug, Args)]
pub(super) struct CancelArgs {
    /// An action such as pause/web, or a run such as report@2026-11-22T06:00:00Z.
    #[arg(value_name = "ACTION|RUN")]
    what: String,
    #[command(flatten)]
    why: Message,
}

pub(super) async fn list(client: &Client, output: Output, _args: ActionsArgs) -> anyhow::Result<()> {
    let actions = client.actions().await?;
    say_listing(output, &actions, "nothing is in force by hand", || {
        let now = now();
        let mut rows = table(&["action", "since", "ends", "by", "about", "message"]);
        for action in &actions {
            let about = match (action.count_before, &action.task, &action.size) {
                (Some(count), ..) => format!("back to {count} instances"),
                (None, Some(task), _) => task.clone(),
                (None, None, Some(size)) if action.kind == "schedule" => match action.due {
                    Some(at) => format!("{size} at {at:.0}"),
                    None => format!("{size} with the next rollout"),
                },
                (None, None, Some(size)) => size.clone(),
                (None, None, None) => or_dash(action.policy.as_deref(), str::to_owned),
            };
            rows.add_row(vec![
                format!("{}/{}", action.kind, action.subject),
                age(action.at, now),
                or_dash(action.until, |at| age(at, now)),
                action.by.clone(),
                about,
                plain(&action.message),
            ]);
        }
        rows
    })
}

pub(super) async fn cancel(client: &Client, output: Output, args: CancelArgs) -> anyhow::Result<()> {
    if let Some((workload, at)) = run_id(&args.what) {
        return say_changed(output, &client.cancel_run(workload.as_str(), at, &args.why.message).await?);
    }
    let key: ActionKey = args.what.parse().map_err(|error: String| {
        ended(Exit::BadInput, format!("{error} or a run such as `report@2026-11-22T06:00:00Z`"))
    })?;
    let key = key.to_string();
    let (kind, subject) = key.split_once('/').unwrap_or_default();
    say_changed(output, &client.cancel_action(kind, subject, &args.why.message).await?)
}

/// Reads a run as listings show it.
fn run_id(text: &str) -> Option<(WorkloadName, Timestamp)> {
    let (workload, at) = text.split_once('@')?;
    Some((WorkloadName::new(workload).ok()?, at.parse().ok()?))
}
