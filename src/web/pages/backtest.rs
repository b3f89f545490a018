//! Backtest: which policy sizes come from, and what this engine's own record would have come to under others. The
//! replay runs in the background of the engine; its page tells how far it is, then draws what it came to.

use std::collections::BTreeSet;
use std::fmt::Write;

use axum::extract::Query;
use maud::{Markup, PreEscaped, html};
use serde::Deserialize;

use crate::api::answers::ActionDto;
use crate::api::backtests::BacktestDto;
use crate::api::dto::WorkloadDto;
use crate::api::size_policies::SizePoliciesDto;
use crate::charts::draw::{COLOURS, Chart, Frame, Mark, Series, svg_for_strict_page};
use crate::domain::workload::WorkloadKind;
use crate::ports::backtests::{BacktestPoint, BacktestTable, ResourceResult};
use crate::web::backend::Failure;
use crate::web::forms::{self, hidden, why};
use crate::web::frame::{Page, Sheet, json_link, page};
use crate::web::parts::{Bar, away, bar, command, counted, empty, state, time};
use crate::web::visitor::Visitor;

/// Windows that can be chosen: hours, and words.
const WINDOWS: [(u32, &str); 4] =
    [(25, "the last 25 hours"), (72, "3 days"), (192, "8 days"), (720, "30 days")];
const WINDOW_DEFAULT: u32 = 192;
/// Policies that are ticked unless somebody chooses: what most people compare.
const TICKED: [&str; 3] = ["loadline", "vpa", "request"];
/// Workloads that can be ticked one by one; of more there is the field for their names.
const OFFERED: usize = 400;

/// Which backtest is shown.
#[derive(Default, Deserialize)]
pub(super) struct Place {
    #[serde(default)]
    id: Option<u64>,
}

