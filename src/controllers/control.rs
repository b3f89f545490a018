//! The engine as its edges see it: puts the view together, turns intents into committed changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;

use crate::controllers::analyst::Analysis;
use crate::controllers::scheduler::{Pass, Scheduler};
use crate::controllers::state::EngineState;
use crate::domain::change::Change;
use crate::domain::decision::{DecisionId, DecisionKind, DecisionOutcome};
use crate::domain::intent::Intent;
use crate::domain::node::NodeName;
use crate::domain::plan::Step;
use crate::domain::rollout::Actor;
use crate::ports::control::{Control, ControlError, EngineHealth, View};
use crate::ports::node_provider::NodeProvider;
use crate::ports::store::DecisionLog;
use crate::scheduling::intent::{Rejection, changes};

/// The engine's side of the control port.
pub struct EngineControl {
    /// The world.
    pub state: Arc<EngineState>,
    /// For the stable addresses.
    pub scheduler: Arc<Scheduler>,
    /// What the last pass saw.
    pub passes: watch::Receiver<Pass>,
    /// What was measured and recommended.
    pub analysis: watch::Receiver<Analysis>,
    /// Decisions.
    pub decisions: Arc<dyn DecisionLog>,
    /// For failing nodes.
    pub nodes: Arc<dyn NodeProvider>,
    /// What the cluster does not enforce.
    pub limitations: Vec<String>,
    /// When the engine started.
    pub started_at: Timestamp,
}

#[async_trait]
impl Control for EngineControl {
    async fn view(&self) -> View {
        let pass = self.passes.borrow().clone();
        let analysis = self.analysis.borrow().clone();
        View {
            world: self.state.world().await,
            observed: pass.observed,
            waiting: pass.waiting,
            recommendations: analysis.recommendations,
            usage: analysis.usage,
            load: analysis.load,
            front_doors: Arc::new(self.scheduler.front_doors()),
            engine: EngineHealth {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started_at: self.started_at,
                scheduled_at: pass.at,
                limitations: self.limitations.clone(),
                scrapes: analysis.scrapes,
                problems: pass.problems,
            },
        }
    }

    async fn submit(&self, by: Actor, message: String, intent: Intent) -> Result<Vec<String>, ControlError> {
        let now = self.state.clock().now();
        let said = self.state.update(&by, |world| match changes(world, &intent, now) {
            Ok(worded) => {
                let (changes, words): (Vec<Change>, Vec<String>) = worded.into_iter().unzip();
                let reason =
                    |words: &String| if message.is_empty() { words.clone() } else { message.clone() };
                let steps = changes
                    .into_iter()
                    .zip(&words)
                    .map(|(change, words)| Step { change, reason: reason(words) })
                    .collect();
                (steps, Ok(words))
            }
            Err(rejection) => (Vec::new(), Err(rejection)),
        });
        let words = said.await?.map_err(|rejection| match rejection {
            Rejection::NotFound { .. } => ControlError::NotFound(rejection.to_string()),
            Rejection::Refused(text) => ControlError::Refused(text),
        })?;
        self.state.wake();
        Ok(words)
    }

    async fn approve(&self, by: Actor, decision: DecisionId) -> Result<(), ControlError> {
        let log = Arc::clone(&self.decisions);
        let found = blocking(move || log.decision(decision)).await?;
        let found =
            found.ok_or_else(|| ControlError::NotFound(format!("there is no decision {decision}")))?;
        if found.outcome != DecisionOutcome::AwaitingApproval {
            return Err(ControlError::Refused(format!("decision {decision} is {}", found.outcome)));
        }
        let change = match found.proposal.kind {
            DecisionKind::Size { workload, to, .. } => {
                Change::SizeSet { workload, size: to, decision: Some(decision) }
            }
            DecisionKind::Count { workload, to, .. } => {
                Change::CountSet { workload, count: to, decision: Some(decision) }
            }
            DecisionKind::Pool { pool, to, .. } => {
                Change::PoolTargetSet { pool, target: to, decision: Some(decision) }
            }
        };
        let reason = format!("decision {decision} was approved by {by}");
        self.state.commit(&by, vec![Step { change, reason }]).await?;
        let log = Arc::clone(&self.decisions);
        blocking(move || log.settle(decision, &DecisionOutcome::Applied)).await?;
        self.state.wake();
        Ok(())
    }

    async fn fail_node(&self, by: Actor, node: &NodeName) -> Result<(), ControlError> {
        if !self.state.world().await.nodes.contains_key(node) {
            return Err(ControlError::NotFound(format!("there is no node named `{node}`")));
        }
        tracing::warn!(%node, %by, "node failed by hand");
        self.nodes.fail(node).await.map_err(|error| ControlError::Refused(error.to_string()))?;
        self.state.wake();
        Ok(())
    }
}

/// Runs a blocking call of the store off the executor's threads.
pub(super) async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, crate::ports::store::StoreError> + Send + 'static,
) -> Result<T, crate::ports::store::StoreError> {
    match tokio::task::spawn_blocking(call).await {
        Ok(result) => result,
        Err(panic) => Err(crate::ports::store::StoreError::Failed {
            operation: "run a call of the store".to_owned(),
            source: Box::new(panic),
        }),
    }
}

/// An empty map that is shared.
pub(super) fn shared<K: Ord, V>() -> Arc<BTreeMap<K, V>> {
    Arc::new(BTreeMap::new())
}
