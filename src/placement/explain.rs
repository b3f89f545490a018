//! Why a task found no node: for each node the first thing that is wrong with it, and in total.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::node::NodeState;
use crate::domain::plan::{Misfit, WaitKind, Waiting};
use crate::domain::quantity::Millicores;
use crate::placement::board::Board;
use crate::placement::fit::{Ask, admits};
use crate::placement::rules::{Rules, rules};

/// The reason of a task that waits names at most this many nodes one by one; the totals cover all.
pub const NODES_NAMED_MAX: usize = 100;

pub(super) fn explain(board: &Board<'_>, ask: &Ask<'_>) -> Waiting {
    let rules = rules(board, ask, 0);
    let mut totals: BTreeMap<String, usize> = BTreeMap::new();
    let mut nodes = Vec::new();
    let mut kind = None;
    for (at, slot) in board.slots.iter().enumerate() {
        let misfit = misfit(board, &rules, ask, at);
        // The node that comes nearest to taking it tells what it waits for.
        kind = kind.max(Some(kind_of(&misfit)));
        *totals.entry(misfit.in_total()).or_default() += 1;
        if nodes.len() < NODES_NAMED_MAX {
            nodes.push((slot.node.name.clone(), misfit));
        }
    }
    Waiting {
        task: ask.task.clone(),
        request: ask.request,
        kind: kind.unwrap_or(WaitKind::Node),
        reason: in_total(&totals, board.slots.len()),
        nodes: Arc::new(nodes),
        narrowed: Arc::new(rules.narrowed()),
    }
}

/// Kinds are in the order in which nodes are checked.
fn kind_of(misfit: &Misfit) -> WaitKind {
    match misfit {
        Misfit::NotReady { .. } => WaitKind::Node,
        Misfit::Attribute { .. } => WaitKind::Attributes,
        Misfit::Reserved { .. } => WaitKind::Reserved,
        Misfit::Apart(_) | Misfit::Near(_) => WaitKind::Neighbours,
        Misfit::Skewed { .. } => WaitKind::Spread,
        Misfit::Crowded => WaitKind::Crowded,
        Misfit::Insufficient { .. } => WaitKind::Room,
    }
}

fn misfit(board: &Board<'_>, rules: &Rules<'_>, ask: &Ask<'_>, at: usize) -> Misfit {
    let slot = board.slot(at);
    let node = slot.node;
    let place = admits(Some(ask.placement), ask.owner(), &node.pool, &node.attributes, slot.reserved_for);
    if let Err(misfit) = place {
        return misfit;
    }
    if node.state != NodeState::Ready {
        return Misfit::NotReady { state: node.state.to_string() };
    }
    if let Some(misfit) = rules.broken(board, at as u32) {
        return misfit;
    }
    if slot.crowded && ask.request.fits(slot.free) {
        return Misfit::Crowded;
    }
    let what = match (ask.request.cpu <= slot.free.cpu, ask.request.memory <= slot.free.memory) {
        (false, false) => "cpu and memory",
        (false, true) => "cpu",
        (true, _) => "memory",
    };
    let by_requests = (slot.lent > Millicores::ZERO).then(|| slot.free.cpu.saturating_sub(slot.lent));
    Misfit::Insufficient { free: slot.free, what: what.to_owned(), by_requests }
}

fn in_total(totals: &BTreeMap<String, usize>, nodes: usize) -> String {
    if nodes == 0 {
        return "there is no node".to_owned();
    }
    let mut kinds: Vec<_> = totals.iter().collect();
    kinds.sort_by_key(|(_, count)| Reverse(**count));
    let parts: Vec<String> = kinds
        .iter()
        .map(|(kind, count)| format!("{count} {} {kind}", if **count == 1 { "is" } else { "are" }))
        .collect();
    let noun = if nodes == 1 { "node fits" } else { "nodes fit" };
    format!("0 of {nodes} {noun}: {}", parts.join(", "))
}
