//! `loadline backtest`: traces past policies.
//!
//! In: files of traces or what the engine recorded, policies by name. Out: a table, JSON or a page with charts.
//! Not here: the replay and its figures (`replay`), how it is spread over cores (`backtest_run`), how charts look
//! (`charts`).

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use jiff::SignedDuration;

use crate::analytics::read_trace;
use crate::charts::{draw, page, pareto};
use crate::cli::Global;
use crate::cli::backtest_forecast;
use crate::cli::backtest_history::{History, recorded};
use crate::cli::backtest_jobs::{self, JobOptions};
use crate::cli::backtest_load::{self, LoadAsk, LoadOptions};
use crate::cli::backtest_run::{How, score};
use crate::cli::backtest_table::say_report;
use crate::cli::change::duration;
use crate::cli::connection::Connection;
use crate::cli::exit::{Exit, ended};
use crate::cli::fit::{Half, read_model, share};
use crate::cli::output::{Format, say, say_error, say_json, say_raw};
use crate::replay::backtest::{Contender, Report, Resource, report};
use crate::replay::grid::Trace;
use crate::replay::load_backtest::help as load_policies;

/// What is compared unless policies are named.
const ALL: [&str; 9] =
    ["loadline", "vpa", "autopilot-window", "autopilot-ml", "krr", "crane", "nomad", "request", "oracle"];

/// `loadline backtest`
#[derive(Debug, Args)]
pub(super) struct BacktestArgs {
    /// Usage traces: `.parquet` or `.csv` with the columns workload, task, time, cpu, memory.
    #[arg(long, required_unless_present_any = ["from_store", "jobs", "forecast", "load", "list_load_policies"], num_args = 1..)]
    trace: Vec<PathBuf>,
    /// Recorded batch runs instead: `.parquet` or `.csv` with the columns job, submit, start, end,
    /// `memory_request`, `memory_peak`, or a Nextflow trace. Its policies: request, doubling, percentile, witt-lr,
    /// tovar-ppm, loadline.
    #[arg(long, num_args = 1.., conflicts_with_all = ["trace", "from_store", "resource", "emit", "file", "chart", "step", "no_sweep", "model", "workloads", "after", "threads"])]
    jobs: Vec<PathBuf>,
    #[command(flatten)]
    of_jobs: JobOptions,
    /// Load traces instead: `.parquet` or `.csv` with the columns series, time, load. Scores forecasts of 5 minutes
    /// to 2 days: Loadline's beside seasonal naive, ETS and Holt-Winters.
    #[arg(long, num_args = 1.., value_name = "FILE", conflicts_with_all = ["trace", "from_store", "jobs", "policy", "resource", "emit", "chart", "step", "no_sweep", "model", "workloads", "load"])]
    forecast: Vec<PathBuf>,
    /// Recorded load instead: `.parquet` or `.csv` with the columns series, time, load, past policies of counts.
    #[arg(long, num_args = 1.., conflicts_with_all = ["trace", "jobs", "from_store", "resource", "chart", "step", "model", "workloads"])]
    load: Vec<PathBuf>,
    #[command(flatten)]
    of_load: LoadOptions,
    /// Say which policies of counts there are for --load, with their keys, and end.
    #[arg(long)]
    list_load_policies: bool,
    /// Replay what the running engine recorded. Kills are the replay's own, not those that happened.
    #[arg(long, conflicts_with = "trace")]
    from_store: bool,
    /// With --from-store: no further back than this, for example 3d. Default: everything that is kept.
    #[arg(long, requires = "from_store", value_name = "DURATION", value_parser = duration)]
    since: Option<SignedDuration>,
    /// A policy as NAME[:key=value]..., for example krr:margin=1.3. Default: all.
    #[arg(long, num_args = 1..)]
    policy: Vec<String>,
    /// What to compare. Default: both.
    #[arg(long, value_enum)]
    resource: Option<ResourceArg>,
    /// Write what each policy said and what was killed to Parquet files in this folder.
    #[arg(long, value_name = "DIR")]
    emit: Option<PathBuf>,
    /// With --output html or json: write to this file.
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Draw footprint against kills or short-falls to this file, `.svg`; one each where there are several
    /// traces or resources.
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
    /// Lay the rows on steps of so many seconds. Default: the trace's own interval; 300 with --from-store.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(i64).range(1..=86_400))]
    step: Option<i64>,
    /// Replay each policy as it is asked for only; without curves there is no comparison at an equal rate.
    #[arg(long)]
    no_sweep: bool,
    /// The fitted model of policy `loadline`, as `loadline fit` wrote it. Default: the one built in.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Replay these workloads only.
    #[arg(long, value_enum, default_value_t = Half::All, conflicts_with = "from_store")]
    workloads: Half,
    /// Tell policies the whole trace, and score only what comes after so large a share of its time.
    #[arg(long, value_name = "SHARE", value_parser = share, conflicts_with = "from_store")]
    after: Option<f64>,
    /// Threads. Default: all cores.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ResourceArg {
    Memory,
    Cpu,
}

