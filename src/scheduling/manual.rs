//! In: the world and what a person wants done by hand. Out: the changes that it takes, the action among
//! them that records who, why and until when, or why it cannot be done.
//! Not here: declarations (`intent`), how actions end by themselves (`actions`).

use jiff::{SignedDuration, Timestamp};

use crate::domain::action::{Action, ActionEnd, ActionKey, Switch};
use crate::domain::change::Change;
use crate::domain::node::{NodeName, NodeState};
use crate::domain::rollout::{Actor, Rollout, RolloutState, Stage, StageWait};
use crate::domain::scale::ScaleSpec;
use crate::domain::task::{TaskId, TaskState};
use crate::domain::workload::{ServiceSpec, WorkloadKind, WorkloadName, WorkloadSpec};
use crate::domain::world::{Workload, World};
use crate::scheduling::actions::undone;
use crate::scheduling::intent::{Rejection, Worded, find};
use crate::scheduling::stages::rolled_back;

/// Who asks, why and when.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Who.
    pub by: &'a Actor,
    /// Why, in words; may be empty.
    pub message: &'a str,
    /// When.
    pub at: Timestamp,
}

pub(super) type Answer = Result<Vec<Worded>, Rejection>;

pub(super) fn refused<T>(text: String) -> Result<T, Rejection> {
    Err(Rejection::Refused(text))
}

fn find_service<'w>(
    world: &'w World,
    name: &WorkloadName,
    what: &str,
) -> Result<(&'w Workload, &'w ServiceSpec), Rejection> {
    let workload = find(world, name)?;
    match workload.spec.as_service() {
        Some(service) => Ok((workload, service)),
        None => refused(format!("{name} is a {}: only services {what}", workload.spec.kind())),
    }
}

/// How long, for people.
fn for_how_long(lasting: Option<SignedDuration>) -> String {
    lasting.map_or_else(String::new, |lasting| format!(" for {lasting:#}"))
}

impl Asked<'_> {
    pub(super) fn action(
        &self,
        key: ActionKey,
        lasting: Option<SignedDuration>,
    ) -> Result<Action, Rejection> {
        let until = match lasting {
            Some(lasting) if lasting <= SignedDuration::ZERO => {
                return refused("a time to last must be longer than nothing".to_owned());
            }
            Some(lasting) => Some(self.at.checked_add(lasting).unwrap_or(Timestamp::MAX)),
            None => None,
        };
        Ok(Action { until, ..Action::new(key, self.by.clone(), self.message, self.at) })
    }
}

/// Puts an action in force in place of the one on the same subject.
pub(super) fn begin(world: &World, action: Action, words: String) -> Vec<Worded> {
    let mut worded = Vec::new();
    if let Some(before) = world.actions.get(&action.key) {
        let change = Change::ActionEnded { action: action.key.clone(), end: ActionEnd::Superseded };
        worded.push((change, format!("{} ({}) is overtaken", before.key, before.told())));
    }
    worded.push((Change::ActionBegun { action: Box::new(action) }, words));
    worded
}

/// Ends an action because somebody wants it ended, and undoes it.
fn end(world: &World, action: &Action, words: String) -> Vec<Worded> {
    let (workload, node) = match &action.key {
        ActionKey::Scale(name) => (world.workloads.get(name), None),
        ActionKey::Drain(node) => (None, world.nodes.get(node)),
        _ => (None, None),
    };
    let mut worded: Vec<Worded> = undone(action, workload, node).into_iter().collect();
    let change = Change::ActionEnded { action: action.key.clone(), end: ActionEnd::Cancelled };
    worded.push((change, words));
    worded
}

/// Refuses while a kind of change is frozen.
pub(super) fn check_frozen(world: &World, switch: Switch, what: &str) -> Result<(), Rejection> {
    let Some(freeze) = world.frozen(switch) else { return Ok(()) };
    let until = freeze.until.map_or_else(String::new, |until| format!(", until {until:.0}"));
    refused(format!(
        "{what}: the switch `{switch}` is frozen since {:.0}{until}, {}; `loadline unfreeze {switch}` lifts it",
        freeze.at,
        freeze.told()
    ))
}

