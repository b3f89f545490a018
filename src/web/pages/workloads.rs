//! Workloads: search, filters and orders over all of them, a hundred a page, with what they reserve and use.

use axum::extract::Query;
use maud::{Markup, html};
use serde::Deserialize;

use crate::api::client::encoded;
use crate::api::dto::{RecommendationDto, WorkloadDto};
use crate::web::backend::Failure;
use crate::web::frame::{Page, Sheet, page};
use crate::web::parts::{Bar, bar, bytes, cores, counted, empty, money, path, state};
use crate::web::visitor::Visitor;

/// Rows of a page.
const ROWS: usize = 100;
/// Orders: the word in the address, and the one that is shown.
const ORDERS: [(&str, &str); 5] =
    [("name", "name"), ("waste", "waste"), ("price", "price"), ("saving", "saving"), ("state", "state")];
/// Filters of state.
const STATES: [(&str, &str); 4] =
    [("", "every state"), ("unwell", "unhealthy"), ("over", "over-sized"), ("under", "under-sized")];
const KINDS: [(&str, &str); 4] =
    [("", "every kind"), ("service", "services"), ("cron", "cron jobs"), ("job", "jobs")];

/// What is shown.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Filter {
    q: String,
    kind: String,
    team: String,
    state: String,
    starred: String,
    sort: String,
    page: usize,
}

/// A workload with its advice.
struct Row<'a> {
    workload: &'a WorkloadDto,
    advice: Option<&'a RecommendationDto>,
}

impl Row<'_> {
    fn tasks(&self) -> f64 {
        f64::from(self.workload.tasks)
    }

    /// What is reserved and not used, in what it costs a month: by the price of what is reserved.
    fn waste(&self) -> f64 {
        let size = &self.workload.size;
        let unused = |used: Option<f64>, requested: f64| {
            used.map_or(0.0, |used| {
                (1.0 - used / (requested * self.tasks()).max(f64::MIN_POSITIVE)).clamp(0.0, 1.0)
            })
        };
        let cpu = unused(self.workload.cpu_used, size.cpu_request);
        let memory = unused(self.workload.memory_used.map(|bytes| bytes as f64), size.memory_request as f64);
        f64::midpoint(cpu, memory) * self.price()
    }

    fn price(&self) -> f64 {
        self.advice.map_or(0.0, |advice| advice.current_price_per_month)
    }

    fn saving(&self) -> f64 {
        self.advice
            .filter(|advice| advice.recommended.is_some())
            .map_or(0.0, |advice| -advice.price_per_month)
    }
}

impl Filter {
    fn takes(&self, visitor: &Visitor, row: &Row<'_>) -> bool {
        let (workload, q) = (row.workload, self.q.to_lowercase());
        let text = |text: Option<&str>| text.is_some_and(|text| text.to_lowercase().contains(&q));
        let found = q.is_empty()
            || workload.name.to_lowercase().contains(&q)
            || text(workload.team.as_deref())
            || text(workload.cost_centre.as_deref())
            || workload.notes.iter().any(|note| note.to_lowercase().contains(&q));
        let fits = match self.state.as_str() {
            "unwell" => !["healthy", "idle", "running", "finished"].contains(&workload.state.as_str()),
            "over" => row.saving() > 0.0,
            "under" => row.saving() < 0.0,
            _ => true,
        };
        found
            && fits
            && (self.kind.is_empty() || workload.kind.to_string().starts_with(&self.kind))
            && (self.team.is_empty() || workload.team.as_deref() == Some(&self.team))
            && (self.starred.is_empty() || visitor.has_star(&workload.name))
    }

    fn order(&self, rows: &mut [Row<'_>]) {
        match self.sort.as_str() {
            "waste" => rows.sort_by(|a, b| b.waste().total_cmp(&a.waste())),
            "price" => rows.sort_by(|a, b| b.price().total_cmp(&a.price())),
            "saving" => rows.sort_by(|a, b| b.saving().total_cmp(&a.saving())),
            "state" => rows.sort_by(|a, b| a.workload.state.cmp(&b.workload.state)),
            _ => {}
        }
    }

    /// The address of another page of the same.
    fn at(&self, page: usize) -> String {
        let fields = [
            ("q", &self.q),
            ("kind", &self.kind),
            ("team", &self.team),
            ("state", &self.state),
            ("starred", &self.starred),
            ("sort", &self.sort),
        ];
        let given = fields.iter().filter(|(_, value)| !value.is_empty());
        let mut parts: Vec<String> =
            given.map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        if page > 0 {
            parts.push(format!("page={page}"));
        }
        format!("/workloads?{}", parts.join("&"))
    }
}

pub(super) async fn show(visitor: Visitor, Query(filter): Query<Filter>) -> Result<Page, Failure> {
    let workloads: Vec<WorkloadDto> = visitor.get("/v1/workloads").await?;
    let advice: Vec<RecommendationDto> = visitor.get("/v1/recommendations").await?;
    let by_name: std::collections::HashMap<&str, &RecommendationDto> =
        advice.iter().map(|each| (each.workload.as_str(), each)).collect();
    let rows = workloads
        .iter()
        .map(|workload| Row { workload, advice: by_name.get(workload.name.as_str()).copied() });
    let mut rows: Vec<Row<'_>> = rows.filter(|row| filter.takes(&visitor, row)).collect();
    filter.order(&mut rows);
    let first = filter.page.min(rows.len() / ROWS) * ROWS;
    let shown = &rows[first..rows.len().min(first + ROWS)];
    let body = html! {
        (filters(&filter, &workloads))
        div #list data-live {
            p.quiet { (counted(rows.len(), "workload", "workloads"))
                @if rows.len() > ROWS { ", " (first + 1) " to " (first + shown.len()) }
                @if rows.len() < workloads.len() { " of " (workloads.len()) } }
            @if workloads.is_empty() {
                (empty("Nothing is declared yet.", &html! { p { "Declare workloads with " code { "loadline apply PATH" } ": "
                    "the repository's " code { "config/examples" } " shows every key." } }))
            } @else if shown.is_empty() {
                (empty("No workload is like that.", &html! { p { a href="/workloads" { "Show all of them" } } }))
            } @else { (table(&visitor, shown)) }
        }
        @if rows.len() > ROWS { p.pager {
            @if first > 0 { a href=(filter.at(filter.page - 1)) { "Before" } " " }
            @if first + ROWS < rows.len() { a rel="next" href=(filter.at(first / ROWS + 1)) { "After" } }
        } }
    };
    let sheet = Sheet { title: "Workloads", room: "/workloads", json: Some("/v1/workloads"), about: None };
    Ok(page(&visitor, &sheet, &body))
}