pub(super) async fn show(visitor: Visitor, Query(place): Query<Place>) -> Result<Page, Failure> {
    let policies: SizePoliciesDto = visitor.get("/v1/size-policies").await?;
    let all: Vec<BacktestDto> = visitor.get("/v1/backtests").await?;
    let id = place.id.or_else(|| all.first().map(|newest| newest.id));
    let shown = match id {
        Some(id) => Some(visitor.get::<BacktestDto>(&format!("/v1/backtests/{id}")).await?),
        None => None,
    };
    let workloads: Vec<WorkloadDto> = visitor.get("/v1/workloads").await?;
    let actions: Vec<ActionDto> = visitor.get("/v1/actions").await?;
    let may = visitor.may_operate() || visitor.who.role == "developer";
    let body = html! {
        p { "Sizes come from " b { (policies.in_force) } "."
            @if let Some(chosen) = &policies.chosen { " Chosen: " b { (chosen) } @if let Some(by) = &policies.by { " by " (by) } "." }
            " " (json_link("/v1/size-policies")) }
        (own(&visitor, &actions, &workloads))
        p.quiet { "A backtest replays the usage that this engine recorded past each policy: what it would have cost, "
            "and what would have been killed. It runs on one thread that yields to everything else." }
        @if may { details.act.wide #new open[shown.is_none()] { summary { "New backtest" } (order(&visitor, &policies, &workloads)) } }
        @if let Some(shown) = &shown { (one(&visitor, shown, &policies, &workloads)) }
        @else { (empty("No backtest was run since the engine started.", &html! { p { "Choose workloads, a window and policies. "
            "The first 24 hours of a workload are its cold start and are told apart, so that a window should be longer." } })) }
        @if !all.is_empty() { section #all data-live { h2 { "Backtests " (json_link("/v1/backtests")) } (list(&visitor, &all)) } }
        section { h2 { "On another machine" }
            p.quiet { "The same on a file, with more policies, on all cores:" }
            (command("loadline dataset record usage.parquet\nloadline backtest --trace usage.parquet -o html > backtest.html"))
            @if visitor.may_report() { p { "Or " a href="/v1/trace?format=parquet" download="usage.parquet" { "download the record" } " (the last 24 hours)." } } }
        section { h2 { "Policies " (json_link("/v1/size-policies")) } (catalogue(&policies)) }
    };
    let sheet = Sheet { title: "Backtest", room: "/backtest", json: Some("/v1/backtests"), about: None };
    Ok(page(&visitor, &sheet, &body))
}

fn name(policy: &str) -> &str {
    policy.split(':').next().unwrap_or(policy)
}

/// What is to be replayed.
fn order(visitor: &Visitor, policies: &SizePoliciesDto, workloads: &[WorkloadDto]) -> Markup {
    let ticked = |policy: &str| TICKED.contains(&policy) || policy == name(&policies.in_force);
    let names = policies.policies.iter().map(|policy| policy.name.as_str()).chain(["oracle"]);
    let names: BTreeSet<&str> = names.chain(["request"]).collect();
    html! {
        form method="post" action="/act" {
            (hidden(visitor, "backtest", ""))
            @if workloads.len() <= OFFERED {
                fieldset { legend { "Workloads" small { " all, where none is ticked" } }
                    div.ticks { @for workload in workloads {
                        label.check { input type="checkbox" name="workload" value=(workload.name); (workload.name) }
                    } } }
            } @else {
                label { "Workloads, split by blanks; all where empty" input name="workloads" maxlength="4000"; }
            }
            fieldset { legend { "Policies" }
                div.ticks { @for policy in names {
                    label.check { input type="checkbox" name="policy" value=(policy) checked[ticked(policy)]; (policy) }
                } }
                label { "Others, with keys, split by blanks" input name="policies" maxlength="1000" placeholder="krr:margin=1.3 vpa:margin=1.25"; }
            }
            label { "Window" select name="hours" { @for (hours, words) in WINDOWS {
                option value=(hours) selected[hours == WINDOW_DEFAULT] { (words) } } } }
            label { "Step" select name="step" { @for (seconds, words) in [(60, "1 minute"), (300, "5 minutes"), (900, "15 minutes")] {
                option value=(seconds) selected[seconds == 300] { (words) } } } }
            label.check { input type="checkbox" name="sweep" value="yes" checked; "curves over each policy's knob (about 10 times the work)" }
            (why())
            button type="submit" { "Replay" }
        }
    }
}

/// One backtest: how far it is, then what it came to.
fn one(
    visitor: &Visitor,
    shown: &BacktestDto,
    policies: &SizePoliciesDto,
    workloads: &[WorkloadDto],
) -> Markup {
    let json = format!("/v1/backtests/{}", shown.id);
    let mine = visitor.may_operate() || (visitor.who.role == "developer" && visitor.who.name == shown.by);
    html! {
        section #shown data-live data-busy[!shown.ended] {
            h2 { "Backtest " (shown.id) " " (state(word(&shown.phase))) " " (json_link(&json)) }
            p { "Asked for by " (shown.by) ", " (time(visitor, shown.asked_at)) ". "
                @if shown.workloads.is_empty() { "All workloads" } @else { (counted(shown.workloads.len(), "workload", "workloads")) ": " (listed(&shown.workloads)) }
                ", from " (time(visitor, shown.from)) " to " (time(visitor, shown.to)) ", policies " (listed(&shown.policies)) "." }
            @if !shown.ended {
                div.progress { (bar(&Bar { whole: 1.0, requested: 0.0, used: shown.done, recommended: None }, &format!("{:.0} % done", shown.done * 100.0)))
                    span { (doing(shown)) } }
                @if mine { (forms::asks(visitor, ("cancel-backtest", &shown.id.to_string()), "Call it off", "What it has replayed so far is lost.")) }
            }
            @if let Some(problem) = &shown.problem { div.banner.bad { div { "There is no result: " (problem) "." } } }
            @if let Some(result) = &shown.result {
                p.quiet { (result.extent) @for repair in &result.repairs { "; " (repair) } "." }
                @for resource in &result.resources { (came_to(resource)) }
                (enable(visitor, shown, policies, workloads))
            }
        }
    }
}

fn doing(shown: &BacktestDto) -> String {
    match shown.phase.as_str() {
        "waiting" => "waits for another one to end".to_owned(),
        "reading" => "reads the record".to_owned(),
        _ => format!("{:.0} % replayed", shown.done * 100.0),
    }
}

fn word(phase: &str) -> &str {
    match phase {
        "reading" | "replaying" => "active",
        other => other,
    }
}

/// Names, the first few of them.
fn listed(names: &[String]) -> String {
    const NAMED: usize = 8;
    let mut text = names.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > NAMED {
        let _ = write!(text, " and {} more", names.len() - NAMED);
    }
    text
}

/// The chart and the tables of a resource.
fn came_to(result: &ResourceResult) -> Markup {
    let chart = chart(result);
    html! {
        h3.resource { (result.resource) }
        @if chart.has_points() {
            figure.chart.pareto {
                figcaption { b { (chart.title) } small { "each line a policy over its knob; the mark is what was asked for" } }
                div.legend { @for series in &chart.series { span { i class=(format!("c{}", series.place % COLOURS.len())) {} (series.name) } } }
                div.wide { (PreEscaped(svg_for_strict_page(&chart, Frame::WIDE))) }
                div.narrow { (PreEscaped(svg_for_strict_page(&chart, Frame::NARROW))) }
            }
        }
        @if result.figures.rows.is_empty() { p.quiet { "No workload has a record of more than 24 hours: there are figures of its cold start only." } }
        @else { (table("Figures", &result.figures)) }
        (table("Cold start: the first 24 h of each workload", &result.cold_start))
        @for note in &result.notes { p.quiet { (note) } }
    }
}

fn table(caption: &str, cells: &BacktestTable) -> Markup {
    html! {
        div.scroll tabindex="0" { table {
            caption { (caption) }
            thead { tr { @for (place, name) in cells.head.iter().enumerate() { th.number[place > 0] { (name) } } } }
            tbody { @for row in &cells.rows { tr { @for (place, cell) in row.iter().enumerate() {
                @if place == 0 { th scope="row" { (cell) } } @else { td.number { (cell) } }
            } } } }
        } }
    }
}

fn chart(result: &ResourceResult) -> Chart {
    let mark = |point: &BacktestPoint| Mark { x: point.x, y: point.y, words: point.words.clone() };
    let (x, y) = result.axes.clone();
    Chart {
        title: format!("What {} costs against how often it falls short", result.resource),
        x,
        y,
        series: result
            .curves
            .iter()
            .map(|curve| Series {
                name: curve.policy.clone(),
                place: curve.place,
                marks: curve.points.iter().map(mark).collect(),
                asked: curve.asked.as_ref().map(mark),
            })
            .collect(),
    }
}

/// Takes a policy of the backtest into force: for all workloads, or for some of them alone.
fn enable(
    visitor: &Visitor,
    shown: &BacktestDto,
    policies: &SizePoliciesDto,
    workloads: &[WorkloadDto],
) -> Markup {
    let known = |policy: &&String| policies.policies.iter().any(|entry| entry.name == name(policy));
    let offered: Vec<&String> = shown.policies.iter().filter(known).collect();
    let meant = |each: &WorkloadDto| shown.workloads.is_empty() || shown.workloads.contains(&each.name);
    let mine: Vec<&WorkloadDto> = workloads
        .iter()
        .filter(|each| each.kind == WorkloadKind::Service && visitor.may_change(each.team.as_deref()))
        .filter(|each| meant(each))
        .collect();
    let policy = html! {
        label { "Policy" select name="policy" { @for policy in &offered {
            option value=(policy) selected[**policy == policies.in_force] { (policy) } } } }
    };
    html! {
        @if !offered.is_empty() { div.acts {
            @if !mine.is_empty() { details.act.wide #enable-some { summary { "Take sizes of some workloads from one of them" }
                form method="post" action="/act" {
                    p { "From the next analysis on the sizes of the chosen services are recommended by it; what is done with them "
                        "each one's policy says." }
                    (hidden(visitor, "bulk-size-policy", ""))
                    @if mine.len() <= OFFERED {
                        fieldset { legend { "Services" }
                            div.ticks { @for each in &mine { label.check {
                                input type="checkbox" name="workload" value=(each.name) checked[!shown.workloads.is_empty()]; (each.name)
                            } } } }
                    } @else { label { "Services, split by blanks" input name="workload" required maxlength="4000"; } }
                    (policy) (forms::how_long("until it is undone")) (why())
                    button type="submit" { "Enable for these" }
                } } }
            @if visitor.may_operate() { details.act #enable { summary { "Take all sizes from one of them" }
                form method="post" action="/act" {
                    p { "From the next analysis on the sizes of all workloads are recommended by it, but of those that have a policy "
                        "of their own; what is done with them each workload's policy says. To go back, choose another." }
                    (hidden(visitor, "size-policy", ""))
                    (policy) (why())
                    button type="submit" { "Enable" }
                } } }
        } }
    }
}

