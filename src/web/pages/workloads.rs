//! Workloads: search, filters and orders over all of them, a hundred a page, with what they reserve and use.

use axum::extract::Query;
use maud::{Markup, html};
use serde::Deserialize;

use crate::api::client::encoded;
use crate::api::dto::{RecommendationDto, WorkloadDto};
use crate::api::usage_courses::{UsageCourseDto, UsageCoursesDto};
use crate::web::backend::Failure;
use crate::web::forms;
use crate::web::frame::{Page, Sheet, page};
use crate::web::pages::overview;
use crate::web::parts::{Bar, bar, bytes, cores, counted, empty, money, path, state};
use crate::web::visitor::Visitor;

/// The form of stars on a page.
const STARS_FORM: &str = "stars";
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
    fn takes(&self, row: &Row<'_>) -> bool {
        let (workload, q) = (row.workload, self.q.to_lowercase());
        let text = |text: Option<&str>| text.is_some_and(|text| text.to_lowercase().contains(&q));
        let found = q.is_empty()
            || workload.name.to_lowercase().contains(&q)
            || text(workload.team.as_deref())
            || text(workload.cost_centre.as_deref())
            || workload.notes.iter().any(|note| note.to_lowercase().contains(&q));
        let fits = match self.state.as_str() {
            "unwell" => {
                !["healthy", "idle", "running", "finished"].contains(&workload.state.as_str())
                    || overview::misses(workload)
            }
            "over" => row.saving() > 0.0,
            "under" => row.saving() < 0.0,
            _ => true,
        };
        found
            && fits
            && (self.kind.is_empty() || workload.kind.to_string().starts_with(&self.kind))
            && (self.team.is_empty() || workload.team.as_deref() == Some(&self.team))
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
    let visitor = visitor.with_stars().await?;
    let json = if filter.starred.is_empty() { "/v1/workloads" } else { "/v1/workloads?starred=true" };
    let workloads: Vec<WorkloadDto> = visitor.get(json).await?;
    let advice: Vec<RecommendationDto> = visitor.get("/v1/recommendations").await?;
    let by_name: std::collections::HashMap<&str, &RecommendationDto> =
        advice.iter().map(|each| (each.workload.as_str(), each)).collect();
    let rows = workloads
        .iter()
        .map(|workload| Row { workload, advice: by_name.get(workload.name.as_str()).copied() });
    let mut rows: Vec<Row<'_>> = rows.filter(|row| filter.takes(row)).collect();
    filter.order(&mut rows);
    let first = filter.page.min(rows.len() / ROWS) * ROWS;
    let shown = &rows[first..rows.len().min(first + ROWS)];
    let courses = courses(&visitor, shown).await?;
    let may: Vec<bool> = shown.iter().map(|row| visitor.may_change(row.workload.team.as_deref())).collect();
    let any = may.contains(&true);
    let rows_shown = html! { div #list data-live {
        (counts(rows.len(), first, shown.len(), workloads.len()))
        @if workloads.is_empty() && !filter.starred.is_empty() {
            (empty("No workload has a star of yours.", &html! { p { "Press ☆ beside one in "
                a href="/workloads" { "all of them" } ", or on its page, to find it here from any browser." } }))
        } @else if workloads.is_empty() {
            (empty("Nothing is declared yet.", &html! { p { "Declare workloads with " code { "loadline apply PATH" } ": "
                "the repository's " code { "config/examples" } " shows every key." } }))
        } @else if shown.is_empty() {
            (empty("No workload is like that.", &html! { p { a href="/workloads" { "Show all of them" } } }))
        } @else { (table(&visitor, shown, &courses, &may)) }
    } };
    let body = html! {
        (stars(&visitor))
        (filters(&filter, &workloads))
        @if any {
            form method="post" action="/act" {
                (rows_shown)
                (bulk())
                (forms::hidden(&visitor, "bulk-", ""))
            }
        } @else { (rows_shown) }
        @if rows.len() > ROWS { p.pager {
            @if first > 0 { a href=(filter.at(filter.page - 1)) { "Before" } " " }
            @if first + ROWS < rows.len() { a rel="next" href=(filter.at(first / ROWS + 1)) { "After" } }
        } }
    };
    let sheet = Sheet { title: "Workloads", room: "/workloads", json: Some(json), about: None };
    Ok(page(&visitor, &sheet, &body))
}

fn counts(found: usize, first: usize, shown: usize, all: usize) -> Markup {
    html! {
        p.quiet { (counted(found, "workload", "workloads"))
            @if found > ROWS { ", " (first + 1) " to " (first + shown) }
            @if found < all { " of " (all) } }
    }
}

