//! The engine as its edges see it: puts the view together, turns intents into committed changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Semaphore, watch};

use crate::controllers::advice_desk::AdviceDesk;
use crate::controllers::analyst::Analysis;
use crate::controllers::autoscaler::Scaling;
use crate::controllers::decisions::freeze_in_words;
use crate::controllers::driver::chain;
use crate::controllers::load_forecasts::LoadForecasts;
use crate::controllers::notices::HookHealth;
use crate::controllers::scheduler::{Pass, Scheduler};
use crate::controllers::state::EngineState;
use crate::controllers::targets::exec_target;
use crate::controllers::what_if::WhatIfSources;
use crate::domain::action::Switch;
use crate::domain::change::Change;
use crate::domain::cron_advice::CronAdvice;
use crate::domain::decision::{DecisionId, DecisionKind, DecisionOutcome};
use crate::domain::intent::{Intent, Submission};
use crate::domain::load_forecast::LoadForecast;
use crate::domain::node::{NodeName, NodePool, PoolName, PoolSpec};
use crate::domain::node_outlook::NodesOutlook;
use crate::domain::plan::{Alarm, Step};
use crate::domain::rollout::Actor;
use crate::domain::task::{Task, TaskId};
use crate::domain::what_if::WhatIf;
use crate::domain::workload::{TaskTemplate, WorkloadName};
use crate::domain::world::World;
use crate::estimation::catalogue::Entry;
use crate::estimation::policy_estimator::{entries, recipe};
use crate::ports::control::{
    AdviceAsked, Control, ControlError, EngineHealth, SizePolicyEntry, View, WhatIfAsked,
};
use crate::ports::exec::{ExecLimits, ExecOutput, TaskExec};
use crate::ports::health::{HealthSource, ProbeResult};
use crate::ports::node_provider::NodeProvider;
use crate::ports::store::{DecisionLog, EventQuery, NumberedChange, StoreError};
use crate::scaling::cron_advice::advise;
use crate::scheduling::NODES_DO_NOT_JOIN;
use crate::scheduling::intent::{Asked, Rejection, changes};

/// What is kept of each output of a command in a task, in bytes.
const EXEC_OUTPUT_MAX: usize = 1 << 20;
/// So many commands run in tasks at a time.
pub const EXECS_MAX: usize = 16;
/// The answer to a repeated request names at most this many changes.
const REPEATED_CHANGES_MAX: usize = 1_000;

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
    /// For the answers of health checks.
    pub health: Arc<dyn HealthSource>,
    /// For failing nodes.
    pub nodes: Arc<dyn NodeProvider>,
    /// The names of providers that pools can get machines from.
    pub providers: BTreeSet<String>,
    /// For commands in tasks.
    pub exec: Arc<dyn TaskExec>,
    /// Each of these lets one command run.
    pub exec_slots: Semaphore,
    /// What is to become of nodes.
    pub outlook: watch::Receiver<Arc<NodesOutlook>>,
    /// How counts stand.
    pub scaling: watch::Receiver<Scaling>,
    /// Disasters that last.
    pub disasters: watch::Receiver<Arc<Vec<Alarm>>>,
    /// How hooks do.
    pub hooks: Vec<watch::Receiver<HookHealth>>,
    /// For questions about other loads.
    pub what_if: WhatIfSources,
    /// For advice that people apply.
    pub advice: Arc<AdviceDesk>,
    /// For loads to come.
    pub forecasts: LoadForecasts,
    /// What the cluster does not enforce.
    pub limitations: Vec<String>,
    /// When the engine started.
    pub started_at: Timestamp,
}

#[async_trait]
impl Control for EngineControl {
    async fn view(&self) -> View {
        // The world first: a pass publishes what it saw before it changes the world, so what is seen
        // here is never older than the states that follow from it.
        let world = self.state.world().await;
        let pass = self.passes.borrow().clone();
        let analysis = self.analysis.borrow().clone();
        let mut problems = pass.problems;
        problems.extend(self.state.trouble().filter(|trouble| {
            // A pass that failed for it has said so.
            !problems.iter().any(|problem| problem.contains(trouble.as_str()))
        }));
        problems
            .extend(Switch::ALL.into_iter().filter_map(|switch| world.frozen(switch)).map(freeze_in_words));
        problems.extend(world.pools.values().filter_map(machines_in_words));
        let failing = pass.alarms.iter().filter(|alarm| alarm.kind == NODES_DO_NOT_JOIN);
        problems.extend(failing.map(|alarm| format!("{}: {}", alarm.kind, alarm.message)));
        problems.extend(self.hooks.iter().filter_map(|hook| hook.borrow().problem()));
        problems.extend(analysis.size_policy_problem);
        problems.extend(analysis.own_policy_problems);
        let disasters = Arc::clone(&self.disasters.borrow());
        let scaling = self.scaling.borrow().clone();
        View {
            world,
            observed: pass.observed,
            waiting: pass.waiting,
            alarms: joined(joined(pass.alarms, &disasters), &scaling.alarms),
            scaling: scaling.statuses,
            recommendations: analysis.recommendations,
            usage: analysis.usage,
            load: analysis.load,
            models: analysis.models,
            outlook: Arc::clone(&self.outlook.borrow()),
            front_doors: Arc::new(self.scheduler.front_doors()),
            engine: EngineHealth {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started_at: self.started_at,
                scheduled_at: pass.at,
                limitations: self.limitations.clone(),
                scrapes: analysis.scrapes,
                problems,
                size_policy: analysis.size_policy,
            },
        }
    }

