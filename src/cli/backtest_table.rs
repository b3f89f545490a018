//! A backtest's report as a table for people.

use crate::cli::output::{or_dash, say, say_table, table};
use crate::replay::backtest::{Line, Report, Resource};
use crate::replay::figures::Interval;

/// Prints the table of one trace and resource.
pub(super) fn say_report(report: &Report) -> anyhow::Result<()> {
    let resource = match report.resource {
        Resource::Memory => "memory",
        Resource::Cpu => "CPU",
    };
    say(&format!(
        "{}: {resource}, {} workloads, {} tasks, {} samples, steps of {} s",
        report.trace, report.workloads, report.tasks, report.samples, report.step
    ))?;
    let lines = match report.resource {
        Resource::Memory => memory_table(report),
        Resource::Cpu => cpu_table(report),
    };
    say_table(&lines)?;
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

fn memory_table(report: &Report) -> comfy_table::Table {
    let mut rows = table(&[
        "policy",
        "knob",
        "OOM/task-day",
        "severe days",
        "footprint/use",
        "slack",
        "in place/day",
        "restarts/day",
        "excess",
        "OOM at VPA's footprint",
        "cold OOM/task-day",
        "cold footprint/use",
    ]);
    for line in &report.lines {
        let figures = &line.figures;
        rows.add_row(vec![
            line.policy.clone(),
            knob(line),
            with_interval(figures.rate, line.rate_interval, 4),
            percent(line.severe_days),
            with_interval(figures.footprint_over_use, line.footprint_interval, 3),
            percent(figures.relative_slack),
            number(figures.in_place, 2),
            number(figures.restarts, 2),
            excess(line),
            or_dash(line.misses_at_footprint, |share| format!("x {share:.2}")),
            number(line.cold_start.rate, 4),
            number(line.cold_start.footprint_over_use, 3),
        ]);
    }
    rows
}

fn cpu_table(report: &Report) -> comfy_table::Table {
    let mut rows = table(&[
        "policy",
        "knob",
        "time short",
        "use short",
        "footprint/use",
        "slack",
        "changes/day",
        "excess",
        "cold time short",
        "cold footprint/use",
    ]);
    for line in &report.lines {
        let figures = &line.figures;
        rows.add_row(vec![
            line.policy.clone(),
            knob(line),
            with_interval(figures.short_time, line.rate_interval, 4),
            number(figures.short_amount, 4),
            with_interval(figures.footprint_over_use, line.footprint_interval, 3),
            percent(figures.relative_slack),
            number(figures.in_place, 2),
            excess(line),
            number(line.cold_start.short_time, 4),
            number(line.cold_start.footprint_over_use, 3),
        ]);
    }
    rows
}

fn knob(line: &Line) -> String {
    format!("{}={}", line.knob, line.knob_value)
}

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