fn options(chosen: &str, all: &[(&str, &str)]) -> Markup {
    html! { @for (value, words) in all { option value=(value) selected[*value == chosen] { (words) } } }
}

fn filters(filter: &Filter, workloads: &[WorkloadDto]) -> Markup {
    let mut teams: Vec<&str> = workloads.iter().filter_map(|workload| workload.team.as_deref()).collect();
    teams.sort_unstable();
    teams.dedup();
    let teams = [("", "every team")].into_iter().chain(teams.iter().map(|team| (*team, *team)));
    let teams: Vec<(&str, &str)> = teams.collect();
    let sort = if filter.sort.is_empty() { "name" } else { &filter.sort };
    html! {
        form.filters action="/workloads" {
            label { "Search" input type="search" name="q" value=(filter.q) placeholder="name, team, note"; }
            label { "Kind" select name="kind" { (options(&filter.kind, &KINDS)) } }
            label { "Team" select name="team" { (options(&filter.team, &teams)) } }
            label { "State" select name="state" { (options(&filter.state, &STATES)) } }
            label { "By" select name="sort" { (options(sort, &ORDERS)) } }
            label.check { input type="checkbox" name="starred" value="1" checked[!filter.starred.is_empty()]; "★ only" }
            button type="submit" { "Show" }
        }
    }
}

fn table(visitor: &Visitor, rows: &[Row<'_>]) -> Markup {
    html! {
        div.scroll tabindex="0" { table.rows {
            thead { tr { th { span.hidden { "Star" } } th { "Workload" } th { "State" } th { "Team" } th { "Ready" }
                th { "CPU" } th { "Memory" } th { "Requests/s" } th.number { "Price a month" } th.number { "Saving" } } }
            tbody { @for row in rows { (line(visitor, row)) } }
        } }
    }
}

/// A button that keeps a workload in sight.
pub(super) fn star(visitor: &Visitor, name: &str) -> Markup {
    let on = visitor.has_star(name);
    html! {
        button.star.script type="button" hidden data-star=(name) aria-pressed=(on.to_string())
            title="Star: kept in this browser" aria-label=(format!("Star {name}")) { @if on { "★" } @else { "☆" } }
    }
}

fn line(visitor: &Visitor, row: &Row<'_>) -> Markup {
    let workload = row.workload;
    let (size, tasks) = (&workload.size, row.tasks());
    let advised = row.advice.and_then(|advice| advice.recommended.as_ref());
    let (cpu, memory) = (size.cpu_request * tasks, size.memory_request as f64 * tasks);
    let (cpu_used, memory_used) = (workload.cpu_used.unwrap_or(0.0), workload.memory_used.unwrap_or(0));
    html! {
        tr {
            td { (star(visitor, &workload.name)) }
            th scope="row" { a href=(path("/workloads", &workload.name)) { (workload.name) } " " small { (workload.kind) } }
            td { (state(&workload.state)) }
            td { (workload.team.as_deref().unwrap_or("-")) }
            td.number { (workload.ready) @if let Some(wanted) = workload.wanted { " / " (wanted) } }
            td.barred { (bar(&Bar { whole: cpu, requested: cpu, used: cpu_used,
                    recommended: advised.map(|size| size.cpu_request * tasks) },
                    &format!("{} of {} cores used", cores(cpu_used), cores(cpu))))
                small { (cores(cpu_used)) " / " (cores(cpu)) } }
            td.barred { (bar(&Bar { whole: memory, requested: memory, used: memory_used as f64,
                    recommended: advised.map(|size| size.memory_request as f64 * tasks) },
                    &format!("{} of {} used", bytes(memory_used), bytes(memory as u64))))
                small { (bytes(memory_used)) " / " (bytes(memory as u64)) } }
            td.number { @if let Some(rate) = workload.requests_per_second { (format!("{rate:.1}")) } @else { "-" } }
            td.number { (money(row.price())) }
            td.number { @if advised.is_some() { (money(row.saving())) } @else { "-" } }
        }
    }
}
