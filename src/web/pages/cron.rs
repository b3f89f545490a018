//! Cron jobs and jobs: the coming day on a time line, what became of past runs, what can be done.

use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};

use crate::api::cron_advice::CronAdviceDto;
use crate::api::cron_ahead::{CronAheadDto, JobAheadDto, RunUsageDto};
use crate::api::dto::{RunDto, WorkloadDto};
use crate::domain::cron_advice::CronAdvice;
use crate::domain::workload::WorkloadKind;
use crate::domain::world::RunOutcome;
use crate::web::backend::Failure;
use crate::web::forms::{Act, act, asks};
use crate::web::frame::{Page, Sheet, json_link, page};
use crate::web::parts::{away, bytes, cores, counted, empty, lasting, money, path, state, time};
use crate::web::visitor::Visitor;

/// Runs that are read for the strips of all jobs together.
const RUNS: usize = 1_000;
/// Runs on a strip.
const STRIP: usize = 60;
/// Jobs on the line of the coming day.
const JOBS: usize = 40;
/// Parts of the coming day: quarters of an hour.
const PARTS: usize = 96;
/// A page waits no longer for advice.
const ADVICE_TIME: std::time::Duration = std::time::Duration::from_millis(60);

pub(super) async fn show(visitor: Visitor) -> Result<Page, Failure> {
    let planned: CronAheadDto = visitor.get("/v1/cron/ahead").await?;
    let advice = advice(&visitor).await;
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
            section #ahead data-live { h2 { "The coming day " (json_link("/v1/cron/ahead")) } (ahead(&visitor, &planned)) }
            @if let Some(advice) = &advice { section #advice data-live { h2 { "Advice " (json_link("/v1/cron/advice")) } (advised(&visitor, advice)) } }
            section { h2 { "Jobs" } div.cards { @for job in &jobs { (card(&visitor, job, &runs)) } } }
        }
    };
    let sheet =
        Sheet { title: "Cron and jobs", room: "/cron", json: Some("/v1/runs?limit=1000"), about: None };
    Ok(page(&visitor, &sheet, &body))
}

/// Which schedules are better moved. It takes a while to work out where there are many: then the page does without.
async fn advice(visitor: &Visitor) -> Option<CronAdvice> {
    let answer = tokio::time::timeout(ADVICE_TIME, visitor.get::<CronAdviceDto>("/v1/cron/advice")).await;
    answer.ok()?.ok().map(|told| told.advice).filter(|advice| advice.jobs > 0)
}

fn advised(visitor: &Visitor, advice: &CronAdvice) -> Markup {
    let most = advice.most.as_secs() / 60;
    html! {
        p { "At the peak, " (time(visitor, advice.peak_at)) ", services and jobs need "
            b { (counted(advice.peak_before as usize, "node", "nodes")) } ". "
            @if advice.shifts.is_empty() {
                "No schedule is better moved, by up to " (most) " minutes: nodes cost " (money(advice.cost_before.units())) " a day."
            } @else {
                "Moved by up to " (most) " minutes, jobs need " b { (advice.peak_after) } ", and nodes cost "
                (money(advice.cost_after.units())) " a day in place of " (money(advice.cost_before.units())) "."
            } }
        @if !advice.shifts.is_empty() { div.scroll tabindex="0" { table {
            thead { tr { th { "Job" } th { "Schedule" } th { "Move" } th { "Becomes" } th.number { "Saves a day" } } }
            tbody { @for shift in &advice.shifts { tr {
                th scope="row" { a href=(path("/workloads", shift.workload.as_str())) { (shift.workload) } }
                td { code { (shift.schedule) } }
                td { (shift.minutes.abs()) " min " @if shift.minutes < 0 { "earlier" } @else { "later" } }
                td { @if let Some(becomes) = &shift.becomes { code { (becomes) } } @else { "-" } }
                td.number { (money(shift.saves.units())) }
            } } }
        } } }
    }
}

