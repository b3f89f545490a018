//! Actions in force as a plan sees them while it is being made.

use std::collections::BTreeSet;

use crate::domain::action::{Action, ActionKey, Switch};
use crate::domain::workload::WorkloadName;
use crate::domain::world::{EntityKey, Workload};
use crate::scheduling::view::View;

impl View<'_> {
    /// The action in force on something. A plan begins none.
    pub(in crate::scheduling) fn action(&self, key: &ActionKey) -> Option<&Action> {
        if self.base.actions.is_empty() || self.gone.contains(&EntityKey::Action(key.clone())) {
            return None;
        }
        self.changed.actions.get(key).or_else(|| self.base.actions.get(key))
    }

    /// The workloads of which something held before the plan, and those that the plan has changed, in order of
    /// name.
    pub(in crate::scheduling) fn workloads_that(
        &self,
        holds: fn(&Workload) -> bool,
    ) -> BTreeSet<WorkloadName> {
        let before = self.base.workloads.values().filter(|workload| holds(workload));
        let before = before.map(|workload| workload.name.clone());
        before.chain(self.changed.workloads.keys().cloned()).collect()
    }

    /// Whether a kind of change is frozen.
    pub(in crate::scheduling) fn frozen(&self, switch: Switch) -> bool {
        self.action(&ActionKey::Freeze(switch)).is_some()
    }

    /// Whether no task of a workload is wanted for now.
    pub(in crate::scheduling) fn paused(&self, workload: &WorkloadName) -> bool {
        !self.base.actions.is_empty() && self.action(&ActionKey::Pause(workload.clone())).is_some()
    }
}
