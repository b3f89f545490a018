//! What tasks print: of one task on its page, of several side by side. Each line is a link that leads back to
//! it. Without script these are the last lines; with it they go on, stand still and are searched.

use axum::extract::Query;
use maud::{Markup, html};

use crate::api::client::encoded;
use crate::api::dto::{LogDto, TaskDto};
use crate::web::backend::Failure;
use crate::web::frame::{Page, Sheet, json_link, page};
use crate::web::parts::{empty, path, state};
use crate::web::visitor::Visitor;

/// Lines of a log that are there from the beginning.
const LINES: usize = 200;
/// Tasks whose logs stand side by side.
const SIDE_BY_SIDE: usize = 6;
/// Tasks of the same workloads that are offered beside them.
const OFFERED: usize = 30;

/// A log of a task.
pub(super) struct Shown<'a> {
    /// The task.
    pub(super) task: &'a TaskDto,
    /// `stdout` or `stderr`.
    pub(super) stream: &'a str,
    /// From this line on, in place of the last ones.
    pub(super) from: Option<&'a str>,
    /// Whether lines of all logs of the page are searched and followed together.
    pub(super) together: bool,
}

/// A log: its last lines, or those from a place on, and what the script needs to go on with it.
pub(super) async fn log(visitor: &Visitor, shown: &Shown<'_>) -> Markup {
    let source = format!("{}/logs?stream={}", path("/v1/tasks", &shown.task.id), shown.stream);
    let from = shown.from.filter(|place| !place.is_empty());
    let asked = match from {
        Some(place) => format!("{source}&places=true&after={}", encoded(place)),
        None => format!("{source}&places=true&tail={LINES}"),
    };
    let read = visitor.get::<LogDto>(&asked).await.ok();
    drawn(shown, (&source, &asked), from, read.as_ref())
}

fn drawn(
    shown: &Shown<'_>,
    (source, asked): (&str, &str),
    from: Option<&str>,
    log: Option<&LogDto>,
) -> Markup {
    let Shown { task, stream, together, .. } = *shown;
    let text = log.map_or("", |log| log.text.as_str());
    let open = stream == "stdout" || together || !text.is_empty();
    let page = format!("{}?stream={stream}", path("/tasks", &task.id));
    // Places are counted for each log by itself: several logs of one page tell them apart.
    let anchor = if stream == "stdout" { "L" } else { "E" };
    let mark = if together { format!("{}-{anchor}", task.id) } else { anchor.to_owned() };
    html! {
        details.log open[open] data-log=(source) data-page=(page) data-mark=(mark) data-anchor=(anchor) data-open[!text.is_empty() && !text.ends_with('\n')] data-next=[log.map(|log| log.next.as_str())] {
            summary { (stream) " " (json_link(asked)) }
            @if !together { div.tools.script hidden { (tools(from.is_none() && !task.state.is_terminal())) span.quiet aria-live="off" {} } }
            @if from.is_some() { p.quiet { "From the line that was linked to. " a href=(path("/tasks", &task.id)) { "The newest lines" } } }
            pre tabindex="0" { code { @if let Some(log) = log { (lines((&page, anchor, &mark), log)) } } }
            @if text.is_empty() { p.quiet.nothing { "It has printed nothing here." } }
        }
    }
}

/// Search and follow, for the script.
fn tools(follow: bool) -> Markup {
    html! {
        label { span.hidden { "Search in the log" } input type="search" placeholder="Lines with this text"; }
        label.check { input type="checkbox" name="follow" checked[follow]; "follow" }
    }
}

/// The lines: where a link to one leads, the letter of its place there, and what its place is called here.
fn lines((page, anchor, mark): (&str, &str, &str), log: &LogDto) -> Markup {
    let all = log.text.strip_suffix('\n').unwrap_or(&log.text);
    let places = log.places.iter();
    html! {
        @for (line, place) in all.split('\n').zip(places) {
            a.line id=(format!("{mark}{place}")) href=(format!("{page}&from={place}#{anchor}{place}")) { (if line.is_empty() { " " } else { line }) }
        }
    }
}

