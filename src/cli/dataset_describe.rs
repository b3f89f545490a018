//! `loadline dataset describe`: a trace as people look at it before they trust it.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::analytics::read_trace;
use crate::cli::backtest::say_repairs;
use crate::cli::output::{DIM, Output, cores, duration, memory, or_dash, paint, plain, say, say_json, time};
use crate::cli::report_table::BARS;
use crate::replay::describe::{Course, Description, Series, Spread, course, describe};
use crate::replay::grid::Trace;

/// Characters of a sparkline.
const COURSE: usize = 24;

/// Later times are taken as seconds since 1970, earlier ones as seconds since the trace began: this is 2001.
const EPOCH_MIN: i64 = 1_000_000_000;

/// `loadline dataset describe`
#[derive(Debug, Args)]
pub(super) struct DescribeArgs {
    /// The trace: `.parquet` or `.csv` with the columns workload, task, time, cpu, memory.
    file: PathBuf,
    /// Show so many series.
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// Which series come first.
    #[arg(long, value_enum, default_value_t = Sort::Memory)]
    sort: Sort,
    /// Lay the rows on steps of so many seconds. Default: the trace's own interval.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(i64).range(1..=86_400))]
    step: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sort {
    /// Those that hold most memory for longest.
    Memory,
    /// Those that use most CPU time.
    Cpu,
    /// Those with most rows.
    Rows,
    /// Those that lack most rows.
    Gaps,
    /// By name.
    Name,
}

/// What programs read.
#[derive(Serialize)]
struct Document {
    file: String,
    #[serde(flatten)]
    description: Description,
    /// The courses of the series that are shown, in their order.
    courses: Vec<Course>,
    /// Series that are not shown.
    left_out: usize,
}

pub(super) fn run(output: Output, args: &DescribeArgs) -> anyhow::Result<()> {
    let name = args.file.display().to_string();
    let rows = read_trace(&args.file)?;
    let trace = Trace::new(&name, &rows, args.step).with_context(|| name.clone())?;
    drop(rows);
    say_repairs(&trace);
    let mut description = describe(&trace);
    sort(&mut description.series, args.sort);
    let left_out = description.series.len().saturating_sub(args.limit);
    description.series.truncate(args.limit);
    let courses: Vec<Course> =
        description.series.iter().map(|series| course(&trace, series, COURSE)).collect();
    match output {
        Output::Json => say_json(&Document { file: name, description, courses, left_out }),
        Output::Table => say_description(&name, &description, &courses, left_out),
    }
}

fn sort(series: &mut [Series], by: Sort) {
    let sum = |spread: Option<Spread>| spread.map_or(0.0, |spread| spread.sum);
    // Series come by name; the sort keeps that order among equals.
    match by {
        Sort::Memory => series.sort_by(|a, b| sum(b.memory).total_cmp(&sum(a.memory))),
        Sort::Cpu => series.sort_by(|a, b| sum(b.cpu).total_cmp(&sum(a.cpu))),
        Sort::Rows => series.sort_by_key(|series| std::cmp::Reverse(series.samples)),
        Sort::Gaps => series.sort_by_key(|series| std::cmp::Reverse(series.missing)),
        Sort::Name => {}
    }
}

fn say_description(
    name: &str,
    description: &Description,
    courses: &[Course],
    left_out: usize,
) -> anyhow::Result<()> {
    let seconds = |span: i64| duration(SignedDuration::from_secs(span));
    let Description { workloads, tasks, samples, step, first, last, .. } = *description;
    let when = match (Timestamp::from_second(first), Timestamp::from_second(last)) {
        (Ok(from), Ok(to)) if first >= EPOCH_MIN => format!("{} to {}", time(from), time(to)),
        _ => format!("second {first} to {last} of the trace"),
    };
    say(&format!(
        "{name}: {workloads} workloads, {tasks} series, {samples} rows every {}, {} of rows missing",
        seconds(step),
        percent(description.missing_share)
    ))?;
    say(&format!("{when}: {}", seconds(last - first + step)))?;
    let filled = description.filled;
    let columns = [
        ("cpu", filled.cpu),
        ("memory", filled.memory),
        ("cpu_request", filled.cpu_request),
        ("memory_request", filled.memory_request),
        ("load", filled.load),
    ];
    let columns = columns.map(|(name, share)| format!("{name} {}", percent(share)));
    say(&format!("rows with a value: {}\n", columns.join(", ")))?;
    if !courses.is_empty() {
        let [min, p50, p95, max] = ["min", "p50", "p95", "max"];
        say(&paint(DIM, &format!("{:8}{min:>11}{p50:>11}{p95:>11}{max:>11}  course (peaks)", "")))?;
    }
    for (series, course) in description.series.iter().zip(courses) {
        say(&head(series, step))?;
        say(&line("cpu", series.cpu, cores, &course.cpu))?;
        say(&line("memory", series.memory, |bytes| memory(bytes as u64), &course.memory))?;
    }
    if left_out > 0 {
        say(&format!("{left_out} more series; --limit {tasks} shows all, --sort chooses which come first"))?;
    }
    Ok(())
}

/// A task that bears its workload's name, as most do, says enough.
fn label(series: &Series) -> String {
    let Series { workload, task, .. } = series;
    if task.starts_with(workload.as_str()) { task.clone() } else { format!("{workload}/{task}") }
}

/// Which series it is, how long and how dense.
fn head(series: &Series, step: i64) -> String {
    let seconds = |span: i64| duration(SignedDuration::from_secs(span));
    let every = match series.interval {
        Some(interval) if interval != step => format!(" every {}", seconds(interval)),
        _ => String::new(),
    };
    let gaps = match series.gaps {
        0 => "no gaps".to_owned(),
        1 => format!("1 gap ({} rows missing)", series.missing),
        gaps => format!("{gaps} gaps ({} rows missing)", series.missing),
    };
    let span = seconds(series.last - series.first + step);
    format!("{}: {} rows{every} over {span}, {gaps}", plain(&label(series)), series.samples)
}

/// No wider than a terminal of 80 characters.
fn line(what: &str, spread: Option<Spread>, show: impl Fn(f64) -> String, course: &[Option<f64>]) -> String {
    let of = |value: fn(&Spread) -> f64| or_dash(spread, |spread| show(value(&spread)));
    let [min, p50, p95, max] = [of(|s| s.min), of(|s| s.p50), of(|s| s.p95), of(|s| s.max)];
    format!("  {what:6}{min:>11}{p50:>11}{p95:>11}{max:>11}  {}", sparkline(course))
}

/// Bars from nothing to the highest value; a point where there is none.
fn sparkline(course: &[Option<f64>]) -> String {
    let most = course.iter().flatten().copied().fold(0.0, f64::max);
    let bar = |value: &Option<f64>| match value {
        None => '·',
        Some(value) if most > 0.0 => {
            let place = (value / most * BARS.len() as f64).ceil() as usize;
            BARS[place.clamp(1, BARS.len()) - 1]
        }
        Some(_) => BARS[0],
    };
    course.iter().map(bar).collect()
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparkline_rises_from_nothing_and_shows_gaps() {
        assert_eq!(sparkline(&[Some(0.0), Some(1.0), None, Some(4.0), Some(8.0)]), "▁▁·▄█");
        assert_eq!(sparkline(&[Some(0.0), None]), "▁·");
    }
}
