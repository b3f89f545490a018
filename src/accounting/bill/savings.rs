//! What applied recommendations of sizes promised to save, and what they did save.
//!
//! In: applied size decisions, what tasks requested hour by hour. Out: a saving a decision. Promised: the
//! prices per hour before and after, as the decision has them, times the time that it was in force. Realised:
//! what the tasks that really ran would have requested at the size before, less what they did request, at the
//! prices of resources. Both are of the time within the window.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::accounting::amount::HOUR_MICROS;
use crate::accounting::bill::statement::Statement;
use crate::domain::decision::{Decision, DecisionId, DecisionKind, DecisionOutcome};
use crate::domain::money::{MicroCents, Prices};
use crate::domain::quantity::{GIB, TaskSize};
use crate::domain::workload::WorkloadName;

/// What one applied recommendation came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saving {
    /// The decision.
    pub decision: DecisionId,
    /// The workload.
    pub workload: WorkloadName,
    /// When it was applied.
    pub at: Timestamp,
    /// Until when it is counted: the next size, or the end of the window.
    pub until: Timestamp,
    /// The size before.
    pub from: TaskSize,
    /// The size after.
    pub to: TaskSize,
    /// What it promised to save in that time; negative where it asked for more.
    #[serde(rename = "promised_micro_cents")]
    pub promised: MicroCents,
    /// What it saved.
    #[serde(rename = "realised_micro_cents")]
    pub realised: MicroCents,
    /// Realised less promised.
    #[serde(rename = "difference_micro_cents")]
    pub difference: MicroCents,
}

/// A change of a workload's size: what begins and ends the time that a recommendation is in force.
#[derive(Debug, Clone, PartialEq)]
pub struct SizeStep {
    /// The workload.
    pub workload: WorkloadName,
    /// When.
    pub at: Timestamp,
    /// The recommendation behind it; absent where a person set the size.
    pub decision: Option<Decision>,
}

/// The steps: applied decisions of sizes, and sizes that people set.
pub fn steps(decisions: &[Decision], resized: &[(WorkloadName, Timestamp)]) -> Vec<SizeStep> {
    let of_size = |decision: &&Decision| {
        matches!(decision.proposal.kind, DecisionKind::Size { .. })
            && decision.outcome == DecisionOutcome::Applied
    };
    let step = |decision: &Decision| {
        let workload = decision.proposal.kind.workload()?.clone();
        Some(SizeStep { workload, at: decision.at, decision: Some(decision.clone()) })
    };
    let by_people =
        resized.iter().map(|(workload, at)| SizeStep { workload: workload.clone(), at: *at, decision: None });
    decisions.iter().filter(of_size).filter_map(step).chain(by_people).collect()
}

/// The savings of all steps in the window from `from` (inclusive) to `to` (exclusive), by workload and time.
pub fn savings(
    (from, to): (Timestamp, Timestamp),
    mut steps: Vec<SizeStep>,
    statement: &Statement,
    prices: Prices,
) -> Vec<Saving> {
    steps.sort_by(|a, b| (&a.workload, a.at).cmp(&(&b.workload, b.at)));
    let mut all = Vec::new();
    for (place, step) in steps.iter().enumerate() {
        let next = steps.get(place + 1).filter(|next| next.workload == step.workload);
        let until = next.map_or(to, |next| next.at.min(to));
        let Some(decision) = step.decision.as_ref().filter(|_| until > from && step.at < until) else {
            continue;
        };
        let DecisionKind::Size { from: before, to: after, .. } = decision.proposal.kind else { continue };
        let begin = step.at.max(from);
        let an_hour = decision.proposal.price_before - decision.proposal.price_after;
        let promised = times(an_hour, begin, until);
        let realised = realised(&step.workload, (begin, until), next.is_some(), before, statement, prices);
        all.push(Saving {
            decision: decision.id,
            workload: step.workload.clone(),
            at: step.at,
            until,
            from: before,
            to: after,
            promised,
            realised,
            difference: realised - promised,
        });
    }
    all
}

fn times(an_hour: MicroCents, from: Timestamp, to: Timestamp) -> MicroCents {
    let micros = i128::from(to.as_microsecond() - from.as_microsecond());
    let whole = (i128::from(an_hour.get()) * micros).div_euclid(HOUR_MICROS.into());
    MicroCents::new(i64::try_from(whole).unwrap_or(i64::MAX))
}

