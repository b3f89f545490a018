//! Recommendations: by what they save, with risk and confidence; applied now or later, or dismissed, one by one or many at
//! once; what was made of them; what those that were applied promised, and what they did save.

use axum::extract::Query;
use jiff::SignedDuration;
use maud::{Markup, html};
use serde::Deserialize;

use crate::accounting::bill::savings::Saving;
use crate::api::advice::AdviceActDto;
use crate::api::dto::{RecommendationDto, SizeDto, WorkloadDto};
use crate::domain::money::MicroCents;
use crate::domain::quantity::TaskSize;
use crate::web::backend::Failure;
use crate::web::forms::{self, Act};
use crate::web::frame::{Page, Sheet, page};
use crate::web::parts::{away, bytes, cores, counted, empty, figure, money, path, size, time};
use crate::web::visitor::Visitor;

/// Rows that are shown.
const ROWS: usize = 200;
/// What can be shown: the word in the address, and the one that is shown.
const SHOWN: [(&str, &str); 4] =
    [("", "Open"), ("scheduled", "Scheduled"), ("dismissed", "Dismissed"), ("applied", "Applied")];
/// What savings are read from.
const SAVINGS: &str = "/v1/reports/savings";
/// A page waits no longer for them.
const SAVINGS_TIME: std::time::Duration = std::time::Duration::from_millis(80);
/// What was in force so lately, is: savings may be a minute old.
const STILL: SignedDuration = SignedDuration::from_mins(2);

/// What is shown.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Filter {
    show: String,
}

pub(super) async fn show(visitor: Visitor, Query(filter): Query<Filter>) -> Result<Page, Failure> {
    let mut all: Vec<RecommendationDto> = visitor.get("/v1/recommendations").await?;
    let workloads: Vec<WorkloadDto> = visitor.get("/v1/workloads").await?;
    let teams: std::collections::HashMap<&str, Option<&str>> =
        workloads.iter().map(|each| (each.name.as_str(), each.team.as_deref())).collect();
    let may_named = |name: &str| visitor.may_change(teams.get(name).copied().flatten());
    let may = |one: &RecommendationDto| may_named(&one.workload);
    all.sort_by(|a, b| a.price_per_month.total_cmp(&b.price_per_month));
    let (told, withheld): (Vec<_>, Vec<_>) = all.iter().partition(|one| one.recommended.is_some());
    let of = |show: &str| -> Vec<&RecommendationDto> {
        let fits = |one: &&RecommendationDto| match show {
            "scheduled" => one.scheduled.is_some(),
            "dismissed" => one.dismissed.is_some(),
            _ => one.dismissed.is_none() && one.scheduled.is_none() && moves(one),
        };
        told.iter().copied().filter(fits).collect()
    };
    let (open, scheduled, dismissed) = (of(""), of("scheduled"), of("dismissed"));
    let counts = [open.len(), scheduled.len(), dismissed.len()];
    let body = html! {
        (sums(&open, &all, &dismissed))
        (tabs(&visitor, &filter.show, &counts))
        @match filter.show.as_str() {
            "applied" if visitor.may_report() => (applied(&visitor, saved(&visitor).await?.as_deref(), &may_named)),
            "scheduled" => (settled(&visitor, &scheduled, &may, Settled::Scheduled)),
            "dismissed" => (settled(&visitor, &dismissed, &may, Settled::Dismissed)),
            _ => { (waiting(&visitor, &open, &may)) (without(&withheld)) }
        }
    };
    let json = if filter.show == "applied" { SAVINGS } else { "/v1/recommendations" };
    let sheet = Sheet { title: "Recommendations", room: "/recommendations", json: Some(json), about: None };
    Ok(page(&visitor, &sheet, &body))
}

/// Whether it asks for another size than there is.
fn moves(one: &RecommendationDto) -> bool {
    one.recommended.as_ref().is_some_and(|to| *to != one.current)
}

fn sums(open: &[&RecommendationDto], all: &[RecommendationDto], dismissed: &[&RecommendationDto]) -> Markup {
    let saving =
        |rows: &[&RecommendationDto]| rows.iter().map(|one| (-one.price_per_month).max(0.0)).sum::<f64>();
    html! {
        div #sum data-live { div.figures {
            (figure("Could be saved", &format!("{} a month", money(saving(open))), "by all that is open and saves something"))
            (figure("Open advice", &format!("{} of {}", open.len(), all.len()), "workloads"))
            @if !dismissed.is_empty() { (figure("Dismissed", &format!("{} a month", money(saving(dismissed))), &counted(dismissed.len(), "workload", "workloads"))) }
        } }
    }
}

