//! Nodes for the tasks that wait: those of higher priority first, then the older ones.
//!
//! A task that its team's quota has no room for waits. One that finds no node may have tasks of lower
//! priority make room (`preempting`).

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::domain::change::Change;
use crate::domain::node::{NodePool, NodeState};
use crate::domain::placement::{Neighbour, Strategy};
use crate::domain::plan::{Step, WaitKind, Waiting};
use crate::domain::quantity::{Millicores, Resources};
use crate::domain::task::Task;
use crate::domain::workload::{TaskTemplate, WorkloadName};
use crate::domain::world::Workload;
use crate::placement::{Ask, Board, Resident, Residents, Slot};
use crate::scheduling::loads::TeamLoad;
use crate::scheduling::preempting::Preemption;
use crate::scheduling::view::View;

impl Residents for View<'_> {
    fn of(&self, workload: &WorkloadName) -> Vec<Resident<'_>> {
        let holding = |row: &&_| holds(row);
        let rows = self.rows_of(workload);
        let residents = rows.iter().filter(holding).filter_map(|row| {
            let (node, active) = (row.task.node.as_ref()?, row.task.state.is_active());
            Some(Resident { node, revision: row.task.revision, active })
        });
        residents.collect()
    }
}

fn holds(row: &crate::scheduling::view::Row<'_>) -> bool {
    row.task.state.holds_resources()
}

/// Places what can be placed and tells why the rest waits.
pub(super) fn place_pending(view: &mut View<'_>) -> Vec<Waiting> {
    if view.pending().next().is_none() {
        return Vec::new();
    }
    if view.pending().any(|task| task.not_before <= view.now) {
        view.loads();
    }
    let (steps, waiting) = decide(view);
    view.take(steps);
    waiting
}

