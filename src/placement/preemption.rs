//! Which tasks of lower priority have to make room for one that found no node.
//!
//! Of all nodes that would do but for room, the one whose victims are of the lowest priority, then the
//! fewest, then those that have run for the shortest time. A service gives as many instances as its
//! allowance says and no more.

use std::cmp::Reverse;
use std::collections::HashMap;

use jiff::Timestamp;

use crate::domain::node::NodeState;
use crate::domain::placement::Neighbour;
use crate::domain::quantity::{Bytes, Millicores, Resources};
use crate::domain::task::TaskId;
use crate::domain::workload::WorkloadName;
use crate::placement::board::{Board, Slot};
use crate::placement::fit::{Ask, admits};
use crate::placement::packing::dominant_share;
use crate::placement::rules::rules;

/// A task that holds resources of a node.
#[derive(Debug, Clone, Copy)]
pub struct Occupant<'a> {
    /// The task.
    pub task: &'a TaskId,
    /// Its priority.
    pub priority: i32,
    /// What it holds.
    pub request: Resources,
    /// The CPU that it counts with.
    pub charged: Millicores,
    /// Since when it runs.
    pub since: Timestamp,
    /// It is capacity of its service now.
    pub ready: bool,
    /// It is on its way out.
    pub leaving: bool,
    /// The waiting task that gets what it leaves.
    pub promised: Option<&'a TaskId>,
}

impl Occupant<'_> {
    /// What it surely leaves: less CPU than it requests where some is `lent` on its node.
    pub fn frees(&self, lent: bool) -> Resources {
        let cpu = if lent { self.request.cpu.min(self.charged) } else { self.request.cpu };
        Resources::new(cpu, self.request.memory)
    }

    /// Whether `ask` can count on what it leaves.
    pub fn leaves_for(&self, ask: &TaskId) -> bool {
        self.leaving && self.promised.is_none_or(|promised| promised == ask)
    }
}

/// How many instances of a service may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Of those that are ready.
    pub ready: usize,
    /// Of all that hold resources and stay.
    pub held: usize,
}

/// Tasks that have to leave a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Victims {
    /// The node, among the board's slots.
    pub slot: usize,
    /// Where they are among its occupants; none where those that leave anyway are enough.
    pub tasks: Vec<usize>,
}

