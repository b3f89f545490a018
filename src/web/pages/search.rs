//! Search over everything that has a name. The palette of the script shows the same list.

use axum::extract::Query;
use maud::{Markup, html};
use serde::Deserialize;

use crate::api::dto::{NodeDto, PoolDto, WorkloadDto};
use crate::domain::action::Switch;
use crate::domain::workload::WorkloadKind;
use crate::web::backend::Failure;
use crate::web::frame::{Page, Sheet, page};
use crate::web::parts::{path, state};
use crate::web::visitor::Visitor;

/// Hits that are shown.
const HITS: usize = 30;
/// Pages, by what people may call them.
const ROOMS: [(&str, &str, &str); 9] = [
    ("/", "Overview", "overview home capacity price alarms"),
    ("/workloads", "Workloads", "workloads services waste over-sized unhealthy starred"),
    ("/cron", "Cron and jobs", "cron jobs runs schedule"),
    ("/nodes", "Nodes and pools", "nodes pools drain heat"),
    ("/recommendations", "Recommendations", "recommendations sizes saving apply"),
    ("/decisions", "Decisions", "decisions why log"),
    ("/reports", "Reports", "reports money team cost centre csv bill"),
    ("/backtest", "Backtest", "backtest policy"),
    ("/engine", "Engine", "engine freeze unfreeze audit agents version"),
];

/// The word of a form, the one that is shown, and whether it takes jobs or services.
type Verb = (&'static str, &'static str, fn(bool) -> bool);
/// What can be done with a workload; the argument is whether it is a job.
const VERBS: [Verb; 4] = [
    ("scale", "Scale", |job| !job),
    ("restart", "Restart", |job| !job),
    ("pause", "Pause", |_| true),
    ("run", "Run", |job| job),
];
/// Workloads that actions are shown of.
const ACTIONS_MAX: usize = 5;

/// What is looked for.
#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    q: String,
}

struct Hit {
    at: String,
    name: String,
    kind: String,
    state: Option<String>,
}

pub(super) async fn show(visitor: Visitor, Query(asked): Query<Asked>) -> Result<Page, Failure> {
    let visitor = visitor.with_stars().await?;
    let hits = find(&visitor, asked.q.trim()).await?;
    let body = html! {
        form.filters role="search" action="/search" { label { "Look for" input type="search" name="q" value=(asked.q) autofocus; } button type="submit" { "Search" } }
        div #results { (list(&hits)) }
    };
    let sheet = Sheet { title: "Search", room: "/search", json: Some("/v1/workloads"), about: None };
    Ok(page(&visitor, &sheet, &body))
}

fn list(hits: &[Hit]) -> Markup {
    html! {
        @if hits.is_empty() { p.quiet { "Nothing has that in its name." } }
        ul.hits { @for hit in hits {
            li { a href=(hit.at) { (hit.name) " " small { (hit.kind) } @if let Some(word) = &hit.state { " " (state(word)) } } }
        } }
    }
}

/// What can be done by this visitor: a verb, alone or with the beginning of a name.
fn actions(visitor: &Visitor, workloads: &[WorkloadDto], q: &str) -> Vec<Hit> {
    let (verb, name) = q.split_once(' ').map_or((q, ""), |(verb, name)| (verb, name.trim()));
    let said = |word: &str| !verb.is_empty() && word.starts_with(verb);
    let mut hits = Vec::new();
    let mut hit = |at: String, name: String| {
        hits.push(Hit { at, name, kind: "action".to_owned(), state: None });
    };
    let own = workloads.iter().filter(|each| visitor.may_change(each.team.as_deref()));
    let named = own.filter(|each| {
        if name.is_empty() {
            visitor.has_star(&each.name) || verb == each.name
        } else {
            each.name.contains(name)
        }
    });
    for each in named.take(ACTIONS_MAX) {
        let (whole, is_job) = (verb == each.name && name.is_empty(), each.kind != WorkloadKind::Service);
        for (word, shown, takes) in VERBS {
            if (said(word) || whole) && takes(is_job) {
                let id = each.name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
                hit(
                    format!("{}#{word}-{id}", path("/workloads", &each.name)),
                    format!("{shown} {}", each.name),
                );
            }
        }
    }
    if visitor.may_operate() {
        for switch in
            Switch::ALL.into_iter().filter(|switch| said("freeze") && switch.as_str().starts_with(name))
        {
            hit(format!("/engine#freeze-{switch}"), format!("Freeze {switch}"));
        }
    }
    hits
}

async fn find(visitor: &Visitor, q: &str) -> Result<Vec<Hit>, Failure> {
    let q = q.to_lowercase();
    let hit = |at: String, name: &str, kind: &str, state: Option<String>| Hit {
        at,
        name: name.to_owned(),
        kind: kind.to_owned(),
        state,
    };
    let workloads: Vec<WorkloadDto> = visitor.get("/v1/workloads").await?;
    let mut hits: Vec<Hit> = workloads
        .iter()
        .filter(|each| {
            each.name.contains(&q) || each.team.as_ref().is_some_and(|team| team.to_lowercase().contains(&q))
        })
        .map(|each| {
            hit(path("/workloads", &each.name), &each.name, &each.kind.to_string(), Some(each.state.clone()))
        })
        .collect();
    // What begins with it comes first; of the same, what has a star.
    hits.sort_by_key(|hit| (!hit.name.starts_with(&q), !visitor.has_star(&hit.name)));
    hits.truncate(HITS);
    hits.extend(actions(visitor, &workloads, &q));
    let rooms = ROOMS
        .iter()
        .filter(|(at, _, words)| words.contains(&q) && (*at != "/reports" || visitor.may_report()));
    hits.extend(rooms.map(|(at, name, _)| hit((*at).to_owned(), name, "page", None)));
    if q.is_empty() {
        return Ok(hits);
    }
    // A task is named after its workload: `web.12`.
    if workloads.iter().any(|each| q.strip_prefix(&each.name).is_some_and(|rest| rest.starts_with('.'))) {
        hits.insert(0, hit(path("/tasks", &q), &q, "task", None));
    }
    if q.bytes().all(|byte| byte.is_ascii_digit()) {
        hits.insert(0, hit(format!("/decisions/{q}"), &format!("Decision {q}"), "decision", None));
    }
    let nodes: Vec<NodeDto> = visitor.get("/v1/nodes").await?;
    let nodes = nodes.iter().filter(|node| node.name.contains(&q)).take(HITS);
    hits.extend(
        nodes.map(|node| {
            hit(format!("/nodes#{}", node.name), &node.name, "node", Some(node.state.to_string()))
        }),
    );
    let pools: Vec<PoolDto> = visitor.get("/v1/pools").await?;
    hits.extend(
        pools
            .iter()
            .filter(|pool| pool.name.contains(&q))
            .map(|pool| hit("/nodes".to_owned(), &pool.name, "pool", None)),
    );
    Ok(hits)
}
