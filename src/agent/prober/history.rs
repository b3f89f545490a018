//! The newest answers of each task's checks, those of tasks that ended included for a while, within
//! bounds: a failed deploy can be looked at, and memory does not grow.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::domain::task::TaskId;
use crate::ports::health::{CheckKind, ProbeResult};

/// Answers kept of each check.
const KEPT: usize = 20;
/// The newest answer and the newest failure of a check keep all of their body, the others so much.
const OLD_BODY_MAX: usize = 256;
/// Tasks that ended are kept this long, and the newest so many of them.
const ENDED_FOR: Duration = Duration::from_hours(1);
const ENDED_MAX: usize = 200;

/// The newest answers of one task.
#[derive(Debug, Default)]
pub(super) struct History(BTreeMap<CheckKind, VecDeque<ProbeResult>>);

impl History {
    pub(super) fn push(&mut self, result: ProbeResult) {
        let answers = self.0.entry(result.check).or_default();
        if answers.len() >= KEPT {
            answers.pop_front();
        }
        // Of the newest failure all is wanted, unless this one is newer.
        let newest_failure =
            if result.passed { answers.iter().rposition(|answer| !answer.passed) } else { None };
        for (at, old) in answers.iter_mut().enumerate() {
            if Some(at) != newest_failure {
                old.body.truncate(old.body.floor_char_boundary(OLD_BODY_MAX));
                old.body.shrink_to_fit();
            }
        }
        answers.push_back(result);
    }

    /// Oldest first.
    pub(super) fn results(&self) -> Vec<ProbeResult> {
        let mut all: Vec<ProbeResult> = self.0.values().flatten().cloned().collect();
        all.sort_by_key(|result| result.at);
        all
    }
}

/// Answers of tasks that are no longer asked, in the order in which they ended.
#[derive(Debug, Default)]
pub(super) struct Ended(VecDeque<(Instant, TaskId, History)>);

impl Ended {
    pub(super) fn keep(&mut self, task: TaskId, history: History, now: Instant) {
        if history.0.is_empty() {
            return;
        }
        self.0.push_back((now, task, history));
        self.forget_old(now);
    }

    pub(super) fn results(&mut self, task: &TaskId, now: Instant) -> Vec<ProbeResult> {
        self.forget_old(now);
        let found = self.0.iter().rev().find(|(_, ended, _)| ended == task);
        found.map(|(.., history)| history.results()).unwrap_or_default()
    }

    fn forget_old(&mut self, now: Instant) {
        while self.0.len() > ENDED_MAX
            || self.0.front().is_some_and(|(at, ..)| now.saturating_duration_since(*at) > ENDED_FOR)
        {
            self.0.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::domain::workload::WorkloadName;

    fn result(second: i64, passed: bool) -> ProbeResult {
        ProbeResult {
            at: Timestamp::from_second(second).expect("a time"),
            check: CheckKind::Readiness,
            passed,
            took: SignedDuration::ZERO,
            message: String::new(),
            body: "x".repeat(8 << 10),
        }
    }

    #[test]
    fn the_newest_are_kept_and_old_bodies_are_cut() {
        let mut history = History::default();
        for second in 0..100 {
            history.push(result(second, second != 90));
        }
        let results = history.results();
        let seconds: Vec<i64> = results.iter().map(|result| result.at.as_second()).collect();
        assert_eq!(seconds, (80..100).collect::<Vec<i64>>());
        let whole: Vec<i64> = results
            .iter()
            .filter(|result| result.body.len() == 8 << 10)
            .map(|result| result.at.as_second())
            .collect();
        assert_eq!(whole, [90, 99], "the newest failure and the newest answer");
        assert!(results.iter().all(|result| result.body.len() >= OLD_BODY_MAX));
    }

    #[test]
    fn what_ended_is_kept_for_a_while_and_not_without_end() {
        let (mut ended, began) = (Ended::default(), Instant::now());
        let task = |number| TaskId::new(WorkloadName::new("web").expect("a name"), number);
        for number in 0..250 {
            let mut history = History::default();
            history.push(result(1, false));
            ended.keep(task(number), history, began);
        }
        assert!(ended.results(&task(49), began).is_empty());
        assert_eq!(ended.results(&task(50), began).len(), 1);
        assert!(ended.results(&task(249), began + ENDED_FOR + Duration::from_secs(1)).is_empty());
        assert!(ended.0.is_empty());
    }
}
