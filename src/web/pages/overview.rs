//! Overview: capacity and what becomes of it, what waits and why, what was decided, what is worth doing.

use axum::extract::Query;
use maud::{Markup, html};
use serde::Deserialize;

use crate::api::answers::{ActionDto, AlarmDto};
use crate::api::dto::{RecommendationDto, StatusDto, WorkloadDto};
use crate::api::totals::{ResourceSums, TotalsDto};
use crate::charts::time::{Moment, Stroke, TimeChart, TimeLine};
use crate::domain::decision::{Decision, DecisionOutcome};
use crate::web::backend::Failure;
use crate::web::charted::chart;
use crate::web::forms;
use crate::web::frame::{Page, Sheet, json_link, page};
use crate::web::pages::decisions;
use crate::web::parts::{bytes, cores, counted, empty, figure, in_bytes, in_cores, money, path, state, time};
use crate::web::visitor::Visitor;

/// Hours of a month as clouds bill them.
const HOURS_PER_MONTH: f64 = 730.0;
/// Spans that the charts can show: hours and words.
pub(super) const SPANS: [(u32, &str); 4] = [(1, "1 hour"), (6, "6 hours"), (24, "1 day"), (168, "1 week")];

/// How far back the charts go.
#[derive(Deserialize)]
pub(super) struct Span {
    hours: Option<u32>,
}

impl Span {
    /// One of the spans.
    pub(super) fn hours(&self) -> u32 {
        SPANS.iter().map(|(hours, _)| *hours).find(|hours| Some(*hours) == self.hours).unwrap_or(1)
    }
}

/// Links to the spans.
pub(super) fn spans(path: &str, hours: u32) -> Markup {
    html! {
        p.spans { @for (each, words) in SPANS {
            a href=(format!("{path}?hours={each}")) aria-current=[(each == hours).then_some("true")] { (words) }
        } }
    }
}

pub(super) async fn show(visitor: Visitor, Query(span): Query<Span>) -> Result<Page, Failure> {
    let hours = span.hours();
    let status: StatusDto = visitor.get("/v1/status").await?;
    let totals: Vec<TotalsDto> = visitor.get(&format!("/v1/totals?hours={hours}")).await?;
    let alarms: Vec<AlarmDto> = visitor.get("/v1/alarms").await?;
    let actions: Vec<ActionDto> = visitor.get("/v1/actions").await?;
    let newest: Vec<Decision> = visitor.get("/v1/decisions?limit=8").await?;
    let advice: Vec<RecommendationDto> = visitor.get("/v1/recommendations").await?;
    let actions: Vec<&ActionDto> = actions.iter().collect();
    let body = html! {
        div #now data-live {
            (forms::in_force(&visitor, &actions, visitor.may_operate()))
            (alarmed(&visitor, &alarms))
            (figures(&status, totals.last()))
        }
        @if status.workloads.is_empty() {
            (empty("Nothing is declared yet.", &html! {
                p { "Write a spec, such as this one, into a file and apply it:" }
                (crate::web::parts::command("[service.hello]\ncommand = \"exec sleep 1000000\"\ncpu = 0.1\nmemory = \"32MiB\""))
                (crate::web::parts::command("loadline apply hello.toml"))
                p { "Or see everything at work: " code { "loadline demo" } "." }
            }))
        }
        section {
            h2 { "Capacity" }
            (spans("/", hours))
            div.columns {
                (course(&visitor, hours, &totals, &newest, Resource::Cpu))
                (course(&visitor, hours, &totals, &newest, Resource::Memory))
            }
        }
        div.columns {
            section #waiting data-live { h2 { "Pending, and why" } (waiting(&status)) (pending(&visitor, &newest, &advice)) }
            section #advice data-live { h2 { "Most worthwhile" } (worthwhile(&advice)) }
        }
        section #unwell data-live { h2 { "Not as it should be" } (unwell(&status)) }
        section #decided data-live {
            h2 { "Last decisions " (json_link("/v1/decisions?limit=8")) }
            (decisions::table(&visitor, &newest))
        }
    };
    let sheet = Sheet { title: "Overview", room: "/", json: Some("/v1/status"), about: None };
    Ok(page(&visitor, &sheet, &body))
}

