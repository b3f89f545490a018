//! A backtest as one HTML file: a section a trace, in it a chart with its legend, the table of figures and
//! that of the cold start for each resource. It loads nothing from elsewhere and evaluates no text.

use std::fmt::Write;

use crate::charts::cells::{self, Cells};
use crate::charts::draw::{COLOURS, Chart, Frame, course_for_page, escaped, svg_for_page};
use crate::charts::pareto;
use crate::replay::backtest::Report;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Colours of curves on black, in the order of `COLOURS`.
const COLOURS_DARK: [&str; COLOURS.len()] = [
    "#6cb2ff", "#fb923c", "#4ade80", "#b794f6", "#f87171", "#22d3ee", "#eab308", "#f472b6", "#a3e635",
    "#a8b3c4",
];

/// The page of a run. Reports of one trace stand one after the other.
pub fn page(reports: &[Report]) -> String {
    let mut body = String::new();
    for of_trace in reports.chunk_by(|a, b| a.trace == b.trace) {
        body.push_str(&section(of_trace));
    }
    let intro = format!(
        "Each curve is a policy with its risk knob swept: lower and further left is better. The ring is the value \
         that was asked for. {} {}",
        pareto::FAR_NOTE,
        cells::LEGEND
    );
    around("Backtest of sizing policies", &intro, &body)
}

/// A whole page: what stands around sections.
pub(super) fn around(title: &str, intro: &str, body: &str) -> String {
    // The policy of the page itself: what stands in it may run, and nothing may be loaded or sent.
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>{}{STYLE}</style>\n</head>\n<body>\n\
         <header><h1>{title}</h1>\n<p>{intro}</p></header>\n\
         <main>\n{body}</main>\n<div id=\"tip\" role=\"status\" hidden></div>\n<script>{SCRIPT}</script>\n\
         </body>\n</html>\n",
        colours()
    )
}

/// The variables that charts name their colours by.
fn colours() -> String {
    let of = |colours: [&str; COLOURS.len()]| {
        colours
            .iter()
            .enumerate()
            .map(|(place, colour)| format!("--s{place}:{colour};"))
            .collect::<Vec<_>>()
            .concat()
    };
    format!(":root{{{}}}@media(prefers-color-scheme:dark){{:root{{{}}}}}", of(COLOURS), of(COLOURS_DARK))
}

fn section(reports: &[Report]) -> String {
    let Some(first) = reports.first() else { return String::new() };
    let mut out = format!(
        "<section>\n<h2>{}</h2>\n<p>{}</p>\n",
        escaped(pareto::name(&first.trace)),
        escaped(&cells::extent(first))
    );
    for report in reports {
        let _ = write!(
            out,
            "<h3>{}</h3>\n{}",
            capital(cells::resource(report.resource)),
            figure(&pareto::chart(report), "no workload is older than 24 h in this trace")
        );
        let figures = cells::figures(report);
        let _ = writeln!(out, "{}", table(&figures, "Figures"));
        for note in cells::withheld(report) {
            let _ = writeln!(out, "<p class=\"note\">{}</p>", escaped(&note));
        }
        let _ = writeln!(
            out,
            "{}",
            table(&cells::cold_start(report), "Cold start: the first 24 h of each workload")
        );
    }
    out.push_str("</section>\n");
    out
}

/// A chart with its legend; drawn twice, for wide screens and for narrow ones.
pub(super) fn figure(chart: &Chart, empty: &str) -> String {
    drawn(chart, empty, svg_for_page)
}

/// The same for courses over the time.
pub(super) fn course(chart: &Chart, empty: &str) -> String {
    drawn(chart, empty, course_for_page)
}

fn drawn(chart: &Chart, empty: &str, draw: fn(&Chart, Frame) -> String) -> String {
    if !chart.has_points() {
        return format!("<p class=\"note\">Nothing to draw: {empty}.</p>\n");
    }
    let mut legend = String::new();
    for series in &chart.series {
        let place = series.place % COLOURS.len();
        let _ = write!(
            legend,
            "<label><input type=\"checkbox\" checked data-series=\"{place}\"><i class=\"c{place}\"></i>{}</label>",
            escaped(&series.name)
        );
    }
    format!(
        "<figure>\n<div class=\"legend\">{legend}</div>\n<div class=\"wide\">{}</div>\n<div class=\"narrow\">{}</div>\n\
         </figure>\n",
        draw(chart, Frame::WIDE),
        draw(chart, Frame::NARROW)
    )
}

