//! Ends actions: those whose time is up are undone by ordinary changes; those that are done, overtaken by
//! a later act or left without a subject just end.
//! Not here: what an action does while it is in force (the phases ask for it), how one begins (`manual`).
//!
//! A count that was set by hand for a while holds: automatic decisions leave it alone until it ends. One
//! that was set without an end is where they go on from, so the next one ends the action.

use crate::domain::action::{Action, ActionEnd, ActionKey};
use crate::domain::change::Change;
use crate::domain::node::{Node, NodeState};
use crate::domain::world::Workload;
use crate::scheduling::view::View;

/// Ends what is over.
pub(super) fn keep(view: &mut View<'_>) {
    let base = &view.world().actions;
    for key in base.keys() {
        let Some(action) = view.action(key).cloned() else { continue };
        let Some((end, reason)) = over(view, &action) else { continue };
        if end == ActionEnd::Expired
            && let Some((change, words)) = undone_in(view, &action)
        {
            view.step(change, format!("{reason}: {words}"));
        }
        view.step(Change::ActionEnded { action: key.clone(), end }, reason);
    }
}

/// Whether an action is over, and why.
fn over(view: &View<'_>, action: &Action) -> Option<(ActionEnd, String)> {
    let superseded = |why: String| Some((ActionEnd::Superseded, why));
    match &action.key {
        ActionKey::Scale(name) | ActionKey::Pause(name) | ActionKey::Bounce(name) => {
            let Some(workload) = view.workload(name).filter(|workload| !workload.deleted) else {
                return superseded(format!("{name} was deleted"));
            };
            if matches!(action.key, ActionKey::Scale(_)) && action.count.is_some_and(|n| n != workload.count)
            {
                return superseded(format!("the count was changed to {} since", workload.count));
            }
            let left = |row: &crate::scheduling::view::Row<'_>| {
                row.task.state.is_active() && action.bounces(&row.task.id)
            };
            if matches!(action.key, ActionKey::Bounce(_)) && !view.rows_of(name).iter().any(left) {
                return Some((ActionEnd::Done, "all that were to be bounced are replaced".to_owned()));
            }
        }
        ActionKey::Drain(node) => match view.node(node).map(|node| node.state) {
            Some(NodeState::Draining) => {}
            Some(NodeState::Ready | NodeState::Joining) => {
                return superseded(format!("{node} takes tasks again"));
            }
            Some(NodeState::Removing | NodeState::Lost) | None => {
                return superseded(format!("{node} is gone"));
            }
        },
        ActionKey::Dismiss(name) | ActionKey::Schedule(name) => {
            let Some(workload) = view.workload(name).filter(|workload| !workload.deleted) else {
                return superseded(format!("{name} was deleted"));
            };
            // Whether the advice is still the same is told by who knows it (`scaling::advice`).
            if action.size.is_some_and(|size| size == workload.size()) {
                return superseded(format!("{name} has got that size"));
            }
        }
        ActionKey::SizePolicy(name) => {
            if view.workload(name).is_none_or(|workload| workload.deleted) {
                return superseded(format!("{name} was deleted"));
            }
        }
        ActionKey::Freeze(_) => {}
    }
    let until = action.until.filter(|until| *until <= view.now)?;
    Some((ActionEnd::Expired, format!("its time was up at {until:.0} ({})", action.told())))
}

fn undone_in(view: &View<'_>, action: &Action) -> Option<(Change, String)> {
    match &action.key {
        ActionKey::Scale(name) => undone(action, view.workload(name), None),
        ActionKey::Drain(node) => undone(action, None, view.node(node)),
        _ => None,
    }
}

/// The change that undoes what an action did; none where ending it is enough.
pub(super) fn undone(
    action: &Action,
    workload: Option<&Workload>,
    node: Option<&Node>,
) -> Option<(Change, String)> {
    match &action.key {
        ActionKey::Scale(name) => {
            let workload = workload?;
            let scale = workload.spec.as_service()?.scale.as_ref();
            let before = action.count_before?;
            let bounds = scale.map_or((0, u32::MAX), crate::domain::scale::ScaleSpec::widest);
            let count = before.clamp(bounds.0, bounds.1);
            let words = format!("{name} goes back from {} to {count} instances", workload.count);
            let change = Change::CountSet { workload: name.clone(), count, decision: None };
            (count != workload.count).then_some((change, words))
        }
        ActionKey::Drain(name) => {
            let node = node.filter(|node| node.state == NodeState::Draining && !node.remove_when_empty)?;
            let (state, reason) = (NodeState::Ready, format!("no longer drained ({})", action.told()));
            let change =
                Change::NodeMoved { node: node.name.clone(), state, reason, remove_when_empty: false };
            Some((change, format!("node {name} takes tasks again")))
        }
        ActionKey::Pause(_)
        | ActionKey::Bounce(_)
        | ActionKey::Freeze(_)
        | ActionKey::Dismiss(_)
        | ActionKey::Schedule(_)
        | ActionKey::SizePolicy(_) => None,
    }
}