/// The runs of each job on a line of 24 hours, each as long as it usually takes, and how many go on at a time.
fn ahead(visitor: &Visitor, planned: &CronAheadDto) -> Markup {
    let day = planned.to.duration_since(planned.from).as_secs_f64().max(1.0);
    let x = |at: Timestamp| (at.duration_since(planned.from).as_secs_f64() / day * 100.0).clamp(0.0, 99.6);
    let hour = |hours: i64| visitor.now.checked_add(SignedDuration::from_hours(hours)).unwrap_or(visitor.now);
    let width = |job: &JobAheadDto| (job.takes_seconds.unwrap_or(60.0) / day * 100.0).clamp(0.4, 100.0);
    html! {
        @if planned.jobs.is_empty() { p.quiet { "No run is planned within a day." } }
        @else {
            p { @if let Some(at) = planned.most_at.filter(|_| planned.most_at_once > 1) {
                    b { (planned.most_at_once) " runs overlap" } " at " (time(visitor, at)) ", if each takes as long as usual."
                } @else { "No two runs overlap, if each takes as long as usual." } }
            div.ahead {
                div.scale { @for hours in [0, 6, 12, 18] { span { (time(visitor, hour(hours))) } } }
                @for job in planned.jobs.iter().take(JOBS) { div.row {
                    a href=(path("/workloads", &job.workload)) { (job.workload) }
                    svg viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label=(format!("{} {}", job.workload, job.due.first().map(|at| away(visitor, *at)).unwrap_or_default())) {
                        rect.whole x="0" y="2.6" width="100" height="0.8" {}
                        @if let Some(last) = job.due.last().filter(|_| job.more) {
                            rect.run.on x=(format!("{:.2}", x(*last))) y="1.5" width=(format!("{:.2}", 100.0 - x(*last))) height="3" { title { "and so on" } }
                        }
                        @for at in &job.due {
                            rect.run.paused[job.paused] x=(format!("{:.2}", x(*at))) y="0" width=(format!("{:.2}", width(job).min(100.0 - x(*at)))) height="6" { title { (time_words(visitor, *at)) } }
                        }
                    }
                    small {
                        @if let Some(at) = job.due.first() { (time(visitor, *at)) ", " (away(visitor, *at)) }
                        @if job.due.len() > 1 { ", " (job.due.len()) @if job.more { "+" } " times" }
                        @if let Some(seconds) = job.takes_seconds { ", takes " (lasting(SignedDuration::from_secs_f64(seconds))) }
                        @if job.paused { ", paused" }
                    }
                } }
                @if planned.jobs.len() > JOBS { p.quiet { "and " (planned.jobs.len() - JOBS) " more" } }
                (load(planned, day))
            }
        }
    }
}

/// The most runs that go on at one time in each part of the day.
fn together(planned: &CronAheadDto, day: f64) -> [u32; PARTS] {
    let mut steps: Vec<(f64, i32)> = Vec::new();
    for job in planned.jobs.iter().filter(|job| !job.paused) {
        for at in &job.due {
            let begins = at.duration_since(planned.from).as_secs_f64().max(0.0);
            steps.extend([(begins, 1), (begins + job.takes_seconds.unwrap_or(60.0), -1)]);
        }
    }
    // One that ends as another one begins is not beside it.
    steps.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let part = |second: f64| ((second / day * PARTS as f64) as usize).min(PARTS - 1);
    let (mut parts, mut now) = ([0_u32; PARTS], 0_i32);
    for (place, (at, step)) in steps.iter().enumerate().filter(|(_, (at, _))| *at < day) {
        now += step;
        let until = steps.get(place + 1).map_or(*at, |(next, _)| next.min(day));
        for most in &mut parts[part(*at)..=part(until)] {
            *most = (*most).max(u32::try_from(now).unwrap_or(0));
        }
    }
    parts
}