/// Chooses a node and the tasks that have to leave it for `ask`. `occupants` are those of each slot.
pub fn choose(
    board: &Board<'_>,
    ask: &Ask<'_>,
    occupants: &[Vec<Occupant<'_>>],
    allowance: &dyn Fn(&WorkloadName) -> Allowance,
) -> Option<Victims> {
    let rules = rules(board, ask, 0);
    let mut best: Option<((bool, i32, usize, i64), Victims)> = None;
    for (at, tasks) in occupants.iter().enumerate() {
        let slot = board.slot(at);
        let node = slot.node;
        let would_do = node.state == NodeState::Ready
            && !slot.crowded
            && ask.request.fits(node.size)
            && admits(Some(ask.placement), ask.owner(), &node.pool, &node.attributes, slot.reserved_for)
                .is_ok()
            && rules.broken(board, at as u32).is_none();
        if !would_do {
            continue;
        }
        let Some(chosen) = by_use_or_requests(ask, slot, tasks, allowance) else { continue };
        // Tasks that left for it are not to have left in vain.
        let begun = tasks.iter().any(|task| task.leaving && task.promised == Some(ask.task));
        let highest = chosen.iter().map(|&at| tasks[at].priority).max().unwrap_or(i32::MIN);
        let lost = chosen.iter().map(|&at| -tasks[at].since.as_second()).sum();
        let cost = (!(begun && chosen.is_empty()), highest, chosen.len(), lost);
        if best.as_ref().is_none_or(|(least, _)| cost < *least) {
            best = Some((cost, Victims { slot: at, tasks: chosen }));
        }
    }
    best.map(|(_, victims)| victims)
}

/// The victims on one node. Where more CPU is lent than requests leave, either they leave enough by what they
/// count with, or so many go that requests leave enough: whichever takes less.
fn by_use_or_requests(
    ask: &Ask<'_>,
    slot: &Slot<'_>,
    tasks: &[Occupant<'_>],
    allowance: &dyn Fn(&WorkloadName) -> Allowance,
) -> Option<Vec<usize>> {
    let lent = Resources::new(slot.lent, Bytes::ZERO);
    let room = Room { wanted: ask.request + lent, free: slot.free, size: slot.node.size };
    let by_requests = on_node(ask, &room, tasks, allowance);
    if slot.lent == Millicores::ZERO {
        return by_requests;
    }
    let counted: Vec<Occupant<'_>> =
        tasks.iter().map(|task| Occupant { request: task.frees(true), ..*task }).collect();
    let by_use = on_node(ask, &Room { wanted: ask.request, ..room }, &counted, allowance);
    let cost = |chosen: &Vec<usize>| (chosen.iter().map(|&at| tasks[at].priority).max(), chosen.len());
    by_use.into_iter().chain(by_requests).min_by_key(cost)
}

/// What is wanted of a node, and what is there.
#[derive(Clone, Copy)]
struct Room {
    wanted: Resources,
    free: Resources,
    size: Resources,
}

/// The victims on one node; empty where what leaves anyway is enough.
fn on_node(
    ask: &Ask<'_>,
    &Room { wanted, free, size }: &Room,
    tasks: &[Occupant<'_>],
    allowance: &dyn Fn(&WorkloadName) -> Allowance,
) -> Option<Vec<usize>> {
    let leaving: Resources =
        tasks.iter().filter(|task| task.leaves_for(ask.task)).map(|task| task.request).sum();
    let room = free + leaving;
    if wanted.fits(room) {
        return Some(Vec::new());
    }
    let mut lower: Vec<usize> = (0..tasks.len()).filter(|&at| may_go(ask, &tasks[at])).collect();
    lower.sort_by_key(|&at| (tasks[at].priority, Reverse(tasks[at].since), tasks[at].task));
    let mut levels: Vec<i32> = lower.iter().map(|&at| tasks[at].priority).collect();
    levels.dedup();
    // The lowest priority up to which there is enough to take.
    levels.into_iter().find_map(|level| {
        let candidates: Vec<usize> =
            lower.iter().copied().filter(|&at| tasks[at].priority <= level).collect();
        fewest(wanted, room, size, tasks, &candidates, allowance)
    })
}

/// Whether a task may be asked to leave for `ask`: not one that it has to be near.
fn may_go(ask: &Ask<'_>, task: &Occupant<'_>) -> bool {
    let needed = |rule: &Neighbour| rule.required && rule.workload == *task.task.workload();
    task.priority < ask.priority && !task.leaving && !ask.placement.affinity.iter().any(needed)
}

/// Takes the one that helps most until there is room, then gives back what was not needed.
fn fewest(
    request: Resources,
    room: Resources,
    size: Resources,
    tasks: &[Occupant<'_>],
    candidates: &[usize],
    allowance: &dyn Fn(&WorkloadName) -> Allowance,
) -> Option<Vec<usize>> {
    let mut budgets: HashMap<&WorkloadName, Allowance> = HashMap::new();
    let mut chosen: Vec<usize> = Vec::new();
    let mut room = room;
    while !request.fits(room) {
        let lack = request.saturating_sub(room);
        let mut best: Option<(u64, usize)> = None;
        for &at in candidates.iter().filter(|at| !chosen.contains(at)) {
            let task = &tasks[at];
            let budget =
                *budgets.entry(task.task.workload()).or_insert_with(|| allowance(task.task.workload()));
            if budget.held == 0 || (task.ready && budget.ready == 0) {
                continue;
            }
            let still = lack.saturating_sub(task.request);
            let helps = if still == lack { 0 } else { u64::MAX - dominant_share(still, size) };
            // Candidates are in order: of equals the first one is taken.
            if helps > 0 && best.is_none_or(|(most, _)| helps > most) {
                best = Some((helps, at));
            }
        }
        let (_, at) = best?;
        let task = &tasks[at];
        if let Some(budget) = budgets.get_mut(task.task.workload()) {
            budget.held -= 1;
            budget.ready -= usize::from(task.ready);
        }
        room += task.request;
        chosen.push(at);
    }
    // The dearest are given back first.
    let mut dear = chosen.clone();
    dear.sort_by_key(|&at| Reverse((tasks[at].priority, Reverse(tasks[at].since))));
    for at in dear {
        let without = room.saturating_sub(tasks[at].request);
        if request.fits(without) {
            room = without;
            chosen.retain(|&other| other != at);
        }
    }
    chosen.sort_unstable();
    Some(chosen)
}
