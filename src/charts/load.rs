//! A backtest of load: its figures as tables of text, its curves as a chart, everything as one page.
//! Not here: how charts and pages look (`draw`, `page`).

use std::fmt::Write;

use crate::charts::cells::{Cells, dash, number, percent, with_interval};
use crate::charts::draw::{Chart, Mark, Series, escaped};
use crate::charts::page::{around, figure, table};
use crate::charts::pareto::{FAR_NOTE, leave_out_far_points, name};
use crate::replay::backtest::Estimated;
use crate::replay::figures::Interval;
use crate::replay::load_backtest::{LoadFigures, LoadLine, LoadReport};

/// What the columns mean.
pub const LEGEND: &str = "Hours: instance-hours over the oracle's, those of starting instances included. Excess: \
     the share of HPA's hours above the oracle's that is left at HPA's under-provisioned time; below 1 is better \
     than HPA. Brackets: 95 % intervals over days.";

/// What was replayed.
pub fn extent(report: &LoadReport) -> String {
    let terms = &report.terms;
    format!(
        "{}, {}: {:.1} days, {} decisions every {} s, an instance serves {} and starts in {} s, {} to {} instances, \
         the oracle needs {:.0} instance-hours",
        name(&report.file),
        report.series,
        report.days,
        report.steps,
        terms.interval,
        short(terms.capacity),
        terms.startup,
        terms.min,
        terms.max,
        report.oracle_hours
    )
}

/// Without digits that nobody reads.
fn short(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

/// The figures of each policy.
pub fn figures(report: &LoadReport) -> Cells {
    let head = vec![
        "policy",
        "knob",
        "under-provisioned",
        "shed load",
        "hours",
        "changes/day",
        "flips/day",
        "budget gap",
        "excess at HPA's",
        "changes there",
    ];
    let rows = report.lines.iter().map(|line| {
        let figures = &line.figures;
        vec![
            line.policy.clone(),
            knob(line),
            under(figures.under_time, line.under_interval),
            percent_of(figures.shed, 3),
            with_interval(figures.hours, line.hours_interval, 3),
            number(figures.changes, 1),
            number(figures.flips, 1),
            figures.budget_gap.map_or_else(dash, |gap| format!("{gap:.2} pp")),
            estimated(&line.excess),
            line.changes_at_reference.map_or_else(dash, |changes| number(changes, 1)),
        ]
    });
    Cells { head, rows: rows.collect() }
}

/// Hours and changes at equal shares of under-provisioned time; none without curves.
pub fn levels(report: &LoadReport) -> Option<Cells> {
    let head = vec!["policy", "0.1 %", "0.3 %", "1 %", "3 %", "10 %"];
    let compared = report.lines.iter().filter(|line| line.at.len() + 1 == head.len());
    let rows: Vec<Vec<String>> = compared
        .map(|line| {
            let at = line.at.iter().map(|at| match (at.hours, at.changes) {
                (Some(hours), Some(changes)) => format!("{hours:.3} ({changes:.0}/day)"),
                _ => dash(),
            });
            [line.policy.clone()].into_iter().chain(at).collect()
        })
        .collect();
    (!rows.is_empty()).then_some(Cells { head, rows })
}

fn knob(line: &LoadLine) -> String {
    match (line.knob, line.knob_value) {
        (Some(name), Some(value)) => format!("{name}={value}"),
        _ => dash(),
    }
}

fn percent_of(share: f64, digits: usize) -> String {
    format!("{} %", number(share * 100.0, digits))
}

fn under(share: f64, interval: Option<Interval>) -> String {
    let interval = interval.map(|of| Interval { low: of.low * 100.0, high: of.high * 100.0 });
    format!("{} %", with_interval(share * 100.0, interval, 3))
}

fn estimated(of: &Estimated) -> String {
    of.value.map_or_else(dash, |value| with_interval(value, of.interval, 2))
}

/// Under-provisioned time against instance-hours, a curve a policy.
pub fn chart(report: &LoadReport) -> Chart {
    let floor = 50.0 / report.steps.max(1) as f64;
    let mut series: Vec<Series> =
        report.lines.iter().enumerate().map(|(place, line)| curve(line, place, floor)).collect();
    leave_out_far_points(&mut series);
    Chart {
        title: format!(
            "{}, {}: under-provisioned time and instance-hours",
            name(&report.file),
            report.series
        ),
        x: "under-provisioned time, % of the time".to_owned(),
        y: "instance-hours over the oracle's".to_owned(),
        series,
    }
}

fn curve(line: &LoadLine, place: usize, floor: f64) -> Series {
    let mark = |knob: String, figures: &LoadFigures| Mark {
        x: (figures.under_time * 100.0).max(floor),
        y: figures.hours,
        words: format!(
            "{}\n{knob}\nunder-provisioned in {} of the time, {} of the load shed\n{} times the oracle's hours\n{} changes a day",
            line.policy,
            percent_of(figures.under_time, 3),
            percent(figures.shed),
            number(figures.hours, 3),
            number(figures.changes, 1)
        ),
    };
    let knob_of = |value: f64| line.knob.map_or_else(dash, |name| format!("{name}={value}"));
    let drawn = line.points.iter().filter(|point| point.figures.hours.is_finite());
    Series {
        name: line.policy.clone(),
        place,
        marks: drawn.map(|point| mark(knob_of(point.knob), &point.figures)).collect(),
        asked: Some(mark(knob(line), &line.figures)),
    }
}

/// The page of a run.
pub fn page(reports: &[LoadReport]) -> String {
    let mut body = String::new();
    for report in reports {
        let _ = write!(
            body,
            "<section>\n<h2>{}</h2>\n<p>{}</p>\n{}{}\n",
            escaped(&report.series),
            escaped(&extent(report)),
            figure(&chart(report), "there is no policy"),
            table(&figures(report), "Figures")
        );
        if let Some(levels) = levels(report) {
            let caption = "Hours (and changes) at an equal share of under-provisioned time";
            let _ = writeln!(body, "{}", table(&levels, caption));
        }
        body.push_str("</section>\n");
    }
    let intro = format!(
        "Each curve is a policy of counts with its knob swept: lower and further left is better. The ring is the \
         value that was asked for. {FAR_NOTE} {LEGEND}"
    );
    around("Backtest of policies of counts", &intro, &body)
}
