//! From what is on record to what others are told of it.

use serde_json::{Map, Value};

use crate::domain::action::ActionKey;
use crate::domain::change::Change;
use crate::domain::decision::Decision;
use crate::domain::plan::Alarm;
use crate::domain::task::{ExitRecord, TaskState};
use crate::domain::workload::WorkloadName;
use crate::domain::world::World;
use crate::ports::notifier::{Notice, NoticeKind};
use crate::ports::store::NumberedChange;
use crate::scheduling::CRASH_LOOP_FAILURES;

/// What owners are told by a command hook.
pub const OWNER_EVENTS: [&str; 13] = [
    "task-failed",
    "out-of-memory",
    "crash-loop",
    "rollout-done",
    "rollout-rolled-back",
    "rollout-failing",
    "run-failed",
    "run-missed",
    "overdue-run",
    "size-applied",
    "freeze-begun",
    "freeze-ended",
    "disaster",
];

/// What others are told of a change, if anything.
pub(super) fn of_change(change: &NumberedChange, world: &World) -> Option<Notice> {
    let NumberedChange { number, recorded } = change;
    let (kind, event, workload) = classified(&recorded.change)?;
    let mut body = Map::new();
    body.insert("number".to_owned(), (*number).into());
    body.insert("by".to_owned(), recorded.by.to_string().into());
    body.insert("reason".to_owned(), recorded.reason.clone().into());
    // A spec holds the whole environment of its tasks, which is not for everyone.
    if !matches!(recorded.change, Change::WorkloadApplied { .. }) {
        body.insert("change".to_owned(), json(&recorded.change));
    }
    if let Change::TaskMoved { task, .. } = &recorded.change {
        body.insert("task".to_owned(), task.to_string().into());
    }
    let notice =
        Notice { id: format!("change-{number}"), at: recorded.at, kind, event, workload, team: None, body };
    Some(complete(notice, world))
}

/// What kind of notice a change is, what happened in a word, and to which workload.
fn classified(change: &Change) -> Option<(NoticeKind, String, Option<WorkloadName>)> {
    let found = match change {
        Change::TaskMoved { task, state, exit, .. } => {
            let oom = *state == TaskState::Failed && exit.as_ref().is_some_and(ExitRecord::is_oom);
            let event = if oom { "out-of-memory".to_owned() } else { format!("task-{state}") };
            (NoticeKind::Task, event, Some(task.workload()))
        }
        Change::WorkloadApplied { workload, .. } => {
            (NoticeKind::Deploy, "workload-applied".to_owned(), Some(workload))
        }
        Change::WorkloadDeleted { workload } => {
            (NoticeKind::Deploy, "workload-deleted".to_owned(), Some(workload))
        }
        Change::RolloutMoved { workload, state, .. } => {
            (NoticeKind::Deploy, format!("rollout-{}", word(&json(state))), Some(workload))
        }
        Change::SizeReverted { workload, .. } => {
            (NoticeKind::Decision, "size-reverted".to_owned(), Some(workload))
        }
        Change::RunOpened { run, .. } => (NoticeKind::Cron, "run-opened".to_owned(), Some(&run.workload)),
        Change::RunClosed { run, outcome } => {
            (NoticeKind::Cron, format!("run-{}", outcome.as_str()), Some(&run.workload))
        }
        Change::CountSet { workload, decision: None, .. } => {
            (NoticeKind::Action, "count-set".to_owned(), Some(workload))
        }
        Change::SizeSet { workload, decision: None, .. } => {
            (NoticeKind::Action, "size-set".to_owned(), Some(workload))
        }
        Change::ActionBegun { action } => acted(&action.key, "begun"),
        Change::ActionEnded { action, .. } => acted(action, "ended"),
        // Once, when the failures have become a loop.
        Change::RestartNoted { workload, restart } if restart.failures == CRASH_LOOP_FAILURES => {
            (NoticeKind::Alarm, "crash-loop".to_owned(), Some(workload))
        }
        _ => return None,
    };
    let (kind, event, workload) = found;
    Some((kind, event, workload.cloned()))
}

fn acted<'a>(key: &'a ActionKey, what: &str) -> (NoticeKind, String, Option<&'a WorkloadName>) {
    let noun = match key {
        ActionKey::Scale(_) => "scale",
        ActionKey::Pause(_) => "pause",
        ActionKey::Bounce(_) => "bounce",
        ActionKey::Drain(_) => "drain",
        ActionKey::Freeze(_) => "freeze",
        ActionKey::Dismiss(_) => "dismiss",
        ActionKey::Schedule(_) => "schedule",
        ActionKey::SizePolicy(_) => "size-policy",
    };
    (NoticeKind::Action, format!("{noun}-{what}"), key.workload())
}