/// The hour of the step counts in full: what was requested in it before the step is the size before, and saves
/// nothing. The hour of the next step is the next one's.
fn realised(
    workload: &WorkloadName,
    (from, until): (Timestamp, Timestamp),
    followed: bool,
    before: TaskSize,
    statement: &Statement,
    prices: Prices,
) -> MicroCents {
    let hour = |at: Timestamp| at.as_microsecond().div_euclid(HOUR_MICROS);
    let last = if followed { hour(until) } else { hour(until) + 1 };
    let (mut cpu, mut memory) = (0_i128, 0_i128);
    let span = (workload.clone(), hour(from))..(workload.clone(), last.max(hour(from)));
    for requested in statement.requested().range(span).map(|(_, requested)| requested) {
        let signed = |amount: u128| i128::try_from(amount).unwrap_or(i128::MAX);
        cpu += signed(requested.micros * u128::from(before.request.cpu.get())) - signed(requested.cpu);
        memory +=
            signed(requested.micros * u128::from(before.request.memory.get())) - signed(requested.memory);
    }
    let hour = i128::from(HOUR_MICROS);
    let cpu = cpu.saturating_mul(prices.core_hour.get().into()).div_euclid(1000 * hour);
    let memory = (memory / 1024)
        .saturating_mul(prices.gib_hour.get().into())
        .div_euclid(i128::from(GIB / 1024) * hour);
    MicroCents::new(i64::try_from(cpu + memory).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::accounting::bill::statement::{Detail, Fleet};
    use crate::accounting::bill::taken::{Subject, taken};
    use crate::accounting::facts::TaskInterval;
    use crate::domain::decision::Proposal;
    use crate::domain::policy::PolicyMode;
    use crate::domain::quantity::{Bytes, Millicores, Resources};
    use crate::domain::task::TaskId;
    use crate::domain::workload::{Owner, WorkloadKind};

    const HOUR: i64 = 3600;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(HOUR * hours).expect("a time")
    }

    fn web() -> WorkloadName {
        WorkloadName::new("web").expect("a name")
    }

    fn size(millicores: u64) -> TaskSize {
        TaskSize::of(Resources::new(Millicores::new(millicores), Bytes::new(GIB)))
    }

    fn decision(
        id: u64,
        hours: i64,
        outcome: DecisionOutcome,
        sizes: (u64, u64),
        prices: (i64, i64),
    ) -> Decision {
        Decision {
            id: DecisionId(id),
            at: at(hours),
            mode: PolicyMode::Auto,
            outcome,
            proposal: Proposal {
                kind: DecisionKind::Size { workload: web(), from: size(sizes.0), to: size(sizes.1) },
                rule: String::new(),
                reason: String::new(),
                inputs: BTreeMap::new(),
                candidates: Vec::new(),
                price_before: MicroCents::new(prices.0),
                price_after: MicroCents::new(prices.1),
            },
        }
    }

    /// A task that ran from hour to hour at a size, on a node that nobody charges for.
    fn ran(number: u64, from: i64, to: i64, millicores: u64) -> TaskInterval {
        TaskInterval {
            task: TaskId::new(web(), number),
            pool: None,
            node: Some("small-1".to_owned().try_into().expect("a name")),
            from: at(from),
            to: Some(at(to)),
            request: size(millicores).request,
        }
    }

    fn statement(intervals: &[TaskInterval]) -> Statement {
        let mut all = Statement::new(Detail::default(), at(0), BTreeSet::from([web()]));
        let mut subjects = std::mem::take(&mut all.subjects);
        let found = taken((at(0), at(10)), intervals, &[], |task| {
            let (kind, owner) = (Some(WorkloadKind::Service), Owner { team: None, cost_centre: None });
            subjects.number(&Subject { workload: task.workload().clone(), task: None, kind, owner })
        });
        all.subjects = subjects;
        let fleet = Fleet { lives: &[], charges: &[], prices: prices(), system: Resources::ZERO };
        all.add((at(0), at(10)), &fleet, &found);
        all
    }

    fn prices() -> Prices {
        Prices { core_hour: MicroCents::new(1000), gib_hour: MicroCents::new(10) }
    }

    #[test]
    fn what_was_promised_for_two_instances_is_half_realised_by_one() {
        // From hour 4 on half a core in place of one; then one instance runs where two were promised for.
        let statement = statement(&[ran(1, 0, 4, 1000), ran(2, 0, 4, 1000), ran(3, 4, 10, 500)]);
        let applied = decision(1, 4, DecisionOutcome::Applied, (1000, 500), (2000, 1000));
        let observed = decision(2, 5, DecisionOutcome::Observed, (500, 100), (1000, 200));
        let found = savings((at(0), at(10)), steps(&[applied, observed], &[]), &statement, prices());
        let [saving] = found.as_slice() else { panic!("one saving, not {found:?}") };
        assert_eq!(
            (saving.promised.get(), saving.realised.get(), saving.difference.get()),
            (6000, 3000, -3000)
        );
        assert_eq!((saving.at, saving.until), (at(4), at(10)));
    }

    #[test]
    fn the_next_size_ends_it_whoever_set_it_and_more_is_a_negative_saving() {
        let statement = statement(&[ran(1, 0, 2, 1000), ran(2, 2, 6, 1500), ran(3, 6, 10, 200)]);
        let grown = decision(1, 2, DecisionOutcome::Applied, (1000, 1500), (1000, 1500));
        let found = savings((at(0), at(10)), steps(&[grown], &[(web(), at(6))]), &statement, prices());
        let [saving] = found.as_slice() else { panic!("one saving, not {found:?}") };
        assert_eq!((saving.promised.get(), saving.realised.get(), saving.until), (-2000, -2000, at(6)));
    }

    #[test]
    fn only_the_window_counts() {
        let statement = statement(&[ran(1, 0, 10, 500)]);
        let applied = decision(1, -100, DecisionOutcome::Applied, (1000, 500), (1000, 500));
        let found = savings((at(0), at(10)), steps(&[applied], &[]), &statement, prices());
        assert_eq!((found[0].promised.get(), found[0].realised.get()), (5000, 5000));
        let later = decision(1, 11, DecisionOutcome::Applied, (1000, 500), (1000, 500));
        assert!(savings((at(0), at(10)), steps(&[later], &[]), &statement, prices()).is_empty());
    }
}
