//! How long a task that failed is kept from starting again, and when failures have become a crash loop.
//!
//! The wait doubles with each failure in a row, from `backoff` up to `backoff_max`; a share of it is
//! taken off at random, so that instances that failed together do not come back together. The wait is
//! never longer than the policy says. Chance is a hash of the task's id: plans repeat exactly.

use jiff::{SignedDuration, Timestamp};

use crate::domain::change::Change;
use crate::domain::reducer::chance;
use crate::domain::task::{Task, TaskId, TaskState};
use crate::domain::workload::{RestartPolicy, WorkloadName};
use crate::domain::world::RestartState;
use crate::scheduling::stages;
use crate::scheduling::view::View;

/// This many failures in a row are called a crash loop. The waits grow as before; status says so.
pub const CRASH_LOOP_FAILURES: u32 = 5;

/// Doubling more often than this overflows any wait that makes sense.
const DOUBLINGS_MAX: u32 = 30;

/// The wait before a task that comes after `failures` failures in a row (1 for the first).
pub fn wait(policy: &RestartPolicy, failures: u32, task: &TaskId) -> SignedDuration {
    let doublings = failures.saturating_sub(1).min(DOUBLINGS_MAX);
    let full = policy
        .backoff
        .checked_mul(1 << doublings)
        .unwrap_or(policy.backoff_max)
        .min(policy.backoff_max)
        .max(SignedDuration::ZERO);
    let share = 1.0 - policy.jitter.get() * chance(&task.to_string());
    // Whole milliseconds, so that reasons read well.
    SignedDuration::from_millis((full.as_secs_f64() * 1000.0 * share) as i64)
}

/// The state after a task failed.
///
/// Instances that fail together are one failure: only a task that was made after the last failure, so
/// one that was tried because of it, makes the row longer. A task that had lived for `reset_after`
/// begins a new row.
fn after_failure(state: &RestartState, policy: &RestartPolicy, task: &Task, now: Timestamp) -> RestartState {
    let same_wave = state.last_failure.is_some_and(|last| task.created_at < last);
    let lived = task.started_at.is_some_and(|start| now.duration_since(start) >= policy.reset_after);
    let failures = match (same_wave, lived) {
        (true, _) => state.failures.max(1),
        (false, true) => 1,
        (false, false) => state.failures.saturating_add(1),
    };
    let until = now.checked_add(wait(policy, failures, &task.id)).unwrap_or(now);
    RestartState {
        failures,
        last_failure: if same_wave { state.last_failure } else { Some(now) },
        not_before: state.not_before.max(Some(until)),
        crash_loop: failures >= CRASH_LOOP_FAILURES,
    }
}

/// Whether a task made since the last failure has lived long enough for the failures to be forgotten.
fn is_over(state: &RestartState, policy: &RestartPolicy, task: &Task, now: Timestamp) -> bool {
    state.last_failure.is_some_and(|last| task.created_at >= last)
        && task.ready_at.is_some_and(|ready| now.duration_since(ready) >= policy.reset_after)
}

/// Forgets the failures of a service once one of its tasks has lived.
pub(super) fn forgive(view: &mut View<'_>, name: &WorkloadName) {
    let Some(workload) = view.workload(name).filter(|workload| workload.restart.failures > 0) else {
        return;
    };
    let Some(service) = workload.spec.as_service() else { return };
    let policy = &service.restart;
    let lived = view
        .rows_of(name)
        .iter()
        .find(|row| {
            row.task.state == TaskState::Running && is_over(&workload.restart, policy, row.task, view.now)
        })
        .map(|row| {
            format!("{} has lived for {:#}: earlier failures are forgotten", row.task.id, policy.reset_after)
        });
    if let Some(reason) = lived {
        let restart = RestartState::default();
        view.step(Change::RestartNoted { workload: name.clone(), restart }, reason);
    }
}

/// Counts the failure of an instance of the revision in force, and says what follows from it.
pub(super) fn count_failure(view: &mut View<'_>, id: &TaskId, reason: &str) {
    let Some(workload) = view.workload(id.workload()).filter(|workload| !workload.deleted) else { return };
    let (Some(service), Some(task)) = (workload.spec.as_service(), view.task(id)) else { return };
    if task.revision != workload.revision && !stages::keeps(view, workload, task.revision) {
        return;
    }
    let restart = after_failure(&workload.restart, &service.restart, task, view.now);
    let waits = restart.not_before.map_or(SignedDuration::ZERO, |until| until.duration_since(view.now));
    let words = if restart.crash_loop {
        format!(
            "crash loop: {} failures in a row, the last one {id} ({reason}); the next try is in {waits:#}",
            restart.failures
        )
    } else {
        format!("{id} failed ({reason}): failure {}, the next try is in {waits:#}", restart.failures)
    };
    view.step(Change::RestartNoted { workload: id.workload().clone(), restart }, words);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::quantity::Share;

    fn policy(jitter: f64) -> RestartPolicy {
        RestartPolicy {
            backoff: SignedDuration::from_secs(1),
            backoff_max: SignedDuration::from_secs(10),
            jitter: Share::new(jitter),
            reset_after: SignedDuration::from_secs(60),
        }
    }

    fn id(number: u64) -> TaskId {
        TaskId::new(WorkloadName::new("web").expect("a name"), number)
    }

    #[test]
    fn the_wait_doubles_up_to_its_maximum() {
        let waits: Vec<i64> =
            [1, 2, 3, 4, 5, 90].map(|failures| wait(&policy(0.0), failures, &id(1)).as_secs()).into();
        assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
    }

    #[test]
    fn jitter_spreads_below_the_wait_and_repeats() {
        let waits: Vec<SignedDuration> = (0..200).map(|number| wait(&policy(0.5), 3, &id(number))).collect();
        let (least, most) = (waits.iter().min().expect("waits"), waits.iter().max().expect("waits"));
        assert!(*least >= SignedDuration::from_secs(2) && *most <= SignedDuration::from_secs(4));
        assert!(*most - *least > SignedDuration::from_millis(1800), "{least} to {most}");
        assert_eq!(wait(&policy(0.5), 3, &id(7)), waits[7]);
    }
}
