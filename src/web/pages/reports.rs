//! Reports: the bill of a month (`bills`), and what was requested, used, idle and recommended in a window, by
//! workload and by owner, at the prices of resources; on screen, on paper and as CSV. The figures are the API's
//! (`/v1/report`).

use axum::extract::Query;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use serde::Deserialize;

use crate::accounting::report::{Report, Sums};
use crate::domain::workload::Owner;
use crate::web::backend::Failure;
use crate::web::frame::{Sheet, page};
use crate::web::pages::bills::{self, Asked};
use crate::web::parts::{empty, figure, money, path, time};
use crate::web::visitor::Visitor;

/// Windows: the word in the address, and the one that is shown.
const WINDOWS: [(&str, &str); 4] = [
    ("day", "last 24 hours"),
    ("week", "last 7 days"),
    ("month", "this month"),
    ("last-month", "last month"),
];

/// Which window.
#[derive(Deserialize)]
pub(super) struct Window {
    #[serde(default)]
    window: String,
}

impl Window {
    fn word(&self) -> &'static str {
        WINDOWS.iter().map(|(word, _)| *word).find(|word| *word == self.window).unwrap_or("day")
    }

    /// From when to when, by the reader's calendar.
    fn bounds(&self, visitor: &Visitor) -> (Timestamp, Timestamp) {
        let now = visitor.now.to_zoned(visitor.zone.clone());
        let first = now.first_of_month().and_then(|day| day.start_of_day());
        let back = |hours| visitor.now.checked_sub(SignedDuration::from_hours(hours)).unwrap_or(visitor.now);
        match (self.word(), first) {
            ("week", _) => (back(168), visitor.now),
            ("month", Ok(first)) => (first.timestamp(), visitor.now),
            ("last-month", Ok(first)) => {
                let before = first.checked_sub(jiff::Span::new().months(1));
                (before.map_or(back(744), |before| before.timestamp()), first.timestamp())
            }
            _ => (back(24), visitor.now),
        }
    }

    fn json(&self, visitor: &Visitor) -> String {
        let (from, to) = self.bounds(visitor);
        format!("/v1/report?from={from:.0}&to={to:.0}")
    }
}

/// The bill of a month, or what was requested in a window.
pub(super) async fn show(
    visitor: Visitor,
    Query(asked): Query<Asked>,
    Query(window): Query<Window>,
) -> Result<Response, Failure> {
    if window.window.is_empty() {
        return bills::show(&visitor, &asked).await;
    }
    requests(visitor, window).await
}

async fn requests(visitor: Visitor, window: Window) -> Result<Response, Failure> {
    let (json, word) = (window.json(&visitor), window.word());
    // Months are of the reader's calendar.
    let name = format!("{word} {}", visitor.zone.iana_name().unwrap_or_default());
    let made = visitor.requests(&name, &json).await?;
    let body = html! {
        (spans(word))
        p { a.download href=(format!("/reports.csv?window={word}")) download="loadline-report.csv" { "Download as CSV" } }
        @if let Some(report) = &made { (shown(&visitor, report)) } @else { (bills::being_made()) }
    };
    let sheet = Sheet { title: "Reports", room: "/reports", json: Some(&json), about: None };
    Ok(bills::once_made(made.is_some(), page(&visitor, &sheet, &body)))
}

fn shown(visitor: &Visitor, report: &Report) -> Markup {
    let paid = &report.totals.amounts.price;
    html! {
        p { "From " (time(visitor, report.from)) " to " (time(visitor, report.to)) "." }
        @if report.rows.is_empty() {
            (empty("No task ran in this time.", &html! { p { "Choose a longer window, or come back once something runs." } }))
        } @else {
            div.figures {
                (figure("Requested", &price(paid.requested), "what was reserved"))
                (figure("Used", &price(paid.used), ""))
                (figure("Idle", &price(paid.idle), "reserved, not used"))
                @if let Some(saving) = report.totals.saving_micro_cents { (figure("Could have been saved", &price(saving), "at the recommended sizes")) }
            }
            section { h2 { "By team and cost centre" } (owners(report)) }
            section { h2 { "By workload" } (rows(report)) }
        }
    }
}

