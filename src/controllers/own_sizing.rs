//! Sizes of single workloads from policies of their own.
//!
//! In: the choices in the world, samples, ends of tasks. Out: estimates of those workloads, one estimator for each
//! policy that somebody chose. They keep no state over a restart: each is made anew of what was recorded. Not here: the
//! policy of all others (`sizing`), which goes on learning of these workloads too, so that the way back is warm.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::domain::action::ActionKey;
use crate::domain::recommendation::Estimate;
use crate::domain::usage::UsageSample;
use crate::domain::workload::WorkloadName;
use crate::domain::world::World;
use crate::estimation::{Estimator, OomKill, Subject};

/// The workloads that are to be sized by each policy.
pub(super) type Wanted = BTreeMap<String, BTreeSet<WorkloadName>>;

/// The workloads for which somebody chose a policy.
pub(super) fn wanted(world: &World) -> Wanted {
    let mut wanted = Wanted::new();
    for action in world.actions.values() {
        if let (ActionKey::SizePolicy(name), Some(policy)) = (&action.key, &action.policy)
            && world.workloads.get(name).is_some_and(|workload| !workload.deleted)
        {
            wanted.entry(policy.clone()).or_default().insert(name.clone());
        }
    }
    wanted
}

/// One policy with the workloads that it sizes.
struct Own {
    /// Why there is none, where it could not be made: then they are sized as all others.
    estimator: Result<Box<dyn Estimator>, String>,
    workloads: BTreeSet<WorkloadName>,
}

/// The policies that were chosen for single workloads.
#[derive(Default)]
pub(super) struct OwnSizing {
    policies: BTreeMap<String, Own>,
}

impl OwnSizing {
    /// Lets go of what is not wanted any more; tells the policies that are to be made, with all their workloads.
    pub(super) fn lacks(&mut self, wanted: &Wanted) -> Wanted {
        self.policies.retain(|policy, _| wanted.contains_key(policy));
        let mut lacks = Wanted::new();
        for (policy, workloads) in wanted {
            match self.policies.get_mut(policy) {
                Some(own) if workloads.is_subset(&own.workloads) => {
                    for gone in own.workloads.difference(workloads) {
                        if let Ok(estimator) = &mut own.estimator {
                            estimator.forget(gone);
                        }
                    }
                    own.workloads.clone_from(workloads);
                }
                _ => {
                    lacks.insert(policy.clone(), workloads.clone());
                }
            }
        }
        lacks
    }

