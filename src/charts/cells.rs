//! A backtest's figures as tables of text. Not here: how a table is drawn (`cli`, `page`).

use crate::replay::backtest::{Line, Report, Resource};
use crate::replay::figures::{Figures, Interval};

/// A table: its columns and its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cells {
    /// Names of the columns.
    pub head: Vec<&'static str>,
    /// Rows, each with as many cells as there are columns.
    pub rows: Vec<Vec<String>>,
}

/// What the intervals and the cold start are, for readers of the tables.
pub const LEGEND: &str = "The first 24 h of each workload are scored apart, as cold start. Brackets: 95 % intervals over workloads.";

/// The resource in a word.
pub fn resource(resource: Resource) -> &'static str {
    match resource {
        Resource::Memory => "memory",
        Resource::Cpu => "CPU",
    }
}

/// How large the trace is.
pub fn extent(report: &Report) -> String {
    format!(
        "{}, {}, {}, steps of {} s",
        counted(report.workloads, "workload"),
        counted(report.tasks, "task"),
        counted(report.samples, "sample"),
        report.step
    )
}

/// The figures of everything but the cold start.
pub fn figures(report: &Report) -> Cells {
    match report.resource {
        Resource::Memory => memory(report),
        Resource::Cpu => cpu(report),
    }
}

/// The figures of the first 24 h of each workload.
pub fn cold_start(report: &Report) -> Cells {
    let rate = match report.resource {
        Resource::Memory => "OOM/task-day",
        Resource::Cpu => "time short",
    };
    let rows = report.lines.iter().map(|line| {
        let cold = &line.cold_start;
        vec![
            line.policy.clone(),
            number(rate_of(report.resource, cold), 4),
            number(cold.footprint_over_use, 3),
            percent(cold.withheld),
        ]
    });
    Cells { head: vec!["policy", rate, "footprint/use", "knew nothing"], rows: rows.collect() }
}

/// Policies that knew nothing for a part of the time, a sentence each.
pub fn withheld(report: &Report) -> Vec<String> {
    let silent = report.lines.iter().filter(|line| line.figures.withheld > 0.0);
    silent
        .map(|line| {
            let share = percent(line.figures.withheld);
            format!(
                "{} knew nothing in {share} of the time; there the limit counts as the usage.",
                line.policy
            )
        })
        .collect()
}

/// Kills per task-day, or the share of time short.
pub fn rate_of(resource: Resource, figures: &Figures) -> f64 {
    match resource {
        Resource::Memory => figures.rate,
        Resource::Cpu => figures.short_time,
    }
}

fn memory(report: &Report) -> Cells {
    let head = vec![
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
    ];
    let rows = report.lines.iter().map(|line| {
        let figures = &line.figures;
        vec![
            line.policy.clone(),
            knob(line),
            with_interval(figures.rate, line.rate_interval, 4),
            percent(line.severe_days),
            with_interval(figures.footprint_over_use, line.footprint_interval, 3),
            percent(figures.relative_slack),
            number(figures.in_place, 2),
            number(figures.restarts, 2),
            excess(line),
            line.misses_at_footprint.map_or_else(dash, |share| format!("x {share:.2}")),
        ]
    });
    Cells { head, rows: rows.collect() }
}

fn cpu(report: &Report) -> Cells {
    let head =
        vec!["policy", "knob", "time short", "use short", "footprint/use", "slack", "changes/day", "excess"];
    let rows = report.lines.iter().map(|line| {
        let figures = &line.figures;
        vec![
            line.policy.clone(),
            knob(line),
            with_interval(figures.short_time, line.rate_interval, 4),
            number(figures.short_amount, 4),
            with_interval(figures.footprint_over_use, line.footprint_interval, 3),
            percent(figures.relative_slack),
            number(figures.in_place, 2),
            excess(line),
        ]
    });
    Cells { head, rows: rows.collect() }
}

fn knob(line: &Line) -> String {
    format!("{}={}", line.knob, line.knob_value)
}

fn excess(line: &Line) -> String {
    line.excess.value.map_or_else(dash, |value| with_interval(value, line.excess.interval, 2))
}

pub(super) fn dash() -> String {
    "-".to_owned()
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

pub(super) fn number(value: f64, digits: usize) -> String {
    if value.is_finite() { format!("{value:.digits$}") } else { dash() }
}

pub(super) fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.1} %", share * 100.0) } else { dash() }
}

pub(super) fn with_interval(value: f64, interval: Option<Interval>, digits: usize) -> String {
    let value = number(value, digits);
    match interval {
        Some(Interval { low, high }) => format!("{value} [{low:.digits$}, {high:.digits$}]"),
        None => value,
    }
}
