//! `loadline backtest --jobs`: recorded batch runs past policies.
//!
//! In: files of runs, policies by name. Out: a table or JSON. Not here: the replay (`replay::jobs`).

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};

use crate::analytics::read_jobs;
use crate::cli::output::{Output, or_dash, say, say_error, say_json, say_table, table};
use crate::replay::figures::Interval;
use crate::replay::jobs::{AskedAt, JobLine, JobReport, JobTrace, report};

/// What is compared unless policies are named.
const ALL: [&str; 6] = ["request", "doubling", "percentile", "witt-lr", "tovar-ppm", "loadline"];

/// What only batch runs have.
#[derive(Debug, Args)]
pub(super) struct JobOptions {
    /// With --jobs: let policies see the size of each run's input (`input`; of a Nextflow trace the bytes
    /// read, `rchar`, which are known after the run only).
    #[arg(long, requires = "jobs")]
    with_input: bool,
    /// With --jobs: when a policy is asked for a run's size.
    #[arg(long, value_enum, default_value = "submit", requires = "jobs")]
    asked_at: AskedAtArg,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum AskedAtArg {
    Submit,
    Start,
}

pub(super) fn run(
    output: Output,
    files: &[PathBuf],
    policies: &[String],
    options: &JobOptions,
) -> anyhow::Result<()> {
    let policies: Vec<&str> =
        if policies.is_empty() { ALL.into() } else { policies.iter().map(String::as_str).collect() };
    let asked_at = match options.asked_at {
        AskedAtArg::Submit => AskedAt::Submit,
        AskedAtArg::Start => AskedAt::Start,
    };
    let mut reports = Vec::new();
    for path in files {
        let rows = read_jobs(path, options.with_input)?;
        let name = path.display().to_string();
        let trace = JobTrace::new(&name, &rows, asked_at).with_context(|| name.clone())?;
        if trace.unknown > 0 {
            say_error(&format!("{name}: {} rows without a request or a peak: left out", trace.unknown));
        }
        let report = report(&trace, &policies)?;
        match output {
            Output::Json => reports.push(report),
            Output::Table => say_report(&report)?,
        }
    }
    match output {
        Output::Json => say_json::<Vec<JobReport>>(&reports),
        Output::Table => Ok(()),
    }
}

fn say_report(report: &JobReport) -> anyhow::Result<()> {
    say(&format!("{}: {} jobs, {} runs", report.trace, report.jobs, report.runs))?;
    let mut rows = table(&[
        "policy",
        "wasted GiB-h",
        "over doubling",
        "by kills",
        "failed runs",
        "retries",
        "used/reserved",
        "killed at half",
        "later halves",
        "jobs apart",
    ]);
    for line in &report.lines {
        rows.add_row(cells(line));
    }
    say_table(&rows)?;
    say("A failed run is one whose first attempt was killed for want of memory; each kill is retried.")?;
    say(
        "A kill is taken to come at the end of the run; `killed at half` has it at half of it. Later halves and jobs \
         apart (every second one, the others): GiB-h wasted / failed runs. Brackets: 95 % intervals over jobs.\n",
    )?;
    Ok(())
}

fn cells(line: &JobLine) -> Vec<String> {
    let of = |tally: &crate::replay::jobs::JobTally| format!("{:.0} / {}", tally.wasted, tally.failed_runs);
    vec![
        line.policy.clone(),
        with_interval(line.all.wasted, line.wasted_interval, 0),
        with_interval(line.over_doubling, line.over_doubling_interval, 2),
        format!("{:.0}", line.all.wasted_by_kills),
        line.all.failed_runs.to_string(),
        line.all.killed.to_string(),
        or_dash(line.used_over_reserved.is_finite().then_some(line.used_over_reserved), |share| {
            format!("{share:.2}")
        }),
        of(&line.killed_at_half),
        of(&line.later),
        line.jobs_apart.iter().map(of).collect::<Vec<_>>().join(", "),
    ]
}

fn with_interval(value: f64, interval: Option<Interval>, digits: usize) -> String {
    match interval {
        Some(Interval { low, high }) => format!("{value:.digits$} [{low:.digits$}, {high:.digits$}]"),
        None => format!("{value:.digits$}"),
    }
}
