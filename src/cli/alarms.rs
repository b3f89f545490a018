//! `loadline alarms`: what wants a person's eye.

use clap::Args;

use crate::api::client::Client;
use crate::cli::output::{Output, age, now, or_dash, plain, say_listing, table};

/// `loadline alarms`
#[derive(Debug, Args)]
pub(super) struct AlarmsArgs {}

pub(super) async fn run(client: &Client, output: Output, _args: AlarmsArgs) -> anyhow::Result<()> {
    let alarms = client.alarms().await?;
    say_listing(output, &alarms, "no alarms", || {
        let now = now();
        let mut rows = table(&["alarm", "workload", "since", "what"]);
        for alarm in &alarms {
            rows.add_row(vec![
                alarm.kind.clone(),
                or_dash(alarm.workload.clone(), |name| name),
                age(alarm.since, now),
                plain(&alarm.message),
            ]);
        }
        rows
    })
}
