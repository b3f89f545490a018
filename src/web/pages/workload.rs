//! One workload: how it stands, what it uses beside what it may, its load beside its capacity with the
//! decisions in between, its revisions, what happened, and what can be done about it.

use axum::extract::{Path, Query};
use maud::{Markup, html};

use crate::api::answers::{ActionDto, EventDto, RevisionDto};
use crate::api::courses::{ForecastDto, LoadCourseDto};
use crate::api::cron_ahead::RunUsageDto;
use crate::api::dto::{ExplanationDto, RunDto, TaskDto, WorkloadDto};
use crate::api::load_models::LoadModelDto;
use crate::domain::load_forecast::LoadForecast;
use crate::domain::workload::WorkloadKind;
use crate::web::backend::Failure;
use crate::web::forms::{self, Act, act};
use crate::web::frame::{Page, Sheet, json_link, page};
use crate::web::pages::overview::{Span, spans};
use crate::web::pages::workload_charts::{load_chart, size_curve};
use crate::web::pages::workload_parts::{cost_curve, events, model, revisions, tasks, usage_charts};
use crate::web::pages::{cron, decisions, workloads};
use crate::web::parts::{bytes, cores, counted, figure, path, size, state, time};
use crate::web::visitor::Visitor;

/// Parts of a chart.
const PARTS: u32 = 120;
/// Instances that are listed.
const TASKS: usize = 100;
/// Runs that are listed.
const RUNS: usize = 20;
/// Hours ahead that forecasts reach.
const AHEAD_MAX: u32 = 48;
/// A page waits no longer for a forecast.
const FORECAST_TIME: std::time::Duration = std::time::Duration::from_millis(60);

/// What a page of a workload is made from.
struct Known {
    workload: WorkloadDto,
    advice: ExplanationDto,
    tasks: Vec<TaskDto>,
    actions: Vec<ActionDto>,
    revisions: Vec<RevisionDto>,
    events: Vec<EventDto>,
    settings: Vec<String>,
}

pub(super) async fn show(
    visitor: Visitor,
    Path(name): Path<String>,
    Query(span): Query<Span>,
) -> Result<Page, Failure> {
    let (json, hours) = (path("/v1/workloads", &name), span.hours());
    let visitor = visitor.with_stars().await?;
    let workload: WorkloadDto = visitor.get(&json).await?;
    let name = crate::api::client::encoded(&workload.name);
    let known = Known {
        advice: visitor.get(&format!("/v1/recommendations/{name}?hours={hours}&parts={PARTS}")).await?,
        tasks: visitor.get(&format!("/v1/tasks?workload={name}&ended=true&limit={TASKS}")).await?,
        actions: visitor.get("/v1/actions").await?,
        revisions: visitor.get(&format!("/v1/workloads/{name}/revisions")).await?,
        events: visitor.get(&format!("/v1/events?workload={name}&limit=25")).await?,
        settings: visitor.get(&format!("/v1/workloads/{name}/settings")).await?,
        workload,
    };
    let body = match known.workload.kind {
        WorkloadKind::Service => {
            let load = visitor.get(&format!("/v1/workloads/{name}/load?hours={hours}&parts={PARTS}")).await?;
            let model = visitor.get(&format!("/v1/workloads/{name}/model")).await?;
            let forecast = forecast(&visitor, &name, hours).await?;
            service(&visitor, &known, hours, &(load, model, forecast))
        }
        WorkloadKind::CronJob | WorkloadKind::Job => {
            let runs: Vec<RunDto> = visitor.get(&format!("/v1/runs?workload={name}&limit=100")).await?;
            let used = visitor.get(&format!("/v1/runs/usage?workload={name}&limit={RUNS}")).await?;
            job(&visitor, &known, hours, &(runs, used))
        }
    };
    let title = known.workload.name.clone();
    let room = if known.workload.kind == WorkloadKind::Service { "/workloads" } else { "/cron" };
    let sheet = Sheet { title: &title, room, json: Some(&json), about: Some(&title) };
    Ok(page(&visitor, &sheet, &body))
}

/// What is to come, half as far as the page looks back. The first answer of an engine takes a while, where much is
/// known: then the page does without, and the next one has it.
async fn forecast(visitor: &Visitor, name: &str, hours: u32) -> Result<ForecastDto, Failure> {
    let ahead = hours.div_ceil(2).min(AHEAD_MAX);
    let path = format!("/v1/workloads/{name}/forecast?hours={ahead}&parts={}", PARTS / 2);
    match tokio::time::timeout(FORECAST_TIME, visitor.get(&path)).await {
        Ok(answer) => answer,
        Err(_) => Ok(ForecastDto {
            workload: name.to_owned(),
            forecast: LoadForecast { points: Vec::new(), words: "it is being made".to_owned() },
        }),
    }
}

