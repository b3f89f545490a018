//! The engine: how it is, its agents, what can be frozen, and for operators what was asked of it.

use axum::extract::Query;
use jiff::SignedDuration;
use maud::{Markup, html};
use serde::Deserialize;

use crate::api::answers::{ActionDto, AlarmDto, AuditDto, EventDto, FreezeDto};
use crate::api::dto::StatusDto;
use crate::api::own_state::{EngineDto, LoopDto};
use crate::ports::control::EngineHealth;
use crate::web::backend::Failure;
use crate::web::forms::{self, Act, act};
use crate::web::frame::{Page, Sheet, json_link, page};
use crate::web::pages::overview::alarmed;
use crate::web::pages::workload_parts::events;
use crate::web::parts::{away, bytes, cores, figure, lasting, pager, state, time};
use crate::web::visitor::Visitor;

/// Which part of the audit log.
#[derive(Deserialize)]
pub(super) struct Place {
    #[serde(default)]
    cursor: String,
}

pub(super) async fn show(visitor: Visitor, Query(place): Query<Place>) -> Result<Page, Failure> {
    let status: StatusDto = visitor.get("/v1/status").await?;
    let own: EngineDto = visitor.get("/v1/engine").await?;
    let alarms: Vec<AlarmDto> = visitor.get("/v1/alarms").await?;
    let freezes: Vec<FreezeDto> = visitor.get("/v1/freezes").await?;
    let actions: Vec<ActionDto> = visitor.get("/v1/actions").await?;
    let happened: Vec<EventDto> = visitor.get("/v1/events?limit=30").await?;
    let mut log = None;
    if visitor.may_operate() {
        let cursor = crate::api::client::encoded(&place.cursor);
        let cursor = if cursor.is_empty() { String::new() } else { format!("&cursor={cursor}") };
        log = Some(visitor.page::<Vec<AuditDto>>(&format!("/v1/audit?limit=30{cursor}")).await?);
    }
    let body = html! {
        div #health data-live { (alarmed(&visitor, &alarms)) (health(&visitor, &status.engine)) }
        section #loops data-live { h2 { "Loops " (json_link("/v1/engine")) } (loops(&visitor, &own.loops)) }
        section #store data-live { h2 { "Store " (json_link("/v1/engine")) } (store(&visitor, &own)) }
        section { h2 { "Freezes " (json_link("/v1/freezes")) }
            p.quiet { "In an emergency, automatic changes of a kind are stopped; who did it, why and until when stays with it." }
            div.cards { @for freeze in &freezes { (frozen(&visitor, freeze)) } } }
        section #actions data-live { h2 { "In force by hand " (json_link("/v1/actions")) }
            @if actions.is_empty() { p.quiet { "Nothing: everything follows specs and policies." } }
            (forms::in_force(&visitor, &actions.iter().collect::<Vec<_>>(), visitor.may_operate())) }
        section #events data-live { h2 { "Events " (json_link("/v1/events?limit=30")) } (events(&visitor, &happened)) }
        @if let Some((entries, next)) = &log {
            @let next = next.as_ref().map(|next| next.replacen("/v1/audit", "/engine", 1).replace("limit=30&", ""));
            section #audit data-live { h2 { "Audit log " (json_link("/v1/audit")) } (audit(&visitor, entries)) }
            (pager(&visitor, next.as_deref()))
        }
    };
    let sheet = Sheet { title: "Engine", room: "/engine", json: Some("/v1/status"), about: None };
    Ok(page(&visitor, &sheet, &body))
}

fn health(visitor: &Visitor, engine: &EngineHealth) -> Markup {
    html! {
        div.figures {
            (figure("Version", &engine.version, ""))
            (figure("Started", &away(visitor, engine.started_at), ""))
            @if let Some(at) = engine.scheduled_at { (figure("Last pass of the scheduler", &away(visitor, at), "")) }
            (figure("Sizes come from", &engine.size_policy, ""))
        }
        @for problem in &engine.problems { div.banner.bad { div { (problem) } } }
        @for limitation in &engine.limitations { p.quiet { (limitation) } }
        h2 { "Agents" }
        div.scroll tabindex="0" { table {
            thead { tr { th { "Agent" } th.number { "Answers" } th.number { "Failed" } th.number { "Late" } th { "Last answer" } th { "Last fault" } } }
            tbody { @for scrape in &engine.scrapes { tr {
                th scope="row" { (scrape.agent) }
                td.number { (scrape.succeeded) } td.number { (scrape.failed) } td.number { (scrape.late) }
                td { @if let Some(at) = scrape.last_success { (away(visitor, at)) } @else { "never" } }
                td.words { (scrape.last_error.as_deref().unwrap_or("-")) }
            } } }
        } }
    }
}