    async fn submit(&self, submission: Submission) -> Result<Vec<String>, ControlError> {
        let Submission { by, message, intent, request, expected, dry_run } = submission;
        if let Some(words) = self.answered(request.as_deref()).await? {
            return Ok(words);
        }
        if let Intent::SetSizePolicy(policy) | Intent::SetSizePolicyOf { policy, .. } = &intent {
            recipe(policy).map_err(|error| ControlError::Invalid(chain(&error)))?;
        }
        if let Intent::Apply(declared) = &intent {
            self.check_providers(&declared.pools)?;
        }
        let at = self.state.clock().now();
        let said = self.state.update(&by, request.as_deref(), |world| {
            if let Some(refusal) = expected.as_ref().and_then(|wanted| outdated(world, wanted)) {
                return (Vec::new(), Err(refusal));
            }
            match changes(world, &intent, &Asked { by: &by, message: &message, at }) {
                Ok(worded) => {
                    let (changes, words): (Vec<Change>, Vec<String>) = worded.into_iter().unzip();
                    if dry_run {
                        return (Vec::new(), Ok(words));
                    }
                    let reason =
                        |words: &String| if message.is_empty() { words.clone() } else { message.clone() };
                    let steps = changes
                        .into_iter()
                        .zip(&words)
                        .map(|(change, words)| Step { change, reason: reason(words) })
                        .collect();
                    (steps, Ok(words))
                }
                Err(Rejection::Refused(text)) => (Vec::new(), Err(ControlError::Refused(text))),
                Err(rejection) => (Vec::new(), Err(ControlError::NotFound(rejection.to_string()))),
            }
        });
        let words = said.await??;
        self.state.wake();
        Ok(words)
    }

    fn size_policies(&self) -> Vec<SizePolicyEntry> {
        let entry = |entry: &Entry| SizePolicyEntry {
            name: entry.name.to_owned(),
            keys: entry.keys.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect(),
            knob: entry.knob.to_owned(),
        };
        entries().map(entry).collect()
    }

    async fn what_if(&self, asked: WhatIfAsked) -> Result<WhatIf, ControlError> {
        let world = self.state.world().await;
        let analysis = self.analysis.borrow().clone();
        self.what_if.answer((&world, &analysis), &asked, self.state.clock().now()).await
    }

    async fn cron_advice(&self, most: SignedDuration) -> Result<CronAdvice, ControlError> {
        let (world, prices) = (self.state.world().await, self.what_if.prices);
        let now = self.state.clock().now();
        let advice = tokio::task::spawn_blocking(move || advise(&world, &prices, now, most)).await;
        advice.map_err(|error| ControlError::Refused(format!("schedules could not be looked at: {error}")))
    }

    async fn apply_advice(&self, asked: AdviceAsked) -> Result<Vec<String>, ControlError> {
        if let Some(words) = self.answered(asked.request.as_deref()).await? {
            return Ok(words);
        }
        self.advice.apply(asked).await
    }

    async fn forecast(
        &self,
        workload: &WorkloadName,
        ahead: SignedDuration,
        step: SignedDuration,
    ) -> Result<LoadForecast, ControlError> {
        let world = self.state.world().await;
        self.forecasts.course(&world, workload, (ahead, step), self.state.clock().now()).await
    }

    fn last_change(&self) -> u64 {
        *self.state.newest().borrow()
    }

    async fn changes_after(&self, after: u64, limit: usize) -> Result<Vec<NumberedChange>, StoreError> {
        let mut newest = self.state.newest();
        // The sender lives as long as the state does.
        let _ = newest.wait_for(|number| *number > after).await;
        let store = Arc::clone(self.state.store());
        let query = EventQuery { after: Some(after), limit, ..EventQuery::default() };
        blocking(move || store.events(&query)).await
    }

    async fn template(&self, task: &Task) -> Option<TaskTemplate> {
        crate::scheduling::launching::template(&*self.state.world().await, task)
    }

