//! Best-fit packing: a task goes to the node that is left with the least free afterwards, so that large
//! gaps stay for large tasks and nodes become empty and can be removed.
//!
//! What is left is measured by the greater of the free shares of CPU and memory (the dominant share of
//! Ghodsi et al., "Dominant Resource Fairness", NSDI 2011, section 3): a node with free memory but no
//! CPU is not full for the next task that wants memory only. Ties go to the first name, so that the same
//! input gives the same answer.

use std::collections::BTreeMap;

use crate::domain::node::{Node, NodeName, NodeState};
use crate::domain::plan::{Misfit, Waiting};
use crate::domain::quantity::Resources;
use crate::domain::task::TaskId;
use crate::domain::workload::Constraint;

/// The reason of a task that waits names at most this many nodes one by one; the totals cover all.
pub const NODES_NAMED_MAX: usize = 100;

/// A task that wants a node.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The task.
    pub task: &'a TaskId,
    /// What has to fit.
    pub request: Resources,
    /// Conditions on the node; all must hold.
    pub constraints: &'a [Constraint],
}

/// A node and what is free on it.
#[derive(Debug, Clone, Copy)]
pub struct Slot<'a> {
    /// The node.
    pub node: &'a Node,
    /// Its size less the requests of the tasks on it.
    pub free: Resources,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Placement {
    /// Tasks with their nodes, in the order of the asks.
    pub assignments: Vec<(TaskId, NodeName)>,
    /// Tasks without a node, in the order of the asks.
    pub waiting: Vec<Waiting>,
}

/// Places the asks one after the other, so the first one chooses first. `slots` are in order of name;
/// what is free on them shrinks with each assignment.
pub fn place(asks: &[Ask<'_>], slots: &mut [Slot<'_>]) -> Placement {
    let mut placement = Placement::default();
    // Free space only shrinks here, so an ask that failed fails again: looked at once, told each time.
    let mut refused: Vec<(Ask<'_>, Waiting)> = Vec::new();
    for ask in asks {
        let same = |known: &&(Ask<'_>, Waiting)| {
            known.0.request == ask.request && known.0.constraints == ask.constraints
        };
        if let Some((_, waiting)) = refused.iter().find(same) {
            placement.waiting.push(Waiting { task: ask.task.clone(), ..waiting.clone() });
        } else if let Some(best) = best_fit(ask, slots) {
            slots[best].free = slots[best].free.saturating_sub(ask.request);
            placement.assignments.push((ask.task.clone(), slots[best].node.name.clone()));
        } else {
            let waiting = explain(ask, slots);
            placement.waiting.push(waiting.clone());
            refused.push((*ask, waiting));
        }
    }
    placement
}

fn best_fit(ask: &Ask<'_>, slots: &[Slot<'_>]) -> Option<usize> {
    let mut best: Option<(u64, usize)> = None;
    for (at, slot) in slots.iter().enumerate() {
        if !ask.request.fits(slot.free)
            || slot.node.state != NodeState::Ready
            || unmet(ask, slot.node).is_some()
        {
            continue;
        }
        let left = dominant_share(slot.free.saturating_sub(ask.request), slot.node.size);
        if best.is_none_or(|(least, _)| left < least) {
            best = Some((left, at));
        }
    }
    best.map(|(_, at)| at)
}

/// The greater of the shares of CPU and memory that `part` is of `whole`, in millionths. Whole numbers,
/// so that equal nodes tie.
pub(crate) fn dominant_share(part: Resources, whole: Resources) -> u64 {
    let share = |part: u64, whole: u64| {
        let millionths = u128::from(part) * 1_000_000 / u128::from(whole.max(1));
        u64::try_from(millionths).unwrap_or(u64::MAX)
    };
    share(part.cpu.get(), whole.cpu.get()).max(share(part.memory.get(), whole.memory.get()))
}

/// The value of an attribute of a node; `pool` is the name of its pool.
fn attribute<'a>(node: &'a Node, name: &str) -> Option<&'a str> {
    if name == "pool" { Some(node.pool.as_str()) } else { node.attributes.get(name).map(String::as_str) }
}

/// The first condition that the node does not meet.
fn unmet<'a>(ask: &Ask<'a>, node: &Node) -> Option<&'a Constraint> {
    ask.constraints.iter().find(|constraint| {
        !attribute(node, &constraint.attribute)
            .is_some_and(|found| constraint.any_of.iter().any(|wanted| wanted == found))
    })
}

fn misfit(ask: &Ask<'_>, slot: &Slot<'_>) -> Misfit {
    let node = slot.node;
    if let Some(constraint) = unmet(ask, node) {
        return Misfit::Attribute {
            attribute: constraint.attribute.clone(),
            wanted: constraint.any_of.clone(),
            found: attribute(node, &constraint.attribute).map(str::to_owned),
        };
    }
    if node.state != NodeState::Ready {
        return Misfit::NotReady { state: node.state.to_string() };
    }
    let what = match (ask.request.cpu <= slot.free.cpu, ask.request.memory <= slot.free.memory) {
        (false, false) => "cpu and memory",
        (false, true) => "cpu",
        (true, _) => "memory",
    };
    Misfit::Insufficient { free: slot.free, what: what.to_owned() }
}

fn explain(ask: &Ask<'_>, slots: &[Slot<'_>]) -> Waiting {
    let mut totals: BTreeMap<String, usize> = BTreeMap::new();
    let mut nodes = Vec::new();
    for slot in slots {
        let misfit = misfit(ask, slot);
        *totals.entry(kind_of(&misfit)).or_default() += 1;
        if nodes.len() < NODES_NAMED_MAX {
            nodes.push((slot.node.name.clone(), misfit));
        }
    }
    Waiting { task: ask.task.clone(), request: ask.request, reason: in_total(&totals, slots.len()), nodes }
}

