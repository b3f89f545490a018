//! Replays of a trace on all cores, with a bar that shows how far they are.
//!
//! In: a trace and policies. Out: what each of them came to, and on request everything that they said, as
//! Parquet files.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

use crate::analytics::{encode_kills, encode_limits};
use crate::replay::backtest::{Contender, Scored};
use crate::replay::grid::Trace;
use crate::replay::variants::{Variant, variants};
use crate::replay::vertical::{Outcome, Record, replay};

/// A variant and the workloads of the trace that it is replayed on.
struct Job {
    variant: usize,
    workloads: Vec<usize>,
}

/// How a trace is replayed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct How<'a> {
    /// Replay each policy as it is asked for only, not over its knob.
    pub(super) no_sweep: bool,
    /// Threads; all cores where absent.
    pub(super) threads: Option<u16>,
    /// Where what was said is written.
    pub(super) emit: Option<&'a Path>,
}

/// Replays a trace past contenders; VPA and the oracle are among the scores for comparison.
pub(super) fn score(trace: &Trace, contenders: &[Contender], how: How<'_>) -> anyhow::Result<Vec<Scored>> {
    let emit = how.emit;
    let variants = variants(contenders, !how.no_sweep)?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = how.threads.map_or(cores, usize::from);
    let jobs = jobs(trace, &variants, threads)?;
    let bar = progress(&trace.name, variants.len() * trace.samples());
    let outcomes = run_jobs(trace, &variants, &jobs, (threads, emit.is_some()), &bar)?;
    bar.finish_and_clear();
    let mut scored: Vec<Scored> = variants.iter().map(|variant| variant.unscored(trace)).collect();
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
pub(super) fn progress(name: &str, steps: usize) -> ProgressBar {
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