/// Where one goes from here: the bill, and the windows.
pub(super) fn spans(word: &str) -> Markup {
    html! { p.spans {
        a href="/reports" aria-current=[word.is_empty().then_some("true")] { "Bill of the nodes" }
        @for (each, words) in WINDOWS {
            a href=(format!("/reports?window={each}")) aria-current=[(each == word).then_some("true")] { "Requests, " (words) } }
    } }
}

fn price(amount: crate::domain::money::MicroCents) -> String {
    money(amount.units())
}

fn named(owner: &Owner) -> (String, String) {
    let word = |text: Option<&str>| text.unwrap_or("-").to_owned();
    (word(owner.team.as_deref()), word(owner.cost_centre.as_deref()))
}

fn amounts(sums: &Sums) -> Markup {
    let price_of = &sums.amounts.price;
    html! {
        td.number { (price(price_of.requested)) } td.number { (price(price_of.used)) } td.number { (price(price_of.idle)) }
        td.number { @if let Some(saving) = sums.saving_micro_cents { (price(saving)) } @else { "-" } }
    }
}

fn owners(report: &Report) -> Markup {
    html! {
        div.scroll tabindex="0" { table {
            thead { tr { th { "Team" } th { "Cost centre" } th.number { "Workloads" } th.number { "Requested" } th.number { "Used" } th.number { "Idle" } th.number { "Saving" } } }
            tbody { @for row in &report.owners { @let (team, centre) = named(&row.owner); tr {
                th scope="row" { (team) } td { (centre) } td.number { (row.workloads) } (amounts(&row.sums)) } } }
            tfoot { tr { th scope="row" colspan="2" { "All" } td.number { (report.rows.len()) } (amounts(&report.totals)) } }
        } }
    }
}

fn rows(report: &Report) -> Markup {
    html! {
        div.scroll tabindex="0" { table {
            thead { tr { th { "Workload" } th { "Team" } th.number { "Tasks, mean" } th.number { "peak" } th.number { "Requested" } th.number { "Used" } th.number { "Idle" } th.number { "Saving" } } }
            tbody { @for row in report.rows.iter().take(500) { tr {
                th scope="row" { a href=(path("/workloads", row.workload.as_str())) { (row.workload) } }
                td { (named(&row.owner).0) }
                td.number { (format!("{:.1}", row.instances.mean)) } td.number { (row.instances.peak) }
                (amounts(&row.sums)) } } }
        } }
        @if report.rows.len() > 500 { p.quiet { "and " (report.rows.len() - 500) " more, in the file" } }
    }
}

/// The report as CSV: a row a workload.
pub(super) async fn csv(
    visitor: Visitor,
    Query(window): Query<Window>,
) -> Result<impl IntoResponse, Failure> {
    let report: Report = visitor.get(&window.json(&visitor)).await?;
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(
            axum::http::StatusCode::INTERNAL_SERVER_ERROR,
            format!("The file cannot be made: {error}"),
        )
    };
    let mut writer = csv::Writer::from_writer(Vec::new());
    let head = [
        "workload",
        "team",
        "cost_centre",
        "tasks_mean",
        "tasks_peak",
        "requested",
        "used",
        "idle",
        "saving",
    ];
    writer.write_record(head).map_err(|error| failed(&error))?;
    for row in &report.rows {
        let (team, centre) = (row.owner.team.as_deref(), row.owner.cost_centre.as_deref());
        let paid = &row.sums.amounts.price;
        let record = [
            row.workload.to_string(),
            safe(team.unwrap_or_default()),
            safe(centre.unwrap_or_default()),
            format!("{:.3}", row.instances.mean),
            row.instances.peak.to_string(),
            format!("{:.8}", paid.requested.units()),
            format!("{:.8}", paid.used.units()),
            format!("{:.8}", paid.idle.units()),
            row.sums.saving_micro_cents.map(|saving| format!("{:.8}", saving.units())).unwrap_or_default(),
        ];
        writer.write_record(record).map_err(|error| failed(&error))?;
    }
    let text = writer.into_inner().map_err(|error| failed(&error))?;
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"loadline-report.csv\""),
    ];
    Ok((headers, text))
}

/// A spreadsheet takes text that begins like a formula for one.
fn safe(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t']) { format!("'{text}") } else { text.to_owned() }
}