/// A misfit without what differs from node to node, as the object of "have".
fn kind_of(misfit: &Misfit) -> String {
    match misfit {
        Misfit::NotReady { state } => state.clone(),
        Misfit::Attribute { attribute, wanted, .. } => {
            format!("not {attribute} = {}", wanted.join(" or "))
        }
        Misfit::Insufficient { what, .. } => format!("short of {what}"),
    }
}

fn in_total(totals: &BTreeMap<String, usize>, nodes: usize) -> String {
    if nodes == 0 {
        return "there is no node".to_owned();
    }
    let mut kinds: Vec<_> = totals.iter().collect();
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let parts: Vec<String> = kinds
        .iter()
        .map(|(kind, count)| format!("{count} {} {kind}", if **count == 1 { "is" } else { "are" }))
        .collect();
    let noun = if nodes == 1 { "node fits" } else { "nodes fit" };
    format!("0 of {nodes} {noun}: {}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;

    use super::*;
    use crate::domain::node::PoolName;
    use crate::domain::quantity::{Bytes, Millicores};
    use crate::domain::workload::WorkloadName;

    fn amount(millicores: u64, mib: u64) -> Resources {
        Resources::new(Millicores::new(millicores), Bytes::mib(mib))
    }

    fn node(name: &str, state: NodeState) -> Node {
        Node {
            name: NodeName::new(name).expect("a name"),
            pool: PoolName::new("small").expect("a name"),
            size: amount(1000, 1000),
            attributes: BTreeMap::from([("disk".to_owned(), "ssd".to_owned())]),
            state,
            reason: String::new(),
            remove_when_empty: false,
            created_at: Timestamp::UNIX_EPOCH,
            state_since: Timestamp::UNIX_EPOCH,
            underused_since: None,
        }
    }

    fn task(number: u64) -> TaskId {
        TaskId::new(WorkloadName::new("web").expect("a name"), number)
    }

    fn chosen(placement: &Placement) -> Vec<String> {
        placement.assignments.iter().map(|(task, node)| format!("{task}@{node}")).collect()
    }

    #[test]
    fn the_fullest_node_that_fits_is_taken() {
        let nodes = [node("a", NodeState::Ready), node("b", NodeState::Ready), node("c", NodeState::Ready)];
        let mut slots = [
            Slot { node: &nodes[0], free: amount(1000, 1000) },
            Slot { node: &nodes[1], free: amount(300, 300) },
            Slot { node: &nodes[2], free: amount(150, 900) },
        ];
        let (first, second, third) = (task(1), task(2), task(3));
        let ask = |task| Ask { task, request: amount(200, 200), constraints: &[] };
        let placement = place(&[ask(&first), ask(&second), ask(&third)], &mut slots);
        assert_eq!(chosen(&placement), ["web.1@b", "web.2@a", "web.3@a"]);
        assert_eq!(slots[0].free, amount(600, 600));
    }

    #[test]
    fn equal_nodes_tie_by_name() {
        let nodes = [node("a", NodeState::Ready), node("b", NodeState::Ready)];
        let mut slots = nodes.each_ref().map(|node| Slot { node, free: node.size });
        let one = task(1);
        let placement = place(&[Ask { task: &one, request: amount(1, 1), constraints: &[] }], &mut slots);
        assert_eq!(chosen(&placement), ["web.1@a"]);
    }

    #[test]
    fn each_node_says_why_it_does_not_fit_and_the_total_counts_them() {
        let nodes =
            [node("a", NodeState::Ready), node("b", NodeState::Draining), node("c", NodeState::Ready)];
        let mut slots = [
            Slot { node: &nodes[0], free: amount(1000, 10) },
            Slot { node: &nodes[1], free: amount(1000, 1000) },
            Slot { node: &nodes[2], free: amount(1000, 20) },
        ];
        let one = task(1);
        let placement = place(&[Ask { task: &one, request: amount(100, 100), constraints: &[] }], &mut slots);
        let waiting = &placement.waiting[0];
        assert_eq!(waiting.reason, "0 of 3 nodes fit: 2 are short of memory, 1 is draining");
        assert_eq!(waiting.nodes[1].1, Misfit::NotReady { state: "draining".to_owned() });
        assert!(waiting.nodes[0].1.to_string().contains("too little memory"));
    }

    #[test]
    fn attributes_and_the_pool_are_conditions() {
        let nodes = [node("a", NodeState::Ready)];
        let mut slots = nodes.each_ref().map(|node| Slot { node, free: node.size });
        let condition = |attribute: &str, value: &str| Constraint {
            attribute: attribute.to_owned(),
            any_of: vec![value.to_owned()],
        };
        let (one, two, three) = (task(1), task(2), task(3));
        let fits = [condition("pool", "small"), condition("disk", "ssd")];
        let (other_pool, no_such) = ([condition("pool", "large")], [condition("gpu", "yes")]);
        let request = amount(1, 1);
        let placement = place(
            &[
                Ask { task: &one, request, constraints: &fits },
                Ask { task: &two, request, constraints: &other_pool },
                Ask { task: &three, request, constraints: &no_such },
            ],
            &mut slots,
        );
        assert_eq!(chosen(&placement), ["web.1@a"]);
        assert_eq!(placement.waiting[0].reason, "0 of 1 node fits: 1 is not pool = large");
        assert_eq!(placement.waiting[1].nodes[0].1.to_string(), "has gpu = nothing, wanted yes");
    }

    #[test]
    fn without_nodes_that_is_the_reason() {
        let one = task(1);
        let placement = place(&[Ask { task: &one, request: amount(1, 1), constraints: &[] }], &mut []);
        assert_eq!(placement.waiting[0].reason, "there is no node");
    }
}
