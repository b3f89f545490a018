//! One task: its life with reasons, how it ended in words, what it was started with, what its
//! health checks answered, its log, and commands in it.

use axum::extract::{Path, Query};
use maud::{Markup, html};
use serde::Deserialize;

use crate::api::answers::{CheckDto, EventDto};
use crate::api::client::encoded;
use crate::api::dto::{TaskDto, WorkloadDto};
use crate::api::environment::EnvironmentDto;
use crate::web::backend::Failure;
use crate::web::forms::{Act, act};
use crate::web::frame::{Page, Sheet, json_link, page};
use crate::web::pages::console;
use crate::web::pages::logs::{self, Shown};
use crate::web::pages::workload_parts::events;
use crate::web::parts::{Bar, away, bar, bytes, cores, figure, path, size, state, time};
use crate::web::visitor::Visitor;

/// Which line of which log was linked to.
#[derive(Default, Deserialize)]
pub(super) struct Place {
    #[serde(default)]
    stream: String,
    #[serde(default)]
    from: String,
}

pub(super) async fn show(
    visitor: Visitor,
    Path(id): Path<String>,
    Query(place): Query<Place>,
) -> Result<Page, Failure> {
    let json = path("/v1/tasks", &id);
    let task: TaskDto = visitor.get(&json).await?;
    // A workload that was deleted may leave tasks that ended.
    let workload = visitor.get::<WorkloadDto>(&path("/v1/workloads", &task.workload)).await.ok();
    let team = workload.and_then(|workload| workload.team);
    let checks: Vec<CheckDto> = visitor.get(&format!("{json}/checks")).await.unwrap_or_default();
    let happened: Vec<EventDto> = visitor.get(&format!("/v1/events?task={}&limit=30", encoded(&id))).await?;
    let found: EnvironmentDto = visitor.get(&format!("{json}/environment")).await?;
    let mut logs = Vec::new();
    for stream in ["stdout", "stderr"] {
        let from = (place.stream == stream).then_some(place.from.as_str());
        logs.push(logs::log(&visitor, &Shown { task: &task, stream, from, together: false }).await);
    }
    let beside = format!("/logs?workload={}", encoded(&task.workload));
    let body = html! {
        div #state data-live { (head(&visitor, &task)) }
        @if !task.state.is_terminal() {
            div.acts {
                @if visitor.may_change(team.as_deref()) {
                    (act(&visitor, &Act { does: "stop-task", subject: &task.id, button: "Stop this task",
                        words: "A service replaces it by another. That cannot be undone.", lasting: false }, &html! {}))
                }
                @if visitor.may_operate() && task.state.holds_resources() { (console::folded(&visitor, &task)) }
            }
        }
        section { h2 { "Log " small { a href=(beside) { "Logs side by side" } } } @for log in &logs { (log) } }
        div.columns {
            section #life data-live { h2 { "Life " (json_link(&format!("/v1/events?task={}", encoded(&id)))) } (events(&visitor, &happened)) }
            section #environment data-live { h2 { "Started with " (json_link(&format!("{json}/environment"))) } (started_with(&found)) }
            section #checks data-live { h2 { "Health checks " (json_link(&format!("{json}/checks"))) } (checked(&visitor, &checks)) }
        }
    };
    let about = task.workload.clone();
    let sheet = Sheet { title: &id, room: "/workloads", json: Some(&json), about: Some(&about) };
    Ok(page(&visitor, &sheet, &body))
}

fn head(visitor: &Visitor, task: &TaskDto) -> Markup {
    html! {
        p.lead { (state(task.state.as_str())) " task of " a href=(path("/workloads", &task.workload)) { (task.workload) }
            ", revision " (task.revision)
            @if let Some(node) = &task.node { " on " a href=(format!("/nodes#{node}")) { (node) } } }
        p { (task.reason) }
        @if let Some(exit) = &task.exit {
            p.ended { b { (exit.describe()) } ", " (time(visitor, exit.at))
                @if exit.asked_to_stop { " (it had been told to stop)" }
                @if let Some(message) = &exit.message { " " (message) }
                @if let Some(peak) = exit.peak_memory { ". Peak memory " (peak) }
                "." }
        }
        @for line in &task.waiting { p.quiet { (line) } }
        div.figures {
            (figure("Made", &away(visitor, task.created_at), ""))
            @if let Some(started) = task.started_at { (figure("Started", &away(visitor, started), "")) }
            @if let Some(health) = &task.health { (figure("Health", health, "")) }
            @if let Some(pid) = task.pid { (figure("Process", &pid.to_string(), "")) }
            (figure("Size", &format!("{} cores", cores(task.size.cpu_request)), &size(&task.size)))
            @for (port, number) in &task.ports { (figure(&format!("Port {port}"), &number.to_string(), "")) }
        }
        @if let (Some(cpu), Some(memory)) = (task.cpu_used, task.memory_used) {
            div.live {
                div { "CPU " b { (cores(cpu)) } " of " (cores(task.size.cpu_request)) " cores"
                    (bar(&Bar { whole: task.size.cpu_limit.unwrap_or(task.size.cpu_request), requested: task.size.cpu_request, used: cpu, recommended: None }, "CPU"))
                    @if let Some(throttled) = task.throttled_share.filter(|share| *share > 0.0) { small { (format!("throttled in {:.0} % of periods", throttled * 100.0)) } } }
                div { "Memory " b { (bytes(memory)) } " of " (bytes(task.size.memory_limit))
                    (bar(&Bar { whole: task.size.memory_limit as f64, requested: task.size.memory_request as f64, used: memory as f64, recommended: None }, "Memory"))
                    @if let Some(cache) = task.page_cache { small { "and " (bytes(cache)) " of file cache" } } }
            }
        }
    }
}

/// What it was started with: secrets by name.
fn started_with(found: &EnvironmentDto) -> Markup {
    html! {
        @if !found.known { p.quiet { "Its workload is gone, and with it what it was started with." } }
        @else {
            dl {
                dt { "Command" } dd { code { @for word in &found.command { (word) " " } } }
                @if let Some(folder) = &found.working_dir { dt { "Folder" } dd { code { (folder) } } }
                @if let Some(user) = &found.user { dt { "User" } dd { (user) } }
            }
            @if found.variables.is_empty() { p.quiet { "Nothing beside PATH, HOME and LANG of the engine." } }
            @else { div.scroll tabindex="0" { table {
                thead { tr { th { "Variable" } th { "Value" } } }
                tbody { @for variable in &found.variables { tr {
                    th scope="row" { code { (variable.name) } }
                    td.words {
                        @if let Some(value) = &variable.value { code { (value) } }
                        @else { span.state.rest { "hidden" } " " small { (variable.hidden.as_deref().unwrap_or_default()) } }
                    }
                } } }
            } } }
        }
    }
}

fn checked(visitor: &Visitor, checks: &[CheckDto]) -> Markup {
    html! {
        @if checks.is_empty() { p.quiet { "No health check was answered: the spec's " code { "readiness" } " and "
            code { "liveness" } " declare them." } }
        @else { div.scroll tabindex="0" { table {
            thead { tr { th { "When" } th { "Check" } th { "Answer" } th.number { "Took" } th { "Body" } } }
            tbody { @for check in checks.iter().rev().take(12) { tr {
                td { (time(visitor, check.at)) }
                td { (check.check) }
                td { (state(if check.passed { "ready" } else { "failed" })) " " (check.message) }
                td.number { (format!("{:.0} ms", check.took * 1000.0)) }
                td.words { code { (check.body) } }
            } } }
        } } }
    }
}
