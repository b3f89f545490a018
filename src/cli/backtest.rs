//! `loadline backtest`: traces past policies, on all cores.
//!
//! In: files of traces, policies by name. Out: a table or JSON, and on request everything that the
//! policies said, as Parquet files. Not here: the replay itself and its figures (`replay`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use crate::analytics::{encode_kills, encode_limits, read_trace};
use crate::cli::backtest_jobs::{self, JobOptions};
use crate::cli::backtest_table::say_report;
use crate::cli::fit::{Half, read_model};
use crate::cli::output::{Output, say_error, say_json};
use crate::replay::backtest::{Contender, Report, Resource, Scored, report};
use crate::replay::grid::Trace;
use crate::replay::tally::Tally;
use crate::replay::vertical::{Outcome, Record, replay};

/// What is compared unless policies are named.
const ALL: [&str; 9] =
    ["loadline", "vpa", "autopilot-window", "autopilot-ml", "krr", "crane", "nomad", "request", "oracle"];

/// `loadline backtest`
#[derive(Debug, Args)]
pub(super) struct BacktestArgs {
    /// Usage traces: `.parquet` or `.csv` with the columns workload, task, time, cpu, memory.
    #[arg(long, required_unless_present = "jobs", num_args = 1..)]
    trace: Vec<PathBuf>,
    /// Recorded batch runs instead: `.parquet` or `.csv` with the columns job, submit, start, end,
    /// memory_request, memory_peak, or a Nextflow trace. Its policies: request, doubling, percentile, witt-lr,
    /// tovar-ppm, loadline.
    #[arg(long, num_args = 1.., conflicts_with_all = ["trace", "resource", "emit", "step", "no_sweep"])]
    jobs: Vec<PathBuf>,
    #[command(flatten)]
    of_jobs: JobOptions,
    /// A policy as NAME[:key=value]..., for example krr:margin=1.3. Default: all.
    #[arg(long, num_args = 1..)]
    policy: Vec<String>,
    /// What to compare. Default: both.
    #[arg(long, value_enum)]
    resource: Option<ResourceArg>,
    /// Write what each policy said and what was killed to Parquet files in this folder.
    #[arg(long, value_name = "DIR")]
    emit: Option<PathBuf>,
    /// Lay the rows on steps of so many seconds. Default: the trace's own interval.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(i64).range(1..=86_400))]
    step: Option<i64>,
    /// Replay each policy as it is asked for only; without curves there is no comparison at an equal rate.
    #[arg(long)]
    no_sweep: bool,
    /// The fitted model of policy `loadline`, as `loadline fit` wrote it. Default: the one built in.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Replay these workloads only.
    #[arg(long, value_enum, default_value_t = Half::All)]
    workloads: Half,
    /// Threads. Default: all cores.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ResourceArg {
    Memory,
    Cpu,
}

pub(super) fn run(output: Output, args: &BacktestArgs) -> anyhow::Result<()> {
    if !args.jobs.is_empty() {
        return backtest_jobs::run(output, &args.jobs, &args.policy, &args.of_jobs);
    }
    let mut contenders = contenders(&args.policy)?;
    if let Some(path) = &args.model {
        let model = read_model(path)?;
        contenders = contenders.into_iter().map(|contender| contender.with_model(&model)).collect();
    }
    let folders = emit_folders(args)?;
    let mut reports = Vec::new();
    for (path, folder) in args.trace.iter().zip(folders) {
        let mut rows = read_trace(path)?;
        args.workloads.keep(&mut rows);
        let trace = Trace::new(&path.display().to_string(), &rows, args.step)
            .with_context(|| path.display().to_string())?;
        drop(rows);
        say_repairs(&trace);
        let scored = score(&trace, &contenders, args, folder.as_deref())?;
        for resource in resources(args.resource) {
            let report = report(&trace, resource, &contenders, &scored);
            match output {
                Output::Json => reports.push(report),
                Output::Table => say_report(&report)?,
            }
        }
    }
    match output {
        Output::Json => say_json::<Vec<Report>>(&reports),
        Output::Table => Ok(()),
    }
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
            std::fs::create_dir_all(&folder)
                .with_context(|| format!("cannot make the folder {}", folder.display()))?;
            Ok(Some(folder))
        })
        .collect()
}

/// One contender at one value of its knob.
struct Variant {
    contender: Contender,
    asked: bool,
}

/// A variant and the workloads of the trace that it is replayed on.
struct Job {
    variant: usize,
    workloads: Vec<usize>,
}