fn service(
    visitor: &Visitor,
    known: &Known,
    hours: u32,
    (load, modelled, forecast): &(LoadCourseDto, LoadModelDto, ForecastDto),
) -> Markup {
    let name = &known.workload.name;
    html! {
        (head(visitor, known))
        (acts(visitor, known))
        section { h2 { "Usage and load" } (spans(&path("/workloads", name), hours))
            div.columns {
                (load_chart(visitor, (load, forecast), &known.advice.decisions, modelled, hours))
                (usage_charts(visitor, name, &known.advice, hours))
            }
        }
        (shared(visitor, known))
        section #model { h2 { "Load model " (json_link(&format!("{}/model", path("/v1/workloads", name)))) } (model(modelled)) }
        (record(visitor, known))
    }
}

fn job(
    visitor: &Visitor,
    known: &Known,
    hours: u32,
    (runs, used): &(Vec<RunDto>, Vec<RunUsageDto>),
) -> Markup {
    let name = &known.workload.name;
    html! {
        (head(visitor, known))
        (acts(visitor, known))
        section #runs data-live {
            h2 { "Runs " (json_link(&format!("/v1/runs?workload={}&limit=100", crate::api::client::encoded(name)))) }
            (cron::strip(visitor, runs))
            (cron::took(runs))
            (cron::runs(visitor, &runs[..runs.len().min(RUNS)], used, visitor.may_change(known.workload.team.as_deref())))
        }
        section { h2 { "Usage" } (spans(&path("/workloads", name), hours))
            div.columns { (usage_charts(visitor, name, &known.advice, hours)) } }
        (shared(visitor, known))
        (record(visitor, known))
    }
}

/// How it stands, and what is in force by hand.
fn head(visitor: &Visitor, known: &Known) -> Markup {
    let workload = &known.workload;
    let may = visitor.may_change(workload.team.as_deref());
    let actions =
        known.actions.iter().filter(|action| action.subject == workload.name && action.kind != "freeze");
    html! {
        (workloads::stars(visitor))
        div #state data-live {
            p.lead {
                (workloads::star(visitor, &workload.name)) " " (state(&workload.state)) " " (workload.kind)
                @if let Some(team) = &workload.team { " of team " (team) }
                @if let Some(centre) = &workload.cost_centre { ", cost centre " (centre) }
                ", revision " (workload.revision)
            }
            @for note in &workload.notes { p.quiet { (note) } }
            (forms::in_force(visitor, &actions.collect::<Vec<_>>(), may))
            (rollout(visitor, known, may))
            (figures(visitor, workload))
        }
    }
}

fn figures(visitor: &Visitor, workload: &WorkloadDto) -> Markup {
    let bounds =
        workload.scale_bounds.map(|(min, max)| format!("between {min} and {max}")).unwrap_or_default();
    let doors: Vec<String> =
        workload.front_doors.iter().map(|(port, number)| format!("{port}: 127.0.0.1:{number}")).collect();
    html! {
        div.figures {
            @match workload.wanted {
                Some(wanted) => (figure("Instances ready", &format!("{} of {wanted}", workload.ready), &bounds)),
                None => (figure("Runs active", &workload.ready.to_string(), "")),
            }
            (figure("Size of a task", &format!("{} cores", cores(workload.size.cpu_request)), &size(&workload.size)))
            @if let Some(used) = workload.cpu_used { (figure("CPU used", &format!("{} cores", cores(used)), "over all tasks")) }
            @if let Some(used) = workload.memory_used { (figure("Memory used", &bytes(used), "over all tasks")) }
            @if let Some(rate) = workload.requests_per_second { (figure("Requests", &format!("{rate:.1} /s"),
                &latency(workload))) }
            @if !doors.is_empty() { (figure("Front door", &doors.join(", "), "")) }
            @if let Some(schedule) = &workload.schedule { (figure("Schedule", schedule, "")) }
            @if let Some(next) = workload.next_run { div.figure { span.name { "Next run" } b { (time(visitor, next)) } } }
        }
        @if let Some(scale) = &workload.scale {
            p.quiet { "Count by " b { (scale.policy) } ": " (scale.reason) " (" (scale.rule) ")" }
        }
    }
}

/// How fast it answers, and how fast it is to be.
fn latency(workload: &WorkloadDto) -> String {
    let wanted = workload.latency_objective.map(|most| format!(", wanted {:.0} ms", most * 1e3));
    let found = workload.latency_p95.map(|p95| format!("95 % within {:.0} ms", p95 * 1e3));
    found.map(|found| found + &wanted.unwrap_or_default()).unwrap_or_default()
}

