//! Cron jobs and jobs: the coming day on a time line, what became of past runs, what can be done.

use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};

use crate::api::dto::{RunDto, WorkloadDto};
use crate::domain::workload::WorkloadKind;
use crate::domain::world::RunOutcome;
use crate::web::backend::Failure;
use crate::web::forms::{Act, act};
use crate::web::frame::{Page, Sheet, page};
use crate::web::parts::{away, empty, lasting, path, state, time};
use crate::web::visitor::Visitor;

/// Runs that are read for the strips of all jobs together.
const RUNS: usize = 1_000;
/// Runs on a strip.
const STRIP: usize = 60;

pub(super) async fn show(visitor: Visitor) -> Result<Page, Failure> {
    let workloads: Vec<WorkloadDto> = visitor.get("/v1/workloads").await?;
    let runs: Vec<RunDto> = visitor.get(&format!("/v1/runs?limit={RUNS}")).await?;
    let mut jobs: Vec<&WorkloadDto> =
        workloads.iter().filter(|workload| workload.kind != WorkloadKind::Service).collect();
    jobs.sort_by_key(|job| (job.next_run.unwrap_or(Timestamp::MAX), job.name.clone()));
    let body = html! {
        @if jobs.is_empty() {
            (empty("There is no cron job and no job.", &html! {
                p { "A spec such as this one declares one:" }
                (crate::web::parts::command("[cron.report]\ncommand = \"./report --yesterday\"\nschedule = \"0 6 * * *\"\ntime_zone = \"Europe/Berlin\""))
            }))
        } @else {
            section #ahead data-live { h2 { "The coming day" } (ahead(&visitor, &jobs)) }
            section { h2 { "Jobs" } div.cards { @for job in &jobs { (card(&visitor, job, &runs)) } } }
        }
    };
    let sheet =
        Sheet { title: "Cron and jobs", room: "/cron", json: Some("/v1/runs?limit=1000"), about: None };
    Ok(page(&visitor, &sheet, &body))
}

/// The next run of each job on a line of 24 hours.
fn ahead(visitor: &Visitor, jobs: &[&WorkloadDto]) -> Markup {
    let day = 86_400.0;
    let planned = jobs.iter().filter_map(|job| Some((job, job.next_run?)));
    let planned: Vec<_> =
        planned.filter(|(_, at)| at.duration_since(visitor.now).as_secs_f64() < day).take(40).collect();
    let x = |at: Timestamp| (at.duration_since(visitor.now).as_secs_f64() / day * 100.0).clamp(0.2, 99.5);
    let hour = |hours: i64| visitor.now.checked_add(SignedDuration::from_hours(hours)).unwrap_or(visitor.now);
    html! {
        @if planned.is_empty() { p.quiet { "No run is planned within a day." } }
        @else { div.ahead {
            div.scale { @for hours in [0, 6, 12, 18] { span { (time(visitor, hour(hours))) } } }
            @for (job, at) in &planned { div.row {
                a href=(path("/workloads", &job.name)) { (job.name) }
                svg viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label=(format!("{} {}", job.name, away(visitor, *at))) {
                    rect.whole x="0" y="2.6" width="100" height="0.8" {}
                    rect.run x=(format!("{:.2}", x(*at))) y="0" width="0.6" height="6" {}
                }
                small { (time(visitor, *at)) ", " (away(visitor, *at)) }
            } }
        } }
    }
}

fn card(visitor: &Visitor, job: &WorkloadDto, runs: &[RunDto]) -> Markup {
    let own: Vec<RunDto> = runs.iter().filter(|run| run.workload == job.name).take(STRIP).cloned().collect();
    let one = |does, button, words, lasting| Act { does, subject: &job.name, button, words, lasting };
    html! {
        article.card {
            h3 { a href=(path("/workloads", &job.name)) { (job.name) } " " }
            div #(format!("job-{}", job.name)) data-live {
                p { (state(&job.state)) " " @if let Some(schedule) = &job.schedule { code { (schedule) } }
                    @if let Some(next) = job.next_run { " next " (away(visitor, next)) ", at " (time(visitor, next)) } }
                (strip(visitor, &own))
                @for note in &job.notes { p.quiet { (note) } }
            }
            @if visitor.may_change(job.team.as_deref()) { div.acts {
                (act(visitor, &one("run", "Run now", "One run now, with the arguments of the spec or others.", false), &html! {
                    label { "Other arguments, one a line" textarea name="args" rows="2" placeholder="as the spec says" {} } }))
                (act(visitor, &one("pause", "Pause", "No run starts for a while.", true), &html! {}))
            } }
        }
    }
}

fn outcome(run: &RunDto) -> &'static str {
    run.outcome.as_str()
}

/// How past runs went, the newest on the right.
pub(super) fn strip(visitor: &Visitor, runs: &[RunDto]) -> Markup {
    let longest = runs.iter().filter_map(taken).map(|span| span.as_secs_f64()).fold(0.001, f64::max);
    let width = 100.0 / STRIP as f64;
    html! {
        @if runs.is_empty() { p.quiet { "It has not run yet." } }
        @else { svg.strip viewBox="0 0 100 14" preserveAspectRatio="none" role="img" aria-label=(format!("The last {} runs", runs.len())) {
            @for (place, run) in runs.iter().take(STRIP).enumerate() {
                @let share = taken(run).map_or(0.4, |span| 0.3 + 0.7 * span.as_secs_f64() / longest);
                rect class=(outcome(run).split(' ').next().unwrap_or("rest")) x=(format!("{:.2}", 100.0 - (place + 1) as f64 * width))
                    y=(format!("{:.1}", 14.0 - 14.0 * share)) width=(format!("{:.2}", width * 0.75)) height=(format!("{:.1}", 14.0 * share)) {
                    title { (time_words(visitor, run.at)) ": " (outcome(run)) @if let Some(span) = taken(run) { ", " (lasting(span)) } }
                }
            }
        } }
    }
}

fn time_words(visitor: &Visitor, at: Timestamp) -> String {
    at.to_zoned(visitor.zone.clone()).strftime("%-d %b %H:%M:%S").to_string()
}

fn taken(run: &RunDto) -> Option<SignedDuration> {
    Some(run.ended_at?.duration_since(run.started_at?))
}

/// Runs as rows, newest first.
pub(super) fn runs(visitor: &Visitor, runs: &[RunDto]) -> Markup {
    html! {
        @if !runs.is_empty() { div.scroll tabindex="0" { table {
            thead { tr { th { "Planned" } th { "Outcome" } th { "Took" } th { "Tasks" } th { "Why" } } }
            tbody { @for run in runs { tr {
                td { (time(visitor, run.at)) @if run.manual { " " small { "by hand" } } }
                td { (state(outcome(run))) }
                td.number { @if let Some(span) = taken(run) { (lasting(span)) } @else { "-" } }
                td { @for task in &run.tasks { a href=(path("/tasks", task)) { (task) } " " } }
                td.words { (why(&run.outcome)) }
            } } }
        } } }
    }
}

fn why(outcome: &RunOutcome) -> &str {
    match outcome {
        RunOutcome::Failed { reason }
        | RunOutcome::Skipped { reason }
        | RunOutcome::Missed { reason }
        | RunOutcome::Cancelled { reason } => reason,
        RunOutcome::SkippedOverlap => "the run before it was still going on",
        RunOutcome::Active | RunOutcome::Succeeded => "",
    }
}
