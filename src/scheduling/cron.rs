//! Which occurrences of a cron job are due, and what becomes of each: a run, a skip or a miss.
//!
//! The cursor of a cron job stands at the last occurrence that is accounted for; each plan accounts for
//! all up to now and moves it, so that each gets one record whatever happens in between. The cursor never
//! goes back: a clock that is set back repeats nothing.
//!
//! The newest occurrence that is due starts if it is not later than the start deadline. What is older, or
//! later, was not looked at in time; the job's catch-up policy says what becomes of it. `docs/cron.md` has
//! the rules as tables.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

use crate::domain::action::{Action, ActionKey, Switch};
use crate::domain::change::Change;
use crate::domain::plan::Step;
use crate::domain::reducer::due;
use crate::domain::workload::{CatchUpPolicy, CronJobSpec, OverlapPolicy, WorkloadName};
use crate::domain::world::{NextRun, RunCause, RunKey, RunOrder, RunOutcome, World};
use crate::scheduling::runs;
use crate::scheduling::view::View;

/// At most this many occurrences are recorded one by one in one plan, the newest; one record more says
/// how many there were before them.
pub const OCCURRENCES_RECORDED_MAX: usize = 100;

/// Occurrences are counted up to this many: a day of one each second, and some.
const COUNTED_MAX: u64 = 100_000;

/// Occurrences that have become due.
#[derive(Debug, Default, PartialEq)]
struct Due {
    /// The newest ones, oldest first.
    newest: VecDeque<Timestamp>,
    /// Those before them, where there are more than are recorded one by one.
    earlier: Option<Earlier>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Earlier {
    first: Timestamp,
    last: Timestamp,
    count: u64,
    /// There were more than that.
    more: bool,
}

/// Accounts for the occurrences that have become due.
pub(super) fn keep(view: &mut View<'_>, name: &WorkloadName) {
    let Some(workload) = view.workload(name).filter(|workload| !workload.deleted) else { return };
    let (Some(spec), Some(cursor)) = (workload.spec.as_cron(), workload.cron_cursor) else { return };
    match workload.jobs.next {
        NextRun::Finished => return,
        NextRun::At { due, .. } if due > view.now => return,
        NextRun::At { .. } | NextRun::Unknown => {}
    }
    let found = due_between(name, spec, cursor, view.now);
    let Some(newest) = found.newest.back().copied() else { return };
    let spec = spec.clone();
    // A run whose last task has just been seen to end goes on no more.
    runs::keep(view, name);
    let stopped =
        view.action(&ActionKey::Pause(name.clone())).map(|pause| why_not(pause, "the job is paused"));
    let stopped = stopped.or_else(|| {
        view.action(&ActionKey::Freeze(Switch::Cron)).map(|freeze| why_not(freeze, "cron is frozen"))
    });
    if let Some(reason) = stopped {
        let steps = record(name, &found, |reason| RunOutcome::Skipped { reason }, &reason);
        view.take(steps);
    } else {
        start_due(view, name, &spec, found, newest);
    }
    let reason = format!("the occurrences up to {newest} are accounted for");
    view.step(Change::CronAdvanced { workload: name.clone(), to: newest }, reason);
}

fn why_not(action: &Action, what: &str) -> String {
    let by = format!("{what} by {} since {}", action.by, action.at);
    if action.message.is_empty() { by } else { format!("{by}: {}", action.message) }
}

/// Records what was due up to now and can no longer start, because its schedule goes: for intents.
pub(super) fn settle(world: &World, name: &WorkloadName, now: Timestamp, reason: &str) -> Vec<Step> {
    let Some(workload) = world.workloads.get(name) else { return Vec::new() };
    let (Some(spec), Some(cursor)) = (workload.spec.as_cron(), workload.cron_cursor) else {
        return Vec::new();
    };
    // What was planned up to now counts, though jitter may have put its start off.
    let planned = CronJobSpec { jitter: SignedDuration::ZERO, ..spec.clone() };
    let found = due_between(name, &planned, cursor, now);
    record(name, &found, |reason| RunOutcome::Missed { reason }, reason)
}

/// One record for each occurrence, all with the same outcome.
fn record(
    name: &WorkloadName,
    found: &Due,
    outcome: impl Fn(String) -> RunOutcome,
    reason: &str,
) -> Vec<Step> {
    let mut steps = Vec::new();
    if let Some(earlier) = found.earlier {
        steps.extend(summary(name, earlier, &outcome, reason));
    }
    for at in &found.newest {
        steps.extend(closed(name, *at, RunOrder::default(), outcome(reason.to_owned())));
    }
    steps
}

/// One record for all that are too many to be recorded one by one.
fn summary(
    name: &WorkloadName,
    earlier: Earlier,
    outcome: impl Fn(String) -> RunOutcome,
    reason: &str,
) -> [Step; 2] {
    let Earlier { first, last, count, more } = earlier;
    let about = if more { "more than " } else { "" };
    let words = format!("{about}{count} occurrences from {first} to {last}: {reason}");
    closed(name, first, RunOrder { occurrences: count, ..RunOrder::default() }, outcome(words))
}

fn closed(name: &WorkloadName, at: Timestamp, order: RunOrder, outcome: RunOutcome) -> [Step; 2] {
    let run = RunKey { workload: name.clone(), at };
    let reason = match &outcome {
        RunOutcome::Missed { reason } | RunOutcome::Skipped { reason } => reason.clone(),
        other => other.as_str().to_owned(),
    };
    let opened = Change::RunOpened { run: run.clone(), manual: false, order: Box::new(order) };
    [
        Step { change: opened, reason: format!("due at {at}") },
        Step { change: Change::RunClosed { run, outcome }, reason },
    ]
}

/// Occurrences after `after` whose time has come.
fn due_between(name: &WorkloadName, spec: &CronJobSpec, after: Timestamp, now: Timestamp) -> Due {
    let mut found = Due::default();
    let mut counted = 0;
    let mut times = spec.schedule.after(after).peekable();
    while let Some(at) = times.next_if(|at| *at <= now) {
        let later = !spec.jitter.is_zero() && due(name, spec, at, times.peek().copied()) > now;
        if later {
            break;
        }
        found.push(at);
        counted += 1;
        if counted > COUNTED_MAX {
            found.skip_to_newest(spec, at, now);
            break;
        }
    }
    found
}

impl Due {
    fn push(&mut self, at: Timestamp) {
        self.newest.push_back(at);
        if self.newest.len() > OCCURRENCES_RECORDED_MAX
            && let Some(old) = self.newest.pop_front()
        {
            let earlier =
                self.earlier.get_or_insert(Earlier { first: old, last: old, count: 0, more: false });
            earlier.last = old;
            earlier.count += 1;
        }
    }