fn decide(view: &View<'_>) -> (Vec<Step>, Vec<Waiting>) {
    let mut steps = Vec::new();
    let mut waiting = Vec::new();
    let mut asks: Vec<(&Task, Ask<'_>)> = Vec::new();
    for task in view.pending() {
        match view.workload(task.workload()) {
            Some(_) if task.not_before > view.now => waiting.push(backoff(task)),
            Some(workload) => asks.push((task, ask(view, workload, task))),
            None => {}
        }
    }
    if asks.is_empty() {
        return (steps, waiting);
    }
    asks.sort_by_key(|(task, ask)| (Reverse(ask.priority), task.created_at, &task.id));
    let repelled = repelled(view);
    let mut board = Board::new(slots(view), view, &repelled);
    let mut preemption = Preemption::new(view);
    let mut teams: HashMap<&str, TeamLoad> = HashMap::new();
    for (task, ask) in &asks {
        if let Some(words) = quota_words(view, &mut teams, ask) {
            waiting.push(waits(ask, WaitKind::Quota, words));
            continue;
        }
        match board.place(ask) {
            Ok(at) => {
                let node = board.slot(at).node;
                let free = room_before(board.slot(at), ask);
                let reason = why_there(ask, &node.name.to_string(), &free);
                if let Some(team) = ask.team.and_then(|team| teams.get_mut(team)) {
                    team.add(ask.request);
                }
                let change = Change::TaskPlaced { task: task.id.clone(), node: node.name.clone() };
                steps.push(Step { change, reason });
            }
            Err(refused) => match preemption.make_room(&mut board, ask, refused.shape) {
                Some(room) => {
                    // What it will hold is not for others to take meanwhile.
                    if let Some(team) = ask.team.and_then(|team| teams.get_mut(team)) {
                        team.add(ask.request);
                    }
                    steps.extend(room.steps);
                    waiting.push(waits(ask, WaitKind::Preemption, room.reason));
                }
                None => waiting.push(refused.waiting),
            },
        }
    }
    (steps, waiting)
}

fn ask<'v>(view: &'v View<'_>, workload: &'v Workload, task: &'v Task) -> Ask<'v> {
    let template = template_of(workload, task);
    Ask {
        task: &task.id,
        team: workload.spec.owner().team.as_deref(),
        revision: task.revision,
        priority: template.priority,
        request: task.size.request,
        expected: view.expected(task.workload(), task.size.request),
        placement: &template.placement,
    }
}

fn slots<'v>(view: &'v View<'_>) -> Vec<Slot<'v>> {
    let nodes = view.nodes().into_iter();
    let there = nodes.filter(|node| !matches!(node.state, NodeState::Lost | NodeState::Removing));
    let slots = there.map(|node| {
        let (load, taken) = (view.load_of(&node.name), view.taken(node));
        Slot {
            node,
            free: node.size.saturating_sub(taken),
            lent: load.held.requests.cpu.saturating_sub(taken.cpu),
            unused: node.size.saturating_sub(load.used),
            crowded: view.observed.usage.crowded.contains(&node.name),
            reserved_for: view.pool(&node.pool).map_or(&[][..], |pool: &NodePool| &pool.spec.reserved_for),
        }
    });
    slots.collect()
}

/// Required anti-affinity from the side of those that are to be kept away from.
fn repelled(view: &View<'_>) -> BTreeMap<WorkloadName, Vec<Neighbour>> {
    let mut repelled: BTreeMap<WorkloadName, Vec<Neighbour>> = BTreeMap::new();
    for workload in view.world().workloads.values() {
        for rule in &workload.spec.template().placement.anti_affinity {
            if rule.required && rule.workload != workload.name {
                let turned = Neighbour { workload: workload.name.clone(), ..rule.clone() };
                repelled.entry(rule.workload.clone()).or_default().push(turned);
            }
        }
    }
    repelled
}

/// What was free on a node before a task was put there, in words.
fn room_before(slot: &Slot<'_>, ask: &Ask<'_>) -> String {
    let free = slot.free + ask.request;
    if slot.lent == Millicores::ZERO {
        return free.to_string();
    }
    let by_requests = free.cpu.saturating_sub(slot.lent);
    format!("{free} by predicted use, {by_requests} cores by requests")
}

fn why_there(ask: &Ask<'_>, node: &str, free: &str) -> String {
    match (ask.placement.strategy, &ask.placement.spread_over) {
        (Strategy::Spread, _) => {
            format!("{node} has the fewest of its tasks among those that it fits on ({free} were free)")
        }
        (Strategy::Pack, Some(spread)) => {
            let by = &spread.by;
            format!(
                "{node} is the fullest node that it fits on and keeps it even over {by}s ({free} were free)"
            )
        }
        (Strategy::Pack, None) => format!("{node} is the fullest node that it fits on ({free} were free)"),
    }
}

fn waits(ask: &Ask<'_>, kind: WaitKind, reason: String) -> Waiting {
    let (nodes, narrowed) = (Arc::default(), Arc::default());
    Waiting { task: ask.task.clone(), request: ask.request, kind, reason, nodes, narrowed }
}

fn backoff(task: &Task) -> Waiting {
    Waiting {
        task: task.id.clone(),
        request: task.size.request,
        kind: WaitKind::Backoff,
        reason: format!("it is not started before {:.0}: {}", task.not_before, task.reason),
        nodes: Arc::default(),
        narrowed: Arc::default(),
    }
}

/// Why a quota keeps a task waiting. `teams` are the loads with what was placed so far.
fn quota_words<'v>(
    view: &'v View<'_>,
    teams: &mut HashMap<&'v str, TeamLoad>,
    ask: &Ask<'v>,
) -> Option<String> {
    let team = ask.team.filter(|_| !view.world().quotas.is_empty())?;
    let quota = view.world().quotas.get(team)?;
    let load = *teams.entry(team).or_insert_with(|| view.load_of_team(team));
    let mut with = load;
    with.add(ask.request);
    let beyond = with.beyond(quota)?;
    Some(format!("team {team} may have {beyond} reserved, and has {} in {} tasks", load.reserved, load.tasks))
}

/// What a change of a task's request would go beyond of its team's quota.
pub(super) fn over_quota(
    view: &mut View<'_>,
    workload: &WorkloadName,
    to: Resources,
    from: Resources,
) -> Option<String> {
    let grows = to.cpu > from.cpu || to.memory > from.memory;
    if !grows || view.world().quotas.is_empty() {
        return None;
    }
    let team = view.team_of(workload)?.to_owned();
    let quota = *view.world().quotas.get(&team)?;
    let mut load = view.loads().of_team(&team);
    load.reserved = load.reserved.saturating_sub(from) + to;
    load.beyond(&quota)
}

/// What a task is, or was, started with: the template of its own revision.
pub(super) fn template_of<'v>(workload: &'v Workload, task: &Task) -> &'v TaskTemplate {
    workload.revisions.get(&task.revision).map_or(&workload.spec, |revision| &revision.spec).template()
}
