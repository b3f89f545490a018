//! Room for a task of higher priority: which tasks are asked to leave, and what is kept for whom until
//! they have left.
//!
//! Victims leave as any task does: out of the front door first, then the polite signal and the grace.
//! Meanwhile the task waits, what they leave is promised to it, and nobody else is asked to go for it.

use std::collections::{BTreeSet, HashMap};

use crate::domain::change::Change;
use crate::domain::plan::Step;
use crate::domain::quantity::{Millicores, Resources};
use crate::domain::task::TaskId;
use crate::domain::workload::{WorkloadKind, WorkloadName};
use crate::placement::{Allowance, Ask, Board, Occupant, Victims, choose};
use crate::scheduling::placing::template_of;
use crate::scheduling::tasks::{is_ready, retire};
use crate::scheduling::view::{Row, View};

/// Room that is being made.
pub(super) struct Room {
    pub(super) steps: Vec<Step>,
    pub(super) reason: String,
}

/// The tasks on each slot, as placement sees them and with their rows.
struct Tenants<'v> {
    occupants: Vec<Vec<Occupant<'v>>>,
    rows: Vec<Vec<Row<'v>>>,
}

/// What is known of preemption within one pass of placement.
pub(super) struct Preemption<'v, 'w> {
    view: &'v View<'w>,
    /// The lowest priority of any workload; looked up when first needed.
    lowest: Option<i32>,
    /// Looked up when first needed.
    tenants: Option<Tenants<'v>>,
    /// Taken so far of each service.
    taken: HashMap<WorkloadName, Allowance>,
    /// The highest priority that asks of a shape were refused room with.
    hopeless: HashMap<usize, i32>,
}

impl<'v, 'w> Preemption<'v, 'w> {
    pub(super) fn new(view: &'v View<'w>) -> Self {
        Self { view, lowest: None, tenants: None, taken: HashMap::new(), hopeless: HashMap::new() }
    }

    /// Has tasks make room for an ask that found none, or tells that some do already.
    pub(super) fn make_room(&mut self, board: &mut Board<'_>, ask: &Ask<'v>, shape: usize) -> Option<Room> {
        let in_vain = self.hopeless.get(&shape).is_some_and(|tried| ask.priority <= *tried);
        let view = self.view;
        if in_vain || ask.priority <= *self.lowest.get_or_insert_with(|| lowest(view)) {
            return None;
        }
        let Tenants { occupants, rows } = self.tenants.get_or_insert_with(|| tenants(view, board));
        let taken = &self.taken;
        let Some(victims) = choose(board, ask, occupants, &|name| allowance(view, taken, name)) else {
            self.hopeless.insert(shape, ask.priority);
            return None;
        };
        let node = &board.slot(victims.slot).node.name;
        let here = &mut occupants[victims.slot];
        let mut leaving: Vec<&TaskId> = here
            .iter()
            .enumerate()
            .filter(|(at, task)| {
                victims.tasks.contains(at) || (task.leaving && task.promised == Some(ask.task))
            })
            .map(|(_, task)| task.task)
            .collect();
        leaving.sort();
        let reason = match &leaving[..] {
            [] => format!("tasks that are leaving {node} make room for it"),
            leaving => format!("{} of lower priority on {node} make room for it", in_words(leaving)),
        };
        let mut steps = Vec::new();
        for &at in &victims.tasks {
            let why = format!(
                "it makes room for {}, which has priority {} over {}",
                ask.task, ask.priority, here[at].priority
            );
            let change = Change::TaskPreempted { task: here[at].task.clone(), by: ask.task.clone() };
            steps.push(Step { change, reason: why.clone() });
            steps.push(retire(rows[victims.slot][at], &why));
            let name = here[at].task.workload().clone();
            let taken = self.taken.entry(name).or_insert(Allowance { ready: 0, held: 0 });
            taken.held += 1;
            taken.ready += usize::from(here[at].ready);
        }
        promise(board, ask, &victims, here);
        Some(Room { steps, reason })
    }
}

/// Keeps what leaves a node, and what is free there as far as that is not enough, for an ask.
fn promise<'v>(board: &mut Board<'_>, ask: &Ask<'v>, victims: &Victims, here: &mut [Occupant<'v>]) {
    let mut leaves = Resources::ZERO;
    let lent = board.slot(victims.slot).lent > Millicores::ZERO;
    for (at, task) in here.iter_mut().enumerate() {
        if victims.tasks.contains(&at) {
            task.leaving = true;
        }
        if task.leaves_for(ask.task) {
            leaves += task.frees(lent);
            task.promised = Some(ask.task);
        }
    }
    board.take(victims.slot, ask.request.saturating_sub(leaves));
}

fn in_words(tasks: &[&TaskId]) -> String {
    tasks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The lowest priority of any workload.
fn lowest(view: &View<'_>) -> i32 {
    let workloads = view.world().workloads.values();
    let priorities = workloads.flat_map(|workload| {
        let earlier = workload.revisions.values().map(|revision| revision.spec.template().priority);
        earlier.chain([workload.spec.template().priority])
    });
    priorities.min().unwrap_or(i32::MAX)
}

/// The tasks on each slot.
fn tenants<'v>(view: &'v View<'_>, board: &Board<'_>) -> Tenants<'v> {
    let waiting: BTreeSet<&TaskId> = view.pending().map(|task| &task.id).collect();
    let (mut occupants, mut rows) = (vec![Vec::new(); board.len()], vec![Vec::new(); board.len()]);
    for row in view.all_rows().filter(|row| row.task.state.holds_resources()) {
        let task = row.task;
        let Some(at) = task.node.as_ref().and_then(|node| board.find(node)) else { continue };
        let priority = view.workload(task.workload()).map(|workload| template_of(workload, task).priority);
        occupants[at].push(Occupant {
            task: &task.id,
            priority: priority.unwrap_or(i32::MIN),
            request: task.size.request,
            charged: view.observed.usage.overcommit.charge(task),
            since: task.started_at.unwrap_or(task.created_at),
            ready: task.kind == WorkloadKind::Service && is_ready(task, row.seen),
            leaving: !task.state.is_active(),
            promised: task.preempted_for.as_ref().filter(|other| waiting.contains(other)),
        });
        rows[at].push(row);
    }
    Tenants { occupants, rows }
}

/// How many instances of a service may still be taken: as many as leave it at its count less what its
/// policy lets be disrupted. Runs are made again, so any number of them may go.
fn allowance(view: &View<'_>, taken: &HashMap<WorkloadName, Allowance>, name: &WorkloadName) -> Allowance {
    let Some(workload) = view.workload(name).filter(|workload| workload.spec.as_service().is_some()) else {
        return Allowance { ready: usize::MAX, held: usize::MAX };
    };
    let budget = view.world().policy_of(workload).max_disruption;
    let least = workload.count.saturating_sub(budget) as usize;
    let rows = view.rows_of(name);
    let held = rows.iter().filter(|row| row.task.state.holds_resources() && row.task.state.is_active());
    let ready = held.clone().filter(|row| is_ready(row.task, row.seen)).count();
    let taken = taken.get(name).copied().unwrap_or(Allowance { ready: 0, held: 0 });
    Allowance {
        ready: ready.saturating_sub(least + taken.ready),
        held: held.count().saturating_sub(least + taken.held),
    }
}
