//! When a service goes to no instances at all, and when it comes back.
//!
//! In: what is known of its requests and of work that waits. Out: since when there has been neither; the
//! decision to go to zero, or to come back.
//!
//! What is not known counts as something to do: a service never goes to zero for want of a measurement.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::decision::{Candidate, DecisionKind, Proposal};
use crate::domain::money::MicroCents;
use crate::domain::workload::WorkloadName;
use crate::scaling::horizontal::Verdict;

/// What there is to do for a service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Activity {
    /// Requests ever counted at its front door; absent where it has none.
    pub requests: Option<u64>,
    /// Requests that are not answered yet, held ones included.
    pub in_flight: u64,
    /// Whether work waits in its queues, or might.
    pub work_waits: bool,
}

/// What is remembered of a service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivityState {
    requests: Option<u64>,
    active_at: Option<Timestamp>,
}

impl ActivityState {
    /// Takes in what is seen now.
    pub fn observe(&mut self, seen: Activity, now: Timestamp) {
        // The first look cannot tell; a counter that differs has counted, or has begun anew.
        let counted = seen.requests != self.requests;
        if counted || seen.in_flight > 0 || seen.work_waits || self.active_at.is_none() {
            self.active_at = Some(now);
        }
        self.requests = seen.requests;
    }

    /// Since when there has been nothing to do.
    pub fn idle_since(&self) -> Option<Timestamp> {
        self.active_at
    }

    /// Whether there has been nothing to do for so long.
    pub fn idle_for(&self, least: SignedDuration, now: Timestamp) -> bool {
        self.active_at.is_some_and(|at| now.duration_since(at) >= least)
    }

    /// The machine's clock was set.
    pub fn clock_moved(&mut self, by: SignedDuration) {
        self.active_at = self.active_at.map(|at| at.saturating_add(by).unwrap_or(at));
    }
}

/// The verdict on a service that has had nothing to do for so long; `to` is as far as its rules let it go.
pub fn sleep(
    workload: &WorkloadName,
    (from, to): (u32, u32),
    (idle, price): (SignedDuration, MicroCents),
) -> Verdict {
    if to == from {
        let reason = "it is idle, and the rules for scaling down keep it".to_owned();
        return Verdict::Hold { rule: "scale-down rule", reason, candidates: Vec::new() };
    }
    let idle = SignedDuration::from_secs(idle.as_secs());
    let reason = format!("no request and no waiting work for {idle:#}");
    let inputs = BTreeMap::from([("idle".to_owned(), format!("{idle:#}"))]);
    Verdict::Change(Box::new(proposal(workload, (from, to), ("idle", reason), (inputs, price))))
}

/// The decision to come back from no instances because requests are held.
pub fn wake(workload: &WorkloadName, to: u32, (held, price): (u64, MicroCents)) -> Proposal {
    let requests = if held == 1 { "1 request waits".to_owned() } else { format!("{held} requests wait") };
    let inputs = BTreeMap::from([("held requests".to_owned(), held.to_string())]);
    proposal(workload, (0, to), ("from zero", format!("{requests} for an instance")), (inputs, price))
}

fn proposal(
    workload: &WorkloadName,
    (from, to): (u32, u32),
    (rule, reason): (&str, String),
    (inputs, price): (BTreeMap<String, String>, MicroCents),
) -> Proposal {
    let priced = |count: u32| MicroCents::new(price.get().saturating_mul(i64::from(count)));
    Proposal {
        kind: DecisionKind::Count { workload: workload.clone(), from, to },
        rule: rule.to_owned(),
        candidates: vec![Candidate { source: rule.to_owned(), answer: to.to_string(), chosen: true }],
        reason,
        inputs,
        price_before: priced(from),
        price_after: priced(to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    fn requests(count: u64) -> Activity {
        Activity { requests: Some(count), ..Activity::default() }
    }

    #[test]
    fn a_service_is_idle_once_nothing_came_for_long_enough() {
        let (mut state, ten) = (ActivityState::default(), SignedDuration::from_secs(10));
        assert!(!state.idle_for(ten, at(100)), "nothing is known");
        state.observe(requests(5), at(0));
        state.observe(requests(5), at(5));
        assert!(!state.idle_for(ten, at(9)) && state.idle_for(ten, at(10)));
        state.observe(requests(6), at(10));
        assert!(!state.idle_for(ten, at(19)) && state.idle_for(ten, at(20)));
        // The engine began anew and so did its counters: they say nothing about the time between.
        state.observe(requests(0), at(30));
        assert!(!state.idle_for(ten, at(39)));
    }

    #[test]
    fn open_requests_and_waiting_work_are_something_to_do() {
        let ten = SignedDuration::from_secs(10);
        for busy in [
            Activity { in_flight: 1, ..requests(5) },
            Activity { work_waits: true, ..requests(5) },
            Activity { work_waits: true, ..Activity::default() },
        ] {
            let mut state = ActivityState::default();
            for second in 0..100 {
                state.observe(busy, at(second));
                assert!(!state.idle_for(ten, at(second)), "{busy:?}");
            }
        }
    }

    #[test]
    fn a_clock_that_is_set_makes_nothing_idle() {
        let mut state = ActivityState::default();
        state.observe(requests(5), at(0));
        let day = SignedDuration::from_hours(24);
        state.clock_moved(day);
        assert!(!state.idle_for(SignedDuration::from_secs(10), at(5) + day));
        assert!(state.idle_for(SignedDuration::from_secs(10), at(10) + day));
    }

    #[test]
    fn decisions_say_why_and_what_they_cost() {
        let name = WorkloadName::new("web").expect("a name");
        let Verdict::Change(sleeps) =
            sleep(&name, (3, 0), (SignedDuration::from_mins(10), MicroCents::new(100)))
        else {
            panic!("it stays awake")
        };
        assert_eq!((sleeps.price_before.get(), sleeps.price_after.get()), (300, 0));
        assert!(sleeps.reason.contains("10m"), "{}", sleeps.reason);
        let wakes = wake(&name, 2, (7, MicroCents::new(100)));
        assert_eq!(
            (wakes.price_after.get(), wakes.reason.as_str()),
            (200, "7 requests wait for an instance")
        );
    }
}