pub(super) fn scale(
    world: &World,
    name: &WorkloadName,
    count: u32,
    (acknowledged, lasting): (bool, Option<SignedDuration>),
    asked: &Asked<'_>,
) -> Answer {
    let (workload, service) = find_service(world, name, "have a count")?;
    // None at all is always possible: it stops the service until it is given a count again.
    if let Some((min, max)) = service.scale.as_ref().map(ScaleSpec::widest)
        && count != 0
        && !(min..=max).contains(&count)
    {
        return refused(format!("{name} scales between {min} and {max}: change its spec to go beyond"));
    }
    if workload.count == count && lasting.is_none() {
        return Ok(Vec::new());
    }
    if u64::from(count) * 2 < u64::from(workload.count) && !acknowledged {
        return refused(format!(
            "{name} would go from {} to {count} instances, a drop of more than half: say that it is meant \
             (`--ack`, or `acknowledged` in the request)",
            workload.count
        ));
    }
    let key = ActionKey::Scale(name.clone());
    let before = world.actions.get(&key).and_then(|action| action.count_before);
    let action = Action {
        count_before: Some(before.unwrap_or(workload.count)),
        count: Some(count),
        ..asked.action(key, lasting)?
    };
    let words = format!("{name} goes from {} to {count} instances{}", workload.count, for_how_long(lasting));
    let mut worded = begin(world, action, words.clone());
    if workload.count != count {
        worded.push((Change::CountSet { workload: name.clone(), count, decision: None }, words));
    }
    Ok(worded)
}

pub(super) fn bounce(world: &World, name: &WorkloadName, task: Option<&TaskId>, asked: &Asked<'_>) -> Answer {
    let (workload, _) = find_service(world, name, "can be bounced")?;
    let instances = || world.tasks_of(name).filter(|instance| instance.state.is_active());
    let what = match task {
        None => format!("all {} instances of {name} are replaced", instances().count()),
        Some(task) if instances().any(|instance| instance.id == *task) => format!("{task} is replaced"),
        Some(task) => return Err(Rejection::NotFound { what: "instance", name: task.to_string() }),
    };
    let action = Action {
        task: task.cloned(),
        before_task: Some(workload.next_task),
        ..asked.action(ActionKey::Bounce(name.clone()), None)?
    };
    Ok(begin(world, action, what))
}

pub(super) fn pause(
    world: &World,
    name: &WorkloadName,
    lasting: Option<SignedDuration>,
    asked: &Asked<'_>,
) -> Answer {
    let workload = find(world, name)?;
    let effect = match workload.spec.kind() {
        WorkloadKind::Service => "its instances are stopped",
        WorkloadKind::CronJob => "no occurrence of it starts",
        WorkloadKind::Job => "no run of it starts",
    };
    let words = format!("{name} is paused{}: {effect}", for_how_long(lasting));
    Ok(begin(world, asked.action(ActionKey::Pause(name.clone()), lasting)?, words))
}

pub(super) fn resume(world: &World, name: &WorkloadName) -> Answer {
    find(world, name)?;
    match world.paused(name) {
        Some(action) => Ok(end(world, action, format!("{name} is resumed"))),
        None => Ok(Vec::new()),
    }
}

pub(super) fn freeze(
    world: &World,
    switch: Switch,
    lasting: Option<SignedDuration>,
    asked: &Asked<'_>,
) -> Answer {
    let words = format!("`{switch}` is frozen{}", for_how_long(lasting));
    Ok(begin(world, asked.action(ActionKey::Freeze(switch), lasting)?, words))
}

pub(super) fn unfreeze(world: &World, switch: Switch) -> Vec<Worded> {
    let freeze = world.frozen(switch);
    freeze.map(|action| end(world, action, format!("`{switch}` is no longer frozen"))).unwrap_or_default()
}

pub(super) fn cancel(world: &World, key: &ActionKey) -> Answer {
    match world.actions.get(key) {
        Some(action) => Ok(end(world, action, format!("{key} is cancelled"))),
        None => Err(Rejection::NotFound { what: "action in force", name: key.to_string() }),
    }
}