/// How the loops keep up: seconds late, and longest passes.
fn loops(visitor: &Visitor, loops: &[LoopDto]) -> Markup {
    html! {
        @if loops.is_empty() { p.quiet { "No pass has ended yet." } }
        @else { div.scroll tabindex="0" { table {
            thead { tr { th { "Loop" } th { "State" } th.number { "Every" } th.number { "Passes" } th.number { "Failed" } th { "Last pass" }
                th.number { "Took" } th.number { "Began late by" } th.number { "Longest" } th.number { "Latest" } } }
            tbody { @for each in loops { tr {
                th scope="row" { (each.name) }
                td { (state(if each.is_behind() { "degraded" } else { "healthy" })) }
                td.number { (seconds(each.interval_seconds)) }
                td.number { (each.passes) } td.number { (each.failed) }
                td { (away(visitor, each.last_at)) }
                td.number { (seconds(each.took_seconds)) } td.number { (seconds(each.late_seconds)) }
                td.number { (seconds(each.longest_seconds)) } td.number { (seconds(each.latest_seconds)) }
            } } }
        } } }
    }
}

/// Seconds as people say them: `1 h`, `5 s`, `3.4 ms`.
fn seconds(value: f64) -> String {
    match value {
        0.0..0.000_1 => "0".to_owned(),
        ..0.01 => format!("{:.1} ms", value * 1e3),
        ..1.0 => format!("{:.0} ms", value * 1e3),
        ..10.0 => format!("{value:.1} s").replace(".0 s", " s"),
        _ => lasting(SignedDuration::from_secs(value as i64)),
    }
}

fn store(visitor: &Visitor, own: &EngineDto) -> Markup {
    let store = &own.store;
    let day = |seconds: u64| lasting(SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX)));
    html! {
        div.figures {
            (figure("Size on disk", &bytes(store.bytes), &format!("{} of it free again", bytes(store.free_bytes))))
            @if let Some(left) = store.disk_free_bytes { (figure("Left on its disk", &bytes(left), "")) }
            @if let Some(at) = store.last_write_at { (figure("Last write", &away(visitor, at), "")) }
            (figure("Tables", &format!("version {}", store.schema), &format!("API {}", own.api)))
            (figure("Rows kept", &format!("{} million", cores(store.rows_max as f64 / 1e6)), "of a kind, at most"))
        }
        div.scroll tabindex="0" { table {
            thead { tr { th { "Kept" } th { "Oldest" } th { "Newest" } th { "For" } } }
            tbody { @for kind in &store.records { tr {
                th scope="row" { (kind.kind) }
                @for end in [kind.oldest, kind.newest] {
                    td { @if let Some(at) = end { (time(visitor, at)) } @else { "-" } }
                }
                td { (day(kind.kept_seconds)) }
            } } }
        } }
    }
}

fn frozen(visitor: &Visitor, freeze: &FreezeDto) -> Markup {
    html! {
        article.card {
            div #(format!("switch-{}", freeze.switch)) data-live {
                h3 { (freeze.switch) " " span class=(if freeze.frozen { "state bad" } else { "state rest" }) { @if freeze.frozen { "frozen" } @else { "not frozen" } } }
                @if freeze.frozen {
                    p { "Frozen by " (freeze.by.as_deref().unwrap_or("somebody"))
                        @if let Some(since) = freeze.since { ", " (time(visitor, since)) }
                        @if let Some(message) = &freeze.message { ": “" (message) "”" } }
                    @if let Some(until) = freeze.until { p { "Ends " (away(visitor, until)) "." } }
                }
            }
            @if visitor.may_operate() { div.acts {
                @if freeze.frozen { (forms::asks(visitor, ("unfreeze", &freeze.switch), "Unfreeze", "Changes of this kind go on.")) }
                @else { (act(visitor, &Act { does: "freeze", subject: &freeze.switch, button: "Freeze", words: "", lasting: true }, &html! {})) }
            } }
        }
    }
}

fn audit(visitor: &Visitor, entries: &[AuditDto]) -> Markup {
    html! {
        @if entries.is_empty() { p.quiet { "Nothing was asked of the engine yet." } }
        @else { div.scroll tabindex="0" { table {
            thead { tr { th { "When" } th { "Who" } th { "Asked for" } th.number { "Answer" } th { "Why" } th { "From" } } }
            tbody { @for entry in entries { tr {
                td { (time(visitor, entry.at)) }
                td { (entry.by.as_deref().unwrap_or("nobody")) @if let Some(role) = &entry.role { " " small { (role) } } }
                td.words { code { (entry.method) " " (entry.path) } }
                td.number { (entry.status) }
                td.words { (entry.message) }
                td { (entry.address) }
            } } }
        } } }
    }
}
