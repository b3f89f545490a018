//! Decisions: the log, and the whole record of one.

use std::fmt::Write;

use axum::extract::{Path, Query};
use maud::{Markup, html};
use serde::Deserialize;

use crate::domain::decision::{Decision, DecisionKind, DecisionOutcome};
use crate::domain::money::MicroCents;
use crate::web::backend::Failure;
use crate::web::forms;
use crate::web::frame::{Page, Sheet, page};
use crate::web::parts::{empty, money, pager, path, state, time};
use crate::web::visitor::Visitor;

/// Which decisions.
#[derive(Deserialize)]
pub(super) struct Filter {
    #[serde(default)]
    subject: String,
    #[serde(default)]
    cursor: String,
}

pub(super) async fn list(visitor: Visitor, Query(filter): Query<Filter>) -> Result<Page, Failure> {
    let mut asked = "/v1/decisions?limit=50".to_owned();
    for (name, value) in [("subject", &filter.subject), ("cursor", &filter.cursor)] {
        if !value.is_empty() {
            let _ = write!(asked, "&{name}={}", crate::api::client::encoded(value));
        }
    }
    let (found, next): (Vec<Decision>, _) = visitor.page(&asked).await?;
    let next = next.map(|next| next.replacen("/v1/decisions", "/decisions", 1).replace("limit=50&", ""));
    let body = html! {
        form.filters action="/decisions" {
            label { "About" input name="subject" value=(filter.subject) placeholder="a workload or a pool"; }
            button type="submit" { "Show" }
            @if !filter.subject.is_empty() { a href="/decisions" { "Everything" } }
        }
        div #list data-live {
            @if found.is_empty() {
                (empty("Nothing was decided yet.", &html! { p { "Decisions appear here as soon as a count, a size or a pool is "
                    "changed, or would be where the policy only observes. " code { "size" } " and " code { "count" }
                    " of a policy say how far that goes." } }))
            } @else { (table(&visitor, &found)) }
        }
        (pager(&visitor, next.as_deref()))
    };
    let sheet = Sheet { title: "Decisions", room: "/decisions", json: Some(&asked), about: None };
    Ok(page(&visitor, &sheet, &body))
}

/// Decisions as rows.
pub(super) fn table(visitor: &Visitor, decisions: &[Decision]) -> Markup {
    html! {
        @if decisions.is_empty() { p.quiet { "Nothing was decided yet." } }
        @else { div.scroll tabindex="0" { table {
            thead { tr { th { "When" } th { "About" } th { "Change" } th.number { "Price /h" } th { "Outcome" } th { "Why" } } }
            tbody { @for decision in decisions {
                @let kind = &decision.proposal.kind;
                tr {
                    td { a href=(format!("/decisions/{}", decision.id)) { (time(visitor, decision.at)) } }
                    td { (subject(kind)) }
                    td.nowrap { (kind) }
                    td.number { (difference(decision.proposal.price_before, decision.proposal.price_after)) }
                    td { (state(&word(&decision.outcome))) }
                    td.words { (decision.proposal.reason) }
                }
            } }
        } } }
    }
}

fn word(outcome: &DecisionOutcome) -> String {
    match outcome {
        DecisionOutcome::Frozen { .. } => "withheld".to_owned(),
        DecisionOutcome::Reverted { .. } => "reverted".to_owned(),
        other => other.to_string(),
    }
}

fn subject(kind: &DecisionKind) -> Markup {
    html! {
        @if let Some(workload) = kind.workload() { a href=(path("/workloads", workload.as_str())) { (workload) } }
        @else { a href="/nodes" { (kind.subject()) } }
    }
}

fn difference(before: MicroCents, after: MicroCents) -> String {
    let change = after.units() - before.units();
    if change == 0.0 {
        "±0".to_owned()
    } else {
        format!("{}{}", if change > 0.0 { "+" } else { "" }, money(change))
    }
}

pub(super) async fn one(visitor: Visitor, Path(id): Path<u64>) -> Result<Page, Failure> {
    let json = format!("/v1/decisions/{id}");
    let decision: Decision = visitor.get(&json).await?;
    let (proposal, waits) = (&decision.proposal, decision.outcome == DecisionOutcome::AwaitingApproval);
    let body = html! {
        div #record data-live {
            p.lead { (subject(&proposal.kind)) ": " b { (proposal.kind) } " " (state(&word(&decision.outcome))) }
            p { (proposal.reason) }
            dl {
                dt { "When" } dd { (time(&visitor, decision.at)) }
                dt { "Outcome" } dd { (decision.outcome) }
                dt { "Rule that bound it" } dd { (proposal.rule) }
                dt { "Mode of the policy" } dd { (decision.mode) }
                dt { "Price per hour" } dd { (money(proposal.price_before.units())) " → " (money(proposal.price_after.units())) }
            }
            @if waits && visitor.may_change(None) {
                (forms::asks(&visitor, ("approve", &id.to_string()), "Approve", "It is carried out at once. What it changed can be changed back by hand."))
            }
            h2 { "What was known" }
            @if proposal.inputs.is_empty() { p.quiet { "Nothing beyond the reason." } }
            dl { @for (name, value) in &proposal.inputs { dt { (name) } dd { (value) } } }
            h2 { "What was considered" }
            @if proposal.candidates.is_empty() { p.quiet { "One answer only." } }
            @else { div.scroll tabindex="0" { table {
                thead { tr { th { "From" } th { "Answer" } th { "Chosen" } } }
                tbody { @for candidate in &proposal.candidates { tr {
                    td { (candidate.source) } td { (candidate.answer) } td { @if candidate.chosen { "yes" } }
                } } }
            } } }
        }
        p.pager { @if id > 1 { a href=(format!("/decisions/{}", id - 1)) { "Earlier" } " " } a href=(format!("/decisions/{}", id + 1)) { "Later" } }
    };
    let title = format!("Decision {id}");
    let sheet = Sheet { title: &title, room: "/decisions", json: Some(&json), about: None };
    Ok(page(&visitor, &sheet, &body))
}
