//! Runs as a plan sees them while it is being made.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::domain::workload::WorkloadName;
use crate::domain::world::{EntityKey, Run, RunKey, Workload, World};
use crate::scheduling::view::View;

/// The runs without an outcome.
pub(super) fn active(world: &World) -> BTreeSet<RunKey> {
    let open = world.runs.values().filter(|run| !run.outcome.is_final());
    open.map(|run| run.key.clone()).collect()
}

impl View<'_> {
    /// A step has touched a run.
    pub(super) fn note_run(&mut self, key: &RunKey) {
        if self.changed.runs.get(key).is_some_and(|run| !run.outcome.is_final()) {
            self.active_runs.insert(key.clone());
        } else {
            self.active_runs.remove(key);
        }
    }

    /// The runs of a workload, oldest first.
    pub(in crate::scheduling) fn runs_of(&self, name: &WorkloadName) -> Vec<&Run> {
        let span = RunKey { workload: name.clone(), at: Timestamp::MIN }..=RunKey {
            workload: name.clone(),
            at: Timestamp::MAX,
        };
        let mut runs: BTreeMap<&RunKey, &Run> = self.base.runs.range(span.clone()).collect();
        runs.extend(self.changed.runs.range(span));
        if !self.gone.is_empty() {
            runs.retain(|key, _| !self.gone.contains(&EntityKey::Run((*key).clone())));
        }
        runs.into_values().collect()
    }

    pub(in crate::scheduling) fn run(&self, key: &RunKey) -> Option<&Run> {
        if !self.gone.is_empty() && self.gone.contains(&EntityKey::Run(key.clone())) {
            return None;
        }
        self.changed.runs.get(key).or_else(|| self.base.runs.get(key))
    }

    /// Runs without an outcome, by workload and age.
    pub(in crate::scheduling) fn active_runs(&self) -> impl Iterator<Item = &Run> {
        self.active_runs.iter().filter_map(|key| self.run(key))
    }

    /// The runs of a workload that have no outcome, oldest first.
    pub(in crate::scheduling) fn active_runs_of(&self, name: &WorkloadName) -> Vec<&Run> {
        if self.active_runs.is_empty() {
            return Vec::new();
        }
        let first = RunKey { workload: name.clone(), at: Timestamp::MIN };
        let own = self.active_runs.range(first..).take_while(|key| key.workload == *name);
        own.filter_map(|key| self.run(key)).collect()
    }

    /// What comes after a workload has to be looked at again.
    pub(super) fn dependents_follow(&mut self, name: &WorkloadName) {
        let depends = |workload: &&Workload| {
            workload.spec.run_policy().is_some_and(|policy| policy.after.contains(name))
        };
        self.dirty.extend(self.base.workloads.values().filter(depends).map(|workload| workload.name.clone()));
    }
}
