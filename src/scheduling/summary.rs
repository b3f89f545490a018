//! How a workload stands, in numbers and words for people and for scaling.

use jiff::Timestamp;

use crate::domain::observation::Observed;
use crate::domain::quantity::{Resources, TaskSize};
use crate::domain::rollout::RolloutState;
use crate::domain::task::TaskState;
use crate::domain::workload::WorkloadName;
use crate::domain::world::{RunOutcome, Workload, World};
use crate::scheduling::tasks::is_ready;

/// How a workload stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Instances wanted (services); 0 for jobs and cron jobs.
    pub wanted: u32,
    /// Instances that take requests now, or tasks of runs whose process runs.
    pub ready: u32,
    /// Active tasks of the revision in force.
    pub current: u32,
    /// Tasks without a node, those that wait out a backoff included.
    pub pending: u32,
    /// Tasks on their way: launching or starting.
    pub starting: u32,
    /// Tasks on their way out: retiring or stopping.
    pub leaving: u32,
    /// What the tasks have reserved on nodes, together.
    pub reserved: Resources,
    /// The size that a new task gets.
    pub size: TaskSize,
    /// Runs that are active (jobs and cron jobs).
    pub runs_active: u32,
    /// The next planned occurrence after the last one accounted for (cron jobs).
    pub next_run: Option<Timestamp>,
    /// The most important thing about it, in words.
    pub status: String,
}

/// How a workload stands; nothing for one that does not exist.
pub fn summary(world: &World, observed: &Observed, name: &WorkloadName) -> Option<Summary> {
    let workload = world.workloads.get(name)?;
    let mut summary = Summary {
        wanted: if workload.deleted { 0 } else { workload.count },
        ready: 0,
        current: 0,
        pending: 0,
        starting: 0,
        leaving: 0,
        reserved: Resources::ZERO,
        size: workload.size(),
        runs_active: 0,
        next_run: None,
        status: String::new(),
    };
    for task in world.tasks_of(name) {
        match task.state {
            TaskState::Pending => summary.pending += 1,
            TaskState::Launching | TaskState::Starting => summary.starting += 1,
            TaskState::Retiring | TaskState::Stopping => summary.leaving += 1,
            _ => {}
        }
        summary.ready += u32::from(is_ready(task, observed.tasks.get(&task.id)));
        summary.current += u32::from(task.state.is_active() && task.revision == workload.revision);
        if task.state.holds_resources() {
            summary.reserved += task.size.request;
        }
    }
    summary.runs_active = world.runs_of(name).filter(|run| !run.outcome.is_final()).count() as u32;
    if let (Some(cron), Some(cursor), false) =
        (workload.spec.as_cron(), workload.cron_cursor, workload.deleted)
    {
        summary.next_run = cron.schedule.next_after(cursor);
    }
    summary.status = status(world, workload, &summary);
    Some(summary)
}

fn status(world: &World, workload: &Workload, summary: &Summary) -> String {
    if workload.deleted {
        return "is being removed".to_owned();
    }
    if workload.spec.as_service().is_none() {
        return run_status(world, workload, summary);
    }
    if workload.restart.crash_loop {
        return format!("crash loop: {} failures in a row", workload.restart.failures);
    }
    let count = format!("{} of {} ready", summary.ready, summary.wanted);
    match workload.rollout.as_ref().map(|rollout| (&rollout.state, rollout.to)) {
        Some((RolloutState::InProgress, to)) => format!("{count}, rolling out revision {to}"),
        Some((RolloutState::Failing { reason }, to)) => format!("{count}, revision {to} fails: {reason}"),
        Some((RolloutState::RolledBack { reason }, to)) => {
            format!("{count}, revision {to} was rolled back: {reason}")
        }
        _ => count,
    }
}

fn run_status(world: &World, workload: &Workload, summary: &Summary) -> String {
    if summary.runs_active > 0 {
        return format!("{} running", summary.runs_active);
    }
    match world.runs_of(&workload.name).last() {
        None => "has not run yet".to_owned(),
        Some(run) => match &run.outcome {
            RunOutcome::Failed { reason }
            | RunOutcome::Missed { reason }
            | RunOutcome::Cancelled { reason } => format!("last run {}: {reason}", run.outcome.as_str()),
            outcome => format!("last run {}", outcome.as_str()),
        },
    }
}
