//! `loadline cron` and `loadline runs`: cron jobs with their next and last runs, and the search of runs.

use clap::Args;
use jiff::Timestamp;

use crate::api::client::{Client, RunFilter};
use crate::api::dto::RunDto;
use crate::cli::cron_advice;
use crate::cli::output::{
    Output, age, duration, now, or_dash, plain, say_json, say_listing, say_table, state_cell, table,
};
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
    /// Which schedules, moved by minutes, lower the peak of nodes, and what that saves.
    #[arg(long, conflicts_with = "name")]
    advise: bool,
    /// With --advise: a schedule is moved by at most so many minutes.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=720))]
    minutes: u32,
}

/// `loadline runs`
#[derive(Debug, Args)]
pub(super) struct RunsArgs {
    /// Of this cron job or job only.
    name: Option<String>,
    /// With this outcome only.
    #[arg(long, value_parser = ["active", "succeeded", "failed", "skipped", "missed", "cancelled"])]
    outcome: Option<String>,
    /// Planned or asked for at this instant or later, for example 2026-11-22T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Planned or asked for before this instant.
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
    /// Only those that someone asked for.
    #[arg(long, conflicts_with = "scheduled")]
    manual: bool,
    /// Only those of the schedule.
    #[arg(long)]
    scheduled: bool,
    /// With this text in the name or in why it ended as it did.
    #[arg(long)]
    text: Option<String>,
    /// At most this many.
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

/// The runs of one cron job or job.
pub(super) fn runs_of(name: &str) -> RunFilter {
    RunFilter { workload: Some(name.to_owned()), ..RunFilter::default() }
}

/// A run as `loadline cancel` takes it.
pub(super) fn run_id(run: &RunDto) -> String {
    format!("{}@{}", run.workload, run.at)
}

/// Why a run ended as it did, where there is something to say.
pub(super) fn explained(run: &RunDto) -> String {
    match &run.outcome {
        RunOutcome::Failed { reason }
        | RunOutcome::Missed { reason }
        | RunOutcome::Skipped { reason }
        | RunOutcome::Cancelled { reason } => plain(reason),
        RunOutcome::SkippedOverlap => "the run before it was still going on".to_owned(),
        RunOutcome::Active | RunOutcome::Succeeded => String::new(),
    }
}

/// Searches runs.
pub(super) async fn search(client: &Client, output: Output, args: RunsArgs) -> anyhow::Result<()> {
    let filter = RunFilter {
        workload: args.name,
        outcome: args.outcome,
        from: args.from,
        to: args.to,
        manual: (args.manual || args.scheduled).then_some(args.manual),
        text: args.text,
    };
    let runs = client.runs(&filter, args.limit).await?;
    show(output, &runs, "no run is like that")
}

pub(super) async fn run(client: &Client, output: Output, args: CronArgs) -> anyhow::Result<()> {
    match args.name {
        None if args.advise => cron_advice::run(client, output, args.minutes).await,
        Some(name) => runs(client, output, &name, args.limit).await,
        None => schedules(client, output).await,
    }
}

async fn schedules(client: &Client, output: Output) -> anyhow::Result<()> {
    let mut workloads = client.workloads().await?;
    workloads.retain(|workload| workload.kind != WorkloadKind::Service);
    if output == Output::Json {
        return say_json(&workloads);
    }
    let now = now();
    let mut rows = table(&["name", "schedule", "next", "state", "last runs (newest first)"]);
    for workload in &workloads {
        let runs = client.runs(&runs_of(&workload.name), 5).await?;
        let last: Vec<&str> = runs.iter().map(|run| run.outcome.as_str()).collect();
        rows.add_row(vec![
            workload.name.clone(),
            or_dash(workload.schedule.clone(), |schedule| schedule),
            or_dash(workload.next_run, |at| age(at, now)),
            workload.state.clone(),
            last.join(", "),
        ]);
    }
    say_table(&rows)
}

async fn runs(client: &Client, output: Output, name: &str, limit: usize) -> anyhow::Result<()> {
    let runs = client.runs(&runs_of(name), limit).await?;
    show(output, &runs, &format!("{name} has not run yet"))
}

fn show(output: Output, runs: &[RunDto], none: &str) -> anyhow::Result<()> {
    say_listing(output, runs, none, || {
        let now = now();
        let mut rows = table(&["run", "age", "by", "outcome", "took", "tries", "what"]);
        for run in runs {
            let took = run.started_at.zip(run.ended_at).map(|(from, to)| to.duration_since(from));
            rows.add_row(vec![
                run_id(run).into(),
                age(run.at, now).into(),
                if run.manual { "hand" } else { "schedule" }.into(),
                state_cell(run.outcome.as_str()),
                or_dash(took, duration).into(),
                run.tasks.len().into(),
                explained(run).into(),
            ]);
        }
        rows
    })
}
