//! A trace past policies: one workload at a time, so that it can be called off soon, to figures and curves.

use std::sync::atomic::Ordering;

use super::{Progress, Stopped};
use crate::charts::cells::{self, Cells};
use crate::charts::draw::Mark;
use crate::charts::pareto;
use crate::estimation::catalogue::CatalogueError;
use crate::ports::backtests::{
    BacktestCurve, BacktestOrder, BacktestPoint, BacktestResult, BacktestTable, ResourceResult,
};
use crate::replay::backtest::{Contender, Report, Resource, Scored, report};
use crate::replay::grid::Trace;
use crate::replay::variants::{Variant, variants};
use crate::replay::vertical::replay;

/// Policies in one backtest.
const POLICIES_MAX: usize = 12;
/// Steps that may be asked for, in seconds.
const STEPS: std::ops::RangeInclusive<i64> = 10..=3_600;

/// What is wrong with an order, if something is.
pub(super) fn check(order: &BacktestOrder) -> Result<(), String> {
    if order.from >= order.to {
        return Err(format!("`from` ({}) is not before `to` ({})", order.from, order.to));
    }
    if !STEPS.contains(&order.step) {
        return Err(format!("a step has {} to {} seconds, not {}", STEPS.start(), STEPS.end(), order.step));
    }
    if order.policies.is_empty() {
        return Err("no policy is named".to_owned());
    }
    if order.policies.len() > POLICIES_MAX {
        return Err(format!("{} policies are named, at most {POLICIES_MAX}", order.policies.len()));
    }
    for (place, policy) in order.policies.iter().enumerate() {
        Contender::parse(policy).map_err(|error| error.to_string())?;
        if order.policies[..place].contains(policy) {
            return Err(format!("policy {policy} is named twice"));
        }
    }
    Ok(())
}

/// Replays a trace past the policies of an order.
pub(super) fn run(
    trace: &Trace,
    order: &BacktestOrder,
    progress: &Progress,
) -> Result<BacktestResult, Stopped> {
    let unreadable = |error: CatalogueError| Stopped::Failed(error.to_string());
    let contenders: Vec<Contender> = order
        .policies
        .iter()
        .map(|policy| Contender::parse(policy))
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    let variants = variants(&contenders, order.sweep).map_err(unreadable)?;
    progress.all.store((variants.len() * trace.samples()) as u64, Ordering::Relaxed);
    let mut scored = Vec::with_capacity(variants.len());
    for variant in &variants {
        scored.push(score(trace, variant, progress)?);
    }
    let reports =
        [Resource::Memory, Resource::Cpu].map(|resource| report(trace, resource, &contenders, &scored));
    Ok(BacktestResult {
        extent: cells::extent(&reports[0]),
        repairs: trace.repairs.said().map(|(count, what)| format!("{count} {what}")).collect(),
        resources: reports.iter().map(result).collect(),
    })
}

fn score(trace: &Trace, variant: &Variant, progress: &Progress) -> Result<Scored, Stopped> {
    let all: Vec<usize> = (0..trace.workloads.len()).collect();
    let teller = || variant.contender.teller().map_err(|error| Stopped::Failed(error.to_string()));
    // A policy that learns from the whole fleet sees all of it at once.
    let size = if teller()?.workloads_apart() { 1 } else { all.len().max(1) };
    let mut scored = variant.unscored(trace);
    let done = |steps: usize| {
        progress.done.fetch_add(steps as u64, Ordering::Relaxed);
    };
    for places in all.chunks(size) {
        if progress.is_cancelled() {
            return Err(Stopped::Cancelled);
        }
        for (place, tally) in replay(trace, places, &mut teller()?, false, &done).tallies {
            scored.tallies[place] = tally;
        }
    }
    Ok(scored)
}

fn table(cells: Cells) -> BacktestTable {
    BacktestTable { head: cells.head.into_iter().map(str::to_owned).collect(), rows: cells.rows }
}

fn result(report: &Report) -> ResourceResult {
    let settled = report.lines.iter().any(|line| line.figures.task_days > 0.0);
    let figures = if settled { table(cells::figures(report)) } else { BacktestTable::default() };
    let mut notes = if settled { cells::withheld(report) } else { Vec::new() };
    notes.push(cells::LEGEND.to_owned());
    let chart = pareto::chart(report);
    let point = |mark: Mark| BacktestPoint { x: mark.x, y: mark.y, words: mark.words };
    let curves = chart.series.into_iter().filter(|_| settled).map(|series| BacktestCurve {
        policy: series.name,
        place: series.place,
        points: series.marks.into_iter().map(point).collect(),
        asked: series.asked.map(point),
    });
    ResourceResult {
        resource: cells::resource(report.resource).to_owned(),
        figures,
        cold_start: table(cells::cold_start(report)),
        notes,
        axes: (chart.x, chart.y),
        curves: curves.collect(),
        // What is not a number there has no value here.
        report: serde_json::to_value(report).unwrap_or_default(),
    }
}