pub(super) fn drain(
    world: &World,
    name: &NodeName,
    lasting: Option<SignedDuration>,
    asked: &Asked<'_>,
) -> Answer {
    let node = world.nodes.get(name);
    let node = node.ok_or_else(|| Rejection::NotFound { what: "node", name: name.to_string() })?;
    let words = format!("node {name} is drained{}", for_how_long(lasting));
    let action = asked.action(ActionKey::Drain(name.clone()), lasting)?;
    match node.state {
        NodeState::Draining if node.remove_when_empty => {
            refused(format!("node {name} is on its way out of its pool"))
        }
        NodeState::Draining if world.actions.contains_key(&action.key) && lasting.is_none() => Ok(Vec::new()),
        NodeState::Draining => Ok(begin(world, action, words)),
        NodeState::Ready => {
            check_frozen(world, Switch::Draining, &format!("node {name} is not drained"))?;
            let reason = format!("drained {}", action.told());
            let mut worded = begin(world, action, words.clone());
            let state = NodeState::Draining;
            let change = Change::NodeMoved { node: name.clone(), state, reason, remove_when_empty: false };
            worded.push((change, words));
            Ok(worded)
        }
        state => refused(format!("node {name} is {state}")),
    }
}

pub(super) fn activate(world: &World, name: &NodeName) -> Answer {
    let node = world.nodes.get(name);
    let node = node.ok_or_else(|| Rejection::NotFound { what: "node", name: name.to_string() })?;
    let words = format!("node {name} takes tasks again");
    match node.state {
        NodeState::Ready => Ok(Vec::new()),
        NodeState::Draining if !node.remove_when_empty => {
            if let Some(action) = world.actions.get(&ActionKey::Drain(name.clone())) {
                return Ok(end(world, action, words));
            }
            let (state, reason) = (NodeState::Ready, "activated by hand".to_owned());
            let change = Change::NodeMoved { node: name.clone(), state, reason, remove_when_empty: false };
            Ok(vec![(change, words)])
        }
        NodeState::Draining => refused(format!("node {name} is on its way out of its pool")),
        state => refused(format!("node {name} is {state}")),
    }
}

/// Stops one task. It goes as one that is asked to, so it is nobody's failure; a service makes another.
pub(super) fn stop_task(world: &World, id: &TaskId, asked: &Asked<'_>) -> Answer {
    let task = world.tasks.get(id).filter(|task| !task.state.is_terminal());
    let task = task.ok_or_else(|| Rejection::NotFound { what: "task that runs", name: id.to_string() })?;
    let state = match (task.state, task.kind) {
        (TaskState::Retiring | TaskState::Stopping, _) => return Ok(Vec::new()),
        (TaskState::Pending, _) => TaskState::Stopped,
        // Out of the front door first.
        (TaskState::Running, WorkloadKind::Service) => TaskState::Retiring,
        _ => TaskState::Stopping,
    };
    let by = if asked.message.is_empty() {
        format!("stopped by {}", asked.by)
    } else {
        format!("stopped by {}: {}", asked.by, asked.message)
    };
    let change = Change::TaskMoved { task: id.clone(), state, reason: by, exit: None };
    Ok(vec![(change, format!("{id} is stopped"))])
}

fn open_rollout<'w>(world: &'w World, name: &WorkloadName) -> Result<(&'w Workload, &'w Rollout), Rejection> {
    let (workload, _) = find_service(world, name, "have rollouts")?;
    match workload.rollout.as_ref().filter(|rollout| rollout.state.is_open()) {
        Some(rollout) => Ok((workload, rollout)),
        None => {
            refused(format!("no rollout of {name} is under way: it is on revision {}", workload.revision))
        }
    }
}

pub(super) fn advance(world: &World, name: &WorkloadName, asked: &Asked<'_>) -> Answer {
    let (_, rollout) = open_rollout(world, name)?;
    check_frozen(world, Switch::Deploys, &format!("the rollout of {name} stands still"))?;
    let Some(stage) = rollout.open_stage().filter(|stage| stage.waits != StageWait::Rest) else {
        return refused(format!("the rollout of {name} waits for nobody: it goes on by itself"));
    };
    if stage.advanced {
        return Ok(Vec::new());
    }
    let words = match stage.waits {
        StageWait::Hold { .. } => format!("the old instances of {name} go"),
        _ => format!("{} of {name} goes on as soon as its instances are ready", rollout.title(stage)),
    };
    let stage = Stage { advanced: true, verdict: Some(format!("let on by {}", asked.by)), ..stage.clone() };
    Ok(vec![(Change::RolloutStaged { workload: name.clone(), stage }, words)])
}

