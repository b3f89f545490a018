//! What becomes of advice that a person dismissed or scheduled, and the decision that applies one.
//!
//! In: an action, the workload, what is advised now. Out: whether the action holds, is over or due; a `Proposal`.
//!
//! Advice that is not known (an engine that has just begun) is no other advice: an action then waits.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::domain::action::{Action, ActionEnd, ActionKey, Due};
use crate::domain::decision::{Candidate, DecisionKind, Proposal};
use crate::domain::money::{MicroCents, Prices};
use crate::domain::policy::Policy;
use crate::domain::quantity::{Resources, TaskSize};
use crate::domain::recommendation::{Estimate, Recommendation, Withheld};
use crate::domain::world::Workload;
use crate::scaling::vertical::{relative_change, within_node};

/// The rule of decisions that people make of advice.
pub const RULE: &str = "by hand";

/// What becomes of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It stays in force.
    Holds,
    /// It ends, and why.
    Over(ActionEnd, String),
    /// The advice is to be applied now.
    Due,
}

/// What becomes of a dismissal or a scheduled application.
pub fn fate(
    action: &Action,
    workload: &Workload,
    advised: Option<&Estimate>,
    policy: &Policy,
    now: Timestamp,
) -> Fate {
    let Some(then) = action.size else { return Fate::Holds };
    match advised {
        Some(Estimate::Recommended(found)) if is_other(then, found.size, policy) => {
            let why = format!("the advice changed from {then} to {}", found.size);
            Fate::Over(ActionEnd::Superseded, why)
        }
        Some(Estimate::Withheld(why @ (Withheld::TooUncertain { .. } | Withheld::PolicyOff)))
            if matches!(action.key, ActionKey::Schedule(_)) =>
        {
            Fate::Over(ActionEnd::Superseded, format!("the advice was withdrawn: {why}"))
        }
        Some(Estimate::Recommended(_)) if is_due(action, workload, now) => Fate::Due,
        _ => Fate::Holds,
    }
}

/// Whether advice is another one: by a change that is worth making.
fn is_other(then: TaskSize, now: TaskSize, policy: &Policy) -> bool {
    then != now && relative_change(then, now) >= policy.min_change.get()
}

fn is_due(action: &Action, workload: &Workload, now: Timestamp) -> bool {
    match action.due {
        Some(Due::At(at)) => at <= now,
        Some(Due::Rollout { after }) => workload.last_revision > after,
        None => false,
    }
}

