//! `loadline backtest --forecast`: load traces past forecasts.
//!
//! In: files of load traces. Out: a table, JSON or a page. Not here: the methods and their scores
//! (`replay::forecasts`), how tables look (`charts`).

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use indicatif::{ProgressBar, ProgressStyle};

use crate::analytics::read_load;
use crate::charts::forecasts;
use crate::cli::backtest_table::say_cells;
use crate::cli::output::{Format, say, say_error, say_json, say_raw};
use crate::domain::load_series::LoadSeries;
use crate::replay::forecasts::{ForecastReport, SeriesScore, report, score};

/// Scores all files; what is written to a file is told by `write`.
pub(super) fn run(
    output: Format,
    files: &[PathBuf],
    threads: Option<u16>,
    write: impl Fn(&[u8]) -> Option<anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let mut reports = Vec::new();
    for path in files {
        let report = of_file(path, threads)?;
        if output == Format::Table {
            say_report(&report)?;
        }
        reports.push(report);
    }
    match output {
        Format::Table => Ok(()),
        Format::Json => match write(&serde_json::to_vec_pretty(&reports)?) {
            Some(written) => written,
            None => say_json(&reports),
        },
        Format::Html => {
            let page = forecasts::page(&reports);
            match write(page.as_bytes()) {
                Some(written) => written,
                None => Ok(say_raw(&page)?),
            }
        }
    }
}

fn of_file(path: &Path, threads: Option<u16>) -> anyhow::Result<ForecastReport> {
    let (series, repairs) = read_load(path)?;
    let name = path.display().to_string();
    for (count, what) in repairs.said() {
        say_error(&format!("{name}: {count} {what}"));
    }
    let scores = scores(&name, &series, threads);
    let names = series.into_iter().map(|series| series.name);
    let report = report(&name, names.zip(scores).collect());
    for short in &report.too_short {
        say_error(&format!("{name}: series {short} is left out: no load is known 3 days after its first"));
    }
    Ok(report)
}

/// Scores series on all cores, in their order.
fn scores(name: &str, series: &[LoadSeries], threads: Option<u16>) -> Vec<Option<SeriesScore>> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let bar = ProgressBar::new(series.len() as u64).with_message(name.to_owned());
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} series") {
        bar.set_style(style);
    }
    let next = AtomicUsize::new(0);
    let found = Mutex::new(vec![None; series.len()]);
    std::thread::scope(|scope| {
        for _ in 0..threads.map_or(cores, usize::from) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(series) = series.get(at) else { break };
                    let scored = score(series);
                    bar.inc(1);
                    if let Ok(mut found) = found.lock() {
                        found[at] = scored;
                    }
                }
            });
        }
    });
    bar.finish_and_clear();
    found.into_inner().unwrap_or_default()
}

fn say_report(report: &ForecastReport) -> anyhow::Result<()> {
    say(&format!("{}: {}", report.trace, forecasts::extent(report)))?;
    for (caption, cells) in forecasts::tables(report) {
        say(&format!("\n{caption}"))?;
        say_cells(&cells)?;
    }
    Ok(say(&format!("{}\n", forecasts::LEGEND))?)
}
