//! How runs and the schedules that they come from follow a change.

use jiff::Timestamp;

use crate::domain::change::{Change, RecordedChange};
use crate::domain::reducer::RUNS_KEPT;
use crate::domain::task::Task;
use crate::domain::workload::{CronJobSpec, WorkloadName};
use crate::domain::world::{EntityKey, NextRun, Run, RunKey, RunOutcome, Workload, World};

/// Durations of runs that are remembered, to tell when a later one takes too long.
pub const DURATIONS_KEPT: usize = 20;

impl World {
    pub(super) fn follow_run(
        &mut self,
        recorded: &RecordedChange,
        touched: &mut Vec<EntityKey>,
    ) -> Option<()> {
        match &recorded.change {
            Change::RunOpened { run, manual, order } => {
                let workload = self.workloads.get(&run.workload).filter(|workload| !workload.deleted)?;
                let count = workload.spec.run_policy()?.count;
                if self.runs.contains_key(run) {
                    return None;
                }
                let opened = Run::opened(run.clone(), *manual, (**order).clone(), count);
                self.runs.insert(run.clone(), opened);
            }
            Change::RunPartDone { run, index } => {
                let row = self.runs.get_mut(run).filter(|row| !row.outcome.is_final())?;
                row.parts.entry(*index).or_default().done = true;
            }
            Change::RunClosed { run, outcome } => self.close_run(run, outcome, recorded.at, touched)?,
            _ => return None,
        }
        Some(())
    }

    fn close_run(
        &mut self,
        key: &RunKey,
        outcome: &RunOutcome,
        at: Timestamp,
        touched: &mut Vec<EntityKey>,
    ) -> Option<()> {
        let row = self.runs.get_mut(key).filter(|row| !row.outcome.is_final())?;
        row.outcome = outcome.clone();
        row.ended_at = outcome.is_final().then_some(at);
        let took = row.started_at.map(|started| at.duration_since(started));
        let as_written = row.order.overrides.is_empty();
        if let (RunOutcome::Succeeded, Some(workload)) = (outcome, self.workloads.get_mut(&key.workload)) {
            let jobs = &mut workload.jobs;
            jobs.last_success = jobs.last_success.max(Some(at));
            jobs.took.extend(took.filter(|took| as_written && !took.is_negative()));
            let surplus = jobs.took.len().saturating_sub(DURATIONS_KEPT);
            jobs.took.drain(..surplus);
        }
        if let (RunOutcome::Missed { .. }, Some(workload)) = (outcome, self.workloads.get_mut(&key.workload))
        {
            workload.jobs.missed_since = workload.jobs.missed_since.or(Some(key.at));
        }
        let finals = self.runs_of(&key.workload).filter(|row| row.outcome.is_final());
        let finals: Vec<RunKey> = finals.map(|row| row.key.clone()).collect();
        let surplus = finals.len().saturating_sub(RUNS_KEPT);
        for old in finals.into_iter().take(surplus) {
            self.runs.remove(&old);
            touched.push(EntityKey::Run(old));
        }
        Some(())
    }
}

impl Run {
    pub(super) fn note_try(&mut self, task: &Task) {
        let mut part = self.part(task.index());
        part.tries += 1;
        self.parts.insert(task.index(), part);
        self.tasks.push(task.id.clone());
    }

    /// The newest try of one of its tasks has to make room: it does not count.
    pub(super) fn note_preempted(&mut self, index: u32) {
        let mut part = self.part(index);
        part.preempted += 1;
        self.parts.insert(index, part);
    }
}

impl Workload {
    /// Looks up the next occurrence after those that are accounted for.
    pub(super) fn look_ahead(&mut self) {
        self.jobs.next = match (self.spec.as_cron(), self.cron_cursor) {
            (Some(cron), Some(cursor)) => next_run(&self.name, cron, cursor),
            _ => NextRun::Unknown,
        };
    }
}

/// The first occurrence of a cron job after an instant.
pub fn next_run(name: &WorkloadName, cron: &CronJobSpec, after: Timestamp) -> NextRun {
    let mut following = cron.schedule.after(after);
    let Some(planned) = following.next() else { return NextRun::Finished };
    if cron.jitter.is_zero() {
        return NextRun::At { planned, due: planned };
    }
    NextRun::At { planned, due: due(name, cron, planned, following.next()) }
}

/// When an occurrence is to start: as planned, or up to the job's jitter later, and before the `next` one.
pub fn due(
    name: &WorkloadName,
    cron: &CronJobSpec,
    planned: Timestamp,
    next: Option<Timestamp>,
) -> Timestamp {
    let room = next.map_or(cron.jitter, |next| cron.jitter.min(next.duration_since(planned)));
    // The hash is under 1, so the result is under the room.
    let late = room.as_millis() as f64 * chance(&format!("{name} {planned}"));
    planned.checked_add(jiff::SignedDuration::from_millis(late as i64)).unwrap_or(planned)
}

/// From 0 up to 1, by the FNV-1a hash of a text with the finalizer of splitmix64: near texts differ in
/// all bits. The standard library's hash is not promised to stay the same.
pub fn chance(text: &str) -> f64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^= hash >> 31;
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}
