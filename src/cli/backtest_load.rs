//! `loadline backtest --load`: recorded load past policies of counts.
//!
//! In: files of load, policies by name. Out: a table, JSON or a page with charts; on request every count that was
//! asked for. Not here: the replay and its figures (`replay::load_backtest`), how charts look (`charts`).

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;
use clap::Args;
use indicatif::ProgressBar;
use jiff::SignedDuration;

use crate::analytics::{encode_counts, read_load};
use crate::charts::load as drawn;
use crate::cli::backtest::write;
use crate::cli::backtest_run::progress;
use crate::cli::backtest_table::say_cells;
use crate::cli::change::duration;
use crate::cli::output::{Format, say, say_error, say_json, say_raw};
use crate::replay::horizontal::Asked;
use crate::replay::load_backtest::{
    ALL, Case, LoadContender, LoadReport, LoadScored, REFERENCE, Setting, report,
};

/// What only load has.
#[derive(Debug, Args)]
pub(super) struct LoadOptions {
    /// With --load: the load that one instance serves. Default: the peak of each series over --max.
    #[arg(long, value_name = "LOAD")]
    capacity: Option<f64>,
    /// With --load: how long an instance takes until it serves. Default: 60s.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    startup: Option<SignedDuration>,
    /// With --load: from one decision to the next. Default: 15s.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    interval: Option<SignedDuration>,
    /// With --load: never fewer instances. Default: 1.
    #[arg(long, value_name = "COUNT")]
    min: Option<u32>,
    /// With --load: never more instances. Default: 40.
    #[arg(long, value_name = "COUNT")]
    max: Option<u32>,
}

impl LoadOptions {
    /// Whether one of them was given.
    pub(super) fn is_given(&self) -> bool {
        let durations = self.startup.is_some() || self.interval.is_some();
        durations || self.capacity.is_some() || self.min.is_some() || self.max.is_some()
    }

    fn setting(&self) -> anyhow::Result<Setting> {
        let setting = Setting {
            capacity: self.capacity,
            startup: self.startup.map_or(60.0, |startup| startup.as_secs_f64()),
            interval: self.interval.map_or(15, |interval| interval.as_secs().max(1)),
            min: self.min.unwrap_or(1),
            max: self.max.unwrap_or(40),
        };
        anyhow::ensure!(
            setting.capacity.is_none_or(|capacity| capacity.is_finite() && capacity > 0.0),
            "--capacity should be a number above 0"
        );
        anyhow::ensure!(
            setting.max > 0 && setting.min <= setting.max,
            "--max should be at least 1 and at least --min"
        );
        Ok(setting)
    }
}

/// What of the options of all backtests is needed here.
pub(super) struct LoadAsk<'a> {
    pub(super) files: &'a [PathBuf],
    pub(super) policies: &'a [String],
    pub(super) emit: Option<&'a Path>,
    pub(super) file: Option<&'a Path>,
    pub(super) no_sweep: bool,
    pub(super) threads: Option<u16>,
}

pub(super) fn run(output: Format, ask: &LoadAsk<'_>, options: &LoadOptions) -> anyhow::Result<()> {
    let contenders = contenders(ask.policies)?;
    let setting = options.setting()?;
    let cases = read(ask.files, &setting)?;
    let tasks = tasks(&contenders, !ask.no_sweep)?;
    let scored = replays(&cases, &tasks, ask);
    let mut reports = Vec::new();
    for ((file, case), scored) in cases.iter().zip(&scored) {
        let days: Vec<LoadScored> = scored.iter().map(|(scored, _)| scored.clone()).collect();
        reports.push(report(file, case, &contenders, &days));
    }
    if let Some(folder) = ask.emit {
        emit(folder, &contenders, &cases, &scored)?;
    }
    match (output, ask.file) {
        (Format::Table, _) => reports.iter().try_for_each(say_load),
        (Format::Json, None) => say_json::<Vec<LoadReport>>(&reports),
        (Format::Html, None) => Ok(say_raw(&drawn::page(&reports))?),
        (Format::Json, Some(file)) => write(file, &serde_json::to_vec_pretty(&reports)?),
        (Format::Html, Some(file)) => write(file, drawn::page(&reports).as_bytes()),
    }
}

fn contenders(asked: &[String]) -> anyhow::Result<Vec<LoadContender>> {
    let labels: Vec<&str> =
        if asked.is_empty() { ALL.to_vec() } else { asked.iter().map(String::as_str).collect() };
    let mut seen = std::collections::BTreeSet::new();
    for label in &labels {
        anyhow::ensure!(seen.insert(*label), "policy {label} is named twice");
    }
    Ok(labels.into_iter().map(LoadContender::parse).collect::<Result<_, _>>()?)
}

