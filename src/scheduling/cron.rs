//! Which occurrences of a cron job are due, and what becomes of each: a run, a skip or a miss.
//!
//! The cursor of a cron job stands at the last occurrence that is accounted for; each plan accounts for
//! all up to now and moves it. After a time without an engine only the newest occurrence can still
//! start, if its deadline allows; the others are recorded as missed. Catching up on all of them is what
//! users of other schedulers fear most.

use jiff::Timestamp;

use crate::domain::change::Change;
use crate::domain::cron::CronSchedule;
use crate::domain::workload::{CronJobSpec, OverlapPolicy, WorkloadName};
use crate::domain::world::{RunKey, RunOutcome};
use crate::scheduling::runs;
use crate::scheduling::view::View;

/// At most this many occurrences are recorded one by one in one plan, the newest; that there were more
/// is said in the reason of the step that moves the cursor.
pub const OCCURRENCES_RECORDED_MAX: usize = 100;

/// Accounts for the occurrences that have become due.
pub(super) fn keep(view: &mut View<'_>, name: &WorkloadName) {
    let Some(workload) = view.workload(name).filter(|workload| !workload.deleted) else { return };
    let (Some(spec), Some(cursor)) = (workload.spec.as_cron(), workload.cron_cursor) else { return };
    let (due, more) = due(&spec.schedule, cursor, view.now);
    let Some((newest, missed)) = due.split_last() else { return };
    let spec = spec.clone();
    for at in missed {
        let reason = format!("it was not looked at in time; the occurrence of {newest} came meanwhile");
        miss(view, RunKey { workload: name.clone(), at: *at }, reason);
    }
    start(view, RunKey { workload: name.clone(), at: *newest }, &spec);
    let reason = if more {
        format!(
            "occurrences between {cursor} and {newest} were missed; the newest {} are recorded one by one",
            due.len()
        )
    } else {
        format!("the occurrence of {newest} is accounted for")
    };
    view.step(Change::CronAdvanced { workload: name.clone(), to: *newest }, reason);
}

/// The newest occurrences after `after` up to `now`, and whether there were more before them.
fn due(schedule: &CronSchedule, after: Timestamp, now: Timestamp) -> (Vec<Timestamp>, bool) {
    let mut from = after;
    loop {
        let mut found = Vec::new();
        let mut at = from;
        while let Some(next) = schedule.next_after(at).filter(|next| *next <= now && *next > at) {
            found.push(next);
            at = next;
            if found.len() > OCCURRENCES_RECORDED_MAX {
                break;
            }
        }
        if found.len() <= OCCURRENCES_RECORDED_MAX {
            return (found, from != after);
        }
        // Too many to name: the newer half of the time holds the newest of them.
        from += now.duration_since(from) / 2;
    }
}

fn miss(view: &mut View<'_>, run: RunKey, reason: String) {
    view.step(Change::RunOpened { run: run.clone(), manual: false }, format!("due at {}", run.at));
    let outcome = RunOutcome::Missed { reason: reason.clone() };
    view.step(Change::RunClosed { run, outcome }, reason);
}

fn start(view: &mut View<'_>, run: RunKey, spec: &CronJobSpec) {
    let late = view.now.duration_since(run.at);
    if late > spec.start_deadline {
        let limit = spec.start_deadline;
        return miss(view, run, format!("it is {late:#} late, and may start at most {limit:#} late"));
    }
    let active: Vec<RunKey> = view
        .runs_of(&run.workload)
        .into_iter()
        .filter(|other| !other.outcome.is_final())
        .map(|other| other.key.clone())
        .collect();
    view.step(Change::RunOpened { run: run.clone(), manual: false }, format!("due at {}", run.at));
    match (spec.overlap, active.first()) {
        (OverlapPolicy::Forbid, Some(other)) => {
            let reason = format!("the run of {} still goes on", other.at);
            view.step(Change::RunClosed { run, outcome: RunOutcome::SkippedOverlap }, reason);
        }
        (OverlapPolicy::Replace, Some(_)) => {
            for other in active {
                runs::cancel(view, other, &format!("replaced by the run of {}", run.at));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn occurrences_up_to_now_are_due_once() {
        let schedule: CronSchedule = "*/10 * * * *".parse().expect("a schedule");
        let (found, more) = due(&schedule, at("2026-01-01T00:00:00Z"), at("2026-01-01T00:20:00Z"));
        assert_eq!(found, [at("2026-01-01T00:10:00Z"), at("2026-01-01T00:20:00Z")]);
        assert!(!more);
        assert_eq!(due(&schedule, found[1], at("2026-01-01T00:20:00Z")).0, []);
    }

    #[test]
    fn of_too_many_the_newest_are_named() {
        let schedule: CronSchedule = "*/20 * * * * *".parse().expect("a schedule");
        let (found, more) = due(&schedule, at("2025-01-01T00:00:00Z"), at("2026-01-01T00:00:05Z"));
        assert!(more && !found.is_empty() && found.len() <= OCCURRENCES_RECORDED_MAX);
        assert_eq!(found.last(), Some(&at("2026-01-01T00:00:00Z")));
    }
}
