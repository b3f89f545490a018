//! Backtest: which policy sizes come from, and how another one is tried on this engine's own record. The
//! backtest itself is a command: it takes minutes of a core, which an engine that runs tasks has not to spare.

use maud::html;

use crate::api::size_policies::SizePoliciesDto;
use crate::web::backend::Failure;
use crate::web::frame::{Page, Sheet, page};
use crate::web::parts::{command, state};
use crate::web::visitor::Visitor;

pub(super) async fn show(visitor: Visitor) -> Result<Page, Failure> {
    let policies: SizePoliciesDto = visitor.get("/v1/size-policies").await?;
    let body = html! {
        p { "Sizes come from " b { (policies.in_force) } "."
            @if let Some(chosen) = &policies.chosen { " Chosen: " b { (chosen) } @if let Some(by) = &policies.by { " by " (by) } "." } }
        p { "A backtest replays the recorded usage past each policy and tells what it would have cost and killed. "
            "It is a command, not a button: it takes a core for minutes, and is better run elsewhere than beside the tasks." }
        h2 { "1. Take the record" }
        (command("loadline dataset record usage.parquet"))
        @if visitor.may_report() { p { "Or " a href="/v1/trace?format=parquet" download="usage.parquet" { "download it" } " (the last 24 hours)." } }
        h2 { "2. Replay it" }
        (command("loadline backtest --trace usage.parquet -o html > backtest.html"))
        p.quiet { "The page has a chart of cost against kills and a table, a policy a line." }
        h2 { "3. Take the one that you like" }
        (command("loadline policy set NAME"))
        p.quiet { "It tells what it would have done here before it asks." }
        h2 { "Policies" }
        div.scroll tabindex="0" { table {
            thead { tr { th { "Policy" } th { "Trades cost against risk by" } th { "Keys" } } }
            tbody { @for policy in &policies.policies { tr {
                th scope="row" { (policy.name) @if policies.in_force.split(':').next() == Some(&policy.name) { " " (state("applied")) } }
                td { code { (policy.knob) } }
                td.words { @for (key, value) in &policy.keys { code { (key) "=" (value) } " " } }
            } } }
        } }
    };
    let sheet = Sheet { title: "Backtest", room: "/backtest", json: Some("/v1/size-policies"), about: None };
    Ok(page(&visitor, &sheet, &body))
}
