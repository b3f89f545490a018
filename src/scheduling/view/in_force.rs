//! Actions in force as a plan sees them while it is being made.

use crate::domain::action::{Action, ActionKey, Switch};
use crate::domain::workload::WorkloadName;
use crate::domain::world::EntityKey;
use crate::scheduling::view::View;

impl View<'_> {
    /// The action in force on something. A plan begins none.
    pub(in crate::scheduling) fn action(&self, key: &ActionKey) -> Option<&Action> {
        if self.base.actions.is_empty() || self.gone.contains(&EntityKey::Action(key.clone())) {
            return None;
        }
        self.changed.actions.get(key).or_else(|| self.base.actions.get(key))
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