    /// Too many to count: the newer half of the time holds the newest of them.
    fn skip_to_newest(&mut self, spec: &CronJobSpec, after: Timestamp, now: Timestamp) {
        let mut from = after;
        loop {
            let times = spec.schedule.after(from).take_while(|at| *at <= now);
            let some: Vec<Timestamp> = times.take(OCCURRENCES_RECORDED_MAX + 1).collect();
            if some.len() <= OCCURRENCES_RECORDED_MAX {
                for at in some {
                    self.push(at);
                }
                break;
            }
            from += now.duration_since(from) / 2;
        }
        if let Some(earlier) = &mut self.earlier {
            earlier.more = true;
        }
    }
}

/// Starts what the policies let start, and records the rest as missed.
fn start_due(view: &mut View<'_>, name: &WorkloadName, spec: &CronJobSpec, found: Due, newest: Timestamp) {
    let now = view.now;
    let late = |at: Timestamp| {
        let starts =
            if spec.jitter.is_zero() { at } else { due(name, spec, at, spec.schedule.next_after(at)) };
        now.duration_since(starts)
    };
    let in_time = late(newest) <= spec.start_deadline;
    let catch_up = spec.catch_up;
    let mut old: Vec<Timestamp> = found.newest.into_iter().filter(|at| !in_time || *at != newest).collect();
    let wanted = match catch_up.policy {
        CatchUpPolicy::Skip => 0,
        CatchUpPolicy::Once => usize::from(!in_time),
        CatchUpPolicy::All => catch_up.max as usize,
    };
    let mut caught = old.split_off(old.len().saturating_sub(wanted));
    let young = caught.iter().position(|at| late(*at) <= catch_up.deadline).unwrap_or(caught.len());
    old.extend(caught.drain(..young));
    let words = |at: Timestamp| missed_words(spec, at, newest, late(at));
    if let Some(earlier) = found.earlier {
        let reason = words(earlier.last);
        view.take(summary(name, earlier, |reason| RunOutcome::Missed { reason }, &reason).into());
    }
    for at in old {
        let outcome = RunOutcome::Missed { reason: words(at) };
        view.take(closed(name, at, RunOrder::default(), outcome).into());
    }
    // What is caught up on stands in line, and so does the newest one behind it.
    let in_line = catch_up.policy == CatchUpPolicy::All && !caught.is_empty();
    for at in caught {
        open(view, name, spec, at, RunCause::CatchUp, in_line);
    }
    if in_time {
        let cause = if in_line { RunCause::CatchUp } else { RunCause::Due };
        open(view, name, spec, newest, cause, in_line);
    }
}

fn missed_words(spec: &CronJobSpec, at: Timestamp, newest: Timestamp, late: SignedDuration) -> String {
    let CatchUpPolicy::Skip = spec.catch_up.policy else {
        let deadline = spec.catch_up.deadline;
        if late > deadline {
            return format!("it is {late:#} late, and may be caught up on at most {deadline:#} late");
        }
        return match spec.catch_up.policy {
            CatchUpPolicy::All => format!("the newest {} are caught up on", spec.catch_up.max),
            _ => format!("the run of {newest} stands for it"),
        };
    };
    if at == newest {
        return format!("it is {late:#} late, and may start at most {:#} late", spec.start_deadline);
    }
    format!("it was not looked at in time; the occurrence of {newest} came meanwhile")
}

/// Opens an occurrence's run, unless the overlap policy is against it. One that is to stand in line waits
/// whatever the policy says.
fn open(
    view: &mut View<'_>,
    name: &WorkloadName,
    spec: &CronJobSpec,
    at: Timestamp,
    cause: RunCause,
    in_line: bool,
) {
    let run = RunKey { workload: name.clone(), at };
    let active = view.active_runs_of(name);
    let waiting = active.iter().filter(|other| other.waits()).count();
    let active: Vec<RunKey> = active.into_iter().map(|other| other.key.clone()).collect();
    let order = Box::new(RunOrder { cause, ..RunOrder::default() });
    view.step(Change::RunOpened { run: run.clone(), manual: false, order }, format!("due at {at}"));
    match (spec.overlap, active.first()) {
        _ if in_line => {}
        (OverlapPolicy::Forbid, Some(other)) => {
            let reason = format!("the run of {} still goes on", other.at);
            view.step(Change::RunClosed { run, outcome: RunOutcome::SkippedOverlap }, reason);
        }
        (OverlapPolicy::Replace, Some(_)) => {
            for other in active {
                runs::cancel(view, other, &format!("replaced by the run of {at}"));
            }
        }
        (OverlapPolicy::Queue, Some(_)) if waiting >= spec.queue_max as usize => {
            let reason = format!("the queue is full: {waiting} runs wait, at most {}", spec.queue_max);
            let outcome = RunOutcome::Skipped { reason: reason.clone() };
            view.step(Change::RunClosed { run, outcome }, reason);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::workload::WorkloadSpec;
    use crate::scheduling::simulation::{cron, name};

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn due_of(expression: &str, from: &str, to: &str) -> Due {
        let spec = cron("work 1", expression, OverlapPolicy::Forbid);
        let spec = spec.as_cron().expect("a cron job");
        due_between(&name("tidy"), spec, at(from), at(to))
    }

    #[test]
    fn occurrences_up_to_now_are_due_once() {
        let found = due_of("*/10 * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:20:00Z");
        assert_eq!(found.newest, [at("2026-01-01T00:10:00Z"), at("2026-01-01T00:20:00Z")]);
        assert_eq!(found.earlier, None);
        let again = due_of("*/10 * * * *", "2026-01-01T00:20:00Z", "2026-01-01T00:20:00Z");
        assert_eq!(again, Due::default());
    }

    #[test]
    fn of_too_many_the_newest_are_named_and_the_others_counted() {
        let found = due_of("* * * * *", "2026-01-01T00:00:00Z", "2026-01-02T00:00:05Z");
        assert_eq!((found.newest.len(), found.newest.back()), (100, Some(&at("2026-01-02T00:00:00Z"))));
        let earlier = found.earlier.expect("earlier ones");
        assert_eq!((earlier.count, earlier.more), (1440 - 100, false));
        assert_eq!((earlier.first, earlier.last), (at("2026-01-01T00:01:00Z"), at("2026-01-01T22:20:00Z")));
    }

    #[test]
    fn beyond_counting_the_newest_are_found_all_the_same() {
        let found = due_of("* * * * * *", "2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z");
        assert_eq!(found.newest.back(), Some(&at("2026-01-01T00:00:00Z")));
        assert!(found.newest.len() <= OCCURRENCES_RECORDED_MAX);
        assert!(found.earlier.is_some_and(|earlier| earlier.more && earlier.count > COUNTED_MAX - 200));
    }

    #[test]
    fn jitter_repeats_and_stays_before_the_next_occurrence() {
        let WorkloadSpec::CronJob(mut spec) = cron("work 1", "* * * * *", OverlapPolicy::Forbid) else {
            unreachable!("a cron job")
        };
        spec.jitter = SignedDuration::from_mins(10);
        let start = at("2026-01-01T00:00:00Z");
        let times: Vec<Timestamp> = spec.schedule.after(start).take(200).collect();
        let name = name("tidy");
        let late: Vec<i64> = times
            .windows(2)
            .map(|pair| {
                let due = due(&name, &spec, pair[0], Some(pair[1]));
                assert!(due >= pair[0] && due < pair[1]);
                due.duration_since(pair[0]).as_secs()
            })
            .collect();
        assert!(late.iter().max() > Some(&50) && late.iter().min() < Some(&10), "{late:?}");
        let found = due_between(&name, &spec, start, times[0]);
        assert_eq!(found, Due::default(), "it is planned for now and starts later");
    }
}
