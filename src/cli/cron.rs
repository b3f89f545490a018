//! `loadline cron`: cron jobs with their next and last runs.

use clap::Args;

use crate::api::client::Client;
use crate::api::dto::{RunDto, WorkloadDto};
use crate::cli::output::{Output, age, duration, now, or_dash, say, say_json, say_table, table, time};
use crate::domain::workload::WorkloadKind;
use crate::domain::world::RunOutcome;

/// `loadline cron`
#[derive(Debug, Args)]
pub(super) struct CronArgs {
    /// The runs of this cron job or job.
    name: Option<String>,
    /// At most this many runs.
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

pub(super) async fn run(client: &Client, output: Output, args: CronArgs) -> anyhow::Result<()> {
    match args.name {
        Some(name) => runs(client, output, &name, args.limit).await,
        None => schedules(client, output).await,
    }
}

async fn schedules(client: &Client, output: Output) -> anyhow::Result<()> {
    let mut workloads: Vec<WorkloadDto> = client.get("/v1/workloads").await?;
    workloads.retain(|workload| workload.kind != WorkloadKind::Service);
    if output == Output::Json {
        return say_json(&workloads);
    }
    let now = now();
    let mut rows = table(&["name", "schedule", "next", "state", "last runs (newest first)"]);
    for workload in &workloads {
        let runs: Vec<RunDto> = client.get(&format!("/v1/runs?workload={}&limit=5", workload.name)).await?;
        let last: Vec<&str> = runs.iter().map(|run| run.outcome.as_str()).collect();
        rows.add_row(vec![
            workload.name.clone(),
            or_dash(workload.schedule.clone(), |schedule| schedule),
            or_dash(workload.next_run, |at| age(at, now)),
            workload.state.clone(),
            last.join(", "),
        ]);
    }
    say_table(&rows);
    Ok(())
}

async fn runs(client: &Client, output: Output, name: &str, limit: usize) -> anyhow::Result<()> {
    let runs: Vec<RunDto> = client.get(&format!("/v1/runs?workload={name}&limit={limit}")).await?;
    if output == Output::Json {
        return say_json(&runs);
    }
    if runs.is_empty() {
        say(&format!("{name} has not run yet"));
        return Ok(());
    }
    let mut rows = table(&["planned for", "by", "outcome", "took", "tries", "what"]);
    for run in &runs {
        let took = run.started_at.zip(run.ended_at).map(|(from, to)| to.duration_since(from));
        let what = match &run.outcome {
            RunOutcome::Failed { reason }
            | RunOutcome::Missed { reason }
            | RunOutcome::Skipped { reason }
            | RunOutcome::Cancelled { reason } => reason.clone(),
            RunOutcome::SkippedOverlap => "the run before it was still going on".to_owned(),
            RunOutcome::Active | RunOutcome::Succeeded => String::new(),
        };
        rows.add_row(vec![
            time(run.at),
            if run.manual { "hand" } else { "schedule" }.to_owned(),
            run.outcome.as_str().to_owned(),
            or_dash(took, duration),
            run.tasks.len().to_string(),
            what,
        ]);
    }
    say_table(&rows);
    Ok(())
}