    fn probe_results(&self, task: &TaskId) -> Vec<ProbeResult> {
        self.health.results(task)
    }

    async fn approve(&self, by: Actor, decision: DecisionId) -> Result<(), ControlError> {
        let log = Arc::clone(&self.decisions);
        let found = blocking(move || log.decision(decision)).await?;
        let found =
            found.ok_or_else(|| ControlError::NotFound(format!("there is no decision {decision}")))?;
        if found.outcome != DecisionOutcome::AwaitingApproval {
            return Err(ControlError::Refused(format!("decision {decision} is {}", found.outcome)));
        }
        if let Some(action) = self.state.world().await.frozen(Switch::Scaling) {
            let why = freeze_in_words(action);
            return Err(ControlError::Refused(format!("decision {decision} cannot be carried out: {why}")));
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

    async fn exec(
        &self,
        by: Actor,
        task: &TaskId,
        command: &[String],
        time: SignedDuration,
    ) -> Result<ExecOutput, ControlError> {
        let refused = |text: String| Err(ControlError::Refused(text));
        let Some(program) = command.first() else { return refused("the command is empty".to_owned()) };
        let world = self.state.world().await;
        let found = world.tasks.get(task);
        let found = found.ok_or_else(|| ControlError::NotFound(format!("there is no task {task}")))?;
        let Some(target) = exec_target(&world, found).filter(|_| found.state.holds_resources()) else {
            return refused(format!("task {task} is {}; commands run in running tasks", found.state));
        };
        let Ok(_slot) = self.exec_slots.try_acquire() else {
            return refused("too many commands run in tasks at this moment; try again".to_owned());
        };
        // Its arguments may be nobody's business.
        tracing::info!(%task, %by, program, "runs a command in a task");
        let limits = ExecLimits { time, output: EXEC_OUTPUT_MAX };
        let done = self.exec.exec(&target, command, limits).await;
        done.map_err(|error| ControlError::Refused(chain(&error)))
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

/// A pool whose machines cannot run tasks yet.
fn machines_in_words(pool: &NodePool) -> Option<String> {
    let provider = pool.spec.source.provider.as_ref().filter(|_| !pool.spec.source.runs_tasks())?;
    Some(format!(
        "pool {}: no agent runs tasks on machines of provider {provider} yet, so it gets no nodes; with `rehearse = \
         true` slices of this machine stand for them",
        pool.name
    ))
}

impl EngineControl {
    /// Refuses pools of providers that the settings do not name.
    fn check_providers(&self, pools: &BTreeMap<PoolName, PoolSpec>) -> Result<(), ControlError> {
        for (name, spec) in pools {
            let Some(provider) = &spec.source.provider else { continue };
            if !self.providers.contains(provider) {
                let known: Vec<&str> = self.providers.iter().map(String::as_str).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(ControlError::Invalid(format!(
                    "pool {name}: the engine's settings name no provider {provider}; they name: {known}"
                )));
            }
        }
        Ok(())
    }

    /// What a request that was made before changed, in the words of its record.
    async fn answered(&self, request: Option<&str>) -> Result<Option<Vec<String>>, StoreError> {
        let Some(request) = request else { return Ok(None) };
        let store = Arc::clone(self.state.store());
        let query = EventQuery {
            request: Some(request.to_owned()),
            after: Some(0),
            limit: REPEATED_CHANGES_MAX,
            ..EventQuery::default()
        };
        let found = blocking(move || store.events(&query)).await?;
        let words = || found.iter().map(|change| change.recorded.reason.clone()).collect();
        Ok((!found.is_empty()).then(words))
    }
}

/// Both, without a copy where one of them is empty.
fn joined(alarms: Arc<Vec<Alarm>>, more: &[Alarm]) -> Arc<Vec<Alarm>> {
    if more.is_empty() { alarms } else { Arc::new(alarms.iter().chain(more).cloned().collect()) }
}

/// Why a writer does not act on what it saw, if so.
pub(super) fn outdated(world: &World, (name, generation): &(WorkloadName, u64)) -> Option<ControlError> {
    let present = world.workloads.get(name).map(|workload| workload.generation);
    (present != Some(*generation)).then(|| {
        let found = present.map_or_else(|| "gone".to_owned(), |number| format!("at generation {number}"));
        ControlError::Conflict(format!("{name} is {found}, not at generation {generation}; look again"))
    })
}

/// Runs a blocking call of the store off the executor's threads.
pub(super) async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(call).await {
        Ok(result) => result,
        Err(panic) => Err(StoreError::Failed {
            operation: "run a call of the store".to_owned(),
            source: Box::new(panic),
        }),
    }
}

/// An empty map that is shared.
pub(super) fn shared<K: Ord, V>() -> Arc<BTreeMap<K, V>> {
    Arc::new(BTreeMap::new())
}
