//! The bill of a month: what the nodes cost and whom, what recommendations saved, what the month will come to; with
//! its files and a page fit to print. The figures are the API's (`/v1/reports/cost`).

use axum::http::header;
use axum::response::{IntoResponse, Response};
use jiff::ToSpan;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use serde::Deserialize;

use crate::accounting::bill::report::{BillReport, BillRow, By};
use crate::accounting::bill::savings::Saving;
use crate::domain::money::MicroCents;
use crate::web::backend::Failure;
use crate::web::frame::{Page, Sheet, page};
use crate::web::pages::reports::spans;
use crate::web::parts::{empty, figure, money, path, time};
use crate::web::visitor::Visitor;

/// Months that can be chosen: this one and a year before.
const MONTHS: i32 = 13;
/// Rows that a page shows; the files have all.
const ROWS_MAX: usize = 500;
/// Formats: the word, the end of the file's name, what is said.
const FILES: [(&str, &str, &str); 4] = [
    ("csv", "csv", "CSV"),
    ("parquet", "parquet", "Parquet"),
    ("focus", "focus.csv", "FOCUS as CSV"),
    ("focus-parquet", "focus.parquet", "FOCUS as Parquet"),
];
/// Ways to give shared cost.
const SHARES: [(&str, &str); 3] =
    [("none", "in a row of its own"), ("even", "split evenly"), ("proportional", "split in proportion")];

/// Which bill.
#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    month: String,
    #[serde(default)]
    by: String,
    #[serde(default)]
    share: String,
}

/// The same, with what was left open filled in.
struct Bill {
    month: String,
    by: By,
    share: &'static str,
}

impl Bill {
    fn of(asked: &Asked, visitor: &Visitor) -> Self {
        let this = visitor.now.to_zoned(TimeZone::UTC).strftime("%Y-%m").to_string();
        let by = By::ALL.into_iter().find(|by| by.as_str() == asked.by).unwrap_or_default();
        let share = SHARES.iter().map(|(word, _)| *word).find(|word| *word == asked.share);
        let month = if asked.month.is_empty() { this } else { asked.month.clone() };
        Self { month, by, share: share.unwrap_or("none") }
    }

    /// Where the API has it, as JSON or in a format.
    fn api(&self, format: Option<&str>) -> String {
        let month = crate::api::client::encoded(&self.month);
        let more = format.map(|format| format!("&format={format}")).unwrap_or_default();
        format!("/v1/reports/cost?month={month}&by={}&share={}{more}", self.by, self.share)
    }
}

/// The page of a bill.
pub(super) async fn show(visitor: &Visitor, asked: &Asked) -> Result<Response, Failure> {
    let bill = Bill::of(asked, visitor);
    let json = bill.api(None);
    let made = visitor.bill(&json).await?;
    let body = html! {
        (spans(""))
        (choice(visitor, &bill))
        @if let Some(report) = &made { (shown(visitor, &bill, report)) } @else { (being_made()) }
    };
    let sheet = Sheet { title: "Reports", room: "/reports", json: Some(&json), about: None };
    Ok(once_made(made.is_some(), page(visitor, &sheet, &body)))
}

/// What stands in the place of a report that is not there yet.
pub(super) fn being_made() -> Markup {
    html! { p role="status" {
        "The report is being made. It is shown here once it is there; a month of thousands of tasks takes some seconds."
    } }
}

/// The page, which is asked for again until the report is there.
pub(super) fn once_made(made: bool, page: Page) -> Response {
    if made { page.into_response() } else { ([(header::REFRESH, "1")], page).into_response() }
}

fn choice(visitor: &Visitor, bill: &Bill) -> Markup {
    let today = visitor.now.to_zoned(TimeZone::UTC).date().first_of_month();
    let months = (0..MONTHS).filter_map(|back| today.checked_sub(back.months()).ok());
    let mut months: Vec<String> = months.map(|first| first.strftime("%Y-%m").to_string()).collect();
    if !months.contains(&bill.month) {
        months.push(bill.month.clone());
    }
    html! {
        form.filters action="/reports" {
            label { "Month" select name="month" { @for month in &months { option value=(month) selected[*month == bill.month] { (month) } } } }
            label { "By" select name="by" { @for by in By::ALL { option value=(by) selected[by == bill.by] { (by) } } } }
            label { "Shared cost" select name="share" { @for (word, words) in SHARES { option value=(word) selected[word == bill.share] { (words) } } } }
            button type="submit" { "Show" }
        }
        p.files { "Files: " @for (format, end, words) in FILES {
            a.download href=(bill.api(Some(format))) download=(format!("loadline-{}-{}.{end}", bill.month, bill.by)) { (words) } }
            a.download href=(bill.api(Some("html"))) { "Page to print" } }
    }
}