/// What wants a person's eye.
pub(super) fn alarmed(visitor: &Visitor, alarms: &[AlarmDto]) -> Markup {
    html! {
        @for alarm in alarms {
            div.banner.bad { div { b { (alarm.kind) }
                @if let Some(workload) = &alarm.workload { " " a href=(path("/workloads", workload)) { (workload) } }
                ": " (alarm.message) ", since " (time(visitor, alarm.since)) } }
        }
    }
}

fn figures(status: &StatusDto, totals: Option<&TotalsDto>) -> Markup {
    let services: Vec<_> = status.workloads.iter().filter(|workload| workload.wanted.is_some()).collect();
    let well = services.iter().filter(|service| service.state == "healthy").count();
    let objectives: Vec<_> = services.iter().filter(|service| service.latency_objective.is_some()).collect();
    let missed = objectives.iter().filter(|service| misses(service)).count();
    let share = |sums: &ResourceSums| {
        if sums.capacity > 0.0 {
            format!("{:.0} % of capacity", sums.used / sums.capacity * 100.0)
        } else {
            String::new()
        }
    };
    html! {
        div.figures {
            (figure("Services healthy", &format!("{well} of {}", services.len()), ""))
            (figure("Price now", &format!("{} /h", money(status.price_per_hour)),
                &format!("{} a month, if it stays so", money(status.price_per_hour * HOURS_PER_MONTH))))
            @if let Some(cost) = status.price_this_month { (figure("Price this month", &money(cost), "so far, by the prices of nodes")) }
            @if !objectives.is_empty() { (figure("Within their objective", &format!("{} of {}", objectives.len() - missed, objectives.len()), "services, by the 95th percentile of latency")) }
            @if let Some(totals) = totals {
                (figure("CPU used", &in_cores(totals.cpu.used), &share(&totals.cpu)))
                (figure("CPU wasted", &in_cores((totals.cpu.requested - totals.cpu.used).max(0.0)), "requested, not used"))
                (figure("Memory used", &in_bytes(totals.memory.used), &share(&totals.memory)))
                (figure("Memory wasted", &in_bytes((totals.memory.requested - totals.memory.used).max(0.0)), "requested, not used"))
                (figure("Tasks", &totals.tasks.to_string(), &format!("on {}", counted(totals.nodes as usize, "node", "nodes"))))
            }
            (figure("Waiting", &status.waiting.len().to_string(), "tasks without a node"))
        }
    }
}

/// Whether a service is slower than it is to be.
pub(super) fn misses(service: &WorkloadDto) -> bool {
    service.latency_p95.zip(service.latency_objective).is_some_and(|(latency, most)| latency > most)
}

#[derive(Clone, Copy)]
enum Resource {
    Cpu,
    Memory,
}

fn course(visitor: &Visitor, hours: u32, totals: &[TotalsDto], decided: &[Decision], of: Resource) -> Markup {
    let sums = |totals: &TotalsDto| match of {
        Resource::Cpu => totals.cpu,
        Resource::Memory => totals.memory,
    };
    // A week of fine sums would be more points than there are pixels.
    let every = (totals.len() / 180).max(1);
    let line = |name: &str, place, stroke, value: fn(&ResourceSums) -> f64| TimeLine {
        name: name.to_owned(),
        place,
        stroke,
        points: totals
            .iter()
            .step_by(every)
            .map(|each| (each.at.as_second() as f64, value(&sums(each))))
            .collect(),
    };
    let (id, title, format): (_, _, fn(f64) -> String) = match of {
        Resource::Cpu => ("cpu", "CPU", in_cores),
        Resource::Memory => ("memory", "Memory", in_bytes),
    };
    let from = visitor.now.checked_sub(jiff::SignedDuration::from_hours(hours.into()));
    let from = totals.first().map_or(visitor.now, |first| first.at).max(from.unwrap_or(visitor.now));
    let drawn = TimeChart {
        title,
        from,
        to: totals.last().map_or(visitor.now, |last| last.at),
        zone: &visitor.zone,
        format,
        lines: vec![
            line("used", 0, Stroke::Area, |sums| sums.used),
            line("waste: requested, not used", 1, Stroke::Over, |sums| sums.requested.max(sums.used)),
            line("requested", 1, Stroke::Line, |sums| sums.requested),
            line("free", 9, Stroke::Over, |sums| sums.capacity.max(sums.requested)),
            line("capacity", 9, Stroke::Line, |sums| sums.capacity),
            line("recommended", 2, Stroke::Dashed, |sums| sums.recommended),
        ],
        band: None,
        moments: decided.iter().map(moment).collect(),
    };
    let empty = "The first figures come within half a minute: sums are kept since the engine started.";
    chart(id, &drawn, "", &format!("/v1/totals?hours={hours}"), empty)
}

