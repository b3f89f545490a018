//! Nodes and pools: what each offers, what is reserved and used of it, why it is there, what keeps it from going,
//! which changes are under way, and draining.

use maud::{Markup, html};

use crate::api::answers::ActionDto;
use crate::api::dto::{NodeDto, PoolDto};
use crate::api::node_answers::{NodeOutlookDto, PlannedChangeDto};
use crate::web::backend::Failure;
use crate::web::forms::{self, Act, act};
use crate::web::frame::{Page, Sheet, json_link, page};
use crate::web::parts::{Bar, away, bar, bytes, cores, counted, empty, figure, money, state, time};
use crate::web::visitor::Visitor;

/// Nodes that are shown with everything; of more there is the heat map.
const CARDS: usize = 200;

pub(super) async fn show(visitor: Visitor) -> Result<Page, Failure> {
    let nodes: Vec<NodeDto> = visitor.get("/v1/nodes").await?;
    let pools: Vec<PoolDto> = visitor.get("/v1/pools").await?;
    let planned: Vec<PlannedChangeDto> = visitor.get("/v1/nodes/planned").await?;
    let actions: Vec<ActionDto> = visitor.get("/v1/actions").await?;
    let drains: Vec<&ActionDto> = actions.iter().filter(|action| action.kind == "drain").collect();
    let body = html! {
        div #drains data-live { (forms::in_force(&visitor, &drains, visitor.may_operate())) }
        section #pools data-live { h2 { "Pools " (json_link("/v1/pools")) } (pooled(&pools)) }
        section #planned data-live { h2 { "Planned changes " (json_link("/v1/nodes/planned")) } (changes(&visitor, &planned)) }
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

/// Changes of nodes that are under way.
fn changes(visitor: &Visitor, planned: &[PlannedChangeDto]) -> Markup {
    html! {
        @if planned.is_empty() { p.quiet { "None: every pool has the nodes that it is to have, and none is being emptied." } }
        @else { div.scroll tabindex="0" { table {
            thead { tr { th { "What" } th { "Pool" } th { "Node" } th.number { "Tasks to move" } th { "Since" } th { "Expected" } th { "Why" } } }
            tbody { @for change in planned { tr {
                td { (state(word(&change.kind))) }
                td { (change.pool) }
                td { @if let Some(node) = &change.node { a href=(format!("#{node}")) { (node) } } @else { (counted(change.nodes as usize, "new node", "new nodes")) } }
                td.number { @if change.kind == "empty" { (change.tasks) } @else { "-" } }
                td { @if let Some(since) = change.since { (time(visitor, since)) } @else { "-" } }
                td { @if let Some(at) = change.expected_at { (away(visitor, at)) } @else { "not known" } }
                td.words { (change.reason) }
            } } }
        } } }
    }
}

fn word(kind: &str) -> &'static str {
    match kind {
        "ask" => "waiting",
        "join" => "joining",
        "empty" => "draining",
        _ => "removing",
    }
}

/// Why a node is there, when it would go, and what keeps it.
fn why(visitor: &Visitor, node: &NodeDto) -> Markup {
    html! {
        @if !node.made_for.is_empty() { p.quiet { b { "Why it is there: " } (node.made_for) } }
        @if node.reason != node.made_for { p.quiet { b { "Now: " } (node.reason) } }
        @match &node.outlook {
            None => p.quiet { "What is to become of it is decided at the next look at nodes." },
            Some(outlook) => {
                p { (expected(visitor, outlook)) }
                @if !outlook.blocks.is_empty() { ul.blocks { @for block in &outlook.blocks { li {
                    span.state.rest { (block.by) } " " (block.reason)
                    @if let Some(until) = block.until { small { " (" (away(visitor, until)) ")" } }
                } } } }
            }
        }
    }
}

fn expected(visitor: &Visitor, outlook: &NodeOutlookDto) -> Markup {
    let at = outlook.not_before;
    html! {
        @match (outlook.prospect.as_str(), at) {
            ("arriving", Some(at)) => { "Expected " (away(visitor, at)) ", as long as others of its pool took." },
            ("arriving", None) => "It takes longer than others of its pool did.",
            ("leaves", _) => "It goes once what runs on it has moved.",
            ("gone", _) => "It is gone; its tasks are started elsewhere.",
            (_, Some(at)) => { "Stays. It could go " (away(visitor, at)) " at the earliest, if nothing else holds it then:" },
            _ => "Stays. What keeps it from going:",
        }
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
            p.heat-scale aria-hidden="true" { span { "0 %" } @for step in 0..=10 { i class=(format!("h{step}")) {} } span { "100 %" } }
        }
    }
}

fn card(visitor: &Visitor, node: &NodeDto, drains: &[&ActionDto]) -> Markup {
    let drained = drains.iter().any(|action| action.subject == node.name);
    html! {
        article.card #(node.name) {
            div #(format!("node-{}", node.name)) data-live {
                h3 { (node.name) " " (state(node.state.as_str())) }
                p { "Pool " (node.pool) ", " (counted(node.tasks as usize, "task", "tasks")) ", since " (time(visitor, node.created_at)) }
                (why(visitor, node))
                div.live {
                    div { "CPU " b { (cores(node.cpu_requested)) } " of " (cores(node.cpu)) " reserved, " (cores(node.cpu_used)) " used"
                        (bar(&Bar { whole: node.cpu, requested: node.cpu_requested, used: node.cpu_used, recommended: None }, "CPU")) }
                    div { "Memory " b { (bytes(node.memory_requested)) } " of " (bytes(node.memory)) " reserved, " (bytes(node.memory_used)) " used"
                        (bar(&Bar { whole: node.memory as f64, requested: node.memory_requested as f64, used: node.memory_used as f64, recommended: None }, "Memory")) }
                }
            }
            @if visitor.may_operate() { div.acts {
                @if drained { (forms::asks(visitor, ("activate", &node.name), "Take tasks again", "It is no longer drained.")) }
                @else { (act(visitor, &Act { does: "drain", subject: &node.name, button: "Drain",
                    words: "Its tasks move elsewhere, and it takes no new ones.", lasting: true }, &html! {})) }
            } }
        }
    }
}
