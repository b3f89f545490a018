//! What the cluster is to be asked for, so that it becomes what the world says.
//! In: the world after a plan, and the observation. Out: calls to make.
//!
//! Effects follow from state, not from steps: whatever is not as it should be is asked for again with
//! each look, so a call that failed, or an engine that died between deciding and doing, needs no record
//! of its own. Every call may be repeated.

use foldhash::HashSet;
use jiff::SignedDuration;

use crate::domain::node::{NodeName, NodeState};
use crate::domain::observation::{NodeObservation, Observed, ProcessState, TaskObservation};
use crate::domain::quantity::TaskSize;
use crate::domain::task::{Task, TaskId, TaskState};
use crate::domain::world::World;
use crate::scheduling::parts::{Part, for_parts};
use crate::scheduling::placing::template_of;
use crate::scheduling::rows::walk;
use crate::scheduling::view::Row;

/// The grace of a task that the world does not know: nothing says what its owner wanted.
pub const STRAY_GRACE: SignedDuration = SignedDuration::from_secs(10);

/// A call to a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Start a task.
    Launch(TaskId),
    /// Tell a task to end.
    Stop {
        /// The task.
        task: TaskId,
        /// Time between the polite signal and the kill.
        grace: SignedDuration,
    },
    /// Put the size of a running task in force.
    Resize {
        /// The task.
        task: TaskId,
        /// The size.
        size: TaskSize,
    },
    /// Drop what the cluster keeps of a task that ended.
    Forget(TaskId),
    /// Make a node.
    CreateNode(NodeName),
    /// Remove a node.
    RemoveNode(NodeName),
}

/// Everything that is not yet as the world says, in an order that frees before it takes: ended tasks are
/// forgotten and others stopped before nodes go, nodes come before tasks are launched.
///
/// The cluster may know tasks and nodes that the world does not: launched in the moment of their
/// cancellation, or younger than a store that was put back from a copy. Nothing will ever ask for them,
/// since numbers are never given twice, and they hold what placement believes to be free; so they are
/// stopped, forgotten and removed.
pub fn effects(world: &World, observed: &Observed) -> Vec<Effect> {
    let (mut effects, mut known, mut launches) = (Vec::new(), Vec::new(), Vec::new());
    for part in for_parts(world, |part| of_tasks(part, world, observed)) {
        effects.extend(part.strays);
        known.extend(part.known);
        launches.extend(part.launches);
    }
    effects.extend(known);
    let leaving =
        |name: &NodeName| world.nodes.get(name).is_none_or(|node| node.state == NodeState::Removing);
    let leaving: Vec<&NodeName> = observed.nodes.keys().filter(|name| leaving(name)).collect();
    if !leaving.is_empty() {
        // Whatever led here: a machine that still has tasks stays.
        let busy = world.tasks.values().filter(|task| task.state.holds_resources());
        let mut empty: HashSet<&NodeName> = leaving.iter().copied().collect();
        for node in busy.filter_map(|task| task.node.as_ref()) {
            empty.remove(node);
        }
        let empty = leaving.into_iter().filter(|name| empty.contains(name));
        effects.extend(empty.map(|name| Effect::RemoveNode(name.clone())));
    }
    for node in world.nodes.values() {
        let seen = observed.nodes.get(&node.name);
        if node.state == NodeState::Joining && matches!(seen, None | Some(NodeObservation::Arriving)) {
            effects.push(Effect::CreateNode(node.name.clone()));
        }
    }
    effects.extend(launches);
    effects
}

/// What is to be asked for about tasks.
#[derive(Default)]
struct OfTasks {
    strays: Vec<Effect>,
    known: Vec<Effect>,
    launches: Vec<Effect>,
}

fn of_tasks<'a>(part: Part<'a>, world: &'a World, observed: &'a Observed) -> OfTasks {
    let OfTasks { mut strays, mut known, mut launches } = OfTasks::default();
    let row = |Row { task, seen }: Row<'_>| match seen {
        Some(seen) => known.extend(for_known(world, task, seen)),
        None if task.state == TaskState::Launching => launches.push(Effect::Launch(task.id.clone())),
        None => {}
    };
    let stray = |id: &TaskId, seen: &TaskObservation| {
        strays.push(if alive(seen) {
            Effect::Stop { task: id.clone(), grace: STRAY_GRACE }
        } else {
            Effect::Forget(id.clone())
        });
    };
    walk(part, world, observed, row, stray);
    OfTasks { strays, known, launches }
}

fn alive(seen: &TaskObservation) -> bool {
    matches!(seen.process, ProcessState::Starting | ProcessState::Running { .. })
}

fn for_known(world: &World, task: &Task, seen: &TaskObservation) -> Option<Effect> {
    if !alive(seen) {
        return task.state.is_terminal().then(|| Effect::Forget(task.id.clone()));
    }
    if task.state >= TaskState::Stopping {
        let grace = world
            .workloads
            .get(task.workload())
            .map_or(STRAY_GRACE, |workload| template_of(workload, task).stop_grace);
        return Some(Effect::Stop { task: task.id.clone(), grace });
    }
    let resize = seen.resize_refused.is_none() && seen.size.is_some_and(|size| size != task.size);
    resize.then(|| Effect::Resize { task: task.id.clone(), size: task.size })
}
