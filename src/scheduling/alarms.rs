//! Runs that a person should look at: those that take much longer than the ones before them, and those
//! that did not start in time.
//!
//! How long a run usually takes is learned from the newest runs that succeeded as the spec says: with
//! median m and median absolute deviation d, a run is overdue after the longest of 2 m, m + 6 d and
//! m + 30 s. The median is not moved by a few odd runs, as a mean would be.

use jiff::{SignedDuration, Timestamp};

use crate::domain::plan::Alarm;
use crate::domain::task::TaskState;
use crate::domain::world::{Run, Workload};
use crate::scheduling::held::held;
use crate::scheduling::view::View;

/// So many runs must have succeeded before one is called overdue.
pub const DURATIONS_NEEDED: usize = 5;

/// A run without a start deadline of its own should have begun within this.
const START_EXPECTED: SignedDuration = SignedDuration::from_mins(5);
const SLACK: SignedDuration = SignedDuration::from_secs(30);
const KIND: &str = "overdue run";

/// Alarms about runs, by workload.
pub(super) fn raise(view: &View<'_>) -> Vec<Alarm> {
    let mut alarms = Vec::new();
    for run in view.active_runs() {
        let Some(workload) = view.workload(&run.key.workload).filter(|workload| !workload.deleted) else {
            continue;
        };
        let found = if begun(view, run) {
            too_long(workload, run, view.now)
        } else {
            not_started(view, workload, run)
        };
        alarms.extend(found.map(|(message, since)| alarm(workload, message, since)));
    }
    for name in view.workloads_that(|workload| workload.jobs.missed_since.is_some()) {
        let Some(workload) = view.workload(&name).filter(|workload| !workload.deleted) else { continue };
        if let Some(since) = workload.jobs.missed_since {
            let message = format!("the occurrence of {since} did not start in time, and none has since then");
            alarms.push(alarm(workload, message, since));
        }
    }
    alarms
}

fn alarm(workload: &Workload, message: String, since: Timestamp) -> Alarm {
    Alarm { kind: KIND.to_owned(), workload: Some(workload.name.clone()), message, since }
}

/// Whether a task of it has had a process.
fn begun(view: &View<'_>, run: &Run) -> bool {
    let waits = |id| {
        view.task(id).is_some_and(|task| matches!(task.state, TaskState::Pending | TaskState::Launching))
    };
    !run.tasks.iter().all(waits)
}

fn not_started(view: &View<'_>, workload: &Workload, run: &Run) -> Option<(String, Timestamp)> {
    let allowed = workload.spec.as_cron().filter(|_| !run.manual).map(|cron| cron.start_deadline);
    let allowed = allowed.unwrap_or(START_EXPECTED).max(START_EXPECTED);
    let since = run.key.at.checked_add(allowed).ok().filter(|since| *since < view.now)?;
    let why = match run.waits().then(|| held(view, workload, run)).flatten() {
        Some(held) => held.words().to_owned(),
        None => "it waits for room on a node, or for its agent".to_owned(),
    };
    Some((format!("the run of {} has not started: {why}", run.key.at), since))
}

fn too_long(workload: &Workload, run: &Run, now: Timestamp) -> Option<(String, Timestamp)> {
    let started = run.started_at?;
    let (median, limit) = usual(&workload.jobs.took)?;
    let since = started.checked_add(limit).ok().filter(|since| *since < now)?;
    let runs = workload.jobs.took.len();
    let words = format!(
        "the run of {} has gone on for {:#}; the last {runs} took {median:#} (median), overdue from {limit:#}",
        run.key.at,
        whole(now.duration_since(started)),
    );
    Some((words, since))
}

/// The usual duration of runs, and the one from which a run is overdue; none where too few are known.
fn usual(took: &[SignedDuration]) -> Option<(SignedDuration, SignedDuration)> {
    if took.len() < DURATIONS_NEEDED {
        return None;
    }
    let middle = median(took.to_vec())?;
    let spread = median(took.iter().map(|one| (*one - middle).abs()).collect())?;
    let limit = middle
        .checked_mul(2)?
        .max(middle.checked_add(spread.checked_mul(6)?)?)
        .max(middle.checked_add(SLACK)?);
    Some((whole(middle), whole(limit)))
}

/// The lower one of two middles.
fn median(mut durations: Vec<SignedDuration>) -> Option<SignedDuration> {
    durations.sort();
    durations.get(durations.len().saturating_sub(1) / 2).copied()
}

fn whole(duration: SignedDuration) -> SignedDuration {
    SignedDuration::from_secs(duration.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(all: &[i64]) -> Vec<SignedDuration> {
        all.iter().map(|one| SignedDuration::from_secs(*one)).collect()
    }

    #[test]
    fn what_is_usual_is_not_moved_by_odd_runs() {
        assert_eq!(usual(&seconds(&[60, 60, 60, 60])), None, "too few");
        let limit = |all: &[i64]| usual(&seconds(all)).expect("enough").1.as_secs();
        assert_eq!(limit(&[5, 5, 5, 5, 5]), 35, "short runs have some slack");
        assert_eq!(limit(&[100, 101, 99, 100, 5000]), 200, "one odd run");
        assert_eq!(limit(&[100, 140, 60, 120, 80]), 220, "they differ much: six times 20 more");
    }
}
