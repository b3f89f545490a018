//! Nodes and pools: what each offers, what is reserved and used of it, why it is there, and draining.

use maud::{Markup, html};

use crate::api::answers::ActionDto;
use crate::api::dto::{NodeDto, PoolDto};
use crate::web::backend::Failure;
use crate::web::forms::{self, Act, act};
use crate::web::frame::{Page, Sheet, json_link, page};
use crate::web::parts::{Bar, bar, bytes, cores, empty, figure, money, state, time};
use crate::web::visitor::Visitor;

/// Nodes that are shown with everything; of more there is the heat map.
const CARDS: usize = 200;

pub(super) async fn show(visitor: Visitor) -> Result<Page, Failure> {
    let nodes: Vec<NodeDto> = visitor.get("/v1/nodes").await?;
    let pools: Vec<PoolDto> = visitor.get("/v1/pools").await?;
    let actions: Vec<ActionDto> = visitor.get("/v1/actions").await?;
    let drains: Vec<&ActionDto> = actions.iter().filter(|action| action.kind == "drain").collect();
    let body = html! {
        div #drains data-live { (forms::in_force(&visitor, &drains, visitor.may_operate())) }
        section #pools data-live { h2 { "Pools " (json_link("/v1/pools")) } (pooled(&pools)) }
        @if nodes.is_empty() {
            (empty("There is no node.", &html! { p { "Nodes come with the first task that needs one, or with a pool's " code { "min" } "." } }))
        } @else {
            section #heat data-live { h2 { "Heat" }
                div.columns { (heat("Reserved", &nodes, requested)) (heat("Used", &nodes, used)) } }
            section { h2 { "Nodes" } div.cards { @for node in nodes.iter().take(CARDS) { (card(&visitor, node, &drains)) } }
                @if nodes.len() > CARDS { p.quiet { "and " (nodes.len() - CARDS) " more: " (json_link("/v1/nodes")) } } }
        }
    };
    let sheet = Sheet { title: "Nodes and pools", room: "/nodes", json: Some("/v1/nodes"), about: None };
    Ok(page(&visitor, &sheet, &body))
}

fn pooled(pools: &[PoolDto]) -> Markup {
    html! {
        @if pools.is_empty() { p.quiet { "No pool is declared: the whole machine is one." } }
        @else { div.figures { @for pool in pools {
            (figure(&pool.name, &format!("{} of {} ready", pool.ready, pool.target),
                &format!("{} to {} nodes of {} cores and {}, {} /h each", pool.min, pool.max, cores(pool.cpu), bytes(pool.memory), money(pool.price_per_hour))))
        } } }
    }
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// The scarcer of CPU and memory, as a share.
fn requested(node: &NodeDto) -> f64 {
    share(node.cpu_requested, node.cpu).max(share(node.memory_requested as f64, node.memory as f64))
}

fn used(node: &NodeDto) -> f64 {
    share(node.cpu_used, node.cpu).max(share(node.memory_used as f64, node.memory as f64))
}

/// A square a node, by the share that is taken of it.
fn heat(title: &str, nodes: &[NodeDto], of: fn(&NodeDto) -> f64) -> Markup {
    html! {
        figure.chart.small {
            figcaption { b { (title) } small { "the scarcer of CPU and memory" } }
            div.heat { @for node in nodes {
                @let share = of(node);
                a class=(format!("h{}", ((share * 10.0).floor() as i64).clamp(0, 10))) href=(format!("#{}", node.name))
                    title=(format!("{}: {:.0} %, {}", node.name, share * 100.0, node.state)) { span.hidden { (node.name) (format!(" {:.0} %", share * 100.0)) } }
            } }
        }
    }
}

fn card(visitor: &Visitor, node: &NodeDto, drains: &[&ActionDto]) -> Markup {
    let drained = drains.iter().any(|action| action.subject == node.name);
    html! {
        article.card #(node.name) {
            div #(format!("node-{}", node.name)) data-live {
                h3 { (node.name) " " (state(node.state.as_str())) }
                p { "Pool " (node.pool) ", " (node.tasks) " tasks, since " (time(visitor, node.created_at)) }
                p.quiet { (node.reason) }
                div.live {
                    div { "CPU " b { (cores(node.cpu_requested)) } " of " (cores(node.cpu)) " reserved, " (cores(node.cpu_used)) " used"
                        (bar(&Bar { whole: node.cpu, requested: node.cpu_requested, used: node.cpu_used, recommended: None }, "CPU")) }
                    div { "Memory " b { (bytes(node.memory_requested)) } " of " (bytes(node.memory)) " reserved, " (bytes(node.memory_used)) " used"
                        (bar(&Bar { whole: node.memory as f64, requested: node.memory_requested as f64, used: node.memory_used as f64, recommended: None }, "Memory")) }
                }
            }
            @if visitor.may_operate() { div.acts {
                @if drained { (forms::button(visitor, "activate", &node.name, "Take tasks again")) }
                @else { (act(visitor, &Act { does: "drain", subject: &node.name, button: "Drain",
                    words: "Its tasks move elsewhere, and it takes no new ones.", lasting: true }, &html! {})) }
            } }
        }
    }
}
