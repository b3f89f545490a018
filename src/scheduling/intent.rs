//! In: the world and what is asked for. Out: the changes that it takes, or why it cannot be done.

use crate::domain::change::Change;
use crate::domain::intent::{Declared, Intent};
use crate::domain::node::{NodeName, NodeState};
use crate::domain::policy::PolicyName;
use crate::domain::workload::{WorkloadKind, WorkloadName, WorkloadSpec};
use crate::domain::world::{RunKey, Workload, World};
use jiff::Timestamp;

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
pub fn changes(world: &World, intent: &Intent, now: Timestamp) -> Result<Vec<Worded>, Rejection> {
    match intent {
        Intent::Apply(declared) => apply(world, declared),
        Intent::Delete(name) => {
            let workload = find(world, name)?;
            Ok(one(
                Change::WorkloadDeleted { workload: name.clone() },
                format!("{} {name} is deleted", workload.spec.kind()),
            ))
        }
        Intent::DeletePolicy(name) => delete_policy(world, name),
        Intent::DeletePool(name) => {
            let pool = world.pools.get(name).filter(|pool| !pool.deleted);
            pool.ok_or(Rejection::NotFound { what: "pool", name: name.to_string() })?;
            Ok(one(Change::PoolDeleted { pool: name.clone() }, format!("pool {name} is drained and deleted")))
        }
        Intent::Scale { workload, count, .. } => scale(world, workload, *count),
        Intent::Resize { workload, size } => {
            let found = find(world, workload)?;
            if found.size() == *size {
                return Ok(Vec::new());
            }
            let change = Change::SizeSet { workload: workload.clone(), size: *size, decision: None };
            Ok(one(change, format!("{workload} gets {size} a task")))
        }
        Intent::Run { workload: name, .. } => {
            let workload = find(world, name)?;
            if workload.spec.kind() == WorkloadKind::Service {
                return Err(Rejection::Refused(format!("{name} is a service: it runs all the time")));
            }
            let key = RunKey { workload: name.clone(), at: now };
            if world.runs.contains_key(&key) {
                return Err(Rejection::Refused(format!(
                    "a run of {name} was asked for at this very instant"
                )));
            }
            Ok(one(Change::RunOpened { run: key, manual: true }, format!("a run of {name} is started")))
        }
        Intent::Drain { node, .. } => drain(world, node),
        Intent::Activate(name) => activate(world, name),
        Intent::DeleteQuota(team) => {
            if !world.quotas.contains_key(team) {
                return Err(Rejection::NotFound { what: "quota", name: team.clone() });
            }
            let change = Change::QuotaDeleted { team: team.clone() };
            Ok(one(change, format!("the quota of team {team} is lifted")))
        }
        Intent::CancelRun(_)
        | Intent::StopTask(_)
        | Intent::AdvanceRollout(_)
        | Intent::AbortRollout(_)
        | Intent::Rollback { .. }
        | Intent::Bounce { .. }
        | Intent::Pause { .. }
        | Intent::Resume(_)
        | Intent::Freeze { .. }
        | Intent::Unfreeze(_)
        | Intent::CancelAction(_) => Err(Rejection::Refused("this cannot be done yet".to_owned())),
    }
}

fn one(change: Change, words: String) -> Vec<Worded> {
    vec![(change, words)]
}

fn find<'a>(world: &'a World, name: &WorkloadName) -> Result<&'a Workload, Rejection> {
    world
        .workloads
        .get(name)
        .filter(|workload| !workload.deleted)
        .ok_or_else(|| Rejection::NotFound { what: "workload", name: name.to_string() })
}

/// Policies and pools come first: workloads may name them.
fn apply(world: &World, declared: &Declared) -> Result<Vec<Worded>, Rejection> {
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
                format!("{} {name} gets revision {}", spec.kind(), present.last_revision + 1)
            } else {
                format!("{} {name} is changed without a new revision", spec.kind())
            };
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

fn scale(world: &World, name: &WorkloadName, count: u32) -> Result<Vec<Worded>, Rejection> {
    let workload = find(world, name)?;
    let Some(service) = workload.spec.as_service() else {
        return Err(Rejection::Refused(format!(
            "{name} is a {}: only services have a count",
            workload.spec.kind()
        )));
    };
    if let Some(scale) = &service.scale
        && !(scale.min..=scale.max).contains(&count)
    {
        return Err(Rejection::Refused(format!(
            "{name} scales between {} and {}: change its spec to go beyond",
            scale.min, scale.max
        )));
    }
    if workload.count == count {
        return Ok(Vec::new());
    }
    let words = format!("{name} goes from {} to {count} instances", workload.count);
    Ok(one(Change::CountSet { workload: name.clone(), count, decision: None }, words))
}

fn drain(world: &World, name: &NodeName) -> Result<Vec<Worded>, Rejection> {
    let node = world.nodes.get(name);
    let node = node.ok_or_else(|| Rejection::NotFound { what: "node", name: name.to_string() })?;
    match node.state {
        NodeState::Draining => Ok(Vec::new()),
        NodeState::Ready => Ok(one(
            Change::NodeMoved {
                node: name.clone(),
                state: NodeState::Draining,
                reason: "drained by hand".to_owned(),
                remove_when_empty: false,
            },
            format!("node {name} is drained"),
        )),
        state => Err(Rejection::Refused(format!("node {name} is {state}"))),
    }
}

fn activate(world: &World, name: &NodeName) -> Result<Vec<Worded>, Rejection> {
    let node = world.nodes.get(name);
    let node = node.ok_or_else(|| Rejection::NotFound { what: "node", name: name.to_string() })?;
    match node.state {
        NodeState::Ready => Ok(Vec::new()),
        NodeState::Draining if !node.remove_when_empty => Ok(one(
            Change::NodeMoved {
                node: name.clone(),
                state: NodeState::Ready,
                reason: "activated by hand".to_owned(),
                remove_when_empty: false,
            },
            format!("node {name} takes tasks again"),
        )),
        NodeState::Draining => Err(Rejection::Refused(format!("node {name} is on its way out of its pool"))),
        state => Err(Rejection::Refused(format!("node {name} is {state}"))),
    }
}