/// What the rows that are shown used lately, asked for at once.
async fn courses(visitor: &Visitor, shown: &[Row<'_>]) -> Result<UsageCoursesDto, Failure> {
    if shown.is_empty() {
        return Ok(UsageCoursesDto::default());
    }
    let names: Vec<&str> = shown.iter().map(|row| row.workload.name.as_str()).collect();
    visitor.get(&format!("/v1/usage?workloads={}", encoded(&names.join(",")))).await
}

/// What is done with what is chosen.
fn bulk() -> Markup {
    html! {
        details.bulk-box { summary { "With the chosen ones" }
            div.bulk {
                (forms::why())
                (forms::how_long("until it is undone"))
                button.plain type="submit" name="do" value="bulk-pause" { "Pause" }
                button.plain type="submit" name="do" value="bulk-resume" { "Resume" }
                button.plain type="submit" name="do" value="bulk-restart" { "Restart" }
                button.plain type="submit" name="do" value="bulk-apply" { "Apply advice" }
            }
            div.bulk {
                label { "Instances of each" input type="number" name="count" min="0" max="100000"; }
                label.check { input type="checkbox" name="acknowledged" value="1"; "fewer than half of them is meant" }
                button.plain type="submit" name="do" value="bulk-scale" { "Scale" }
            }
        }
    }
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

fn table(visitor: &Visitor, rows: &[Row<'_>], courses: &UsageCoursesDto, may: &[bool]) -> Markup {
    let by_name: std::collections::HashMap<&str, &UsageCourseDto> =
        courses.workloads.iter().map(|course| (course.workload.as_str(), course)).collect();
    html! {
        div.scroll tabindex="0" { table.rows {
            thead { tr {
                @if may.contains(&true) { th.mark { input.script type="checkbox" hidden data-all="workload" aria-label="Choose all"; } }
                th.mark { span.hidden { "Star" } } th { "Workload" } th { "State" } th { "Team" } th.number { "Ready" }
                th { "CPU" } th { "Lately" } th { "Memory" } th.number { "Requests/s" } th.number { "Price a month" } th.number { "Saving" } } }
            tbody { @for (row, may_row) in rows.iter().zip(may) {
                (line(visitor, row, by_name.get(row.workload.name.as_str()).copied(), may.contains(&true).then_some(*may_row)))
            } }
        } }
    }
}

/// The cores used lately as a small line, from nothing to the highest.
fn spark(course: Option<&UsageCourseDto>) -> Markup {
    let points: Vec<(usize, f32)> = course
        .iter()
        .flat_map(|course| course.cpu.iter().enumerate())
        .filter_map(|(at, cpu)| Some((at, (*cpu)?)))
        .collect();
    let Some(course) = course.filter(|_| points.len() > 1) else { return html! { span.quiet { "-" } } };
    let high = points.iter().map(|(_, cpu)| *cpu).fold(f32::MIN_POSITIVE, f32::max);
    let right = course.cpu.len().saturating_sub(1).max(1) as f32;
    let drawn: Vec<String> = points
        .iter()
        .map(|(at, cpu)| format!("{:.1},{:.1}", *at as f32 / right * 100.0, 19.0 - cpu / high * 18.0))
        .collect();
    let words = format!("up to {} cores lately", cores(f64::from(high)));
    html! {
        svg.spark viewBox="0 0 100 20" preserveAspectRatio="none" role="img" aria-label=(words) {
            title { (words) }
            polyline points=(drawn.join(" ")) {}
        }
    }
}

/// A button that keeps a workload in sight. It belongs to the form of `stars`, as it may stand within another one.
pub(super) fn star(visitor: &Visitor, name: &str) -> Markup {
    let on = visitor.has_star(name);
    html! {
        button.star type="submit" form=(STARS_FORM) name=(if on { "unstar" } else { "star" }) value=(name)
            aria-pressed=(on.to_string()) title=(format!("Star: kept for {}", visitor.who.name))
            aria-label=(format!("Star {name}")) { @if on { "★" } @else { "☆" } }
    }
}

/// The form that the buttons of stars on a page belong to.
pub(super) fn stars(visitor: &Visitor) -> Markup {
    html! {
        form id=(STARS_FORM) method="post" action="/star" hidden {
            input type="hidden" name="csrf" value=(visitor.csrf);
            input type="hidden" name="next" value=(visitor.path);
        }
    }
}

/// A row. `chosen`: whether it can be chosen, where some can.
fn line(visitor: &Visitor, row: &Row<'_>, course: Option<&UsageCourseDto>, chosen: Option<bool>) -> Markup {
    let workload = row.workload;
    let (size, tasks) = (&workload.size, row.tasks());
    let advised = row.advice.and_then(|advice| advice.recommended.as_ref());
    let (cpu, memory) = (size.cpu_request * tasks, size.memory_request as f64 * tasks);
    let (cpu_used, memory_used) = (workload.cpu_used.unwrap_or(0.0), workload.memory_used.unwrap_or(0));
    html! {
        tr data-key=(workload.name) {
            @if let Some(may) = chosen { td.mark { @if may {
                input type="checkbox" name="workload" value=(workload.name) aria-label=(format!("Choose {}", workload.name)); } } }
            td.mark { (star(visitor, &workload.name)) }
            th scope="row" { a href=(path("/workloads", &workload.name)) { (workload.name) } " " small { (workload.kind) } }
            td { (state(&workload.state)) }
            td { (workload.team.as_deref().unwrap_or("-")) }
            td.number { (workload.ready) @if let Some(wanted) = workload.wanted { " / " (wanted) } }
            td.barred { (bar(&Bar { whole: cpu, requested: cpu, used: cpu_used,
                    recommended: advised.map(|size| size.cpu_request * tasks) },
                    &format!("{} of {} cores used", cores(cpu_used), cores(cpu))))
                small { (cores(cpu_used)) " / " (cores(cpu)) } }
            td { (spark(course)) }
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
