//! What is asked of runs: one now, one less, and what runs come after what.
//! In: the world and what is asked for. Out: the changes that it takes, or why it cannot be done.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use crate::domain::change::Change;
use crate::domain::intent::{Declared, RunOverrides};
use crate::domain::quantity::Bytes;
use crate::domain::task::TaskState;
use crate::domain::workload::{WorkloadName, WorkloadSpec};
use crate::domain::world::{RunKey, RunOrder, RunOutcome, Workload, World};
use crate::scheduling::cron;
use crate::scheduling::intent::{Rejection, Worded};
use crate::scheduling::launching::RESERVED_PREFIX;

/// How far a run by hand is kept from an occurrence.
const BESIDE_AN_OCCURRENCE: SignedDuration = SignedDuration::from_micros(1);

/// One run now.
pub(super) fn run(
    world: &World,
    workload: &Workload,
    overrides: &RunOverrides,
    now: Timestamp,
) -> Result<Vec<Worded>, Rejection> {
    let name = &workload.name;
    let refused = |text: String| Err(Rejection::Refused(text));
    if workload.spec.run_policy().is_none() {
        return refused(format!("{name} is a service: it runs all the time"));
    }
    if world.paused(name).is_some() {
        return refused(format!("{name} is paused: resume it first"));
    }
    let valid = |variable: &String| {
        !variable.is_empty()
            && !variable.starts_with(|c: char| c.is_ascii_digit())
            && variable.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !variable.starts_with(RESERVED_PREFIX)
    };
    if let Some(bad) = overrides.env.keys().find(|variable| !valid(variable)) {
        return refused(format!(
            "`{bad}` cannot be set: a variable has letters, digits and underscores, and does not begin with \
             {RESERVED_PREFIX}"
        ));
    }
    if overrides.size.is_some_and(|size| size.request.memory == Bytes::ZERO) {
        return refused("a run needs some memory".to_owned());
    }
    // Occurrences are on whole seconds: a run that is asked for on one must not take their place.
    let on_a_second = workload.spec.as_cron().is_some() && now.subsec_nanosecond() == 0;
    let at = if on_a_second { now + BESIDE_AN_OCCURRENCE } else { now };
    let key = RunKey { workload: name.clone(), at };
    if world.runs.contains_key(&key) {
        return refused(format!("a run of {name} was asked for at this very instant"));
    }
    let order = Box::new(RunOrder { overrides: overrides.clone(), ..RunOrder::default() });
    let words = format!("a run of {name} is started{}", described(overrides));
    Ok(vec![(Change::RunOpened { run: key, manual: true, order }, words)])
}

/// What is other than the spec says, without any value.
fn described(overrides: &RunOverrides) -> String {
    let mut parts = Vec::new();
    if let Some(args) = &overrides.args {
        parts.push(format!("{} arguments", args.len()));
    }
    if !overrides.env.is_empty() {
        parts.push(overrides.env.keys().map(String::as_str).collect::<Vec<_>>().join(", "));
    }
    parts.extend(overrides.size.map(|size| size.to_string()));
    if parts.is_empty() { String::new() } else { format!(" with {}", parts.join("; ")) }
}

/// Closes a run as cancelled and stops its tasks.
pub(super) fn cancel(world: &World, key: &RunKey) -> Result<Vec<Worded>, Rejection> {
    let run = world.runs.get(key);
    let run = run.ok_or_else(|| Rejection::NotFound {
        what: "run",
        name: format!("{} of {}", key.workload, key.at),
    })?;
    if run.outcome.is_final() {
        let text = format!("the run of {} at {} has {}", key.workload, key.at, run.outcome.as_str());
        return Err(Rejection::Refused(text));
    }
    let words = format!("the run of {} at {} is cancelled", key.workload, key.at);
    let reason = "cancelled by hand".to_owned();
    let outcome = RunOutcome::Cancelled { reason: reason.clone() };
    let mut worded = vec![(Change::RunClosed { run: key.clone(), outcome }, words)];
    let own = world.tasks_of(&key.workload).filter(|task| task.run().as_ref() == Some(key));
    for task in own.filter(|task| task.state < TaskState::Stopping) {
        let state = if task.state == TaskState::Pending { TaskState::Stopped } else { TaskState::Stopping };
        let change = Change::TaskMoved { task: task.id.clone(), state, reason: reason.clone(), exit: None };
        worded.push((change, format!("{} is stopped", task.id)));
    }
    Ok(worded)
}

/// Records the occurrences that are due and that no plan has looked at, before their schedule goes.
pub(super) fn settled(world: &World, name: &WorkloadName, now: Timestamp, why: &str) -> Vec<Worded> {
    let steps = cron::settle(world, name, now, why);
    steps.into_iter().map(|step| (step.change, step.reason)).collect()
}

/// Whether a new declaration changes when a cron job is due.
pub(super) fn is_rescheduled(present: &WorkloadSpec, next: &WorkloadSpec) -> bool {
    match (present.as_cron(), next.as_cron()) {
        (Some(present), Some(next)) => present.schedule != next.schedule,
        _ => false,
    }
}

/// What comes after what must exist, have runs, and not come after itself.
pub(super) fn check_after(world: &World, declared: &Declared) -> Result<(), Rejection> {
    let mut specs: BTreeMap<&WorkloadName, &WorkloadSpec> = world
        .workloads
        .values()
        .filter(|workload| !workload.deleted)
        .map(|workload| (&workload.name, &workload.spec))
        .collect();
    specs.extend(&declared.workloads);
    let after =
        |name: &WorkloadName| specs.get(name).and_then(|spec| spec.run_policy()).map(|policy| &policy.after);
    for name in declared.workloads.keys() {
        for upstream in after(name).into_iter().flatten() {
            let refused =
                |why: String| Err(Rejection::Refused(format!("{name} comes after {upstream}, {why}")));
            match specs.get(upstream) {
                None => {
                    return refused(
                        "which does not exist: declare it as well, or correct `after`".to_owned(),
                    );
                }
                Some(WorkloadSpec::Service(_)) => {
                    return refused("which is a service and never ends: name a job or a cron job".to_owned());
                }
                Some(_) => {}
            }
        }
        // Everything that it comes after, directly or not.
        let mut seen = BTreeSet::new();
        let mut next: Vec<(&WorkloadName, String)> = vec![(name, name.to_string())];
        while let Some((at, path)) = next.pop() {
            for upstream in after(at).into_iter().flatten() {
                let path = format!("{path} after {upstream}");
                if upstream == name {
                    return Err(Rejection::Refused(format!("{name} would wait for itself: {path}")));
                }
                if seen.insert(upstream) {
                    next.push((upstream, path));
                }
            }
        }
    }
    Ok(())
}

/// A workload that others come after stays.
pub(super) fn check_not_awaited(world: &World, name: &WorkloadName) -> Result<(), Rejection> {
    let dependent = world.workloads.values().find(|other| {
        !other.deleted && other.spec.run_policy().is_some_and(|policy| policy.after.contains(name))
    });
    match dependent {
        Some(other) => Err(Rejection::Refused(format!(
            "{} comes after {name}: change its `after` or delete it first",
            other.name
        ))),
        None => Ok(()),
    }
}
