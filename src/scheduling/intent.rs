//! In: the world and what is asked for. Out: the changes that it takes, or why it cannot be done.

use crate::domain::action::Switch;
use crate::domain::change::Change;
use crate::domain::intent::{Declared, Intent};
use crate::domain::policy::PolicyName;
use crate::domain::workload::{WorkloadName, WorkloadSpec};
use crate::domain::world::{Workload, World};
use crate::scheduling::advice;
use crate::scheduling::intent_runs;
use crate::scheduling::manual;
use jiff::Timestamp;

pub use crate::scheduling::manual::Asked;

/// Why an intent cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// It does not exist.
    #[error("there is no {what} named `{name}`")]
    NotFound {
        /// `workload`, `service`, `node`, `pool`, `policy` or `quota`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// It cannot be done as things stand.
    #[error("{0}")]
    Refused(String),
}

/// One change with what it means in words.
pub type Worded = (Change, String);

/// The changes that `intent` takes. None where everything is so already.
pub fn changes(world: &World, intent: &Intent, asked: &Asked<'_>) -> Result<Vec<Worded>, Rejection> {
    let now = asked.at;
    match intent {
        Intent::Apply(declared) => apply(world, declared, now),
        Intent::Delete(name) => {
            let workload = find(world, name)?;
            intent_runs::check_not_awaited(world, name)?;
            let mut worded =
                intent_runs::settled(world, name, now, "its workload was deleted before it could start");
            let words = format!("{} {name} is deleted", workload.spec.kind());
            worded.push((Change::WorkloadDeleted { workload: name.clone() }, words));
            Ok(worded)
        }
        Intent::DeletePolicy(name) => delete_policy(world, name),
        Intent::DeletePool(name) => {
            let pool = world.pools.get(name).filter(|pool| !pool.deleted);
            pool.ok_or(Rejection::NotFound { what: "pool", name: name.to_string() })?;
            Ok(one(Change::PoolDeleted { pool: name.clone() }, format!("pool {name} is drained and deleted")))
        }
        Intent::Scale { workload, count, acknowledged, lasting } => {
            manual::scale(world, workload, *count, (*acknowledged, *lasting), asked)
        }
        Intent::Resize { workload, size } => {
            let found = find(world, workload)?;
            if found.size() == *size {
                return Ok(Vec::new());
            }
            let change = Change::SizeSet { workload: workload.clone(), size: *size, decision: None };
            Ok(one(change, format!("{workload} gets {size} a task")))
        }
        Intent::Run { workload, overrides } => {
            intent_runs::run(world, find(world, workload)?, overrides, now)
        }
        Intent::Drain { node, lasting } => manual::drain(world, node, *lasting, asked),
        Intent::Activate(name) => manual::activate(world, name),
        Intent::StopTask(task) => manual::stop_task(world, task, asked),
        Intent::AdvanceRollout(name) => manual::advance(world, name, asked),
        Intent::AbortRollout(name) => manual::abort(world, name, asked),
        Intent::Rollback { workload, to } => manual::rollback(world, workload, *to, asked),
        Intent::Bounce { workload, task } => manual::bounce(world, workload, task.as_ref(), asked),
        Intent::Pause { workload, lasting } => manual::pause(world, workload, *lasting, asked),
        Intent::Resume(name) => manual::resume(world, name),
        Intent::Freeze { switch, lasting } => manual::freeze(world, *switch, *lasting, asked),
        Intent::Unfreeze(switch) => Ok(manual::unfreeze(world, *switch)),
        Intent::CancelAction(key) => manual::cancel(world, key),
        Intent::DeleteQuota(team) => {
            if !world.quotas.contains_key(team) {
                return Err(Rejection::NotFound { what: "quota", name: team.clone() });
            }
            let change = Change::QuotaDeleted { team: team.clone() };
            Ok(one(change, format!("the quota of team {team} is lifted")))
        }
        Intent::SetSizePolicy(policy) => {
            if world.size_policy.as_ref().is_some_and(|choice| choice.policy == *policy) {
                return Ok(Vec::new());
            }
            let change = Change::SizePolicySet { policy: policy.clone() };
            Ok(one(change, format!("sizes come from policy {policy} from now on")))
        }
        Intent::SetSizePolicyOf { workload, policy, lasting } => {
            advice::size_policy(world, workload, policy, *lasting, asked)
        }
        Intent::CancelRun(key) => intent_runs::cancel(world, key),
        Intent::DismissAdvice { workload, size, lasting } => {
            advice::dismiss(world, workload, *size, *lasting, asked)
        }
        Intent::ScheduleAdvice { workload, size, at } => advice::schedule(world, workload, *size, *at, asked),
    }
}