    /// Puts a policy in force for its workloads. `newest` are samples that may have come since it was told the past.
    pub(super) fn take<'a>(
        &mut self,
        policy: String,
        workloads: BTreeSet<WorkloadName>,
        mut estimator: Result<Box<dyn Estimator>, String>,
        newest: impl Iterator<Item = &'a UsageSample>,
    ) {
        if let Ok(estimator) = &mut estimator {
            newest
                .filter(|sample| workloads.contains(&sample.workload))
                .for_each(|each| estimator.observe(each));
        }
        self.policies.insert(policy, Own { estimator, workloads });
    }

    fn of(&self, workload: &WorkloadName) -> Option<&dyn Estimator> {
        let own = self.policies.values().find(|own| own.workloads.contains(workload))?;
        own.estimator.as_deref().ok()
    }

    fn of_mut(&mut self, workload: &WorkloadName) -> Option<&mut Box<dyn Estimator>> {
        let own = self.policies.values_mut().find(|own| own.workloads.contains(workload))?;
        own.estimator.as_mut().ok()
    }

    pub(super) fn observe(&mut self, sample: &UsageSample) {
        if let Some(estimator) = self.of_mut(&sample.workload) {
            estimator.observe(sample);
        }
    }

    pub(super) fn observe_oom(&mut self, kill: &OomKill) {
        if let Some(estimator) = self.of_mut(kill.task.workload()) {
            estimator.observe_oom(kill);
        }
    }

    pub(super) fn forget(&mut self, workload: &WorkloadName) {
        if let Some(estimator) = self.of_mut(workload) {
            estimator.forget(workload);
        }
    }

    /// What its own policy says of a workload; none where it has none.
    pub(super) fn estimate(&self, subject: &Subject<'_>, now: Timestamp) -> Option<Estimate> {
        Some(self.of(subject.workload)?.estimate(subject, now))
    }

    /// What could not be made, and whom it leaves.
    pub(super) fn problems(&self) -> Vec<String> {
        let told = self.policies.iter().filter_map(|(policy, own)| {
            let why = own.estimator.as_ref().err()?;
            let names: Vec<&str> = own.workloads.iter().map(WorkloadName::as_str).collect();
            Some(format!("sizes of {} do not come from {policy} as chosen: {why}", names.join(", ")))
        });
        told.collect()
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::domain::money::{MicroCents, Prices};
    use crate::domain::policy::SizeBounds;
    use crate::domain::quantity::{Bytes, Millicores, Resources, TaskSize};
    use crate::estimation::policy_estimator::{Least, PolicyEstimator, recipe};

    fn name(text: &str) -> WorkloadName {
        WorkloadName::new(text).expect("a name")
    }

    fn estimator(policy: &str) -> Result<Box<dyn Estimator>, String> {
        let recipe = recipe(policy).map_err(|error| error.to_string())?;
        let least = Least { history: SignedDuration::ZERO, ..Least::default() };
        PolicyEstimator::new(&recipe, least)
            .map(|made| Box::new(made) as _)
            .map_err(|error| error.to_string())
    }

    fn sample(workload: &str, minute: i64) -> UsageSample {
        UsageSample {
            workload: name(workload),
            task: format!("{workload}.1").parse().expect("an id"),
            at: Timestamp::from_second(1_800_000_000 + 60 * minute).expect("an instant"),
            interval_seconds: Some(60.0),
            cpu_cores: Some(0.2),
            throttled_share: None,
            memory: Bytes::new(100_000_000),
            page_cache: None,
            request: Resources::new(Millicores::new(500), Bytes::mib(500)),
            oom_kills: 0,
        }
    }

    fn set(names: &[&str]) -> BTreeSet<WorkloadName> {
        names.iter().map(|text| name(text)).collect()
    }

    fn advised(own: &OwnSizing, workload: &str) -> Option<String> {
        let (workload, size) = (name(workload), TaskSize::of(sample("a", 0).request));
        let subject = Subject {
            workload: &workload,
            declared: size,
            current: size,
            bounds: SizeBounds::default(),
            prices: Prices {
                core_hour: MicroCents::from_units(0.03),
                gib_hour: MicroCents::from_units(0.004),
            },
        };
        let now = sample("a", 2_000).at;
        match own.estimate(&subject, now)? {
            Estimate::Recommended(advice) => Some(advice.reason),
            Estimate::Withheld(why) => Some(why.to_string()),
        }
    }

    #[test]
    fn each_workload_is_sized_by_its_own_policy_and_others_by_none_of_these() {
        let mut own = OwnSizing::default();
        let wanted =
            Wanted::from([("krr:margin=2".to_owned(), set(&["a", "b"])), ("crane".to_owned(), set(&["c"]))]);
        assert_eq!(own.lacks(&wanted), wanted);
        for (policy, workloads) in &wanted {
            own.take(policy.clone(), workloads.clone(), estimator(policy), [].iter());
        }
        assert_eq!(own.lacks(&wanted), Wanted::new(), "nothing is made twice");
        for minute in 0..2_000 {
            for workload in ["a", "b", "c", "d"] {
                own.observe(&sample(workload, minute));
            }
        }
        let said = |own: &OwnSizing, workload| advised(own, workload).unwrap_or_default();
        assert!(said(&own, "a").starts_with("policy krr:margin=2: "), "{}", said(&own, "a"));
        assert!(said(&own, "c").starts_with("policy crane: "), "{}", said(&own, "c"));
        assert_eq!(advised(&own, "d"), None);
        // One that goes back is not of them; one that joins has the policy made anew, for it was told of the others only.
        let fewer = Wanted::from([("krr:margin=2".to_owned(), set(&["a"]))]);
        assert_eq!(own.lacks(&fewer), Wanted::new());
        assert_eq!((advised(&own, "b"), advised(&own, "c")), (None, None));
        assert!(said(&own, "a").starts_with("policy krr:margin=2: "));
        let more = Wanted::from([("krr:margin=2".to_owned(), set(&["a", "b"]))]);
        assert_eq!(own.lacks(&more), more);
    }

    #[test]
    fn a_policy_that_cannot_be_made_leaves_its_workloads_to_the_policy_of_all_others() {
        let mut own = OwnSizing::default();
        own.take("gone".to_owned(), set(&["a"]), Err("there is no such policy".to_owned()), [].iter());
        assert_eq!(advised(&own, "a"), None);
        assert_eq!(own.problems(), ["sizes of a do not come from gone as chosen: there is no such policy"]);
        assert_eq!(
            own.lacks(&Wanted::from([("gone".to_owned(), set(&["a"]))])),
            Wanted::new(),
            "it is not tried for ever"
        );
    }
}
