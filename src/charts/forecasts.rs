//! What forecasts came to, as tables of text and as one HTML file.

use std::fmt::Write;

use crate::charts::cells::{Cells, number};
use crate::charts::draw::{Chart, Mark, Series, escaped};
use crate::charts::page::{around, figure, table};
use crate::charts::pareto;
use crate::forecasting::Structure;
use crate::replay::forecasts::{COVERED, ForecastReport};

/// What the figures are, for readers of the tables.
pub const LEGEND: &str = "Loss: pinball loss, mean over the quantiles from 5 % to 99 %, over seasonal naive's of a day; \
    geometric mean over series. Coverage: share of loads at or below the quantile. Width: from the 5 % to the 95 % \
    quantile, over the mean load. The first 3 days of each series are not scored.";

/// How large a report is.
pub fn extent(report: &ForecastReport) -> String {
    let with =
        |structure: Structure| report.series.iter().filter(|score| score.structure == structure).count();
    format!(
        "{} series, at the end {} with seasons, {} without structure",
        report.series.len(),
        with(Structure::Seasonal),
        with(Structure::None)
    )
}

/// Seconds in the largest unit that divides them.
fn span(seconds: i64) -> String {
    match seconds {
        seconds if seconds % 3600 == 0 => format!("{} h", seconds / 3600),
        seconds if seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

fn percent(share: f64) -> String {
    format!("{} %", number(100.0 * share, 1))
}

fn percents(shares: &[f64]) -> impl Iterator<Item = String> {
    shares.iter().map(|share| percent(*share))
}

fn with_levels(first: &[&'static str]) -> Vec<&'static str> {
    const NAMES: [&str; COVERED.len()] = ["50 %", "80 %", "90 %", "95 %", "99 %"];
    first.iter().copied().chain(NAMES).collect()
}

/// All tables of a report, each with its caption.
pub fn tables(report: &ForecastReport) -> Vec<(&'static str, Cells)> {
    let losses = report.summary.iter().map(|row| {
        let ratios = row.ratio.iter().map(|ratio| number(*ratio, 3));
        [span(row.horizon), row.series.to_string()].into_iter().chain(ratios).collect()
    });
    let head = ["ahead", "series"].into_iter().chain(report.methods).collect();
    let losses = Cells { head, rows: losses.collect() };
    let coverage = report.summary.iter().flat_map(|row| {
        let methods = report.methods.iter().zip(&row.coverage).zip(&row.width);
        methods.map(|((method, coverage), width)| {
            let first = [span(row.horizon), (*method).to_owned(), number(*width, 3)];
            first.into_iter().chain(percents(coverage)).collect()
        })
    });
    let coverage = Cells { head: with_levels(&["ahead", "method", "width"]), rows: coverage.collect() };
    let peaks = report
        .peaks
        .iter()
        .map(|row| std::iter::once(span(row.window)).chain(percents(&row.coverage)).collect());
    let peaks = Cells { head: with_levels(&["window"]), rows: peaks.collect() };
    vec![
        ("loss over seasonal naive's", losses),
        ("coverage", coverage),
        ("coverage of the highest load of a window that begins at once, loadline", peaks),
    ]
}

/// The loss of each method over the horizon.
fn chart(report: &ForecastReport) -> Chart {
    let series = report.methods.iter().enumerate().map(|(place, method)| {
        let marks = report.summary.iter().map(|row| Mark {
            x: row.horizon as f64 / 60.0,
            y: row.ratio[place],
            words: format!("{method}, {} ahead: {}", span(row.horizon), number(row.ratio[place], 3)),
        });
        Series { name: (*method).to_owned(), place, marks: marks.collect(), asked: None }
    });
    Chart {
        title: format!("{}: loss over the horizon", pareto::name(&report.trace)),
        x: "minutes ahead".to_owned(),
        y: "pinball loss over seasonal naive's".to_owned(),
        series: series.collect(),
    }
}

/// The page of a run.
pub fn page(reports: &[ForecastReport]) -> String {
    let mut body = String::new();
    for report in reports {
        let _ = write!(
            body,
            "<section>\n<h2>{}</h2>\n<p>{}</p>\n{}",
            escaped(pareto::name(&report.trace)),
            escaped(&extent(report)),
            figure(&chart(report), "no horizon could be scored")
        );
        for (caption, cells) in tables(report) {
            let _ = writeln!(body, "{}", table(&cells, caption));
        }
        body.push_str("</section>\n");
    }
    around("Backtest of forecasts", LEGEND, &body)
}
