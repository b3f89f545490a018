//! Capacity for what is planned: ready when an event begins, kept until it ends.
//!
//! In: a service's events, the loads of its metrics, how long an instance takes to start. Out: a count that it should
//! not go below, and which event asks for it. An event only ever adds instances: what is planned to be less than usual,
//! or whose usual load is not known, changes nothing.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::decision::DecisionKind;
use crate::domain::planned::{PlannedEvent, PlannedLoad};
use crate::domain::scale::{MetricTarget, ScaleSpec};
use crate::scaling::horizontal::{self, Outcome, ServiceStatus, Verdict};
use crate::scaling::policy_count::load_of;

/// The loads of a service's metrics as they were before the events that are near.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Before {
    loads: Vec<Option<f64>>,
}

/// The rule: an event asks for it.
pub const PLANNED: &str = "planned event";

/// What an event asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Floor {
    /// Never fewer.
    count: u32,
    /// Which event, and what it expects.
    words: String,
}

impl Before {
    /// The verdict with at least as many instances as the events ask for that are on or begin within `ahead`.
    pub fn raise(
        &mut self,
        verdict: Verdict,
        (spec, status): (&ScaleSpec, &ServiceStatus<'_>),
        ahead: SignedDuration,
        now: Timestamp,
    ) -> Verdict {
        match self.floor(spec, status, ahead, now) {
            Some(floor) => floor.under(verdict, spec, status),
            None => verdict,
        }
    }

    /// Takes in the loads as they are now, and answers what the events ask for that are on or begin within `ahead`.
    fn floor(
        &mut self,
        spec: &ScaleSpec,
        status: &ServiceStatus<'_>,
        ahead: SignedDuration,
        now: Timestamp,
    ) -> Option<Floor> {
        let soon = now.saturating_add(ahead).unwrap_or(Timestamp::MAX);
        let near: Vec<&PlannedEvent> =
            spec.events.iter().filter(|event| event.from <= soon && now < event.until).collect();
        self.loads.resize(spec.metrics.len(), None);
        let mut floor: Option<Floor> = None;
        for (index, target) in spec.metrics.iter().enumerate() {
            let Some(reading) = status.readings.get(index) else { continue };
            let (load, capacity) = load_of(target, reading, status);
            let before = &mut self.loads[index];
            // What the load was when the first event came near is what a factor is of, until the last one is over.
            if let Ok(load) = load
                && (near.is_empty() || before.is_none() && !near.iter().any(|event| event.is_on(now)))
            {
                *before = Some(load);
            }
            for event in &near {
                let Some(expected) = expected(event, target, *before) else { continue };
                // Saturates; what is no number becomes 0.
                let count = ((expected / capacity).ceil() as u32).min(spec.max);
                if floor.as_ref().is_none_or(|found| found.count < count) {
                    let words = format!("event `{}`: load expected {expected:.1}", event.name);
                    floor = Some(Floor { count, words });
                }
            }
        }
        floor
    }
}

impl Floor {
    /// The verdict with at least as many instances as the event asks for.
    fn under(self, verdict: Verdict, spec: &ScaleSpec, status: &ServiceStatus<'_>) -> Verdict {
        let to = match &verdict {
            Verdict::Hold { .. } => status.count,
            Verdict::Change(proposal) => match proposal.kind {
                DecisionKind::Count { to, .. } => to,
                _ => return verdict,
            },
        };
        if to >= self.count || status.stopped {
            return verdict;
        }
        if status.count == self.count {
            return Verdict::Hold { rule: PLANNED, reason: self.words, candidates: Vec::new() };
        }
        let outcome = Outcome { to: self.count, rule: PLANNED, reason: self.words, answers: Vec::new() };
        horizontal::change(spec, status, outcome)
    }
}

/// The load that an event leads one to expect; none where that is less than usual, or not known.
fn expected(event: &PlannedEvent, target: &MetricTarget, before: Option<f64>) -> Option<f64> {
    match event.load {
        PlannedLoad::Factor(factor) => before.filter(|_| factor > 1.0).map(|load| load * factor),
        PlannedLoad::Requests(load) => matches!(target, MetricTarget::Requests { .. }).then_some(load),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::MicroCents;
    use crate::domain::workload::WorkloadName;
    use crate::scaling::horizontal::MetricReading;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes)
    }

    fn event(name: &str, (from, until): (i64, i64), load: PlannedLoad) -> PlannedEvent {
        PlannedEvent { name: name.to_owned(), from: at(from), until: at(until), load }
    }