/// What others are told of a decision.
pub(super) fn of_decision(decision: &Decision, world: &World) -> Notice {
    let noun = word(&json(&decision.proposal.kind));
    let mut body = Map::new();
    body.insert("decision".to_owned(), json(decision));
    body.insert("reason".to_owned(), decision.proposal.reason.clone().into());
    let notice = Notice {
        id: format!("decision-{}", decision.id),
        at: decision.at,
        kind: NoticeKind::Decision,
        event: format!("{noun}-{}", word(&json(&decision.outcome))),
        workload: decision.proposal.kind.workload().cloned(),
        team: None,
        body,
    };
    complete(notice, world)
}

/// What others are told of an alarm.
pub(super) fn of_alarm(alarm: &Alarm, world: &World) -> Notice {
    let mut body = Map::new();
    body.insert("reason".to_owned(), alarm.message.clone().into());
    let notice = Notice {
        id: format!("alarm-{}", key_of(alarm)),
        at: alarm.since,
        kind: NoticeKind::Alarm,
        event: alarm.kind.replace(' ', "-"),
        workload: alarm.workload.clone(),
        team: None,
        body,
    };
    complete(notice, world)
}

/// Tells an alarm from others: its words may change while it lasts.
pub(super) fn key_of(alarm: &Alarm) -> String {
    let workload = alarm.workload.as_ref().map(WorkloadName::as_str).unwrap_or_default();
    format!("{}/{workload}/{}", alarm.kind.replace(' ', "-"), alarm.since.as_second())
}

/// Adds what every notice has.
fn complete(mut notice: Notice, world: &World) -> Notice {
    let workload = notice.workload.as_ref().and_then(|name| world.workloads.get(name));
    notice.team = workload.and_then(|workload| workload.spec.owner().team.clone());
    let fields = [
        ("id", notice.id.clone()),
        ("at", notice.at.to_string()),
        ("kind", notice.kind.to_string()),
        ("event", notice.event.clone()),
    ];
    notice.body.extend(fields.map(|(key, value)| (key.to_owned(), Value::from(value))));
    notice.body.insert("workload".to_owned(), notice.workload.as_ref().map(WorkloadName::as_str).into());
    notice.body.insert("team".to_owned(), notice.team.clone().into());
    notice
}

fn json(value: &impl serde::Serialize) -> Value {
    // None of these types has a map whose keys are not texts, so nothing can fail here.
    serde_json::to_value(value).unwrap_or_default()
}

/// The word that stands for a variant, with hyphens.
fn word(value: &Value) -> String {
    let name = match value {
        Value::String(name) => Some(name),
        Value::Object(fields) => fields.keys().next(),
        _ => None,
    };
    name.map(|name| name.replace('_', "-")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    use crate::domain::change::RecordedChange;
    use crate::domain::rollout::{Actor, RolloutState};
    use crate::domain::task::{ExitStatus, TaskId};

    fn told(change: Change) -> Option<Notice> {
        let recorded = RecordedChange {
            at: Timestamp::UNIX_EPOCH,
            by: Actor::Engine,
            reason: "so".to_owned(),
            request: None,
            change,
        };
        of_change(&NumberedChange { number: 7, recorded }, &World::default())
    }

    #[test]
    fn a_kill_for_want_of_memory_is_told_from_other_failures() {
        let web = WorkloadName::new("web").expect("a name");
        let exit = |oom_kills| ExitRecord {
            status: Some(ExitStatus::Signal(9)),
            at: Timestamp::UNIX_EPOCH,
            oom_kills,
            peak_memory: None,
            memory_limit: None,
            asked_to_stop: false,
            message: None,
        };
        for (kills, event) in [(Some(1), "out-of-memory"), (None, "task-failed")] {
            let change = Change::TaskMoved {
                task: TaskId::new(web.clone(), 3),
                state: TaskState::Failed,
                reason: String::new(),
                exit: Some(exit(kills)),
            };
            let notice = told(change).expect("a notice");
            assert_eq!((notice.event.as_str(), notice.id.as_str()), (event, "change-7"));
            assert_eq!(notice.body["task"], "web.3");
            assert!(OWNER_EVENTS.contains(&event));
        }
    }

    #[test]
    fn words_follow_from_the_states() {
        let moved = |state| Change::RolloutMoved {
            workload: WorkloadName::new("web").expect("a name"),
            state,
            failures: 0,
            progressed_at: Timestamp::UNIX_EPOCH,
        };
        let event = |state| told(moved(state)).expect("a notice").event;
        assert_eq!(event(RolloutState::Done), "rollout-done");
        assert_eq!(event(RolloutState::RolledBack { reason: String::new() }), "rollout-rolled-back");
        assert_eq!(event(RolloutState::Failing { reason: String::new() }), "rollout-failing");
    }
}
