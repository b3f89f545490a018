//! One hook: what it wants, how long it is tried, how often it is bothered, how it does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::decision::DecisionId;
use crate::domain::workload::WorkloadName;
use crate::ports::notifier::{Notice, NoticeKind, Notifier};

/// No wait between two tries is longer.
const WAIT_MAX: Duration = Duration::from_mins(5);

/// A receiver and its terms.
pub struct Hook {
    /// Its name: its cursor is kept under it.
    pub name: String,
    /// How it is told.
    pub notifier: Arc<dyn Notifier>,
    /// What it is told.
    pub filter: HookFilter,
    /// How long it is tried.
    pub patience: Patience,
    /// Of one event of one workload it is told once in this time, and how many were left out since.
    pub spacing: Option<SignedDuration>,
}

/// What a hook wants; each empty set means anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct HookFilter {
    /// Kinds.
    pub kinds: BTreeSet<NoticeKind>,
    /// Events.
    pub events: BTreeSet<String>,
    /// Teams; what belongs to none is left out.
    pub teams: BTreeSet<String>,
    /// Workloads; what is about none is left out.
    pub workloads: BTreeSet<WorkloadName>,
}

impl HookFilter {
    pub(super) fn wants(&self, notice: &Notice) -> bool {
        fn among<T: Ord>(set: &BTreeSet<T>, value: Option<&T>) -> bool {
            set.is_empty() || value.is_some_and(|value| set.contains(value))
        }
        among(&self.kinds, Some(&notice.kind))
            && among(&self.events, Some(&notice.event))
            && among(&self.teams, notice.team.as_ref())
            && among(&self.workloads, notice.workload.as_ref())
    }
}

/// How long a notice is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Patience {
    /// After so many tries it is given up, if it is ever.
    pub tries: Option<u32>,
    /// Once it is older than this, a failed try is the last.
    pub age: SignedDuration,
}

impl Patience {
    pub(super) fn is_over(self, tries: u32, age: SignedDuration) -> bool {
        self.tries.is_some_and(|most| tries >= most) || age > self.age
    }
}

/// The wait after so many tries: doubled each time, a random half of it taken off.
pub(super) fn wait(first: Duration, tries: u32, chance: f64) -> Duration {
    let full = first.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(WAIT_MAX);
    full.mul_f64(1.0 - chance / 2.0)
}

/// How a hook does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookHealth {
    /// Its name.
    pub name: String,
    /// Since when the notice at hand cannot be delivered.
    pub failing_since: Option<Timestamp>,
    /// Why not.
    pub error: Option<String>,
    /// Changes that have not been looked at for it.
    pub behind: u64,
    /// Notices that were given up since the engine started.
    pub given_up: u64,
}

impl HookHealth {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), failing_since: None, error: None, behind: 0, given_up: 0 }
    }

    pub(super) fn delivered(&mut self) {
        (self.failing_since, self.error) = (None, None);
    }

    pub(super) fn failed(&mut self, error: &str, now: Timestamp, given_up: bool) {
        self.failing_since.get_or_insert(now);
        self.error = Some(error.to_owned());
        self.given_up += u64::from(given_up);
    }

    /// For status; nothing while all is well.
    pub fn problem(&self) -> Option<String> {
        let (since, error) = (self.failing_since?, self.error.as_deref().unwrap_or_default());
        let Self { name, behind, given_up, .. } = self;
        let lost = if *given_up > 0 { format!(", {given_up} notices given up") } else { String::new() };
        Some(format!("{name} is not told since {since:.0}, {behind} changes behind{lost}: {error}"))
    }
}

/// Up to where a hook has been told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    pub(super) change: u64,
    pub(super) decision: DecisionId,
    /// Alarms that last and were told.
    #[serde(default)]
    pub(super) alarms: BTreeSet<String>,
}

/// When which event of which workload was told last.
pub(super) struct Spacing {
    least: Option<Duration>,
    last: BTreeMap<(Option<WorkloadName>, String), (Instant, u64)>,
}

impl Spacing {
    pub(super) fn new(least: Option<SignedDuration>) -> Self {
        Self { least: least.map(SignedDuration::unsigned_abs), last: BTreeMap::new() }
    }

    /// Whether a notice is to be told now, and how many like it were left out before it.
    pub(super) fn admit(&mut self, notice: &Notice, now: Instant) -> Option<u64> {
        let Some(least) = self.least else { return Some(0) };
        let key = (notice.workload.clone(), notice.event.clone());
        let recent = |told: Instant| now.saturating_duration_since(told) < least;
        if let Some((told, left_out)) = self.last.get_mut(&key)
            && recent(*told)
        {
            *left_out += 1;
            return None;
        }
        let left_out = self.last.remove(&key).map_or(0, |(_, left_out)| left_out);
        // What is over and left nothing out is not needed; the rest is bounded by workloads and events.
        self.last.retain(|_, (told, left_out)| recent(*told) || *left_out > 0);
        self.last.insert(key, (now, 0));
        Some(left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(workload: &str, event: &str) -> Notice {
        Notice {
            id: "change-1".to_owned(),
            at: Timestamp::UNIX_EPOCH,
            kind: NoticeKind::Task,
            event: event.to_owned(),
            workload: Some(WorkloadName::new(workload).expect("a name")),
            team: Some("shop".to_owned()),
            body: serde_json::Map::new(),
        }
    }

    #[test]
    fn a_crash_loop_is_told_once_in_a_while_with_what_was_left_out() {
        let mut spacing = Spacing::new(Some(SignedDuration::from_mins(10)));
        let began = Instant::now();
        let minute = |number: u32| began + Duration::from_mins(1) * number;
        assert_eq!(spacing.admit(&notice("web", "task-failed"), minute(0)), Some(0));
        for number in 1..10 {
            assert_eq!(spacing.admit(&notice("web", "task-failed"), minute(number)), None);
        }
        assert_eq!(spacing.admit(&notice("api", "task-failed"), minute(5)), Some(0));
        assert_eq!(spacing.admit(&notice("web", "crash-loop"), minute(5)), Some(0));
        assert_eq!(spacing.admit(&notice("web", "task-failed"), minute(10)), Some(9));
        assert_eq!(spacing.admit(&notice("web", "task-failed"), minute(20)), Some(0));
    }

    #[test]
    fn filters_hold_together() {
        let mut filter = HookFilter::default();
        assert!(filter.wants(&notice("web", "task-failed")));
        filter.kinds.insert(NoticeKind::Task);
        filter.teams.insert("shop".to_owned());
        assert!(filter.wants(&notice("web", "task-failed")));
        filter.workloads.insert(WorkloadName::new("api").expect("a name"));
        assert!(!filter.wants(&notice("web", "task-failed")));
        let anonymous = Notice { team: None, ..notice("api", "task-failed") };
        assert!(!filter.wants(&anonymous));
    }

    #[test]
    fn waits_grow_to_their_longest_and_are_spread() {
        let patience = Patience { tries: Some(3), age: SignedDuration::from_hours(1) };
        let wait = |tries, chance| wait(Duration::from_secs(1), tries, chance);
        assert_eq!([wait(1, 0.0), wait(4, 0.0)], [Duration::from_secs(1), Duration::from_secs(8)]);
        assert_eq!([wait(90, 0.0), wait(90, 1.0)], [WAIT_MAX, WAIT_MAX / 2]);
        assert!(patience.is_over(3, SignedDuration::ZERO) && !patience.is_over(2, SignedDuration::ZERO));
        assert!(patience.is_over(1, SignedDuration::from_hours(2)));
    }
}