/// Workloads with a policy of their own, and the way back.
fn own(visitor: &Visitor, actions: &[ActionDto], workloads: &[WorkloadDto]) -> Markup {
    let may = |action: &ActionDto| {
        let found = workloads.iter().find(|each| each.name == action.subject);
        visitor.may_change(found.and_then(|each| each.team.as_deref()))
    };
    html! { div #own data-live {
        @for action in actions.iter().filter(|action| action.kind == "size-policy") {
            (forms::in_force(visitor, &[action], may(action)))
        }
    } }
}

fn list(visitor: &Visitor, all: &[BacktestDto]) -> Markup {
    html! {
        div.scroll tabindex="0" { table {
            thead { tr { th { "Backtest" } th { "State" } th { "Asked for" } th { "By" } th { "Policies" } th { "Window" } } }
            tbody { @for each in all { tr {
                th scope="row" { a href=(format!("/backtest?id={}", each.id)) { (each.id) } }
                td { (state(word(&each.phase))) @if !each.ended { " " (doing(each)) } }
                td { (away(visitor, each.asked_at)) }
                td { (each.by) }
                td.words { (listed(&each.policies)) }
                td { (time(visitor, each.from)) " to " (time(visitor, each.to)) }
            } } }
        } }
    }
}

fn catalogue(policies: &SizePoliciesDto) -> Markup {
    html! {
        div.scroll tabindex="0" { table {
            thead { tr { th { "Policy" } th { "Trades cost against risk by" } th { "Keys" } } }
            tbody { @for policy in &policies.policies { tr {
                th scope="row" { (policy.name) @if name(&policies.in_force) == policy.name { " " (state("applied")) } }
                td { code { (policy.knob) } }
                td.words { @for (key, value) in &policy.keys { code { (key) "=" (value) } " " } }
            } } }
        } }
    }
}