    fn spec(events: Vec<PlannedEvent>) -> ScaleSpec {
        let requests = MetricTarget::Requests { per_instance: 10.0 };
        ScaleSpec { events, ..ScaleSpec::new(1, 20, vec![requests]) }
    }

    /// The floor each minute, with the load of that minute; an instance takes two minutes.
    fn floors(spec: &ScaleSpec, loads: impl Iterator<Item = Option<f64>>) -> Vec<u32> {
        let name = WorkloadName::new("web").expect("a name");
        let mut before = Before::default();
        let look = |(minute, load): (i64, Option<f64>)| {
            let reading = match load {
                Some(value) => MetricReading::Total { value },
                None => MetricReading::Failed { reason: "no answer".to_owned() },
            };
            let status = ServiceStatus {
                workload: &name,
                count: 3,
                stopped: false,
                instances: Vec::new(),
                readings: vec![reading],
                instance_price: MicroCents::new(1),
            };
            before
                .floor(spec, &status, SignedDuration::from_mins(2), at(minute))
                .map_or(0, |floor| floor.count)
        };
        (0..).zip(loads).map(look).collect()
    }

    #[test]
    fn capacity_is_there_when_an_event_begins_and_until_it_ends() {
        let sale = spec(vec![event("sale", (5, 8), PlannedLoad::Factor(2.5))]);
        // The load of the event itself, or none that came, is not multiplied again.
        let loads = [20.0, 20.0, 20.0, 24.0, 26.0, 60.0, 80.0, 0.0, 24.0, 24.0];
        assert_eq!(floors(&sale, loads.into_iter().map(Some)), [0, 0, 0, 5, 5, 5, 5, 5, 0, 0]);
        let told = spec(vec![event("show", (5, 7), PlannedLoad::Requests(155.0))]);
        assert_eq!(floors(&told, [None; 8].into_iter()), [0, 0, 0, 16, 16, 16, 16, 0]);
        let most = spec(vec![event("all", (1, 2), PlannedLoad::Requests(1e9))]);
        assert_eq!(floors(&most, [Some(1.0)].into_iter()), [20], "never more than is allowed");
    }

    #[test]
    fn an_event_adds_to_a_verdict_and_takes_nothing_away() {
        let spec = spec(Vec::new());
        let name = WorkloadName::new("web").expect("a name");
        let status = |count| ServiceStatus {
            workload: &name,
            count,
            stopped: false,
            instances: Vec::new(),
            readings: Vec::new(),
            instance_price: MicroCents::new(1),
        };
        let floor = || Floor { count: 5, words: "event `sale`".to_owned() };
        let hold = || Verdict::Hold { rule: "target met", reason: String::new(), candidates: Vec::new() };
        let to = |to, count| {
            let outcome = Outcome { to, rule: "", reason: String::new(), answers: Vec::new() };
            horizontal::change(&spec, &status(count), outcome)
        };
        let said = |verdict: Verdict, count| match floor().under(verdict, &spec, &status(count)) {
            Verdict::Hold { rule, .. } => (count, rule.to_owned()),
            Verdict::Change(proposal) => match proposal.kind {
                DecisionKind::Count { to, .. } => (to, proposal.rule),
                other => panic!("{other}"),
            },
        };
        assert_eq!(said(hold(), 3), (5, PLANNED.to_owned()));
        assert_eq!(said(to(4, 3), 3), (5, PLANNED.to_owned()));
        assert_eq!(said(to(2, 5), 5), (5, PLANNED.to_owned()), "it stays");
        assert_eq!(said(to(9, 3), 3), (9, String::new()));
        assert_eq!(said(hold(), 7), (7, "target met".to_owned()));
    }

    #[test]
    fn an_event_that_says_less_or_rests_on_nothing_adds_nothing() {
        let quiet = spec(vec![event("holiday", (1, 9), PlannedLoad::Factor(0.2))]);
        assert_eq!(floors(&quiet, [Some(50.0); 5].into_iter()), [0; 5]);
        let sale = spec(vec![event("sale", (3, 9), PlannedLoad::Factor(2.0))]);
        assert_eq!(floors(&sale, [None; 6].into_iter()), [0; 6], "the load was never known");
        // A load that is first known while the event is on has the event in it.
        let late = [None, None, None, Some(40.0), Some(40.0)];
        assert_eq!(floors(&sale, late.into_iter()), [0; 5]);
        // Of two, the one that asks for more.
        let both = spec(vec![
            event("sale", (2, 9), PlannedLoad::Factor(2.0)),
            event("show", (3, 4), PlannedLoad::Factor(3.0)),
        ]);
        assert_eq!(floors(&both, [Some(20.0); 6].into_iter()), [4, 6, 6, 6, 4, 4]);
    }
}
