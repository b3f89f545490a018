//! Records proposals as decisions and carries out those that their policy lets through.

use std::sync::Arc;

use crate::controllers::control::blocking;
use crate::controllers::state::EngineState;
use crate::domain::change::Change;
use crate::domain::decision::{Decision, DecisionId, DecisionKind, DecisionOutcome, Proposal};
use crate::domain::plan::Step;
use crate::domain::policy::PolicyMode;
use crate::domain::rollout::Actor;
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
    /// Under `observe` and `approve` a proposal that repeats the last one is not recorded again.
    pub async fn record(
        &self,
        mode: PolicyMode,
        proposal: Proposal,
        changes: impl FnOnce(DecisionId) -> Vec<Change>,
    ) -> Result<Option<DecisionKind>, StoreError> {
        let outcome = match mode {
            PolicyMode::Off => return Ok(None),
            PolicyMode::Observe => DecisionOutcome::Observed,
            PolicyMode::Approve => DecisionOutcome::AwaitingApproval,
            PolicyMode::Auto => DecisionOutcome::Applied,
        };
        let last = self.last_on(&proposal.kind).await?;
        if mode != PolicyMode::Auto
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
        self.state.telemetry().decided(&Decision { id, at, mode, outcome, proposal });
        if mode != PolicyMode::Auto {
            return Ok(None);
        }
        let step = |change| Step { change, reason: format!("decision {id}: {reason}") };
        let steps = changes(id).into_iter().map(step).collect();
        if let Err(error) = self.state.commit(&Actor::Engine, steps).await {
            // What was not committed was not done; the record must not claim it.
            let outcome = DecisionOutcome::Reverted { reason: "it could not be written down".to_owned() };
            let log = Arc::clone(&self.log);
            blocking(move || log.settle(id, &outcome)).await?;
            return Err(error);
        }
        self.state.wake();
        Ok(Some(kind))
    }

    /// The last decision on the same matter: size, count or pool of the same subject.
    async fn last_on(&self, kind: &DecisionKind) -> Result<Option<Decision>, StoreError> {
        let (log, subject) = (Arc::clone(&self.log), kind.subject().to_owned());
        let found = blocking(move || log.decisions(Some(&subject), LOOK_BACK)).await?;
        let same = std::mem::discriminant(kind);
        Ok(found.into_iter().find(|decision| std::mem::discriminant(&decision.proposal.kind) == same))
    }
}