fn one(change: Change, words: String) -> Vec<Worded> {
    vec![(change, words)]
}

pub(super) fn find<'a>(world: &'a World, name: &WorkloadName) -> Result<&'a Workload, Rejection> {
    world
        .workloads
        .get(name)
        .filter(|workload| !workload.deleted)
        .ok_or_else(|| Rejection::NotFound { what: "workload", name: name.to_string() })
}

/// Policies and pools come first: workloads may name them.
fn apply(world: &World, declared: &Declared, now: Timestamp) -> Result<Vec<Worded>, Rejection> {
    intent_runs::check_after(world, declared)?;
    let mut worded = Vec::new();
    for (name, rules) in &declared.policies {
        if world.policies.get(name) != Some(rules) {
            let change = Change::PolicyApplied { policy: name.clone(), rules: rules.clone() };
            worded.push((change, format!("policy {name} is set")));
        }
    }
    for (name, spec) in &declared.pools {
        if world.pools.get(name).is_none_or(|pool| pool.deleted || pool.spec != *spec) {
            let change = Change::PoolApplied { pool: name.clone(), spec: spec.clone() };
            worded.push((
                change,
                format!("pool {name} is set: {} to {} nodes of {}", spec.min, spec.max, spec.size),
            ));
        }
    }
    for (team, quota) in &declared.quotas {
        if world.quotas.get(team) != Some(quota) {
            let change = Change::QuotaApplied { team: team.clone(), quota: *quota };
            worded.push((change, format!("the quota of team {team} is set")));
        }
    }
    for (name, spec) in &declared.workloads {
        policy_exists(world, declared, name, spec)?;
        let Some(present) = world.workloads.get(name) else {
            manual::check_frozen(world, Switch::Deploys, &format!("{name} is not created"))?;
            worded.push((applied(name, spec), format!("{} {name} is created", spec.kind())));
            continue;
        };
        if present.deleted {
            let text = format!("{name} is still being deleted: apply it again when its tasks are gone");
            return Err(Rejection::Refused(text));
        }
        if present.spec.kind() != spec.kind() {
            let text =
                format!("{name} is a {}: delete it before it becomes a {}", present.spec.kind(), spec.kind());
            return Err(Rejection::Refused(text));
        }
        if present.spec != *spec {
            let words = if present.spec.needs_new_revision(spec) {
                let stays = format!("{name} stays on revision {}", present.revision);
                manual::check_frozen(world, Switch::Deploys, &stays)?;
                let words = format!("{} {name} gets revision {}", spec.kind(), present.last_revision + 1);
                match manual::taken_back(present, spec) {
                    // Tried again rather than refused: what failed may have been something else, and a
                    // trial costs no capacity. But nobody should do it without knowing.
                    Some((number, why)) => {
                        format!("{words}: revision {number} once more, which was taken back: {why}")
                    }
                    None => words,
                }
            } else {
                format!("{} {name} is changed without a new revision", spec.kind())
            };
            if intent_runs::is_rescheduled(&present.spec, spec) {
                let why = "its schedule was changed before it could start";
                worded.extend(intent_runs::settled(world, name, now, why));
            }
            worded.push((applied(name, spec), words));
        }
    }
    Ok(worded)
}

fn applied(name: &WorkloadName, spec: &WorkloadSpec) -> Change {
    Change::WorkloadApplied { workload: name.clone(), spec: spec.clone() }
}

fn policy_exists(
    world: &World,
    declared: &Declared,
    name: &WorkloadName,
    spec: &WorkloadSpec,
) -> Result<(), Rejection> {
    match spec.policy() {
        Some(policy) if !world.policies.contains_key(policy) && !declared.policies.contains_key(policy) => {
            Err(Rejection::Refused(format!("{name} names policy `{policy}`, which does not exist")))
        }
        _ => Ok(()),
    }
}

fn delete_policy(world: &World, name: &PolicyName) -> Result<Vec<Worded>, Rejection> {
    if !world.policies.contains_key(name) {
        return Err(Rejection::NotFound { what: "policy", name: name.to_string() });
    }
    if let Some(user) = world.workloads.values().find(|w| !w.deleted && w.spec.policy() == Some(name)) {
        return Err(Rejection::Refused(format!("policy {name} is in use by {}", user.name)));
    }
    Ok(one(Change::PolicyDeleted { policy: name.clone() }, format!("policy {name} is deleted")))
}
