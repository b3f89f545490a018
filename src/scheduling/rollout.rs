//! Whether a rollout goes well: progress, failures, deadline, and the way back. Frozen deploys stop the
//! clock of the deadline; failures still take a rollout back.
//! Not here: how instances are replaced (`services`); a rollout only says which revision they should be of.

use crate::domain::action::Switch;
use crate::domain::change::Change;
use crate::domain::plan::Step;
use crate::domain::rollout::{Rollout, RolloutState, StageWait};
use crate::domain::workload::WorkloadName;
use crate::domain::world::Workload;
use crate::scheduling::services::counts;
use crate::scheduling::tasks::is_ready;
use crate::scheduling::view::View;

/// Notes progress and failures, and takes back a revision that does not become healthy.
pub(super) fn judge(view: &mut View<'_>, name: &WorkloadName) {
    if let Some(step) = verdict(view, name) {
        view.take(vec![step]);
    }
}

/// Ends the rollout once every instance is of the new revision and ready.
pub(super) fn finish(view: &mut View<'_>, name: &WorkloadName) {
    if let Some(step) = completion(view, name) {
        view.take(vec![step]);
    }
}

fn open<'v>(view: &'v View<'_>, name: &WorkloadName) -> Option<(&'v Workload, &'v Rollout)> {
    let workload = view.workload(name).filter(|workload| !workload.deleted)?;
    let rollout = workload.rollout.as_ref().filter(|rollout| rollout.state.is_open())?;
    Some((workload, rollout))
}

fn verdict(view: &View<'_>, name: &WorkloadName) -> Option<Step> {
    let (workload, rollout) = open(view, name)?;
    let spec = &workload.spec.as_service()?.rollout;
    let rows = view.rows_of(name);
    let newest_ready = rows
        .iter()
        .filter(|row| row.task.revision == rollout.to && row.task.state.is_active())
        .filter_map(|row| row.task.ready_at)
        .max();
    let progressed_at = newest_ready.map_or(rollout.progressed_at, |ready| ready.max(rollout.progressed_at));
    let failed = || view.ended_of(name).iter().filter(|ended| ended.failed && ended.revision == rollout.to);
    let failures = rollout.failures.saturating_add(failed().count() as u32);
    // The clock runs for an instance that is being waited for, not for an engine that was away between
    // two instances; once one has failed it runs on while others are tried.
    let awaited = rows
        .iter()
        .filter(|row| row.task.revision == rollout.to && row.task.state.is_active())
        .filter(|row| !is_ready(row.task, row.seen))
        .map(|row| row.task.created_at)
        .min();
    // A step begins anew with its instances: the one before it may have been watched for long.
    let begun = rollout.open_stage().map_or(progressed_at, |stage| stage.since.max(progressed_at));
    let since = match awaited {
        _ if view.frozen(Switch::Deploys) => view.now,
        Some(created) if failures == 0 => begun.max(created),
        Some(_) => begun,
        None => view.now,
    };
    let idle = view.now.duration_since(since);
    let trouble = if failures > 0 && failures >= spec.max_failures {
        let last = failed()
            .next_back()
            .map_or_else(String::new, |ended| format!(", the last one {}: {}", ended.task, ended.reason));
        let noun = if failures == 1 { "task" } else { "tasks" };
        Some(format!("{failures} {noun} of revision {} failed{last}", rollout.to))
    } else if idle >= spec.deadline {
        Some(format!("no instance of revision {} became ready for {idle:#}", rollout.to))
    } else {
        None
    };
    let (state, reason) = match (trouble, rollout.from) {
        (Some(why), Some(from)) => {
            let words = format!("{why}; back to revision {from}");
            (RolloutState::RolledBack { reason: why }, words)
        }
        (Some(why), None) if rollout.state == RolloutState::InProgress => {
            let words = format!("{why}; there is no earlier revision to go back to, so it is tried on");
            (RolloutState::Failing { reason: why }, words)
        }
        (_, _) if failures != rollout.failures => {
            (rollout.state.clone(), format!("{failures} failures of revision {} so far", rollout.to))
        }
        (_, _) if progressed_at != rollout.progressed_at => {
            (rollout.state.clone(), format!("an instance of revision {} became ready", rollout.to))
        }
        _ => return None,
    };
    Some(Step {
        change: Change::RolloutMoved { workload: name.clone(), state, failures, progressed_at },
        reason,
    })
}

fn completion(view: &View<'_>, name: &WorkloadName) -> Option<Step> {
    let (workload, rollout) = open(view, name)?;
    let accepted = rollout.open_stage().is_none_or(|stage| stage.waits == StageWait::Rest);
    if !accepted && workload.count > 0 {
        return None;
    }
    let mut ready = 0;
    for row in view.rows_of(name).into_iter().filter(|row| row.task.state.is_active()) {
        if row.task.revision != rollout.to {
            return None;
        }
        ready += u32::from(counts(view, workload, row));
    }
    (ready >= workload.count).then(|| Step {
        change: Change::RolloutMoved {
            workload: name.clone(),
            state: RolloutState::Done,
            failures: rollout.failures,
            progressed_at: rollout.progressed_at,
        },
        reason: format!("all {ready} instances are of revision {} and ready", rollout.to),
    })
}