/// Every series of the files, with the file that it is of.
fn read(files: &[PathBuf], setting: &Setting) -> anyhow::Result<Vec<(String, Case)>> {
    let mut cases = Vec::new();
    for path in files {
        let (series, repairs) = read_load(path)?;
        let file = path.display().to_string();
        for (count, what) in repairs.said() {
            say_error(&format!("{file}: {count} {what}"));
        }
        for series in series {
            match Case::new(&series, setting) {
                Some(case) => cases.push((file.clone(), case)),
                None => say_error(&format!("{file}: series {} has no load above 0: left out", series.name)),
            }
        }
    }
    anyhow::ensure!(!cases.is_empty(), "no series has a load above 0");
    Ok(cases)
}

/// One contender at one value of its knob, and whether it is what was asked for.
struct Task {
    contender: LoadContender,
    asked: bool,
}

/// Each contender as asked for and, unless switched off, over its knob. HPA is always among them, since all others
/// are compared with it.
fn tasks(contenders: &[LoadContender], sweep: bool) -> anyhow::Result<Vec<Task>> {
    let mut all = contenders.to_vec();
    if !contenders.iter().any(|contender| contender.label() == REFERENCE) {
        all.push(LoadContender::parse(REFERENCE)?);
    }
    let mut tasks = Vec::new();
    for contender in all {
        if sweep {
            tasks.extend(contender.sweep().into_iter().map(|contender| Task { contender, asked: false }));
        }
        tasks.push(Task { contender, asked: true });
    }
    Ok(tasks)
}

/// What came of a replay, and what was asked for where that is wanted.
type Replayed = (LoadScored, Vec<Asked>);

/// Each case past each task, on all cores.
fn replays(cases: &[(String, Case)], tasks: &[Task], ask: &LoadAsk<'_>) -> Vec<Vec<Replayed>> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = ask.threads.map_or(cores, usize::from).min(cases.len() * tasks.len());
    let steps: usize = cases.iter().map(|(_, case)| case.steps.load.len()).sum();
    let bar = progress("replaying load", steps * tasks.len());
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<Option<Replayed>>> =
        Mutex::new((0..cases.len() * tasks.len()).map(|_| None).collect());
    let work = || {
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some((_, case)) = cases.get(place / tasks.len()) else { break };
            let replayed = one(case, &tasks[place % tasks.len()], ask.emit.is_some(), &bar);
            done.lock().unwrap_or_else(std::sync::PoisonError::into_inner)[place] = Some(replayed);
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
    bar.finish_and_clear();
    let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).into_iter().flatten();
    cases.iter().map(|_| done.by_ref().take(tasks.len()).collect()).collect()
}

fn one(case: &Case, task: &Task, record: bool, bar: &ProgressBar) -> Replayed {
    let mut rows = Vec::new();
    let days = task.contender.replay(case, |asked| {
        if record && task.asked {
            rows.push(asked);
        }
    });
    bar.inc(case.steps.load.len() as u64);
    let knob = task.contender.knob().map_or(f64::NAN, |(_, value)| value);
    let label = task.contender.label().to_owned();
    (LoadScored { label, knob, asked: task.asked, days }, rows)
}

/// A file a policy: its counts on all series.
fn emit(
    folder: &Path,
    contenders: &[LoadContender],
    cases: &[(String, Case)],
    scored: &[Vec<Replayed>],
) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    for contender in contenders {
        let label = contender.label();
        let mut rows = Vec::new();
        for ((_, case), scored) in cases.iter().zip(scored) {
            let of = scored.iter().filter(|(scored, _)| scored.asked && scored.label == label);
            rows.extend(of.flat_map(|(_, asked)| asked).map(|asked| (case.series.clone(), *asked)));
        }
        let name = label.replace([':', '=', ',', '/'], "-");
        let path = folder.join(format!("{name}.counts.parquet"));
        std::fs::write(&path, encode_counts(label, &rows)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn say_load(report: &LoadReport) -> anyhow::Result<()> {
    say(&drawn::extent(report))?;
    say_cells(&drawn::figures(report))?;
    if let Some(levels) = drawn::levels(report) {
        say("\nhours (and changes) at an equal share of under-provisioned time")?;
        say_cells(&levels)?;
    }
    Ok(say(&format!("{}\n", drawn::LEGEND))?)
}
