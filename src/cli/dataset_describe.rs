//! `loadline dataset describe`: a trace as people look at it before they trust it.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use anyhow::Context;

use crate::analytics::read_trace;
use crate::cli::backtest::say_repairs;
use crate::cli::output::{
    Output, cores, duration, memory, or_dash, plain, say, say_json, say_table, table, time,
};
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
    let mut rows =
        table(&["series", "rows", "span", "gaps", "", "min", "p50", "p95", "max", "course (peaks)"]);
    for (series, course) in description.series.iter().zip(courses) {
        let every = match series.interval {
            Some(interval) if interval != step => format!("every {}", seconds(interval)),
            _ => String::new(),
        };
        let gaps = if series.gaps == 0 { String::new() } else { format!("-{} rows", series.missing) };
        let head =
            [plain(&label(series)), series.samples.to_string(), span(series, step), series.gaps.to_string()];
        let below = [String::new(), every, String::new(), gaps];
        rows.add_row(line(head, "cpu", series.cpu, cores, &course.cpu));
        rows.add_row(line(below, "memory", series.memory, |bytes| memory(bytes as u64), &course.memory));
    }
    if !courses.is_empty() {
        say_table(&rows)?;
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

fn span(series: &Series, step: i64) -> String {
    duration(SignedDuration::from_secs(series.last - series.first + step))
}

fn line(
    head: [String; 4],
    what: &str,
    spread: Option<Spread>,
    show: impl Fn(f64) -> String,
    course: &[Option<f64>],
) -> Vec<String> {
    let of = |value: fn(&Spread) -> f64| or_dash(spread, |spread| show(value(&spread)));
    let figures = [of(|s| s.min), of(|s| s.p50), of(|s| s.p95), of(|s| s.max)];
    let sparkline = std::iter::once(sparkline(course));
    head.into_iter().chain([what.to_owned()]).chain(figures).chain(sparkline).collect()
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