fn price(amount: MicroCents) -> String {
    money(amount.units())
}

fn shown(visitor: &Visitor, bill: &Bill, report: &BillReport) -> Markup {
    let all = &report.totals;
    html! {
        @for warning in &report.warnings { p.banner.bad role="alert" { (warning) } }
        p { "From " (time(visitor, report.from)) " to " (time(visitor, report.to))
            @if report.until < report.to { ", known until " (time(visitor, report.until)) } ". Months are of UTC; amounts in " (report.currency) ". "
            @if let Some(from) = report.sampled_from { "Use is known from " (time(visitor, from)) " on." } @else { "Nothing was measured so far." } }
        @if report.rows.is_empty() {
            (empty("Nothing was charged and no task ran.", &html! { p { "Choose another month, or come back once there are nodes." } }))
        } @else {
            div.figures {
                (figure("Cost", &price(all.cost), if report.until < report.to { "so far" } else { "of the month" }))
                @if report.until < report.to { (figure("Forecast of the month", &price(all.forecast), "as in the last seven days")) }
                (figure("Requested", &price(all.requested), "of it, what was reserved"))
                (figure("Used", &price(all.parts.used), ""))
                (figure("Idle", &price(all.parts.idle + all.parts.unsampled), "reserved, not used or not measured"))
                (figure("Free and overhead", &price(all.parts.free + all.parts.overhead), "had by no task"))
                (figure("Saved", &price(all.saving), &format!("{} were promised", price(all.promised))))
            }
            section { h2 { "Cost by " (bill.by) } (rows(bill.by, report)) }
            section { h2 { "Savings of applied recommendations" } (savings(&report.savings, all)) }
        }
    }
}

fn rows(by: By, report: &BillReport) -> Markup {
    html! {
        div.scroll tabindex="0" { table {
            thead { tr { th { (by) } @for name in BillRow::AMOUNTS { th.number { (name) } } } }
            tbody { @for row in report.rows.iter().take(ROWS_MAX) { (line(by, row)) } }
            tfoot { (line(By::Team, &report.totals)) }
        } }
        @if report.rows.len() > ROWS_MAX { p.quiet { "and " (report.rows.len() - ROWS_MAX) " more, in the files" } }
    }
}

fn line(by: By, row: &BillRow) -> Markup {
    let linked = matches!(by, By::Workload | By::Service) && !row.name.starts_with('(');
    html! { tr {
        th scope="row" { @if linked { a href=(path("/workloads", &row.name)) { (row.name) } } @else { (row.name) } }
        @for amount in row.amounts() { td.number { (price(amount)) } }
    } }
}

fn savings(savings: &[Saving], all: &BillRow) -> Markup {
    if savings.is_empty() {
        return html! { p.quiet { "None was in force. " a href="/recommendations" { "What could be saved" } } };
    }
    html! {
        div.scroll tabindex="0" { table {
            thead { tr { th { "Workload" } th { "Decision" } th { "From" } th { "To" } th.number { "Promised" } th.number { "Realised" } th.number { "Difference" } } }
            tbody { @for saving in savings { tr {
                th scope="row" { a href=(path("/workloads", saving.workload.as_str())) { (saving.workload) } }
                td { a href=(format!("/decisions/{}", saving.decision.0)) { (saving.decision) } }
                td { (saving.from.request) } td { (saving.to.request) }
                td.number { (price(saving.promised)) } td.number { (price(saving.realised)) } td.number { (price(saving.difference)) }
            } } }
            tfoot { tr { th scope="row" colspan="4" { "Sum" }
                td.number { (price(all.promised)) } td.number { (price(all.saving)) } td.number { (price(all.saving - all.promised)) } } }
        } }
    }
}
