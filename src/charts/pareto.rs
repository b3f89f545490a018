//! What a backtest came to as a chart: what the policies cost against how often they fall short, a curve a
//! policy with its risk knob swept, the value that was asked for marked.

use crate::charts::cells::{number, rate_of};
use crate::charts::draw::{Chart, Mark, Series};
use crate::replay::backtest::{Line, Report, Resource};
use crate::replay::figures::Figures;

/// The chart of one trace and resource.
pub fn chart(report: &Report) -> Chart {
    let what = match report.resource {
        Resource::Memory => "memory",
        Resource::Cpu => "CPU",
    };
    let (x, y) = match report.resource {
        Resource::Memory => ("OOM kills per task-day", "memory limit / use"),
        Resource::Cpu => ("share of time short of CPU", "CPU request / use"),
    };
    let floor = report.lines.iter().filter_map(|line| Some(line.curve.as_ref()?.floor())).next();
    let floor = floor.unwrap_or_else(|| smallest(report));
    let series = report.lines.iter().map(|line| series(report, line, floor));
    Chart {
        title: format!("{}: {what}, {} workloads", report.trace, report.workloads),
        x: x.to_owned(),
        y: y.to_owned(),
        series: series.filter(|series| !series.marks.is_empty() || series.asked.is_some()).collect(),
    }
}

/// Half of the smallest rate that the trace could show: where a rate of nothing stands.
fn smallest(report: &Report) -> f64 {
    let days = report.lines.first().map_or(1.0, |line| line.figures.task_days);
    let per_day = 86_400.0 / report.step as f64;
    match report.resource {
        Resource::Memory => 0.5 / days,
        Resource::Cpu => 0.5 / (days * per_day),
    }
}

fn series(report: &Report, line: &Line, floor: f64) -> Series {
    let figures = &line.figures;
    let use_of = figures.footprint / figures.footprint_over_use;
    let mark = |knob: f64, rate: f64, footprint: f64| {
        let known = rate.is_finite() && footprint.is_finite() && footprint > 0.0;
        known.then(|| Mark {
            x: rate.max(floor),
            y: footprint,
            words: words(report.resource, line, knob, rate, footprint),
        })
    };
    let points = line.curve.iter().flat_map(|curve| curve.points());
    let marks = points.filter_map(|point| mark(point.knob, point.rate, point.footprint / use_of)).collect();
    let rate = rate_of(report.resource, figures);
    // What a policy that mostly knew nothing came to is not to be compared.
    let told = figures.withheld < 0.5;
    let asked = told.then(|| mark(line.knob_value, rate, figures.footprint_over_use)).flatten();
    let asked = asked
        .map(|mark| Mark { words: format!("{}\n{}", mark.words, more(report.resource, figures)), ..mark });
    Series { name: line.policy.clone(), marks, asked }
}

fn words(resource: Resource, line: &Line, knob: f64, rate: f64, footprint: f64) -> String {
    let rate = match resource {
        Resource::Memory => format!("{} OOM kills per task-day", number(rate, 4)),
        Resource::Cpu => format!("short in {} % of the time", number(rate * 100.0, 2)),
    };
    format!("{}\n{}={knob}\n{rate}\n{} times the use", line.policy, line.knob, number(footprint, 3))
}

fn more(resource: Resource, figures: &Figures) -> String {
    let changes = match resource {
        Resource::Memory => format!("{} restarts a day", number(figures.restarts, 2)),
        Resource::Cpu => format!("{} changes a day", number(figures.in_place, 2)),
    };
    format!("slack {} %, {changes}", number(figures.relative_slack * 100.0, 1))
}
