//! In: tasks that wait, nodes and their use. Out: decisions about the number of nodes of each pool,
//! recorded and carried out.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{Mutex, watch};

use crate::controllers::decisions::Recorder;
use crate::controllers::scheduler::Pass;
use crate::controllers::state::EngineState;
use crate::domain::change::Change;
use crate::domain::decision::DecisionId;
use crate::domain::node_outlook::NodesOutlook;
use crate::domain::plan::{Step, Waiting};
use crate::domain::policy::PolicyMode;
use crate::domain::rollout::Actor;
use crate::domain::task::{TaskId, TaskState};
use crate::ports::store::StoreError;
use crate::scaling::cluster::{ClusterTerms, decide, node_use};
use crate::scaling::node_outlook::outlook;

/// The cluster scaler's loop body.
pub struct ClusterScaler {
    state: Arc<EngineState>,
    passes: watch::Receiver<Pass>,
    recorder: Recorder,
    terms: ClusterTerms,
    /// What is to become of nodes, for people to see.
    outlook: watch::Sender<Arc<NodesOutlook>>,
    /// What was said about tasks that no growth helps, so that it is said once.
    told: Mutex<BTreeMap<TaskId, String>>,
}

impl ClusterScaler {
    /// A cluster scaler.
    pub fn new(
        state: Arc<EngineState>,
        passes: watch::Receiver<Pass>,
        recorder: Recorder,
        terms: ClusterTerms,
    ) -> Self {
        Self { state, passes, recorder, terms, outlook: watch::Sender::default(), told: Mutex::default() }
    }

    /// What is to become of nodes, as of the last pass.
    pub fn outlook(&self) -> watch::Receiver<Arc<NodesOutlook>> {
        self.outlook.subscribe()
    }

    /// Notes the use of nodes, then changes at most one pool.
    pub async fn pass(&self) -> Result<(), StoreError> {
        let now = self.state.clock().now();
        let overcommit = Arc::clone(&self.passes.borrow().observed.usage.overcommit);
        self.state
            .update(&Actor::Engine, None, |world| {
                let reason = "use against the pool's threshold".to_owned();
                let step = |change| Step { change, reason: reason.clone() };
                (node_use(world, &overcommit, now).into_iter().map(step).collect(), ())
            })
            .await?;
        let (world, waiting) = (self.state.world().await, Arc::clone(&self.passes.borrow().waiting));
        // The world may be newer than what waited: what has a node by now needs no other one.
        let pending = |waiting: &&Waiting| {
            world.tasks.get(&waiting.task).is_some_and(|task| task.state == TaskState::Pending)
        };
        let waiting: Vec<Waiting> = waiting.iter().filter(pending).cloned().collect();
        let terms = ClusterTerms { overcommit, ..self.terms.clone() };
        let verdict = decide(&world, &waiting, &terms, now);
        self.outlook.send_replace(Arc::new(outlook(&world, &verdict, &terms.overcommit, now)));
        let mut told = self.told.lock().await;
        told.retain(|task, _| verdict.unserved.iter().any(|unserved| unserved.task == *task));
        for unserved in &verdict.unserved {
            let before = told.insert(unserved.task.clone(), unserved.reason.clone());
            if before.as_ref() != Some(&unserved.reason) {
                tracing::warn!(task = %unserved.task, "no pool can help: {}", unserved.reason);
            }
        }
        let Some(decision) = verdict.decision else { return Ok(()) };
        let changes = decision.steps.into_iter().map(|step| step.change);
        let numbered = |id| changes.map(|change| with_decision(change, id)).collect();
        self.recorder.record(PolicyMode::Auto, decision.proposal, numbered).await?;
        Ok(())
    }
}

/// A pool's new target with the number of the decision behind it.
fn with_decision(change: Change, id: DecisionId) -> Change {
    match change {
        Change::PoolTargetSet { pool, target, .. } => {
            Change::PoolTargetSet { pool, target, decision: Some(id) }
        }
        other => other,
    }
}
