//! Recommendations: by what they save, with risk and confidence; applied one by one or many at once.

use maud::{Markup, html};

use crate::api::dto::{RecommendationDto, WorkloadDto};
use crate::web::backend::Failure;
use crate::web::forms;
use crate::web::frame::{Page, Sheet, page};
use crate::web::parts::{bytes, cores, empty, figure, money, path};
use crate::web::visitor::Visitor;

pub(super) async fn show(visitor: Visitor) -> Result<Page, Failure> {
    let mut all: Vec<RecommendationDto> = visitor.get("/v1/recommendations").await?;
    let workloads: Vec<WorkloadDto> = visitor.get("/v1/workloads").await?;
    let team =
        |name: &str| workloads.iter().find(|each| each.name == name).and_then(|each| each.team.as_deref());
    all.sort_by(|a, b| a.price_per_month.total_cmp(&b.price_per_month));
    let (told, withheld): (Vec<_>, Vec<_>) = all.iter().partition(|one| one.recommended.is_some());
    let saving: f64 = told.iter().map(|one| (-one.price_per_month).max(0.0)).sum();
    let may: Vec<&str> =
        told.iter().map(|one| one.workload.as_str()).filter(|name| visitor.may_change(team(name))).collect();
    let body = html! {
        @if told.is_empty() {
            (empty("There is no advice yet.", &html! { p { "It comes once a workload was measured for long enough; below is what is missing." } }))
        } @else {
            div #sum data-live { div.figures {
                (figure("Could be saved", &format!("{} a month", money(saving)), "by all that save something"))
                (figure("Advice for", &format!("{} of {}", told.len(), all.len()), "workloads"))
            } }
            @if may.is_empty() { (table(&told, &may)) }
            @else {
                form method="post" action="/act" {
                    (forms::hidden(&visitor, "apply-sizes", ""))
                    (table(&told, &may))
                    div.bulk { (forms::why()) button type="submit" { "Apply what is chosen" } }
                }
            }
        }
        @if !withheld.is_empty() { section #withheld data-live {
            h2 { "Without advice" }
            ul.plain { @for one in withheld.iter().take(100) { li { a href=(path("/workloads", &one.workload)) { (one.workload) } " " span.quiet { (one.reason) } } } }
            @if withheld.len() > 100 { p.quiet { "and " (withheld.len() - 100) " more" } }
        } }
    };
    let sheet = Sheet {
        title: "Recommendations",
        room: "/recommendations",
        json: Some("/v1/recommendations"),
        about: None,
    };
    Ok(page(&visitor, &sheet, &body))
}

fn table(told: &[&RecommendationDto], may: &[&str]) -> Markup {
    html! {
        div.scroll tabindex="0" { table {
            thead { tr { th { @if !may.is_empty() { input.script type="checkbox" hidden data-all="workload" aria-label="Choose all"; } }
                th { "Workload" } th.number { "Saving a month" } th { "CPU" } th { "Memory" } th { "Risk" } th { "Confidence" } th { "Why" } } }
            tbody { @for one in told.iter().take(200) { @if let Some(to) = &one.recommended { tr {
                td { @if may.contains(&one.workload.as_str()) {
                    input type="checkbox" name="workload" value=(one.workload) aria-label=(format!("Choose {}", one.workload)); } }
                th scope="row" { a href=(path("/workloads", &one.workload)) { (one.workload) } " " small { (one.mode) } }
                td.number { (money(-one.price_per_month)) }
                td.nowrap { (cores(one.current.cpu_request)) " → " b { (cores(to.cpu_request)) } }
                td.nowrap { (bytes(one.current.memory_request)) " → " b { (bytes(to.memory_request)) } }
                td { @if let Some(risk) = one.risk { (format!("{risk:.4}")) small { " kills a task and day" } } @else { "-" } }
                td { @if let Some(confidence) = &one.confidence { (confidence) } small { " " (one.grounds) } }
                td.words { (one.reason) }
            } } } }
        } }
    }
}