/// The decision that puts advice in force; none where the workload has that size already.
pub fn proposal(
    found: &Recommendation,
    workload: &Workload,
    node: Option<Resources>,
    prices: &Prices,
    told: &str,
) -> Option<Proposal> {
    let (from, (to, cut)) = (workload.size(), within_node(found.size, node));
    if from == to {
        return None;
    }
    let instances = workload.spec.as_service().map_or(1, |_| workload.count);
    let price = |size: TaskSize| {
        let each = prices.per_hour(size.request);
        MicroCents::new(each.get().saturating_mul(i64::from(instances)))
    };
    let held =
        if cut { format!("; held at the largest node (would be {})", found.size) } else { String::new() };
    let candidate = |source: &str, size: TaskSize, chosen| {
        let (source, answer) = (source.to_owned(), size.to_string());
        Candidate { source, answer, chosen }
    };
    Some(Proposal {
        kind: DecisionKind::Size { workload: workload.name.clone(), from, to },
        rule: RULE.to_owned(),
        reason: format!("{told}; {}{held}", found.reason),
        inputs: BTreeMap::from([
            ("in force".to_owned(), from.to_string()),
            ("recommended".to_owned(), found.size.to_string()),
            ("samples".to_owned(), found.samples.to_string()),
            ("days of history".to_owned(), format!("{:.3}", found.confidence_days)),
            ("tasks".to_owned(), instances.to_string()),
        ]),
        candidates: vec![candidate("size in force", from, false), candidate("recommendation", to, true)],
        price_before: price(from),
        price_after: price(to),
    })
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::domain::change::{Change, RecordedChange};
    use crate::domain::quantity::Share;
    use crate::domain::rollout::Actor;
    use crate::domain::sample_specs::{name, service_spec, size};
    use crate::domain::workload::WorkloadSpec;
    use crate::domain::world::World;

    fn workload() -> Workload {
        let spec = WorkloadSpec::Service(Box::new(service_spec("a", 3)));
        let change = Change::WorkloadApplied { workload: name("web"), spec };
        let (at, by, reason, request) = (Timestamp::UNIX_EPOCH, Actor::Engine, String::new(), None);
        let mut world = World::default();
        world.apply(&RecordedChange { at, by, reason, request, change });
        world.workloads.remove(&name("web")).expect("a workload")
    }

    fn advised(mib: u64) -> Estimate {
        Estimate::Recommended(Box::new(Recommendation {
            workload: name("web"),
            at: Timestamp::UNIX_EPOCH,
            size: size(100, mib),
            lower: Resources::ZERO,
            upper: Resources::ZERO,
            samples: 10,
            confidence_days: 1.0,
            reason: "memory p90".to_owned(),
            price_effect: MicroCents::ZERO,
            risk: None,
            reasons: Vec::new(),
            candidates: Vec::new(),
            findings: Vec::new(),
        }))
    }

    fn action(key: ActionKey, due: Option<Due>) -> Action {
        let made = Action::new(key, Actor::User("ann".to_owned()), "not now", Timestamp::UNIX_EPOCH);
        Action { size: Some(size(100, 200)), due, ..made }
    }

    fn fate_of(action: &Action, advised: Option<&Estimate>, second: i64) -> Fate {
        let policy = Policy { min_change: Share::new(0.1), ..Policy::default() };
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second);
        fate(action, &workload(), advised, &policy, now)
    }

    #[test]
    fn a_dismissal_holds_until_the_advice_is_another_one() {
        let dismissed = action(ActionKey::Dismiss(name("web")), None);
        for holds in
            [Some(advised(200)), Some(advised(215)), None, Some(Estimate::Withheld(Withheld::PolicyOff))]
        {
            assert_eq!(fate_of(&dismissed, holds.as_ref(), 9), Fate::Holds, "{holds:?}");
        }
        let other = fate_of(&dismissed, Some(&advised(230)), 9);
        assert!(
            matches!(&other, Fate::Over(ActionEnd::Superseded, why) if why.contains("changed from")),
            "{other:?}"
        );
    }

    #[test]
    fn a_scheduled_application_is_due_at_its_time_and_withdrawn_with_its_advice() {
        let at = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(100);
        let timed = action(ActionKey::Schedule(name("web")), Some(Due::At(at)));
        assert_eq!(fate_of(&timed, Some(&advised(200)), 99), Fate::Holds);
        assert_eq!(fate_of(&timed, Some(&advised(200)), 100), Fate::Due);
        assert_eq!(fate_of(&timed, None, 100), Fate::Holds, "what is not known yet is waited for");
        let young = Estimate::Withheld(Withheld::TooYoung { samples: 1, needed: 9 });
        assert_eq!(fate_of(&timed, Some(&young), 100), Fate::Holds);
        let off = fate_of(&timed, Some(&Estimate::Withheld(Withheld::PolicyOff)), 99);
        assert!(matches!(&off, Fate::Over(_, why) if why.contains("withdrawn")), "{off:?}");
        assert!(matches!(fate_of(&timed, Some(&advised(400)), 100), Fate::Over(..)));
        for (after, fate) in [(0, Fate::Due), (1, Fate::Holds)] {
            let rolled = action(ActionKey::Schedule(name("web")), Some(Due::Rollout { after }));
            assert_eq!(fate_of(&rolled, Some(&advised(200)), 1), fate, "revision 1 is the newest");
        }
    }

    #[test]
    fn the_decision_has_the_price_of_all_instances() {
        let Estimate::Recommended(found) = advised(200) else { panic!("advice") };
        let prices = Prices { core_hour: MicroCents::ZERO, gib_hour: MicroCents::from_units(1.024) };
        let made = proposal(&found, &workload(), None, &prices, "applied by ann").expect("a change");
        let before = workload().size().request.memory.as_f64() / 1_048_576.0;
        let saved = made.price_before - made.price_after;
        assert_eq!(saved, MicroCents::from_units(0.003 * (before - 200.0)));
        assert!(made.reason.starts_with("applied by ann; memory p90"), "{}", made.reason);
        let had = Recommendation { size: workload().size(), ..*found };
        assert_eq!(proposal(&had, &workload(), None, &prices, ""), None);
    }
}
