//! Why a run that is open may not begin yet: it has its turn later, or what it comes after has not
//! succeeded.

use jiff::Timestamp;

use crate::domain::action::ActionKey;
use crate::domain::change::Change;
use crate::domain::workload::{OverlapPolicy, WorkloadName, WorkloadSpec};
use crate::domain::world::{Run, RunCause, RunKey, RunOrder, Workload};
use crate::scheduling::view::View;

/// Why a run waits.
pub(super) enum Held {
    /// Until something else has ended; however long that takes.
    ForTurn(String),
    /// Until something else has succeeded; a planned run waits up to its start deadline.
    ForSuccess(String),
}

impl Held {
    pub(super) fn words(&self) -> &str {
        match self {
            Self::ForTurn(words) | Self::ForSuccess(words) => words,
        }
    }
}

/// What a run that has not begun waits for, if for anything.
pub(super) fn held(view: &View<'_>, workload: &Workload, run: &Run) -> Option<Held> {
    let name = &workload.name;
    if view.action(&ActionKey::Pause(name.clone())).is_some() {
        return Some(Held::ForTurn("its workload is paused".to_owned()));
    }
    let active = view.active_runs_of(name);
    if let Some(bound) = workload.spec.run_policy().and_then(|policy| policy.concurrency) {
        let going = active.iter().filter(|other| !other.waits()).count();
        if going >= bound as usize {
            return Some(Held::ForTurn(format!("{going} runs go on, at most {bound} at once")));
        }
    }
    let cron = workload.spec.as_cron().filter(|_| !run.manual)?;
    let in_line = run.order.cause == RunCause::CatchUp && cron.overlap != OverlapPolicy::Allow;
    let before = active.iter().find(|other| other.key < run.key);
    if let Some(before) = before.filter(|_| in_line || cron.overlap == OverlapPolicy::Queue) {
        return Some(Held::ForTurn(format!("the run of {} comes first", before.key.at)));
    }
    // Where runs replace each other, a new one waits until nothing of the old one runs any more.
    let busy = cron.overlap == OverlapPolicy::Replace
        && view
            .rows_of(name)
            .iter()
            .any(|row| !row.task.state.is_terminal() && row.task.run().is_some_and(|other| other < run.key));
    if busy {
        return Some(Held::ForTurn("the run that it replaces has not ended yet".to_owned()));
    }
    lacking(view, workload).map(Held::ForSuccess)
}

/// Which of the workloads that this one comes after has not succeeded since its last run.
fn lacking(view: &View<'_>, workload: &Workload) -> Option<String> {
    let after = &workload.spec.run_policy()?.after;
    let since = since(workload);
    let upstream = after.iter().find(|name| {
        let success = view.workload(name).and_then(|upstream| upstream.jobs.last_success);
        success <= since
    })?;
    let words = match since {
        Some(since) => format!("{upstream} has not succeeded since {since}"),
        None => format!("{upstream} has not succeeded"),
    };
    let last = view.runs_of(upstream).into_iter().rev().find(|run| run.outcome.is_final());
    Some(match last {
        Some(run) => format!("{words}; its last run {}", run.outcome.as_str()),
        None => words,
    })
}

/// Successes count from the last run on; before the first one, from when the workload was declared.
fn since(workload: &Workload) -> Option<Timestamp> {
    workload.jobs.last_begun.or_else(|| workload.revisions.values().map(|revision| revision.at).min())
}

/// Opens a run of a job that comes after others, once each of them has succeeded since its last run.
pub(super) fn follow_upstream(view: &mut View<'_>, name: &WorkloadName) {
    let Some(workload) = view.workload(name).filter(|workload| !workload.deleted) else { return };
    let WorkloadSpec::Job(job) = &workload.spec else { return };
    let paused = view.action(&ActionKey::Pause(name.clone())).is_some();
    if job.run.after.is_empty() || paused || !view.active_runs_of(name).is_empty() {
        return;
    }
    if lacking(view, workload).is_some() {
        return;
    }
    let names: Vec<&str> = job.run.after.iter().map(WorkloadName::as_str).collect();
    let reason = format!("{} succeeded", names.join(", "));
    let order = Box::new(RunOrder { cause: RunCause::Upstream, ..RunOrder::default() });
    let run = RunKey { workload: name.clone(), at: view.now };
    view.step(Change::RunOpened { run, manual: false, order }, reason);
}
