//! A backtest's report as a table for people.

use crate::cli::output::{or_dash, say, say_table, table};
use crate::replay::backtest::{Line, Report, Resource};
use crate::replay::figures::Interval;

/// Prints the table of one trace and resource.
pub(super) fn say_report(report: &Report) -> anyhow::Result<()> {
    let (resource, columns): (_, &[Column]) = match report.resource {
        Resource::Memory => ("memory", &MEMORY),
        Resource::Cpu => ("CPU", &CPU),
    };
    say(&format!(
        "{}: {resource}, {} workloads, {} tasks, {} samples, steps of {} s",
        report.trace, report.workloads, report.tasks, report.samples, report.step
    ))?;
    let titles: Vec<&str> = columns.iter().map(|(title, _)| *title).collect();
    let mut rows = table(&titles);
    for line in &report.lines {
        rows.add_row(columns.iter().map(|(_, say)| say(line)));
    }
    say_table(&rows)?;
    for line in report.lines.iter().filter(|line| line.figures.withheld > 0.0) {
        say(&format!(
            "{} knew nothing in {} of the time; there the limit counts as the usage.",
            line.policy,
            percent(line.figures.withheld)
        ))?;
    }
    say(
        "The first 24 h of each workload are scored apart, as cold start. Brackets: 95 % intervals over workloads.\n",
    )?;
    Ok(())
}

/// A column: its title, and what it says of a policy.
type Column = (&'static str, fn(&Line) -> String);

const POLICY: Column = ("policy", |line| line.policy.clone());
const KNOB: Column = ("knob", |line| format!("{}={}", line.knob, line.knob_value));
const FOOTPRINT: Column =
    ("footprint/use", |line| with_interval(line.figures.footprint_over_use, line.footprint_interval, 3));
const SLACK: Column = ("slack", |line| percent(line.figures.relative_slack));
const EXCESS: Column = ("excess", excess);
const COLD_FOOTPRINT: Column = ("cold footprint/use", |line| number(line.cold_start.footprint_over_use, 3));

const MEMORY: [Column; 12] = [
    POLICY,
    KNOB,
    ("OOM/task-day", |line| with_interval(line.figures.rate, line.rate_interval, 4)),
    ("severe days", |line| percent(line.severe_days)),
    FOOTPRINT,
    SLACK,
    ("in place/day", |line| number(line.figures.in_place, 2)),
    ("restarts/day", |line| number(line.figures.restarts, 2)),
    EXCESS,
    ("OOM at VPA's footprint", |line| or_dash(line.misses_at_footprint, |share| format!("x {share:.2}"))),
    ("cold OOM/task-day", |line| number(line.cold_start.rate, 4)),
    COLD_FOOTPRINT,
];

const CPU: [Column; 10] = [
    POLICY,
    KNOB,
    ("time short", |line| with_interval(line.figures.short_time, line.rate_interval, 4)),
    ("use short", |line| number(line.figures.short_amount, 4)),
    FOOTPRINT,
    SLACK,
    ("changes/day", |line| number(line.figures.in_place, 2)),
    EXCESS,
    ("cold time short", |line| number(line.cold_start.short_time, 4)),
    COLD_FOOTPRINT,
];

fn excess(line: &Line) -> String {
    or_dash(line.excess.value, |value| with_interval(value, line.excess.interval, 2))
}

fn number(value: f64, digits: usize) -> String {
    or_dash(value.is_finite().then_some(value), |value| format!("{value:.digits$}"))
}

fn percent(share: f64) -> String {
    or_dash(share.is_finite().then_some(share), |share| format!("{:.1} %", share * 100.0))
}

fn with_interval(value: f64, interval: Option<Interval>, digits: usize) -> String {
    let value = number(value, digits);
    match interval {
        Some(Interval { low, high }) => format!("{value} [{low:.digits$}, {high:.digits$}]"),
        None => value,
    }
}