/// A decision on a time line.
pub(super) fn moment(decision: &Decision) -> Moment {
    let kind = &decision.proposal.kind;
    Moment { at: decision.at, words: format!("{} {kind} ({})", kind.subject(), decision.outcome) }
}

fn waiting(status: &StatusDto) -> Markup {
    html! {
        @if status.waiting.is_empty() { p.quiet { "Every task has a node." } }
        @else {
            ul.plain { @for waiting in status.waiting.iter().take(10) {
                li { a href=(path("/tasks", &waiting.task)) { (waiting.task) } " " (state(&waiting.kind)) " " (waiting.reason) }
            } }
            @if status.waiting.len() > 10 { p.quiet { "and " (status.waiting.len() - 10) " more" } }
        }
    }
}

/// What waits for a person or for its time.
fn pending(visitor: &Visitor, newest: &[Decision], advice: &[RecommendationDto]) -> Markup {
    let asks = |one: &&Decision| one.outcome == DecisionOutcome::AwaitingApproval;
    let later = || advice.iter().filter_map(|one| Some((one, one.scheduled.as_ref()?)));
    html! { ul.plain {
        @for one in newest.iter().filter(asks) {
            li { a href=(format!("/decisions/{}", one.id)) { "Decision " (one.id) } " " (state("awaiting approval")) " " (one.proposal.kind.subject()) ": " (one.proposal.kind) }
        }
        @for (one, act) in later().take(10) {
            li { a href=(path("/workloads", &one.workload)) { (one.workload) } " " (state("scheduled")) " gets its recommended size "
                @match act.due { Some(due) => { "at " (time(visitor, due)) } None => "with its next rollout" } ", by " (act.by) }
        }
    } }
}

fn worthwhile(advice: &[RecommendationDto]) -> Markup {
    let open = advice.iter().filter(|one| one.dismissed.is_none() && one.scheduled.is_none());
    let best = open.filter(|one| one.recommended.is_some() && one.price_per_month < 0.0);
    let best = best.min_by(|a, b| a.price_per_month.total_cmp(&b.price_per_month));
    html! {
        @if let Some(best) = best {
            @let to = best.recommended.as_ref();
            p { a href=(path("/workloads", &best.workload)) { (best.workload) } " would save "
                b { (money(-best.price_per_month)) " a month" }
                @if let Some(to) = to {
                    " with " (cores(to.cpu_request)) " cores and " (bytes(to.memory_request)) " in place of "
                    (cores(best.current.cpu_request)) " and " (bytes(best.current.memory_request))
                } "." }
            p.quiet { (best.reason) }
            p { a href="/recommendations" { "All recommendations" } }
        } @else {
            p.quiet { "No size is worth changing, as far as is known. Advice comes once a workload was measured "
                "for long enough: " a href="/recommendations" { "see what is missing" } "." }
        }
    }
}

fn unwell(status: &StatusDto) -> Markup {
    let calm = ["healthy", "idle", "running", "finished"];
    let unwell: Vec<_> =
        status.workloads.iter().filter(|each| !calm.contains(&each.state.as_str()) || misses(each)).collect();
    html! {
        @if unwell.is_empty() { p.quiet { "Every workload is as it should be." } }
        @else { ul.plain { @for workload in unwell.iter().take(20) {
            li { a href=(path("/workloads", &workload.name)) { (workload.name) } " " (state(&workload.state))
                @if misses(workload) { " " span.quiet { "95 % within " (format!("{:.0} ms, wanted {:.0} ms",
                    workload.latency_p95.unwrap_or(0.0) * 1e3, workload.latency_objective.unwrap_or(0.0) * 1e3)) } }
                @for note in workload.notes.iter().take(3) { " " span.quiet { (note) } } }
        } } }
        @for problem in status.engine.problems.iter().chain(&status.engine.limitations) { p.quiet { "Engine: " (problem) } }
    }
}