/// Everything that is replayed: each contender as asked for and, unless switched off, over its knob. VPA
/// and the oracle are always among it, since all others are compared with them.
fn variants(contenders: &[Contender], sweep: bool) -> anyhow::Result<Vec<Variant>> {
    let mut all: Vec<Contender> = contenders.to_vec();
    for needed in ["vpa", "oracle"] {
        if sweep && !contenders.iter().any(|contender| contender.label() == needed) {
            all.push(Contender::parse(needed)?);
        }
    }
    let mut variants = Vec::new();
    for (place, contender) in all.into_iter().enumerate() {
        // The oracle's curve is needed for CPU, where it may be short as often as VPA is.
        if sweep && (place < contenders.len() || contender.label() == "oracle") {
            variants
                .extend(contender.sweep().into_iter().map(|contender| Variant { contender, asked: false }));
        }
        variants.push(Variant { contender, asked: true });
    }
    Ok(variants)
}

fn score(
    trace: &Trace,
    contenders: &[Contender],
    args: &BacktestArgs,
    emit: Option<&Path>,
) -> anyhow::Result<Vec<Scored>> {
    let variants = variants(contenders, !args.no_sweep)?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = args.threads.map_or(cores, usize::from);
    let jobs = jobs(trace, &variants, threads)?;
    let bar = progress(&trace.name, variants.len() * trace.samples());
    let outcomes = run_jobs(trace, &variants, &jobs, (threads, emit.is_some()), &bar)?;
    bar.finish_and_clear();
    let mut scored: Vec<Scored> = variants
        .iter()
        .map(|variant| Scored {
            label: variant.contender.label().to_owned(),
            knob: variant.contender.knob().1,
            asked: variant.asked,
            tallies: vec![Tally::default(); trace.workloads.len()],
        })
        .collect();
    let mut records: Vec<Record> = variants.iter().map(|_| Record::default()).collect();
    for (job, outcome) in jobs.iter().zip(outcomes) {
        for (workload, tally) in outcome.tallies {
            scored[job.variant].tallies[workload] = tally;
        }
        records[job.variant].limits.extend(outcome.record.limits);
        records[job.variant].kills.extend(outcome.record.kills);
    }
    if let Some(folder) = emit {
        for (variant, record) in variants.iter().zip(&mut records).filter(|(variant, _)| variant.asked) {
            let label = variant.contender.label();
            if contenders.iter().any(|contender| contender.label() == label) {
                write_record(folder, label, trace, record)?;
            }
        }
    }
    Ok(scored)
}

/// Workloads in as many heaps as there are threads, so that no thread waits long for the last one.
fn jobs(trace: &Trace, variants: &[Variant], threads: usize) -> anyhow::Result<Vec<Job>> {
    let mut jobs = Vec::new();
    for (place, variant) in variants.iter().enumerate() {
        let apart = variant.contender.teller()?.workloads_apart();
        let heaps = if apart { threads.min(trace.workloads.len()).max(1) } else { 1 };
        jobs.extend((0..heaps).map(|heap| Job {
            variant: place,
            workloads: (heap..trace.workloads.len()).step_by(heaps).collect(),
        }));
    }
    Ok(jobs)
}

fn run_jobs(
    trace: &Trace,
    variants: &[Variant],
    jobs: &[Job],
    (threads, record): (usize, bool),
    bar: &ProgressBar,
) -> anyhow::Result<Vec<Outcome>> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<Option<Outcome>>> = Mutex::new(jobs.iter().map(|_| None).collect());
    let work = || -> anyhow::Result<()> {
        while let Some((place, job)) = {
            let place = next.fetch_add(1, Ordering::Relaxed);
            jobs.get(place).map(|job| (place, job))
        } {
            let variant = &variants[job.variant];
            let mut teller = variant.contender.teller()?;
            let advance = |steps: usize| bar.inc(steps as u64);
            let outcome = replay(trace, &job.workloads, &mut teller, record && variant.asked, &advance);
            done.lock().unwrap_or_else(std::sync::PoisonError::into_inner)[place] = Some(outcome);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.min(jobs.len())).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    let done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    Ok(done.into_iter().flatten().collect())
}

/// On standard error, and only where that is a terminal.
fn progress(name: &str, steps: usize) -> ProgressBar {
    let bar = ProgressBar::new(steps as u64);
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {percent}% {eta} left") {
        bar.set_style(style);
    }
    bar.set_message(name.to_owned());
    bar
}

fn write_record(folder: &Path, label: &str, trace: &Trace, record: &mut Record) -> anyhow::Result<()> {
    record.limits.sort_by_key(|row| (row.workload, row.time, row.task));
    record.kills.sort_by_key(|row| (row.workload, row.time, row.task));
    let name = label.replace([':', '=', ',', '/'], "-");
    for (kind, content) in
        [("limits", encode_limits(label, trace, record)?), ("ooms", encode_kills(label, trace, record)?)]
    {
        let path = folder.join(format!("{name}.{kind}.parquet"));
        std::fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