fn tabs(visitor: &Visitor, shown: &str, counts: &[usize; 3]) -> Markup {
    let tabs = SHOWN.iter().filter(|(word, _)| *word != "applied" || visitor.may_report());
    html! {
        p.spans #tabs data-live { @for (place, (word, name)) in tabs.enumerate() {
            a href=(if word.is_empty() { "/recommendations".to_owned() } else { format!("/recommendations?show={word}") })
                aria-current=[(*word == shown).then_some("true")] {
                (name) @if let Some(count) = counts.get(place) { " " (count) } }
        } }
    }
}

/// What waits for somebody's word.
fn waiting(
    visitor: &Visitor,
    open: &[&RecommendationDto],
    may: &impl Fn(&RecommendationDto) -> bool,
) -> Markup {
    let any = open.iter().any(|one| may(one));
    html! {
        @if open.is_empty() {
            (empty("No advice is open.", &html! { p { "It comes once a workload was measured for long enough, and asks for another size than there is; below is what is missing." } }))
        } @else if any {
            form method="post" action="/act" {
                (table(open, may))
                (bulk())
                // Last: a button that is pressed says its own word before it.
                (forms::hidden(visitor, "bulk-apply", ""))
            }
        } @else { (table(open, may)) }
    }
}

/// What is done with what is chosen.
fn bulk() -> Markup {
    html! {
        div.bulk { (forms::why()) button type="submit" name="do" value="bulk-apply" { "Apply now" } }
        div.bulk {
            label { "At (empty: with the next rollout)" input type="datetime-local" name="at"; }
            button.plain type="submit" name="do" value="bulk-schedule" { "Apply later" }
            (forms::how_long("a month"))
            button.plain type="submit" name="do" value="bulk-dismiss" { "Dismiss" }
        }
    }
}