pub(super) fn run(global: &Global, args: &BacktestArgs) -> anyhow::Result<()> {
    if args.load.is_empty() && args.of_load.is_given() {
        let text = "--capacity, --startup, --interval, --min and --max go with --load";
        return Err(ended(Exit::BadInput, text.to_owned()));
    }
    if !args.jobs.is_empty() {
        return backtest_jobs::run(global.output.plain()?, &args.jobs, &args.policy, &args.of_jobs);
    }
    if !args.forecast.is_empty() {
        check_files(global.output, args)?;
        let written = |content: &[u8]| args.file.as_deref().map(|file| write(file, content));
        return backtest_forecast::run(global.output, &args.forecast, args.threads, written);
    }
    if args.list_load_policies {
        return Ok(say_raw(&load_policies())?);
    }
    if !args.load.is_empty() {
        check_files(global.output, args)?;
        let ask = LoadAsk {
            files: &args.load,
            policies: &args.policy,
            emit: args.emit.as_deref(),
            file: args.file.as_deref(),
            no_sweep: args.no_sweep,
            threads: args.threads,
        };
        return backtest_load::run(global.output, &ask, &args.of_load);
    }
    sizes(global, args)
}

/// The backtest of sizing policies.
fn sizes(global: &Global, args: &BacktestArgs) -> anyhow::Result<()> {
    let mut contenders = contenders(&args.policy)?;
    if let Some(path) = &args.model {
        let model = read_model(path)?;
        contenders = contenders.into_iter().map(|contender| contender.with_model(&model)).collect();
    }
    let folders = emit_folders(args)?;
    check_files(global.output, args)?;
    let mut reports = Vec::new();
    let mut take = |trace: &Trace, emit: Option<&Path>| -> anyhow::Result<()> {
        say_repairs(trace);
        let how = How { no_sweep: args.no_sweep, threads: args.threads, emit };
        let scored = score(trace, &contenders, how)?;
        for resource in resources(args.resource) {
            let report = report(trace, resource, &contenders, &scored);
            if global.output == Format::Table {
                say_report(&report)?;
            }
            reports.push(report);
        }
        Ok(())
    };
    if args.from_store {
        take(&from_store(global, args)?, folders.first().and_then(Option::as_deref))?;
    }
    for (path, folder) in args.trace.iter().zip(&folders) {
        let mut rows = read_trace(path)?;
        args.workloads.keep(&mut rows);
        let trace = Trace::new(&path.display().to_string(), &rows, args.step)
            .with_context(|| path.display().to_string())?;
        drop(rows);
        let trace = match args.after {
            Some(share) => trace.scored_after(share),
            None => trace,
        };
        take(&trace, folder.as_deref())?;
    }
    if let Some(file) = &args.chart {
        draw_charts(file, &reports)?;
    }
    match (global.output, &args.file) {
        (Format::Table, _) => Ok(()),
        (Format::Json, None) => say_json::<Vec<Report>>(&reports),
        (Format::Json, Some(file)) => write(file, &serde_json::to_vec_pretty(&reports)?),
        (Format::Html, None) => Ok(say_raw(&page::page(&reports))?),
        (Format::Html, Some(file)) => write(file, page::page(&reports).as_bytes()),
    }
}

/// What the running engine recorded. Too little of it is an ending of its own, which says what there is.
fn from_store(global: &Global, args: &BacktestArgs) -> anyhow::Result<Trace> {
    let connection = Connection::of(&global.connection)?;
    let client = connection.client()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(recorded(&client, args.since, args.step))? {
        History::Enough(trace) => Ok(*trace),
        History::TooLittle(why) => Err(ended(Exit::Refused, why)),
    }
}

