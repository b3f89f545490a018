//! The policies of counts that are at work: one for each metric of each service, and what they know, kept
//! over restarts of the engine. Not here: which policies there are (`app`), what they decide from
//! (`scaling::policy_count`).
//!
//! A service whose policy is not part of this engine is scaled by HPA, and its status says so.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::scale::{CountPolicyKind, SEASON, ScaleSpec};
use crate::domain::workload::WorkloadName;
use crate::domain::world::World;
use crate::scaling::counts::CountPolicy;

/// Makes a policy for one metric of a service.
pub type MakeCountPolicy = fn(&ScaleSpec, &WorkloadName) -> Box<dyn CountPolicy>;

/// The policies that there are besides HPA.
pub type CountCatalogue = BTreeMap<CountPolicyKind, MakeCountPolicy>;

/// What a policy knew when the engine was last at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    kind: CountPolicyKind,
    /// See `terms_of`.
    terms: u64,
    metrics: Vec<Vec<u8>>,
}

/// The policies of one service.
struct AtWork {
    kind: CountPolicyKind,
    /// See `terms_of`.
    terms: u64,
    metrics: Vec<Box<dyn CountPolicy>>,
}

/// What was agreed with a policy, as one number: under other terms it begins anew. It is the budget's where the season
/// is a day, as it was before there were others.
fn terms_of(scale: &ScaleSpec) -> u64 {
    let shorter = SEASON.as_millis().saturating_sub(scale.season.as_millis());
    scale.budget.to_bits() ^ u64::try_from(shorter).unwrap_or(0).rotate_left(32)
}

/// The policies that are at work.
#[derive(Default)]
pub(super) struct CountPolicies {
    catalogue: CountCatalogue,
    services: BTreeMap<WorkloadName, AtWork>,
    known: BTreeMap<String, Known>,
}

impl CountPolicies {
    /// The document that the store keeps them in.
    pub(super) const DOCUMENT: &'static str = "count-policies";

    /// Policies that go on from `document`; one that cannot be read says nothing.
    pub(super) fn new(catalogue: CountCatalogue, document: Option<&[u8]>) -> Self {
        let known = document.and_then(|bytes| postcard::from_bytes(bytes).ok()).unwrap_or_default();
        Self { catalogue, known, ..Self::default() }
    }

    /// The policies of a service, in the order of its metrics; none where HPA decides.
    pub(super) fn of(
        &mut self,
        name: &WorkloadName,
        scale: &ScaleSpec,
    ) -> Option<&mut [Box<dyn CountPolicy>]> {
        let make = self.catalogue.get(&scale.policy)?;
        let terms = terms_of(scale);
        let fits = |there: &AtWork| {
            there.kind == scale.policy && there.terms == terms && there.metrics.len() == scale.metrics.len()
        };
        if !self.services.get(name).is_some_and(fits) {
            let mut metrics: Vec<_> = scale.metrics.iter().map(|_| make(scale, name)).collect();
            let known = self.known.remove(name.as_str());
            let known = known.filter(|known| {
                known.kind == scale.policy && known.terms == terms && known.metrics.len() == metrics.len()
            });
            for (policy, kept) in metrics.iter_mut().zip(known.into_iter().flat_map(|known| known.metrics)) {
                if let Err(error) = policy.restore(&kept) {
                    tracing::warn!(service = %name, %error, "a policy of counts begins anew");
                }
            }
            self.services.insert(name.clone(), AtWork { kind: scale.policy, terms, metrics });
        }
        self.services.get_mut(name).map(|there| there.metrics.as_mut_slice())
    }

    /// Forgets what is about services that are gone.
    pub(super) fn keep(&mut self, world: &World) {
        self.services.retain(|name, _| world.workloads.contains_key(name));
    }

    /// What is to be kept.
    pub(super) fn document(&self) -> Vec<u8> {
        let known = |(name, there): (&WorkloadName, &AtWork)| {
            let metrics = there.metrics.iter().map(|policy| policy.checkpoint().ok());
            let metrics: Option<Vec<_>> = metrics.collect();
            Some((
                name.as_str().to_owned(),
                Known { kind: there.kind, terms: there.terms, metrics: metrics? },
            ))
        };
        let all: BTreeMap<String, Known> = self.services.iter().filter_map(known).collect();
        postcard::to_stdvec(&all).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::scale::MetricTarget;
    use crate::scaling::counts::hpa::Hpa;
    use crate::scaling::counts::{Seen, Terms};

    fn catalogue() -> CountCatalogue {
        let make: MakeCountPolicy = |_, name| Box::new(Hpa::new(0.5, name.clone()));
        CountCatalogue::from([(CountPolicyKind::TargetValue, make)])
    }

    fn counts(
        policies: &mut CountPolicies,
        name: &WorkloadName,
        scale: &ScaleSpec,
        load: f64,
        at: i64,
    ) -> u32 {
        let seen = Seen { at, load: Some(load), ready: 4, starting: 0 };
        let terms = Terms { capacity: 10.0, startup: 30.0, interval: 15.0, min: 1, max: 20 };
        let found = policies.of(name, scale).expect("a policy");
        found[0].decide(&seen, &terms).count
    }

    #[test]
    fn they_go_on_where_they_were_and_begin_anew_where_the_spec_is_another() {
        let name = WorkloadName::new("web").expect("a name");
        let mut scale = ScaleSpec::new(1, 20, vec![MetricTarget::Requests { per_instance: 10.0 }]);
        let mut policies = CountPolicies::new(catalogue(), None);
        assert!(policies.of(&name, &scale).is_none(), "HPA is the engine's own");
        scale.policy = CountPolicyKind::TargetValue;
        // A window of five minutes begins at the first look; a policy that knows of it goes down later.
        assert_eq!(counts(&mut policies, &name, &scale, 20.0, 0), 4);
        let document = policies.document();
        let mut again = CountPolicies::new(catalogue(), Some(&document));
        assert_eq!(counts(&mut again, &name, &scale, 1.0, 301), 1, "it knows how long ago that was");
        let mut anew = CountPolicies::new(catalogue(), Some(b"nonsense"));
        assert_eq!(counts(&mut anew, &name, &scale, 1.0, 301), 4, "the window begins");
        scale.budget = 0.05;
        let mut other = CountPolicies::new(catalogue(), Some(&document));
        assert_eq!(counts(&mut other, &name, &scale, 1.0, 301), 4, "another budget is another policy");
        (scale.budget, scale.season) = (0.01, SEASON / 2);
        let mut shorter = CountPolicies::new(catalogue(), Some(&document));
        assert_eq!(counts(&mut shorter, &name, &scale, 1.0, 301), 4, "and so is another season");
        other.keep(&World::default());
        assert!(other.services.is_empty());
    }
}