fn table(rows: &[&RecommendationDto], may: &impl Fn(&RecommendationDto) -> bool) -> Markup {
    let any = rows.iter().any(|one| may(one));
    html! {
        div.scroll tabindex="0" { table {
            thead { tr { @if any { th { input.script type="checkbox" hidden data-all="workload" aria-label="Choose all"; } }
                th { "Workload" } th.number { "Saving a month" } th { "CPU" } th { "Memory" } th { "Risk" } th { "Confidence" } th { "Why" } } }
            tbody { @for one in rows.iter().take(ROWS) { @if let Some(to) = &one.recommended { tr {
                @if any { td { @if may(one) {
                    input type="checkbox" name="workload" value=(one.workload) aria-label=(format!("Choose {}", one.workload)); } } }
                th scope="row" { a href=(path("/workloads", &one.workload)) { (one.workload) } " " small { (one.mode) } }
                td.number { (money(-one.price_per_month)) }
                td.nowrap { (cores(one.current.cpu_request)) " → " b { (cores(to.cpu_request)) } }
                td.nowrap { (bytes(one.current.memory_request)) " → " b { (bytes(to.memory_request)) } }
                td { @if let Some(risk) = one.risk { (format!("{risk:.4}")) small { " kills a task and day" } } @else { "-" } }
                td { @if let Some(confidence) = &one.confidence { (confidence) } small { " " (one.grounds) } }
                td.words { (one.reason) }
            } } } }
        } }
        @if rows.len() > ROWS { p.quiet { "and " (rows.len() - ROWS) " more, which save less" } }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Settled {
    Scheduled,
    Dismissed,
}

/// What somebody has had a word on.
fn settled(
    visitor: &Visitor,
    rows: &[&RecommendationDto],
    may: &impl Fn(&RecommendationDto) -> bool,
    how: Settled,
) -> Markup {
    let (kind, when, nothing, hint) = match how {
        Settled::Scheduled => (
            "schedule",
            "Applied",
            "No advice is scheduled.",
            "Choose some under Open, say when, and press “Apply later”: it is applied then, unless the advice changes.",
        ),
        Settled::Dismissed => (
            "dismiss",
            "Shown again",
            "No advice is dismissed.",
            "Advice that is dismissed comes back when it changes, or after a month.",
        ),
    };
    html! {
        div #settled data-live {
        @if rows.is_empty() { (empty(nothing, &html! { p { (hint) } })) }
        @else { div.scroll tabindex="0" { table {
            thead { tr { th { "Workload" } th { "Advice" } th.number { "Saving a month" } th { (when) } th { "By" } th { "Why" } th { span.hidden { "Undo" } } } }
            tbody { @for one in rows.iter().take(ROWS) {
                @let act = if how == Settled::Scheduled { one.scheduled.as_ref() } else { one.dismissed.as_ref() };
                @if let Some(act) = act { tr {
                    th scope="row" { a href=(path("/workloads", &one.workload)) { (one.workload) } }
                    td { @if let Some(to) = &one.recommended { (size(to)) } }
                    td.number { (money(-one.price_per_month)) }
                    td { (due(visitor, act)) }
                    td { (act.by) ", " (time(visitor, act.at)) }
                    td.words { (act.message) }
                    td { @if may(one) { (forms::asks(visitor, ("undo", &format!("{kind}/{}", one.workload)), "Undo", "The advice is open again.")) } }
                } }
            } }
        } } }
        }
    }
}

fn due(visitor: &Visitor, act: &AdviceActDto) -> Markup {
    html! {
        @if act.with_rollout { "with the next rollout" }
        @else if let Some(at) = act.due.or(act.until) { (time(visitor, at)) ", " (away(visitor, at)) }
    }
}

/// What applied advice came to; none where that is still being worked out.
async fn saved(visitor: &Visitor) -> Result<Option<Vec<Saving>>, Failure> {
    let path = format!("{SAVINGS}?max_age_seconds=60");
    tokio::time::timeout(SAVINGS_TIME, visitor.get(&path)).await.ok().transpose()
}

/// What applied advice came to this month.
fn applied(visitor: &Visitor, savings: Option<&[Saving]>, may: &impl Fn(&str) -> bool) -> Markup {
    let Some(savings) = savings else {
        return html! { div #applied data-live { p.quiet { "What was saved is being worked out, and shows in a moment." } } };
    };
    html! { div #applied data-live { (comparison(visitor, savings, may)) } }
}

/// The way back from a size that was applied.
fn back(visitor: &Visitor, one: &Saving) -> Markup {
    let (name, from) = (one.workload.as_str(), SizeDto::from(one.from));
    let words = "Its tasks get the size before again. Where its policy applies sizes by itself, dismiss the advice as well.";
    forms::act(
        visitor,
        &Act { does: "resize", subject: name, button: "Undo", words, lasting: false },
        &html! {
            input type="hidden" name="cpu" value=(from.cpu_request);
            input type="hidden" name="memory" value=(from.memory_request);
            input type="hidden" name="memory_limit" value=(from.memory_limit);
            @if let Some(limit) = from.cpu_limit { input type="hidden" name="cpu_limit" value=(limit); }
        },
    )
}

fn comparison(visitor: &Visitor, savings: &[Saving], may: &impl Fn(&str) -> bool) -> Markup {
    let still = |one: &Saving| visitor.now.duration_since(one.until) < STILL;
    // What was applied later stands on what was applied before: the way back is from the newest.
    let newest = |one: &Saving| {
        let last = savings.iter().rev().find(|each| each.workload == one.workload);
        last.is_some_and(|last| last.decision == one.decision)
    };
    let size = |of: TaskSize| size(&SizeDto::from(of));
    let sum = |of: fn(&Saving) -> MicroCents| savings.iter().map(of).sum::<MicroCents>().units();
    html! {
        @if savings.is_empty() {
            (empty("No advice was applied this month.", &html! { p { "What is applied here, by its time or by a policy, shows what it promised and what it did save." } }))
        } @else {
            div.figures {
                (figure("Promised this month", &money(sum(|one| one.promised)), "while in force"))
                (figure("Saved this month", &money(sum(|one| one.realised)), "by what the tasks requested"))
                (figure("Difference", &money(sum(|one| one.difference)), "counts and lives of tasks were other than promised"))
            }
            div.scroll tabindex="0" { table {
                thead { tr { th { "Workload" } th { "Applied" } th { "In force until" } th { "Size" } th.number { "Promised" } th.number { "Saved" } th.number { "Difference" } th { "Decision" } th { span.hidden { "Undo" } } } }
                tbody { @for one in savings.iter().rev().take(ROWS) { tr {
                    th scope="row" { a href=(path("/workloads", one.workload.as_str())) { (one.workload) } }
                    td { (time(visitor, one.at)) }
                    td { @if still(one) { "still" } @else { (time(visitor, one.until)) } }
                    td { (size(one.from)) " → " b { (size(one.to)) } }
                    td.number { (money(one.promised.units())) }
                    td.number { (money(one.realised.units())) }
                    td.number { (money(one.difference.units())) }
                    td { a href=(format!("/decisions/{}", one.decision)) { (one.decision) } }
                    td { @if still(one) && newest(one) && one.from != one.to && may(one.workload.as_str()) { (back(visitor, one)) } }
                } } }
            } }
        }
    }
}

fn without(withheld: &[&RecommendationDto]) -> Markup {
    html! {
        @if !withheld.is_empty() { section #withheld data-live {
            h2 { "Without advice" }
            ul.plain { @for one in withheld.iter().take(100) { li { a href=(path("/workloads", &one.workload)) { (one.workload) } " " span.quiet { (one.reason) } } } }
            @if withheld.len() > 100 { p.quiet { "and " (withheld.len() - 100) " more" } }
        } }
    }
}
