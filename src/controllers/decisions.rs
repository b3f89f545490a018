//! Records proposals as decisions and carries out those that their policy lets through. While scaling is
//! frozen they are recorded as withheld.

use std::sync::Arc;

use crate::controllers::control::blocking;
use crate::controllers::state::EngineState;
use crate::domain::action::{Action, ActionKey, Switch};
use crate::domain::change::Change;
use crate::domain::decision::{Decision, DecisionId, DecisionKind, DecisionOutcome, Proposal};
use crate::domain::plan::Step;
use crate::domain::policy::PolicyMode;
use crate::domain::rollout::Actor;
use crate::domain::world::World;
use crate::ports::control::ControlError;
use crate::ports::store::{DecisionLog, StoreError};

/// Decisions looked back at to find the last one on the same matter.
const LOOK_BACK: usize = 20;

/// Where decisions go.
#[derive(Clone)]
pub struct Recorder {
    state: Arc<EngineState>,
    log: Arc<dyn DecisionLog>,
}

impl Recorder {
    /// A recorder over the given log.
    pub fn new(state: Arc<EngineState>, log: Arc<dyn DecisionLog>) -> Self {
        Self { state, log }
    }

    /// Records a proposal. Under `auto` the change is committed, and what was carried out is returned.
    /// A proposal that is not carried out and repeats the last one is not recorded again.
    pub async fn record(
        &self,
        mode: PolicyMode,
        proposal: Proposal,
        changes: impl FnOnce(DecisionId) -> Vec<Change>,
    ) -> Result<Option<DecisionKind>, StoreError> {
        let frozen = self.state.world().await.frozen(Switch::Scaling).map(freeze_in_words);
        let outcome = match (mode, frozen) {
            (PolicyMode::Off, _) => return Ok(None),
            (PolicyMode::Observe, _) => DecisionOutcome::Observed,
            (_, Some(reason)) => DecisionOutcome::Frozen { reason },
            (PolicyMode::Approve, None) => DecisionOutcome::AwaitingApproval,
            (PolicyMode::Auto, None) => DecisionOutcome::Applied,
        };
        let last = self.last_on(&proposal.kind).await?;
        if outcome != DecisionOutcome::Applied
            && last
                .as_ref()
                .is_some_and(|last| last.proposal.kind == proposal.kind && last.outcome == outcome)
        {
            return Ok(None);
        }
        if let Some(last) = last.filter(|last| last.outcome == DecisionOutcome::AwaitingApproval) {
            let log = Arc::clone(&self.log);
            blocking(move || log.settle(last.id, &DecisionOutcome::Superseded)).await?;
        }
        let (at, log) = (self.state.clock().now(), Arc::clone(&self.log));
        let (told, settled) = (proposal.clone(), outcome.clone());
        let id = blocking(move || log.record(at, mode, &settled, &told)).await?;
        tracing::info!(decision = %id, subject = proposal.kind.subject(), %mode, "{}: {}", proposal.kind, proposal.reason);
        let kind = proposal.kind.clone();
        let reason = proposal.reason.clone();
        let applied = outcome == DecisionOutcome::Applied;
        self.state.telemetry().decided(&Decision { id, at, mode, outcome, proposal });
        if !applied {
            return Ok(None);
        }
        let step = |change| Step { change, reason: format!("decision {id}: {reason}") };
        let steps = changes(id).into_iter().map(step).collect();
        let committed = self.state.update(&Actor::Engine, None, |world| {
            // Somebody may have frozen it a moment ago.
            let frozen = world.frozen(Switch::Scaling).map(freeze_in_words);
            if frozen.is_some() { (Vec::new(), frozen) } else { (steps, None) }
        });
        // What was not committed was not done; the record must not claim it.
        match committed.await {
            Ok(None) => {
                self.state.wake();
                Ok(Some(kind))
            }
            Ok(Some(reason)) => {
                self.settle(id, DecisionOutcome::Frozen { reason }).await?;
                Ok(None)
            }
            Err(error) => {
                let reason = "it could not be written down".to_owned();
                self.settle(id, DecisionOutcome::Reverted { reason }).await?;
                Err(error)
            }
        }
    }

    /// Records what a person decided and carries it out: `steps` are made of the world as it is then, or say why
    /// not.
    pub(super) async fn by_hand(
        &self,
        (by, request): (&Actor, Option<&str>),
        (mode, proposal): (PolicyMode, Proposal),
        steps: impl FnOnce(&World, DecisionId) -> Result<Vec<Step>, ControlError>,
    ) -> Result<DecisionId, ControlError> {
        let waits = |last: &Decision| last.outcome == DecisionOutcome::AwaitingApproval;
        if let Some(last) = self.last_on(&proposal.kind).await?.filter(waits) {
            self.settle(last.id, DecisionOutcome::Superseded).await?;
        }
        let (at, log, told) = (self.state.clock().now(), Arc::clone(&self.log), proposal.clone());
        let id = blocking(move || log.record(at, mode, &DecisionOutcome::Applied, &told)).await?;
        let committed = self.state.update(by, request, |world| match steps(world, id) {
            Ok(steps) => (steps, Ok(())),
            Err(refused) => (Vec::new(), Err(refused)),
        });
        let done = committed.await.map_err(ControlError::from).flatten();
        if let Err(error) = done {
            // What was not committed was not done; the record must not claim it.
            self.settle(id, DecisionOutcome::Reverted { reason: error.to_string() }).await?;
            return Err(error);
        }
        let outcome = DecisionOutcome::Applied;
        self.state.telemetry().decided(&Decision { id, at, mode, outcome, proposal });
        self.state.wake();
        Ok(id)
    }

    async fn settle(&self, id: DecisionId, outcome: DecisionOutcome) -> Result<(), StoreError> {
        let log = Arc::clone(&self.log);
        blocking(move || log.settle(id, &outcome)).await
    }

    /// The last decision on the same matter: size, count or pool of the same subject.
    async fn last_on(&self, kind: &DecisionKind) -> Result<Option<Decision>, StoreError> {
        let (log, subject) = (Arc::clone(&self.log), kind.subject().to_owned());
        let found = blocking(move || log.decisions(Some(&subject), LOOK_BACK)).await?;
        let same = std::mem::discriminant(kind);
        Ok(found.into_iter().find(|decision| std::mem::discriminant(&decision.proposal.kind) == same))
    }
}

/// Who froze what, until when and why.
pub(super) fn freeze_in_words(action: &Action) -> String {
    let Action { key, by, message, until, .. } = action;
    let what = if let ActionKey::Freeze(switch) = key { switch.to_string() } else { key.to_string() };
    let until = until.map(|until| format!(" until {until:.0}")).unwrap_or_default();
    let why = if message.is_empty() { String::new() } else { format!(": {message}") };
    format!("{what} is frozen by {by}{until}{why}")
}
