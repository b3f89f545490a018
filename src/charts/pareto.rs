//! What a backtest came to as a chart: what the policies cost against how often they fall short, a curve a
//! policy with its risk knob swept, the value that was asked for marked.

use std::path::Path;

use crate::charts::cells::{number, rate_of};
use crate::charts::draw::{Chart, Mark, Series};
use crate::replay::backtest::{Line, Report, Resource};
use crate::replay::curve::Curve;
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
    let floor = report.lines.iter().find_map(|line| Some(line.curve.as_ref()?.floor()));
    let floor = floor.unwrap_or_else(|| smallest(report));
    let mut all: Vec<Series> =
        report.lines.iter().enumerate().map(|line| series(report, line, floor)).collect();
    leave_out_far_points(&mut all);
    all.retain(|series| !series.marks.is_empty() || series.asked.is_some());
    Chart {
        title: format!("{}: {what}, {} workloads", name(&report.trace), report.workloads),
        x: x.to_owned(),
        y: y.to_owned(),
        series: all,
    }
}

/// A trace's name without the folders that it lies in.
pub(super) fn name(trace: &str) -> &str {
    Path::new(trace).file_name().and_then(|name| name.to_str()).unwrap_or(trace)
}

/// So many times beyond what was asked for, in rate and in footprint, nobody looks; points there would press all
/// others into a corner.
const FAR: (f64, f64) = (10.0, 3.0);
/// What readers are told of that.
pub(super) const FAR_NOTE: &str = "Points of a curve beyond 10 times the highest rate, or 3 times the highest footprint, \
     of the values that were asked for are not drawn.";

pub(super) fn leave_out_far_points(all: &mut [Series]) {
    let most =
        |of: fn(&Mark) -> f64| all.iter().filter_map(|series| series.asked.as_ref()).map(of).reduce(f64::max);
    let (Some(x), Some(y)) = (most(|mark| mark.x), most(|mark| mark.y)) else { return };
    for series in all {
        series.marks.retain(|mark| mark.x <= x * FAR.0 && mark.y <= y * FAR.1);
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

fn series(report: &Report, (place, line): (usize, &Line), floor: f64) -> Series {
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
    let points = line.curve.iter().flat_map(Curve::points);
    let marks = points.filter_map(|point| mark(point.knob, point.rate, point.footprint / use_of)).collect();
    let rate = rate_of(report.resource, figures);
    // What a policy that mostly knew nothing came to is not to be compared.
    let told = figures.withheld < 0.5;
    let asked = told.then(|| mark(line.knob_value, rate, figures.footprint_over_use)).flatten();
    let asked = asked
        .map(|mark| Mark { words: format!("{}\n{}", mark.words, more(report.resource, figures)), ..mark });
    Series { name: line.policy.clone(), place, marks, asked }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_points_are_left_out_and_asked_ones_stay() {
        let mark = |x: f64, y: f64| Mark { x, y, words: String::new() };
        let of = |marks: Vec<Mark>, asked: Mark| Series {
            name: "p".to_owned(),
            place: 0,
            marks,
            asked: Some(asked),
        };
        let marks = vec![mark(0.1, 2.0), mark(0.9, 5.9), mark(0.1, 7.0), mark(1.1, 1.0)];
        let mut all = [of(marks, mark(0.1, 2.0)), of(vec![mark(50.0, 1.0)], mark(0.01, 0.5))];
        leave_out_far_points(&mut all);
        assert_eq!(all[0].marks, [mark(0.1, 2.0), mark(0.9, 5.9)]);
        assert_eq!((all[1].marks.len(), all[1].asked.is_some()), (0, true));
    }

    #[test]
    fn folders_are_no_part_of_a_name() {
        let names = ["/a/b/t.parquet", "t.csv", "recorded by the engine"].map(name);
        assert_eq!(names, ["t.parquet", "t.csv", "recorded by the engine"]);
    }
}