/// How many runs go on at a time: overlaps stand out.
fn load(planned: &CronAheadDto, day: f64) -> Markup {
    let parts = together(planned, day);
    let most = parts.iter().copied().max().unwrap_or(0).max(1);
    let width = 100.0 / PARTS as f64;
    html! { div.row.together {
        span.quiet { "together" }
        svg viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="Runs at a time" {
            rect.whole x="0" y="9.4" width="100" height="0.6" {}
            @for (place, count) in parts.iter().enumerate().filter(|(_, count)| **count > 0) {
                @let high = f64::from(*count) / f64::from(most) * 10.0;
                rect.run.overlap[*count > 1] x=(format!("{:.2}", place as f64 * width)) y=(format!("{:.2}", 10.0 - high)) width=(format!("{:.2}", width * 0.9)) height=(format!("{high:.2}")) { title { (counted(*count as usize, "run", "runs")) " at a time" } }
            }
        }
        small { "runs at a time, up to " (most) @if planned.jobs.iter().any(|job| job.more) { ", as far as they are told" } }
    } }
}

/// How long runs took that ended well, in a line.
pub(super) fn took(runs: &[RunDto]) -> Markup {
    let mut spans: Vec<SignedDuration> =
        runs.iter().filter(|run| run.outcome == RunOutcome::Succeeded).filter_map(taken).collect();
    spans.sort();
    html! {
        @if let (Some(middle), Some(longest)) = (spans.get(spans.len() / 2), spans.last()) {
            p.quiet { "Takes " (lasting(*middle)) " usually, " (lasting(*longest)) " at most, of " (counted(spans.len(), "run", "runs")) " that ended well." }
        }
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
                (took(&own))
                @for note in &job.notes { p.quiet { (note) } }
            }
            @if visitor.may_change(job.team.as_deref()) { div.acts {
                (act(visitor, &one("run", "Run now", "One run now, with the arguments of the spec or others. While it goes on it can be cancelled, on its page.", false), &html! {
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

/// Runs as rows, newest first, with what they used.
pub(super) fn runs(visitor: &Visitor, runs: &[RunDto], used: &[RunUsageDto], may: bool) -> Markup {
    let of = |run: &RunDto| used.iter().find(|used| used.at == run.at);
    html! {
        @if !runs.is_empty() { div.scroll tabindex="0" { table {
            thead { tr { th { "Planned" } th { "Outcome" } th.number { "Took" } th.number { "Cores" } th.number { "Memory" } th { "Tasks" } th { "Why" } } }
            tbody { @for run in runs { tr {
                td { (time(visitor, run.at)) @if run.manual { " " small { "by hand" } } }
                td { (state(outcome(run))) @if may && run.outcome == RunOutcome::Active {
                    " " (asks(visitor, ("cancel-run", &format!("{}@{}", run.workload, run.at)), "Cancel", "Its tasks are stopped. That cannot be undone; it can be run again."))
                } }
                td.number { @if let Some(span) = taken(run) { (lasting(span)) } @else { "-" } }
                td.number { @if let Some(mean) = of(run).and_then(|used| used.cpu_mean) { (cores(mean)) } @else { "-" } }
                td.number { @if let Some(most) = of(run).and_then(|used| used.memory_max) { (bytes(most)) } @else { "-" } }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_one_after_the_other_do_not_overlap() {
        let at = |second: i64| Timestamp::from_second(second).expect("an instant");
        let job = |due: &[i64], seconds: f64| JobAheadDto {
            workload: "a".to_owned(),
            due: due.iter().map(|second| at(*second)).collect(),
            more: false,
            takes_seconds: Some(seconds),
            paused: false,
        };
        let jobs = vec![job(&[0, 60, 120, 180], 60.0), job(&[86_399], 9_999.0), job(&[1_000], 2_000.0)];
        let planned = CronAheadDto { from: at(0), to: at(86_400), jobs, most_at_once: 1, most_at: None };
        let parts = together(&planned, 86_400.0);
        assert_eq!(parts[..5], [1, 1, 1, 1, 0]);
        assert_eq!((parts[94], parts[95]), (0, 1));
    }
}