pub(super) fn abort(world: &World, name: &WorkloadName, asked: &Asked<'_>) -> Answer {
    let (_, rollout) = open_rollout(world, name)?;
    let Some(from) = rollout.from else {
        return refused(format!(
            "there is no earlier revision of {name} that was healthy to go back to: apply a better one, or \
             delete it"
        ));
    };
    let message = if asked.message.is_empty() { String::new() } else { format!(": {}", asked.message) };
    let why = format!("aborted by {}{message}", asked.by);
    let words = format!("the rollout of {name} is taken back to revision {from}");
    Ok(vec![(rolled_back(name, rollout, why), words)])
}

/// Goes back to what ran at an earlier revision: program, ports and checks. Counts, scaling, owner and
/// policy are not part of what a rollback is about.
pub(super) fn rollback(world: &World, name: &WorkloadName, to: Option<u64>, asked: &Asked<'_>) -> Answer {
    let (workload, service) = find_service(world, name, "have revisions")?;
    let open = workload.rollout.as_ref().filter(|rollout| rollout.state.is_open());
    if let Some(rollout) = open
        && (to.is_none() || to == rollout.from)
    {
        return abort(world, name, asked);
    }
    let known = || {
        let numbers: Vec<String> =
            workload.revisions.keys().filter(|n| **n != workload.revision).map(u64::to_string).collect();
        if numbers.is_empty() {
            "none other is known".to_owned()
        } else {
            format!("known are {}", numbers.join(", "))
        }
    };
    let Some(number) = to.or_else(|| last_healthy(workload)) else {
        return refused(format!(
            "{name} has no revision before {} that was healthy; {}",
            workload.revision,
            known()
        ));
    };
    if number == workload.revision {
        return refused(format!("{name} is on revision {number} already; {}", known()));
    }
    let Some(WorkloadSpec::Service(earlier)) = workload.revisions.get(&number).map(|revision| &revision.spec)
    else {
        return refused(format!("revision {number} of {name} is not known; {}", known()));
    };
    check_frozen(world, Switch::Deploys, &format!("{name} stays on revision {}", workload.revision))?;
    let spec = WorkloadSpec::Service(Box::new(ServiceSpec {
        template: earlier.template.clone(),
        ports: earlier.ports.clone(),
        checks: earlier.checks.clone(),
        ..service.clone()
    }));
    if !workload.spec.needs_new_revision(&spec) {
        return refused(format!(
            "revision {number} of {name} runs the same as revision {}",
            workload.revision
        ));
    }
    let next = workload.last_revision + 1;
    let words = format!("service {name} gets revision {next}: what ran at revision {number}");
    Ok(vec![(Change::WorkloadApplied { workload: name.clone(), spec }, words)])
}

/// The newest revision before the one in force that a rollout was done to.
fn last_healthy(workload: &Workload) -> Option<u64> {
    let known = workload.revisions.range(..workload.revision).rev();
    let healthy = known.filter(|(_, revision)| revision.healthy).map(|(number, _)| *number).next();
    // Stores of earlier versions know it of the last rollout alone.
    healthy.or_else(|| {
        let done = workload.rollout.as_ref().filter(|rollout| rollout.state == RolloutState::Done)?;
        done.from.filter(|from| *from != workload.revision)
    })
}

/// Why the revision that `spec` would be was taken back, if it is the one that was tried last.
pub(super) fn taken_back<'w>(workload: &'w Workload, spec: &WorkloadSpec) -> Option<(u64, &'w str)> {
    let rollout = workload.rollout.as_ref()?;
    let RolloutState::RolledBack { reason } = &rollout.state else { return None };
    let tried = workload.revisions.get(&rollout.to)?;
    (!tried.spec.needs_new_revision(spec)).then_some((rollout.to, reason.as_str()))
}