/// Which logs stand side by side.
#[derive(Default)]
struct Wanted {
    tasks: Vec<String>,
    workload: Option<String>,
    stream: &'static str,
}

impl Wanted {
    fn read(pairs: Vec<(String, String)>) -> Self {
        let mut wanted = Self { stream: "stdout", ..Self::default() };
        for (name, value) in pairs {
            match (name.as_str(), value.trim()) {
                (_, "") => {}
                ("task", task) if !wanted.tasks.iter().any(|known| known == task) => {
                    wanted.tasks.push(task.to_owned());
                }
                ("workload", workload) => wanted.workload = Some(workload.to_owned()),
                ("stream", "stderr") => wanted.stream = "stderr",
                _ => {}
            }
        }
        wanted
    }
}

/// `/logs?task=A&task=B`, or `?workload=NAME` for those of its tasks that live.
pub(super) async fn show(
    visitor: Visitor,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Page, Failure> {
    let mut wanted = Wanted::read(pairs);
    let mut offered: Vec<TaskDto> = Vec::new();
    if wanted.tasks.is_empty()
        && let Some(workload) = &wanted.workload
    {
        offered = of_workload(&visitor, workload).await?;
        wanted.tasks = offered.iter().take(SIDE_BY_SIDE).map(|task| task.id.clone()).collect();
    }
    let left_out = wanted.tasks.len().saturating_sub(SIDE_BY_SIDE);
    wanted.tasks.truncate(SIDE_BY_SIDE);
    let mut tasks: Vec<TaskDto> = Vec::new();
    for id in &wanted.tasks {
        tasks.push(visitor.get(&path("/v1/tasks", id)).await?);
    }
    for task in &tasks {
        if !offered.iter().any(|known| known.workload == task.workload) {
            offered.extend(of_workload(&visitor, &task.workload).await?);
        }
    }
    let mut logs = Vec::new();
    for task in &tasks {
        let shown = Shown { task, stream: wanted.stream, from: None, together: true };
        logs.push((task, log(&visitor, &shown).await));
    }
    let body = html! {
        (chooser(&wanted, &offered))
        @if left_out > 0 { p.quiet { (left_out) " more are left out: " (SIDE_BY_SIDE) " logs stand side by side." } }
        @if tasks.is_empty() {
            (empty("No task is chosen.", &html! { p { "Open a task and follow " b { "Logs side by side" }
                ", or name tasks in the address: " code { "/logs?task=web.1&task=web.2" } "." } }))
        } @else {
            div.tools.script.together hidden { (tools(tasks.iter().any(|task| !task.state.is_terminal()))) }
            div.logs { @for (task, log) in &logs { section {
                h2 { a href=(path("/tasks", &task.id)) { (task.id) } " " (state(task.state.as_str()))
                    @if let Some(node) = &task.node { " " small { (node) } } }
                (log)
            } } }
        }
    };
    let sheet =
        Sheet { title: "Logs side by side", room: "/workloads", json: Some("/v1/tasks"), about: None };
    Ok(page(&visitor, &sheet, &body))
}

async fn of_workload(visitor: &Visitor, workload: &str) -> Result<Vec<TaskDto>, Failure> {
    visitor.get(&format!("/v1/tasks?workload={}&limit={OFFERED}", encoded(workload))).await
}

/// Which tasks, and which of their streams.
fn chooser(wanted: &Wanted, offered: &[TaskDto]) -> Markup {
    let chosen = |task: &str| wanted.tasks.iter().any(|known| known == task);
    let gone = wanted.tasks.iter().filter(|task| !offered.iter().any(|known| known.id == **task));
    let names = gone.map(String::as_str).chain(offered.iter().map(|task| task.id.as_str()));
    html! {
        form.filters action="/logs" {
            @for name in names {
                label.check { input type="checkbox" name="task" value=(name) checked[chosen(name)]; (name) }
            }
            label { "Stream" select name="stream" { @for stream in ["stdout", "stderr"] {
                option value=(stream) selected[stream == wanted.stream] { (stream) }
            } } }
            button type="submit" { "Show" }
        }
    }
}