pub(super) fn table(cells: &Cells, caption: &str) -> String {
    let head = cells
        .head
        .iter()
        .map(|name| format!("<th scope=\"col\">{}</th>", escaped(name)))
        .collect::<Vec<_>>()
        .concat();
    let rows =
        cells.rows.iter().map(|row| format!("<tr>{}</tr>\n", cells_of(row))).collect::<Vec<_>>().concat();
    format!(
        "<div class=\"scroll\" tabindex=\"0\"><table><caption>{}</caption>\n<thead><tr>{head}</tr></thead>\n\
         <tbody>\n{rows}</tbody></table></div>",
        escaped(caption)
    )
}

/// The first cell names the row.
fn cells_of(row: &[String]) -> String {
    let mut out = String::new();
    for (place, cell) in row.iter().enumerate() {
        let cell = escaped(cell);
        // An interval is of less weight than its figure, and may stand under it.
        let cell = match cell.split_once(" [") {
            Some((value, interval)) => format!("{value} <small>[{interval}</small>"),
            None => cell,
        };
        let _ = if place == 0 {
            write!(out, "<th scope=\"row\">{cell}</th>")
        } else {
            write!(out, "<td>{cell}</td>")
        };
    }
    out
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::backtest::{Contender, Resource, Scored, report};
    use crate::replay::families::{Family, Plan, generate};
    use crate::replay::grid::Trace;
    use crate::replay::vertical::replay;

    fn reports(name: &str, labels: &[&str]) -> Vec<Report> {
        let plan = Plan { workloads: 1, days: 4, interval: 900, seed: 1 };
        let (rows, _) = generate(&[Family::Diurnal, Family::OomLoop, Family::Leak], plan);
        let trace = Trace::new(name, &rows, None).expect("a trace");
        let asked: Vec<Contender> =
            labels.iter().map(|label| Contender::parse(label).expect("a policy")).collect();
        let mut scored = Vec::new();
        for contender in &asked {
            let swept = contender.sweep().into_iter().map(|one| (one, false));
            for (one, asked) in swept.chain([(contender.clone(), true)]) {
                let mut teller = one.teller().expect("a teller");
                let tallies = replay(&trace, &[0, 1, 2], &mut teller, false, &|_| {}).tallies;
                scored.push(Scored {
                    label: contender.label().to_owned(),
                    knob: one.knob().1,
                    asked,
                    tallies: tallies.into_iter().map(|(_, tally)| tally).collect(),
                });
            }
        }
        [Resource::Memory, Resource::Cpu].map(|resource| report(&trace, resource, &asked, &scored)).into()
    }

    #[test]
    fn a_page_holds_every_trace_and_loads_nothing() {
        let mut all = reports("/somewhere/<one>.parquet", &["vpa", "krr:margin=1.3", "oracle"]);
        all.extend(reports("two.csv", &["vpa", "oracle"]));
        let page = page(&all);
        assert_eq!((page.matches("<h2>").count(), page.matches("<figure>").count()), (2, 4));
        assert!(
            page.contains("<h2>&lt;one&gt;.parquet</h2>") && !page.contains("somewhere"),
            "names are escaped"
        );
        assert_eq!(page.matches("Cold start: ").count(), 4);
        assert!(page.contains("data-series=\"1\"><i class=\"c1\"></i>krr:margin=1.3</label>"));
        assert!(page.contains("krr:margin=1.3\nmargin=1.3\n"), "points tell their knob");
        assert!(page.contains("default-src 'none'"));
        for elsewhere in ["src=", "href=", "@import", "eval(", "new Function", "fetch("] {
            assert!(!page.contains(elsewhere), "{elsewhere}");
        }
        // Parts of a picture refer to each other, and to nothing else.
        assert_eq!(page.matches("url(").count(), page.matches("url(#").count());
        // The one address in it names the language of pictures.
        assert_eq!(page.matches("http").count(), page.matches("http://www.w3.org/2000/svg").count() + 1);
    }

    #[test]
    fn a_trace_of_hours_says_that_there_is_nothing_to_draw() {
        let plan = Plan { workloads: 1, days: 1, interval: 900, seed: 1 };
        let (rows, _) = generate(&[Family::Steady], plan);
        let trace = Trace::new("short", &rows, None).expect("a trace");
        let vpa = Contender::parse("vpa").expect("a policy");
        let mut teller = vpa.teller().expect("a teller");
        let tallies = replay(&trace, &[0], &mut teller, false, &|_| {}).tallies;
        let tallies = tallies.into_iter().map(|(_, tally)| tally).collect();
        let scored = [Scored { label: "vpa".to_owned(), knob: 1.15, asked: true, tallies }];
        let page = page(&[report(&trace, Resource::Memory, &[vpa], &scored)]);
        assert!(page.contains("Nothing to draw") && page.contains("Cold start"), "{page}");
    }
}