/// What cannot be written is told before minutes are spent on it.
fn check_files(output: Format, args: &BacktestArgs) -> anyhow::Result<()> {
    let bad = |text: &str| Err(ended(Exit::BadInput, text));
    match (output, &args.file) {
        (Format::Table, Some(_)) => {
            return bad("--file goes with --output html or json; a table goes to the terminal");
        }
        (Format::Html, None) if std::io::stdout().is_terminal() => {
            return bad("a page is no text for a terminal: say where it goes with --file PATH");
        }
        _ => {}
    }
    if let Some(chart) = &args.chart
        && chart.extension().is_none_or(|ending| ending != "svg")
    {
        return bad(&format!("{}: expected a file name that ends in .svg", chart.display()));
    }
    let places = args.file.iter().chain(&args.chart);
    for place in places {
        let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            return bad(&format!("{}: there is no folder {}", place.display(), folder.display()));
        }
    }
    Ok(())
}

/// A picture a report. Several get names of their own: `chart-TRACE-memory.svg`.
fn draw_charts(file: &Path, reports: &[Report]) -> anyhow::Result<()> {
    for report in reports {
        let Some(content) = draw::svg(&pareto::chart(report)) else {
            say_error(&format!("{}: nothing to draw, no workload is older than 24 h", report.trace));
            continue;
        };
        let path = if reports.len() == 1 { file.to_owned() } else { named_apart(file, report) };
        write(&path, content.as_bytes())?;
    }
    Ok(())
}

fn named_apart(file: &Path, report: &Report) -> PathBuf {
    let resource = match report.resource {
        Resource::Memory => "memory",
        Resource::Cpu => "cpu",
    };
    let trace =
        Path::new(&report.trace).file_stem().unwrap_or_default().display().to_string().replace(' ', "-");
    let stem = file.file_stem().unwrap_or_default().display().to_string();
    let ending = file.extension().unwrap_or_default().display().to_string();
    file.with_file_name(format!("{stem}-{trace}-{resource}.{ending}"))
}

/// Writes a file and says so.
pub(super) fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    std::fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(say(&format!("{} written", path.display()))?)
}

fn resources(asked: Option<ResourceArg>) -> Vec<Resource> {
    match asked {
        Some(ResourceArg::Memory) => vec![Resource::Memory],
        Some(ResourceArg::Cpu) => vec![Resource::Cpu],
        None => vec![Resource::Memory, Resource::Cpu],
    }
}

fn contenders(asked: &[String]) -> anyhow::Result<Vec<Contender>> {
    let labels: Vec<&str> =
        if asked.is_empty() { ALL.into() } else { asked.iter().map(String::as_str).collect() };
    let mut seen = BTreeSet::new();
    for label in &labels {
        anyhow::ensure!(seen.insert(*label), "policy {label} is named twice");
    }
    Ok(labels.into_iter().map(Contender::parse).collect::<Result<_, _>>()?)
}

/// Repairs are told on standard error, so that JSON stays whole.
pub(super) fn say_repairs(trace: &Trace) {
    for (count, what) in trace.repairs.said() {
        say_error(&format!("{}: {count} {what}", trace.name));
    }
}

/// The folder of each trace's files: the one asked for, or one within it where there are several traces.
fn emit_folders(args: &BacktestArgs) -> anyhow::Result<Vec<Option<PathBuf>>> {
    let Some(emit) = &args.emit else { return Ok(vec![None; args.trace.len()]) };
    if args.from_store {
        make_folder(emit)?;
        return Ok(vec![Some(emit.clone())]);
    }
    let mut seen = BTreeSet::new();
    args.trace
        .iter()
        .map(|path| {
            let stem = path.file_stem().unwrap_or(path.as_os_str());
            let folder = if args.trace.len() == 1 { emit.clone() } else { emit.join(stem) };
            anyhow::ensure!(
                seen.insert(folder.clone()),
                "two traces are named {}; --emit needs distinct names",
                stem.display()
            );
            make_folder(&folder)?;
            Ok(Some(folder))
        })
        .collect()
}

fn make_folder(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))
}
