//! In: advice about sizes, and what people made of it. Out: advice applied, as a decision and a change of its own, now or
//! when its time has come; dismissals and appointments that ended because the advice is another one.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::watch;

use crate::controllers::analyst::Analysis;
use crate::controllers::autoscaler::largest_node;
use crate::controllers::control::outdated;
use crate::controllers::decisions::{Recorder, freeze_in_words};
use crate::controllers::state::EngineState;
use crate::domain::action::{Action, ActionEnd, ActionKey, Switch};
use crate::domain::change::Change;
use crate::domain::decision::{DecisionId, DecisionKind};
use crate::domain::money::Prices;
use crate::domain::plan::Step;
use crate::domain::recommendation::{Estimate, Recommendation};
use crate::domain::rollout::Actor;
use crate::domain::workload::WorkloadName;
use crate::domain::world::{Workload, World};
use crate::ports::control::{AdviceAsked, ControlError};
use crate::ports::store::StoreError;
use crate::scaling::advice::{Fate, fate, proposal};

/// Where people's word on advice is kept.
pub struct AdviceDesk {
    state: Arc<EngineState>,
    analysis: watch::Receiver<Analysis>,
    recorder: Recorder,
    prices: Prices,
}

impl AdviceDesk {
    /// A desk for the advice of these analyses.
    pub fn new(
        state: &Arc<EngineState>,
        analysis: watch::Receiver<Analysis>,
        recorder: &Recorder,
        prices: Prices,
    ) -> Self {
        Self { state: Arc::clone(state), analysis, recorder: recorder.clone(), prices }
    }

    /// Applies what is advised now.
    pub(super) async fn apply(&self, asked: AdviceAsked) -> Result<Vec<String>, ControlError> {
        let name = &asked.workload;
        let why = if asked.message.is_empty() { String::new() } else { format!(": {}", asked.message) };
        self.carry_out(&asked, &format!("applied by {}{why}", asked.by), ActionEnd::Superseded)
            .await
            .map(|done| done.map(|words| vec![format!("{name}: {words}")]).unwrap_or_default())
    }

    /// Looks after dismissals and appointments.
    pub async fn pass(&self) -> Result<(), StoreError> {
        let world = self.state.world().await;
        let now = self.state.clock().now();
        for action in world.actions.values() {
            let (ActionKey::Dismiss(name) | ActionKey::Schedule(name)) = &action.key else { continue };
            let Some(workload) = world.workloads.get(name).filter(|workload| !workload.deleted) else {
                continue;
            };
            self.keep(&world, workload, action, now).await?;
        }
        Ok(())
    }

    async fn keep(
        &self,
        world: &World,
        workload: &Workload,
        action: &Action,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let advised = self.analysis.borrow().recommendations.get(&workload.name).cloned();
        let policy = world.policy_of(workload);
        match fate(action, workload, advised.as_ref(), &policy, now) {
            Fate::Holds => Ok(()),
            Fate::Over(end, reason) => self.end(action, end, reason).await,
            // The appointment is kept once scaling is thawed.
            Fate::Due if world.frozen(Switch::Scaling).is_some() => Ok(()),
            Fate::Due => {
                let asked = AdviceAsked {
                    by: action.by.clone(),
                    message: action.message.clone(),
                    workload: workload.name.clone(),
                    request: None,
                    expected: None,
                };
                let told = format!("scheduled {} at {:.0}", action.told(), action.at);
                match self.carry_out(&asked, &told, ActionEnd::Done).await {
                    Ok(Some(_)) => Ok(()),
                    Ok(None) => self.end(action, ActionEnd::Done, "it has that size".to_owned()).await,
                    Err(ControlError::Store(error)) => Err(error),
                    // Somebody was faster; the next pass sees what holds then.
                    Err(refused) => {
                        tracing::info!(workload = %workload.name, "advice is not applied yet: {refused}");
                        Ok(())
                    }
                }
            }
        }
    }

    /// Ends an action, if it is still the same.
    async fn end(&self, action: &Action, end: ActionEnd, reason: String) -> Result<(), StoreError> {
        let ended = self.state.update(&Actor::Engine, None, |world| {
            let change = Change::ActionEnded { action: action.key.clone(), end };
            let same = world.actions.get(&action.key) == Some(action);
            (if same { vec![Step { change, reason }] } else { Vec::new() }, ())
        });
        ended.await
    }

    /// Puts the advice in force and ends what was said of it before; tells what changed, if anything did.
    async fn carry_out(
        &self,
        asked: &AdviceAsked,
        told: &str,
        end: ActionEnd,
    ) -> Result<Option<String>, ControlError> {
        let (name, world) = (&asked.workload, self.state.world().await);
        let found = world.workloads.get(name).filter(|found| !found.deleted);
        let workload =
            found.ok_or_else(|| ControlError::NotFound(format!("there is no workload `{name}`")))?;
        thawed(&world, name)?;
        let advised = self.advised(name)?;
        let Some(proposal) = proposal(&advised, workload, largest_node(&world), &self.prices, told) else {
            return Ok(None);
        };
        let (mode, words) = (world.policy_of(workload).size, proposal.kind.to_string());
        let (kind, expected) = (proposal.kind.clone(), asked.expected.map(|number| (name.clone(), number)));
        let reason = format!("{words}, {told}");
        let steps = |world: &World, id: DecisionId| {
            // Somebody may have frozen it, or changed the workload, a moment ago.
            thawed(world, name)?;
            match expected.as_ref().and_then(|expected| outdated(world, expected)) {
                Some(conflict) => Err(conflict),
                None => Ok(steps(world, (&kind, id), &reason, end)),
            }
        };
        let who = (&asked.by, asked.request.as_deref());
        let id = self.recorder.by_hand(who, (mode, proposal), steps).await?;
        Ok(Some(format!("{words} (decision {id})")))
    }

    fn advised(&self, name: &WorkloadName) -> Result<Recommendation, ControlError> {
        match self.analysis.borrow().recommendations.get(name) {
            Some(Estimate::Recommended(found)) => Ok((**found).clone()),
            Some(Estimate::Withheld(why)) => {
                Err(ControlError::Refused(format!("nothing is advised for {name}: {why}")))
            }
            None => {
                Err(ControlError::Refused(format!("nothing is advised for {name}: nothing measured yet")))
            }
        }
    }
}

fn thawed(world: &World, name: &WorkloadName) -> Result<(), ControlError> {
    let Some(action) = world.frozen(Switch::Scaling) else { return Ok(()) };
    Err(ControlError::Refused(format!("the size of {name} is not changed: {}", freeze_in_words(action))))
}

fn steps(world: &World, (kind, id): (&DecisionKind, DecisionId), reason: &str, end: ActionEnd) -> Vec<Step> {
    let DecisionKind::Size { workload, to, .. } = kind else { return Vec::new() };
    let set = Change::SizeSet { workload: workload.clone(), size: *to, decision: Some(id) };
    let mut steps = vec![Step { change: set, reason: reason.to_owned() }];
    for key in [ActionKey::Dismiss(workload.clone()), ActionKey::Schedule(workload.clone())] {
        if world.actions.contains_key(&key) {
            let change = Change::ActionEnded { action: key, end };
            steps.push(Step { change, reason: reason.to_owned() });
        }
    }
    steps
}
