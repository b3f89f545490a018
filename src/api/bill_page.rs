//! The report of a bill as a page that is fit to print. It loads nothing and runs nothing.

use std::fmt::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::accounting::bill::report::{BillReport, BillRow};
use crate::domain::money::MicroCents;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1a1a1a;--dim:#555;--line:#bbb;--back:#fff;--bar:#2563a8}\
@media (prefers-color-scheme:dark){:root{--ink:#eee;--dim:#aaa;--line:#555;--back:#161616;--bar:#6cb2ff}}\
*{box-sizing:border-box}\
body{font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--back);margin:0 auto;padding:1.5rem;\
max-width:75rem}\
h1{font-size:1.5rem;margin:0 0 .25rem}h2{font-size:1.1rem;margin:1.75rem 0 .5rem}p{margin:.25rem 0;max-width:60rem}\
.dim{color:var(--dim)}.warning{border-left:4px solid #c0392b;padding-left:.6rem}\
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));gap:.75rem;margin:1rem 0}\
dl div{border-top:2px solid var(--bar);padding-top:.25rem}dt{color:var(--dim);font-size:.85rem}\
dd{margin:0;font-size:1.25rem;font-variant-numeric:tabular-nums}\
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\
th,td{padding:.3rem .5rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}\
th:first-child,td:first-child{text-align:left;white-space:normal;overflow-wrap:anywhere}\
thead th{border-bottom:2px solid var(--ink);vertical-align:bottom}tfoot td{font-weight:600;border-top:2px solid \
var(--ink)}\
@page{size:A4 landscape;margin:12mm}\
@media print{:root{--ink:#000;--dim:#444;--line:#999;--back:#fff}body{padding:0;max-width:none;font-size:9.5pt}\
.wide{overflow:visible}tr,dl{break-inside:avoid}thead{display:table-header-group}}";

/// The page of a report.
pub(super) fn page(report: &BillReport) -> String {
    let title = format!("Cost by {}, {} to {}", report.by, day(report.from), day(report.to));
    let mut body = String::new();
    let _ = write!(
        body,
        "<h1>{}</h1>\n<p class=\"dim\">Known until {} (UTC). Amounts in {}. Shared cost: {}.</p>\n",
        escaped(&title),
        report.until,
        escaped(&report.currency),
        sharing(report)
    );
    for warning in &report.warnings {
        let _ = writeln!(body, "<p class=\"warning\">Warning: {}.</p>", escaped(warning));
    }
    body.push_str(&summary(&report.totals));
    body.push_str(&rows(report));
    body.push_str(&savings(report));
    body.push_str(&notes(report));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        escaped(&title)
    )
}

fn sharing(report: &BillReport) -> &'static str {
    use crate::accounting::bill::shared::Sharing;
    match report.sharing {
        Sharing::None => "in a row of its own",
        Sharing::Even => "split evenly",
        Sharing::Proportional => "split in proportion to allocations",
        Sharing::Weights(_) => "split by weights",
    }
}

fn summary(total: &BillRow) -> String {
    let parts = [
        ("Cost", total.cost),
        ("Used", total.parts.used),
        ("Idle in allocations", total.parts.idle + total.parts.unsampled),
        ("Overhead", total.parts.overhead),
        ("Free", total.parts.free),
        ("Shared", total.parts.shared),
        ("Saved", total.saving),
        ("Forecast", total.forecast),
    ];
    let mut text = "<dl>\n".to_owned();
    for (name, amount) in parts {
        let _ = writeln!(text, "<div><dt>{name}</dt><dd>{amount}</dd></div>");
    }
    text.push_str("</dl>\n");
    text
}

fn rows(report: &BillReport) -> String {
    let mut text = "<div class=\"wide\">\n<table>\n<thead><tr><th scope=\"col\">Name</th>".to_owned();
    for name in BillRow::AMOUNTS {
        let _ = write!(text, "<th scope=\"col\">{name}</th>");
    }
    text.push_str("</tr></thead>\n<tbody>\n");
    for row in &report.rows {
        text.push_str(&line(row));
    }
    let _ = write!(text, "</tbody>\n<tfoot>\n{}</tfoot>\n</table>\n</div>\n", line(&report.totals));
    text
}

fn line(row: &BillRow) -> String {
    let cells: String = row.amounts().map(|amount: MicroCents| format!("<td>{amount}</td>")).concat();
    format!("<tr><td>{}</td>{cells}</tr>\n", escaped(&row.name))
}

fn savings(report: &BillReport) -> String {
    if report.savings.is_empty() {
        return String::new();
    }
    let mut text = "<h2>Savings of applied recommendations</h2>\n<div class=\"wide\">\n<table>\n<thead><tr>\
        <th scope=\"col\">Workload</th><th scope=\"col\">Decision</th><th scope=\"col\">From</th>\
        <th scope=\"col\">To</th><th scope=\"col\">Promised</th><th scope=\"col\">Realised</th>\
        <th scope=\"col\">Difference</th></tr></thead>\n<tbody>\n"
        .to_owned();
    for saving in &report.savings {
        let _ = writeln!(
            text,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escaped(saving.workload.as_str()),
            saving.decision,
            escaped(&saving.from.request.to_string()),
            escaped(&saving.to.request.to_string()),
            saving.promised,
            saving.realised,
            saving.difference
        );
    }
    let all = &report.totals;
    let _ = write!(
        text,
        "</tbody>\n<tfoot><tr><td>Sum</td><td></td><td></td><td></td><td>{}</td><td>{}</td><td>{}</td></tr></tfoot>\n\
         </table>\n</div>\n",
        all.promised,
        all.saving,
        all.saving - all.promised
    );
    text
}

fn notes(report: &BillReport) -> String {
    let adds_up = report.totals.cost == report.charged;
    let mut text = format!(
        "<h2>Notes</h2>\n<p>The charges of the nodes are {} micro-cents; the rows add up to {}.</p>\n\
         <p>Idle: requested, measured, not used. Overhead: kept by the system, and nodes until they take tasks and \
         once they are told to go. Free: had by nobody. Saved: what applied recommendations saved.</p>\n",
        report.charged.get(),
        if adds_up { "exactly that" } else { "something else: please report this as a fault" }
    );
    if let Some(from) = report.sampled_from {
        let _ = writeln!(text, "<p>Use is known from {} (UTC) on.</p>", day(from));
    }
    if report.unbilled_task_microseconds > 0 {
        let hours = report.unbilled_task_microseconds as f64 / 3.6e9;
        let _ = writeln!(text, "<p>{hours:.2} task-hours ran on nodes that nothing was charged for.</p>");
    }
    text
}

fn day(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M").to_string()
}

/// Text that stands in a page as text.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(character),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_names_is_text() {
        assert_eq!(escaped("<b>\"a\" & 'b'</b>"), "&lt;b&gt;&quot;a&quot; &amp; &#39;b&#39;&lt;/b&gt;");
    }
}