/// The banner of a rollout that moves or waits.
fn rollout(visitor: &Visitor, known: &Known, may: bool) -> Markup {
    let workload = &known.workload;
    let Some(rollout) = workload.rollout.as_ref().filter(|rollout| rollout.state.is_open()) else {
        return html! {};
    };
    let stage = rollout.open_stage();
    let brought = known.revisions.iter().find(|revision| revision.number == rollout.to);
    html! {
        @if let Some(from) = rollout.from {
            div.banner { div {
                b { "Rollout from revision " (from) " to " (rollout.to) } @if let Some(brought) = brought { " by " (brought.by) } ", since " (time(visitor, rollout.started_at))
                @if let Some(stage) = stage { ": " (rollout.title(stage)) " " (stage.waits) }
                @if let Some(verdict) = stage.and_then(|stage| stage.verdict.as_ref()) { " (" (verdict) ")" }
                @if rollout.failures > 0 { ", " (rollout.failures) " failures" } "." }
                @if may { div.buttons {
                    @if stage.is_some() { (forms::asks(visitor, ("advance", &workload.name), "Advance",
                        "The rollout goes on without waiting. That cannot be undone; the rollout can be aborted.")) }
                    (forms::asks(visitor, ("abort", &workload.name), "Abort",
                        &format!("All instances go back to revision {from} at once. That cannot be undone: to try again, deploy again.")))
                } }
            }
        }
    }
}

/// What can be done, for who may.
fn acts(visitor: &Visitor, known: &Known) -> Markup {
    let workload = &known.workload;
    if !visitor.may_change(workload.team.as_deref()) {
        return html! {};
    }
    let one = |does, button, words, lasting| Act { does, subject: &workload.name, button, words, lasting };
    let paused = known.actions.iter().any(|action| action.kind == "pause" && action.subject == workload.name);
    let service = workload.wanted;
    html! {
        div.acts {
            @if let Some(wanted) = service {
                (act(visitor, &one("scale", "Scale", "Another number of instances, by hand.", true), &html! {
                    label { "Instances" input type="number" name="count" min="0" max="10000" required value=(wanted); }
                    label.check { input type="checkbox" name="acknowledged" value="1"; "fewer than half of them is meant" }
                }))
                (act(visitor, &one("restart", "Restart", "Replaces each instance by an equal one, one after the other. Undone, those that are left stay.", false), &html! {}))
            } @else {
                (act(visitor, &one("run", "Run now", "One run now, whatever the schedule says. While it goes on it can be cancelled.", false), &html! {
                    label { "Other arguments, one a line" textarea name="args" rows="2" placeholder="as the spec says" {} }
                }))
            }
            @if paused { (act(visitor, &one("resume", "Resume", "Its tasks are wanted again.", false), &html! {})) }
            @else { (act(visitor, &one("pause", "Pause", "No task of it is wanted for a while.", true), &html! {})) }
            @if service.is_some() && known.revisions.len() > 1 {
                (act(visitor, &one("rollback", "Roll back", "Goes back to an earlier revision, as a rollout: it can be aborted, and rolled back itself.", false), &html! {
                    label { "To revision" select name="to" {
                        @for revision in known.revisions.iter().rev().filter(|revision| !revision.in_force) {
                            option value=(revision.number) { (revision.number) " by " (revision.by) } } } }
                }))
            }
            @if known.advice.recommendation.recommended.is_some() {
                (act(visitor, &one("bulk-apply", "Apply recommended size", &known.advice.recommendation.reason, false), &html! {
                    input type="hidden" name="workload" value=(workload.name);
                }))
            }
        }
    }
}

/// Tasks and the advice.
fn shared(visitor: &Visitor, known: &Known) -> Markup {
    let name = crate::api::client::encoded(&known.workload.name);
    html! {
        section #tasks data-live {
            h2 { "Tasks " (json_link(&format!("/v1/tasks?workload={name}&ended=true&limit={TASKS}"))) }
            (tasks(visitor, &known.tasks, known.workload.wanted.is_some()))
        }
        section #advice data-live {
            h2 { "Why this size " (json_link(&format!("/v1/recommendations/{name}"))) }
            (size_curve(&known.advice.recommendation))
            (cost_curve(&known.advice.recommendation))
        }
    }
}

/// What was: decisions, revisions, events.
fn record(visitor: &Visitor, known: &Known) -> Markup {
    let name = crate::api::client::encoded(&known.workload.name);
    html! {
        section #decided data-live {
            h2 { "Decisions " (json_link(&format!("/v1/decisions?subject={name}"))) }
            (decisions::table(visitor, &known.advice.decisions))
        }
        section #revisions data-live {
            h2 { "Revisions " (json_link(&format!("/v1/workloads/{name}/revisions"))) }
            (revisions(visitor, &known.workload, &known.revisions))
        }
        section #settings data-live {
            h2 { "Settings " (json_link(&format!("/v1/workloads/{name}/settings"))) }
            details.revision { summary { (counted(known.settings.len(), "field", "fields")) " of the spec in force" }
                dl { @for line in &known.settings {
                    @if let Some((field, value)) = line.split_once(": ") { dt { (field) } dd { code { (value) } } }
                } }
            }
        }
        section #events data-live {
            h2 { "Events " (json_link(&format!("/v1/events?workload={name}"))) }
            (events(visitor, &known.events))
        }
    }
}
