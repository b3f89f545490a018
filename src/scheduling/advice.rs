//! In: the world and what a person makes of an advised size: not wanted, wanted later, or wanted from another policy. Out:
//! the action that records it. Not here: whether the advice still stands, and its application (`scaling::advice`).

use jiff::{SignedDuration, Timestamp};

use crate::domain::action::{Action, ActionEnd, ActionKey, Due};
use crate::domain::change::Change;
use crate::domain::quantity::TaskSize;
use crate::domain::workload::WorkloadName;
use crate::domain::world::World;
use crate::scheduling::intent::{Worded, find};
use crate::scheduling::manual::{Answer, Asked, begin, refused};

/// Advice that was dismissed is shown again after this time where nothing else is said.
const DISMISSED_FOR: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Advice is scheduled at most so far ahead: it will be another one by then.
const AHEAD_MAX: SignedDuration = SignedDuration::from_hours(90 * 24);

pub(super) fn dismiss(
    world: &World,
    name: &WorkloadName,
    size: TaskSize,
    lasting: Option<SignedDuration>,
    asked: &Asked<'_>,
) -> Answer {
    find(world, name)?;
    let key = ActionKey::Dismiss(name.clone());
    let action = Action { size: Some(size), ..asked.action(key, Some(lasting.unwrap_or(DISMISSED_FOR)))? };
    let until = action.until.map(|until| format!(" until {until:.0}")).unwrap_or_default();
    let words = format!("the advice of {size} for {name} is dismissed{until}");
    let mut worded = overtaken(world, ActionKey::Schedule(name.clone()));
    worded.extend(begin(world, action, words));
    Ok(worded)
}

pub(super) fn schedule(
    world: &World,
    name: &WorkloadName,
    size: TaskSize,
    at: Option<Timestamp>,
    asked: &Asked<'_>,
) -> Answer {
    let workload = find(world, name)?;
    let (due, when) = match at {
        Some(at) if at <= asked.at => {
            return refused(format!("{at:.0} is past: apply the advice now instead"));
        }
        Some(at) if at.duration_since(asked.at) > AHEAD_MAX => {
            return refused(format!(
                "{at:.0} is more than {AHEAD_MAX:#} ahead: the advice will be another one by then"
            ));
        }
        Some(at) => (Due::At(at), format!("at {at:.0}")),
        None if workload.spec.as_service().is_none() => {
            return refused(format!("{name} is a {}: only services have rollouts", workload.spec.kind()));
        }
        None => (Due::Rollout { after: workload.last_revision }, "with its next rollout".to_owned()),
    };
    let key = ActionKey::Schedule(name.clone());
    let action = Action { size: Some(size), due: Some(due), ..asked.action(key, None)? };
    let mut worded = overtaken(world, ActionKey::Dismiss(name.clone()));
    worded.extend(begin(world, action, format!("{name} gets {size} a task {when}")));
    Ok(worded)
}

/// Sizes of one workload from a policy of its own. That there is such a policy is checked by who knows them all.
pub(super) fn size_policy(
    world: &World,
    name: &WorkloadName,
    policy: &str,
    lasting: Option<SignedDuration>,
    asked: &Asked<'_>,
) -> Answer {
    let workload = find(world, name)?;
    if workload.spec.run_policy().is_some() {
        return refused(format!(
            "{name} is a {}: the sizes of runs come from what they peak at, whatever the policy",
            workload.spec.kind()
        ));
    }
    let key = ActionKey::SizePolicy(name.clone());
    let present = world.actions.get(&key);
    if lasting.is_none()
        && present.is_some_and(|action| action.policy.as_deref() == Some(policy) && action.until.is_none())
    {
        return Ok(Vec::new());
    }
    let action = Action { policy: Some(policy.to_owned()), ..asked.action(key, lasting)? };
    let until = action.until.map(|until| format!(", until {until:.0}")).unwrap_or_default();
    Ok(begin(world, action, format!("sizes of {name} come from policy {policy} from now on{until}")))
}

/// Ends what the new word contradicts.
fn overtaken(world: &World, key: ActionKey) -> Vec<Worded> {
    let Some(before) = world.actions.get(&key) else { return Vec::new() };
    let words = format!("{key} ({}) is overtaken", before.told());
    vec![(Change::ActionEnded { action: key, end: ActionEnd::Superseded }, words)]
}
