//! In: what the API says, second by second. Out: whether the things that the demo promises really
//! happened. Only recorded facts count: states seen, exits, runs, decisions.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::api::dto::{RunDto, StatusDto, TaskDto};
use crate::domain::decision::{Decision, DecisionKind, DecisionOutcome};
use crate::domain::quantity::Bytes;
use crate::domain::task::ExitRecord;
use crate::domain::world::RunOutcome;

/// Runs of the cron job that make a history.
const RUNS_NEEDED: usize = 2;

/// Numbers that went up and came down again.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Course {
    /// The first number seen.
    first: Option<u32>,
    /// The highest number seen.
    peak: u32,
    /// The lowest number seen after the peak.
    after: u32,
}

impl Course {
    fn note(&mut self, number: u32) {
        self.first.get_or_insert(number);
        if number > self.peak {
            self.peak = number;
            self.after = number;
        }
        self.after = self.after.min(number);
    }

    fn went_up(&self) -> bool {
        self.first.is_some_and(|first| self.peak > first)
    }

    fn came_down(&self) -> bool {
        self.went_up() && self.after < self.peak
    }

    fn words(&self) -> String {
        format!("{} -> {} -> {}", self.first.unwrap_or(0), self.peak, self.after)
    }
}

/// One promise and whether it was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Promise {
    /// What was to happen.
    pub(super) what: &'static str,
    /// What was seen.
    pub(super) seen: String,
    /// Kept, not kept, or not to be had on this machine.
    pub(super) kept: Kept,
}

/// Whether a promise was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// It happened.
    Yes,
    /// It did not happen.
    No,
    /// It needs limits to be enforced, which this machine or user does not allow.
    NotEnforced,
}

/// Everything seen so far.
#[derive(Debug, Default)]
pub(super) struct Story {
    /// Ready instances of each service.
    instances: BTreeMap<String, Course>,
    /// Ready nodes of each pool.
    nodes: BTreeMap<String, Course>,
    /// Runs of the cron job that succeeded.
    runs: usize,
    /// The first kill of the leaky service for want of memory.
    oom: Option<ExitRecord>,
    /// A task of it that was started later.
    restarted: Option<String>,
    /// The size decision for it that was carried out: memory before and after.
    resized: Option<(Bytes, Bytes)>,
    /// Whether limits are enforced at all.
    limitations: Vec<String>,
}

impl Story {
    /// Takes in the state of everything.
    pub(super) fn note_status(&mut self, status: &StatusDto) {
        for workload in &status.workloads {
            if workload.wanted.is_some() && workload.ready > 0 {
                self.instances.entry(workload.name.clone()).or_default().note(workload.ready);
            }
        }
        for pool in status.pools.iter().filter(|pool| pool.ready > 0) {
            self.nodes.entry(pool.name.clone()).or_default().note(pool.ready);
        }
        self.limitations.clone_from(&status.engine.limitations);
    }

    /// Takes in the runs of the cron job.
    pub(super) fn note_runs(&mut self, runs: &[RunDto]) {
        self.runs = runs.iter().filter(|run| run.outcome == RunOutcome::Succeeded).count();
    }

    /// Takes in the tasks of the leaky service, those that ended included.
    pub(super) fn note_leaky(&mut self, tasks: &[TaskDto]) {
        let kills = tasks.iter().filter_map(|task| task.exit.clone()).filter(ExitRecord::is_oom);
        if let Some(first) = kills.min_by_key(|exit| exit.at) {
            let later = |at: Timestamp| at > first.at;
            self.restarted = tasks
                .iter()
                .filter(|task| task.started_at.is_some_and(later))
                .map(|task| task.id.clone())
                .next();
            self.oom = Some(first);
        }
    }

    /// Takes in the decisions about the leaky service.
    pub(super) fn note_decisions(&mut self, decisions: &[Decision]) {
        for decision in decisions.iter().filter(|decision| decision.outcome == DecisionOutcome::Applied) {
            if let DecisionKind::Size { from, to, .. } = &decision.proposal.kind
                && to.memory_limit > from.memory_limit
            {
                let (least, most) = self.resized.unwrap_or((from.memory_limit, to.memory_limit));
                self.resized = Some((least.min(from.memory_limit), most.max(to.memory_limit)));
            }
        }
    }

    /// Whether everything that can happen here has happened.
    pub(super) fn is_complete(&self) -> bool {
        self.promises().iter().all(|promise| promise.kept != Kept::No)
    }

    /// The promises and whether they were kept.
    pub(super) fn promises(&self) -> Vec<Promise> {
        let nothing = Course::default();
        let web = self.instances.get("web").unwrap_or(&nothing);
        let small = self.nodes.get("small").unwrap_or(&nothing);
        let yes = |kept: bool| if kept { Kept::Yes } else { Kept::No };
        // Without cgroups there is no limit to meet, so nothing is killed for it.
        let enforced = |kept: bool| match kept {
            true => Kept::Yes,
            false if self.limitations.is_empty() => Kept::No,
            false => Kept::NotEnforced,
        };
        let or_nothing = |text: Option<String>| text.unwrap_or_else(|| "not seen".to_owned());
        vec![
            Promise {
                what: "instances of web went up and came down with the load",
                seen: web.words(),
                kept: yes(web.came_down()),
            },
            Promise {
                what: "pool small grew and shrank with them",
                seen: small.words(),
                kept: yes(small.came_down()),
            },
            Promise {
                what: "cron job stocktake has a history",
                seen: format!("{} runs succeeded", self.runs),
                kept: yes(self.runs >= RUNS_NEEDED),
            },
            Promise {
                what: "leaky met its memory limit and was killed",
                seen: or_nothing(self.oom.as_ref().map(ExitRecord::describe)),
                kept: enforced(self.oom.is_some()),
            },
            Promise {
                what: "leaky was restarted",
                seen: or_nothing(self.restarted.clone()),
                kept: enforced(self.restarted.is_some()),
            },
            Promise {
                what: "leaky was given a larger size",
                seen: or_nothing(self.resized.map(|(from, to)| format!("{from} -> {to}"))),
                kept: enforced(self.resized.is_some()),
            },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_course_counts_only_when_it_rises_and_falls() {
        let mut course = Course::default();
        for number in [1, 2, 4] {
            course.note(number);
        }
        assert!(course.went_up() && !course.came_down());
        course.note(2);
        assert!(course.came_down());
        assert_eq!(course.words(), "1 -> 4 -> 2");
    }

    #[test]
    fn an_empty_story_keeps_no_promise() {
        assert!(Story::default().promises().iter().all(|promise| promise.kept == Kept::No));
        assert!(!Story::default().is_complete());
    }
}
