//! In: requests that the front door holds for services without an instance. Out: the decision to start one,
//! at once and without waiting for the next look at the load.
//!
//! Not here: when a service goes to zero (`autoscaler`). One that somebody stopped or paused is not woken.

use std::sync::Arc;

use crate::controllers::decisions::Recorder;
use crate::controllers::state::EngineState;
use crate::domain::action::ActionKey;
use crate::domain::change::Change;
use crate::domain::decision::DecisionKind;
use crate::domain::money::Prices;
use crate::domain::world::{Workload, World};
use crate::ports::front_door::FrontDoor;
use crate::ports::store::StoreError;
use crate::scaling::zero;

/// The waker's loop body.
pub struct Waker {
    /// The world.
    pub state: Arc<EngineState>,
    /// Who holds requests.
    pub front_door: Arc<dyn FrontDoor>,
    /// Where decisions go.
    pub recorder: Recorder,
    /// What resources cost.
    pub prices: Prices,
}

impl Waker {
    /// Returns when there may be something to wake.
    pub async fn signal(&self) {
        self.front_door.asked().await;
    }

    /// Wakes every service that has requests and no instance, and may have one.
    pub async fn pass(&self) -> Result<(), StoreError> {
        let held = self.front_door.held();
        if held.is_empty() {
            return Ok(());
        }
        let world = self.state.world().await;
        let now = self.state.clock().now();
        for (name, requests) in held {
            let Some(workload) = world.workloads.get(&name).filter(|workload| sleeps(&world, workload))
            else {
                continue;
            };
            let Some(scale) = workload.spec.as_service().and_then(|service| service.scale.as_ref()) else {
                continue;
            };
            let bounds = scale.bounds_at(now);
            let to = bounds.min.max(1).min(bounds.max);
            if to == 0 {
                continue;
            }
            let price = self.prices.per_hour(workload.size().request);
            let proposal = zero::wake(&name, to, (requests, price));
            let mode = world.policy_of(workload).count;
            self.recorder
                .record(mode, proposal, |id| {
                    vec![Change::CountSet { workload: name.clone(), count: to, decision: Some(id) }]
                })
                .await?
                .inspect(|kind: &DecisionKind| tracing::debug!(%kind, "woken"));
        }
        Ok(())
    }
}

/// Whether a service has no instances, and nobody wants that.
fn sleeps(world: &World, workload: &Workload) -> bool {
    let held = world.actions.get(&ActionKey::Scale(workload.name.clone()));
    !workload.deleted
        && workload.count == 0
        && !world.stopped_by_hand(workload)
        && held.is_none_or(|action| action.until.is_none())
}
