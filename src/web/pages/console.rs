//! A command in a task, for operators: asked for with a reason, run by the API, its output shown as text.

use axum::Form;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;

use crate::api::dto::TaskDto;
use crate::api::exec::ExecResult;
use crate::web::Web;
use crate::web::backend::Failure;
use crate::web::forms::why;
use crate::web::frame::{Page, Sheet, page};
use crate::web::parts::{path, state};
use crate::web::visitor::{Visitor, is_ours};

/// For how long a command may run, in seconds.
const SPANS: [u32; 4] = [5, 10, 30, 50];
const SPAN_DEFAULT: u32 = 30;

/// What is asked for.
#[derive(Default, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    command: String,
    #[serde(default)]
    seconds: Option<u32>,
    #[serde(default)]
    message: String,
}

/// The form, for who may.
pub(super) async fn show(visitor: Visitor, Path(id): Path<String>) -> Result<Page, Failure> {
    may(&visitor)?;
    let task: TaskDto = visitor.get(&path("/v1/tasks", &id)).await?;
    Ok(sheet(&visitor, &task, &Asked::default(), &html! {}))
}

/// Runs what the form asks for, and shows what came of it.
pub(super) async fn run(
    State(_): State<Web>,
    visitor: Visitor,
    Path(id): Path<String>,
    headers: HeaderMap,
    Form(asked): Form<Asked>,
) -> Result<Page, Failure> {
    is_ours(&headers, &visitor.csrf, &asked.csrf)?;
    may(&visitor)?;
    let refused = |detail: &str| Failure::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
    if asked.message.trim().is_empty() {
        return Err(refused("Say why, in a few words: it stands in the record beside your name."));
    }
    if asked.command.trim().is_empty() {
        return Err(refused("Say which command is to run."));
    }
    let task: TaskDto = visitor.get(&path("/v1/tasks", &id)).await?;
    let body = json!({
        "command": ["sh", "-c", asked.command],
        "timeout_seconds": asked.seconds.unwrap_or(SPAN_DEFAULT),
        "message": asked.message.trim(),
    });
    let call = (Method::POST, &*format!("{}/exec", path("/v1/tasks", &id)));
    let answer = visitor.send(call, Some(&body)).await?;
    let result: ExecResult = serde_json::from_value(answer).map_err(|error| {
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the answer cannot be read: {error}"))
    })?;
    Ok(sheet(&visitor, &task, &asked, &came_of(&asked.command, &result)))
}

fn may(visitor: &Visitor) -> Result<(), Failure> {
    if visitor.may_operate() {
        return Ok(());
    }
    Err(Failure::new(StatusCode::FORBIDDEN, "Only operators run commands in tasks."))
}

fn sheet(visitor: &Visitor, task: &TaskDto, asked: &Asked, result: &Markup) -> Page {
    let back = path("/tasks", &task.id);
    let body = html! {
        p.lead { (state(task.state.as_str())) " " a href=(back) { (task.id) } }
        (result)
        section { (form(visitor, task, asked)) }
    };
    let title = format!("Command in {}", task.id);
    let json = path("/v1/tasks", &task.id);
    page(
        visitor,
        &Sheet { title: &title, room: "/workloads", json: Some(&json), about: Some(&task.workload) },
        &body,
    )
}

/// Asks for a command; folded behind its button on the page of the task.
pub(super) fn folded(visitor: &Visitor, task: &TaskDto) -> Markup {
    html! { details.act #exec { summary { "Run a command" } (form(visitor, task, &Asked::default())) } }
}

fn form(visitor: &Visitor, task: &TaskDto, asked: &Asked) -> Markup {
    let span = asked.seconds.unwrap_or(SPAN_DEFAULT);
    html! {
        form.console method="post" action=(format!("{}/exec", path("/tasks", &task.id))) {
            p { "Runs beside the task, as its user, in its folder and with its environment. Its output may show secrets." }
            input type="hidden" name="csrf" value=(visitor.csrf);
            label { "Command, as the shell reads it" input.code name="command" required maxlength="4000" value=(asked.command)
                autocomplete="off" spellcheck="false" placeholder="ps aux"; }
            label { "At most for" select name="seconds" { @for seconds in SPANS {
                option value=(seconds) selected[seconds == span] { (seconds) " s" }
            } } }
            (why())
            button type="submit" { "Run" }
        }
    }
}

fn came_of(command: &str, result: &ExecResult) -> Markup {
    let ended = match (result.status, result.timed_out) {
        (_, true) => ("failed", "its time was up: it was killed with everything that it started".to_owned()),
        (Some(0), _) => ("succeeded", "exit status 0".to_owned()),
        (Some(status), _) => ("failed", format!("exit status {status}")),
        (None, _) => ("failed", "it did not end by itself".to_owned()),
    };
    html! {
        section #result {
            h2 { "What came of it" }
            pre.command { code { "$ " (command) } }
            p { (state(ended.0)) " " (ended.1) @if result.truncated { "; it wrote more than is kept" } "." }
            @for (name, text) in [("stdout", &result.stdout), ("stderr", &result.stderr)] {
                @if !text.is_empty() { h3 { (name) } pre.output tabindex="0" { code { (text) } } }
            }
            @if result.stdout.is_empty() && result.stderr.is_empty() { p.quiet { "It wrote nothing." } }
        }
    }
}
