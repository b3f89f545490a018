//! In: readings of agents and of the front door. Out: samples in the history, recommendations.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::{broadcast, watch};

use crate::controllers::autoscaler::largest_node;
use crate::controllers::control::{blocking, shared};
use crate::controllers::driver::chain;
use crate::controllers::load_feed::{self, LoadFeed};
use crate::controllers::node_peaks::{self, Peaks};
use crate::controllers::own_sizing::{self, OwnSizing};
use crate::controllers::run_peaks::{self, RunPeaks};
use crate::controllers::sizing::{CHECKPOINT, InForce, Past, Sizing, oom_kill};
use crate::controllers::state::EngineState;
use crate::domain::change::{Change, RecordedChange};
use crate::domain::load::{LoadReading, LoadSample};
use crate::domain::load_model::LoadModel;
use crate::domain::money::Prices;
use crate::domain::overcommit::Overcommit;
use crate::domain::plan::Step;
use crate::domain::policy::PolicyMode;
use crate::domain::quantity::Bytes;
use crate::domain::recommendation::{Estimate, Withheld};
use crate::domain::rollout::Actor;
use crate::domain::task::TaskId;
use crate::domain::usage::{INTERVAL_SECONDS_MAX, TaskReading, UsageSample};
use crate::domain::workload::WorkloadName;
use crate::domain::world::World;
use crate::estimation::node_peak::PeakSettings;
use crate::estimation::{Estimator, Subject};
use crate::ports::control::ScrapeHealth;
use crate::ports::front_door::FrontDoor;
use crate::ports::store::StoreError;
use crate::ports::telemetry::ScrapeOutcome;
use crate::ports::usage_source::{UsageError, UsageSource};

/// What was measured last, and what follows from everything that was measured.
#[derive(Debug, Clone)]
pub struct Analysis {
    /// The newest sample of each task.
    pub usage: Arc<BTreeMap<TaskId, UsageSample>>,
    /// The newest load of each service.
    pub load: Arc<BTreeMap<WorkloadName, LoadSample>>,
    /// What instances of each service use as functions of their load.
    pub models: Arc<BTreeMap<WorkloadName, LoadModel>>,
    /// The newest recommendation of each workload.
    pub recommendations: Arc<BTreeMap<WorkloadName, Estimate>>,
    /// The memory that retries of each cron job and job climb to after kills.
    pub rungs: Arc<BTreeMap<WorkloadName, Vec<Bytes>>>,
    /// What tasks count with instead of their requests for CPU, where overcommit is on.
    pub overcommit: Arc<Overcommit>,
    /// How reading the agents goes.
    pub scrapes: Vec<ScrapeHealth>,
    /// When the agents were last read.
    pub at: Option<Timestamp>,
    /// The policy that sizes come from.
    pub size_policy: String,
    /// Why that is not the one that was chosen, if so.
    pub size_policy_problem: Option<String>,
    /// Why workloads are not sized by the policies that were chosen for them alone.
    pub own_policy_problems: Vec<String>,
}

impl Default for Analysis {
    fn default() -> Self {
        Self {
            usage: shared(),
            load: shared(),
            models: shared(),
            recommendations: shared(),
            rungs: shared(),
            overcommit: Arc::default(),
            scrapes: Vec::new(),
            at: None,
            size_policy: String::new(),
            size_policy_problem: None,
            own_policy_problems: Vec::new(),
        }
    }
}

/// An agent and how reading it goes.
pub struct AgentSource {
    /// Its address, for people.
    pub name: String,
    /// Where it is read.
    pub source: Arc<dyn UsageSource>,
}

/// The analyst's loop body.
pub struct Analyst {
    state: Arc<EngineState>,
    agents: Vec<AgentSource>,
    front_door: Arc<dyn FrontDoor>,
    past: Past,
    prices: Prices,
    sizing: Sizing,
    memory: Mutex<Memory>,
    published: watch::Sender<Analysis>,
}

/// What the analyst remembers from one pass to the next.
struct Memory {
    in_force: InForce,
    own: OwnSizing,
    runs: RunPeaks,
    feed: LoadFeed,
    peaks: Peaks,
    changes: broadcast::Receiver<Arc<RecordedChange>>,
    readings: BTreeMap<TaskId, TaskReading>,
    usage: BTreeMap<TaskId, UsageSample>,
    load_readings: BTreeMap<WorkloadName, LoadReading>,
    load: BTreeMap<WorkloadName, LoadSample>,
    scrapes: BTreeMap<String, ScrapeHealth>,
}

impl Analyst {
    /// An analyst that sizes by the policy that the world names; takes up where the last engine left off, or,
    /// where that cannot be read, begins from the recorded usage.
    pub fn new(
        (state, published): (Arc<EngineState>, watch::Sender<Analysis>),
        agents: Vec<AgentSource>,
        front_door: Arc<dyn FrontDoor>,
        past: Past,
        (sizing, feed, peaks): (Sizing, LoadFeed, Option<PeakSettings>),
        (world, prices): (&World, Prices),
    ) -> Result<Self, StoreError> {
        let in_force = sizing.at_start(world, state.store().as_ref())?;
        in_force.publish(&published);
        let mut runs = RunPeaks::restored(state.store().document(run_peaks::CHECKPOINT)?.as_deref());
        runs.look(world);
        let (known, now) = (state.store().document(node_peaks::CHECKPOINT)?, state.clock().now());
        let memory = Memory {
            peaks: Peaks::restored(peaks, known.as_deref(), (&past, now))?,
            in_force,
            own: OwnSizing::default(),
            runs,
            feed: feed.restored(state.store().document(load_feed::CHECKPOINT)?.as_deref()),
            changes: state.subscribe(),
            readings: BTreeMap::new(),
            usage: BTreeMap::new(),
            load_readings: BTreeMap::new(),
            load: BTreeMap::new(),
            scrapes: BTreeMap::new(),
        };
        Ok(Self { state, agents, front_door, past, prices, sizing, memory: Mutex::new(memory), published })
    }

    /// Reads every agent and the front door, keeps the samples, tells the estimator.
    pub async fn sample(&self) -> Result<(), StoreError> {
        let world = self.state.world().await;
        let mut usage = Vec::new();
        for agent in &self.agents {
            usage.extend(self.scrape(agent).await);
        }
        let now = self.state.clock().now();
        let load = self.take_load(&world, now);
        {
            let mut memory = self.lock();
            memory.take_ends(&world);
            for sample in &usage {
                memory.in_force.estimator.observe(sample);
                memory.own.observe(sample);
                memory.runs.sampled(sample);
                memory.feed.sampled(&world, sample);
                memory.peaks.sampled(sample);
                memory.usage.insert(sample.task.clone(), sample.clone());
            }
            memory.usage.retain(|task, _| world.tasks.contains_key(task));
            memory.runs.settle();
            memory.feed.retain(&world);
            memory.readings.retain(|task, _| world.tasks.contains_key(task));
            memory.load.retain(|workload, _| world.workloads.contains_key(workload));
        }
        self.publish(&world, now);
        if usage.is_empty() && load.is_empty() {
            return Ok(());
        }
        let history = Arc::clone(&self.past.history);
        self.state.noted(blocking(move || history.append(&usage, &load)).await)
    }

    /// Asks the estimator for every workload, and keeps its state.
    pub async fn recommend(&self) -> Result<(), StoreError> {
        let world = self.state.world().await;
        self.follow_choice(&world).await;
        self.follow_own_choices(&world).await;
        let now = self.state.clock().now();
        self.model_load(&world).await?;
        let checkpoint = {
            let memory = self.lock();
            let largest = largest_node(&world).map(|node| node.memory);
            let mut rungs = BTreeMap::new();
            let recommendations: BTreeMap<_, _> = world
                .workloads
                .values()
                .filter(|workload| !workload.deleted)
                .map(|workload| {
                    let policy = world.policy_of(workload);
                    if policy.size == PolicyMode::Off {
                        return (workload.name.clone(), Estimate::Withheld(Withheld::PolicyOff));
                    }
                    let subject = Subject {
                        workload: &workload.name,
                        declared: workload.spec.template().size,
                        current: workload.size(),
                        bounds: policy.bounds,
                        prices: self.prices,
                    };
                    if workload.spec.run_policy().is_some() {
                        let learned = memory.runs.rungs(&subject, largest);
                        rungs.extend((!learned.is_empty()).then(|| (workload.name.clone(), learned)));
                        return (workload.name.clone(), memory.runs.estimate(&subject, now));
                    }
                    let own = memory.own.estimate(&subject, now);
                    let said = own.unwrap_or_else(|| memory.in_force.estimator.estimate(&subject, now));
                    (workload.name.clone(), said)
                })
                .collect();
            self.published.send_modify(|analysis| {
                analysis.recommendations = Arc::new(recommendations);
                analysis.rungs = Arc::new(rungs);
            });
            let peaks = memory.peaks.checkpoint();
            if let Some(learnt) = memory.peaks.learnt() {
                self.state.telemetry().lent(&learnt.figures());
            }
            memory
                .in_force
                .checkpoint()
                .and_then(|estimator| Ok((estimator, memory.runs.checkpoint()?, peaks)))
        };
        match checkpoint {
            Ok((estimator, runs, peaks)) => {
                let store = Arc::clone(self.state.store());
                blocking(move || {
                    store.put_document(CHECKPOINT, &estimator)?;
                    store.put_document(run_peaks::CHECKPOINT, &runs)?;
                    peaks.map_or(Ok(()), |peaks| store.put_document(node_peaks::CHECKPOINT, &peaks))
                })
                .await
            }
            Err(error) => Err(StoreError::Failed {
                operation: "write the estimators' state".to_owned(),
                source: Box::new(error),
            }),
        }
    }

    /// Asks the load models, tells which revisions cost something else, and keeps the models.
    async fn model_load(&self, world: &World) -> Result<(), StoreError> {
        let (models, found, kept) = {
            let mut memory = self.lock();
            let found = memory.feed.compare();
            (memory.feed.models(world), found, memory.feed.checkpoint())
        };
        self.published.send_modify(|analysis| analysis.models = Arc::new(models));
        let news = found.into_iter().map(|(workload, cost)| Step {
            change: Change::CostChanged { workload, cost },
            reason: cost.to_string(),
        });
        self.state.commit(&Actor::Engine, news.collect()).await?;
        let kept = kept.map_err(|error| StoreError::Failed {
            operation: "write the load models".to_owned(),
            source: Box::new(error),
        })?;
        let store = Arc::clone(self.state.store());
        blocking(move || store.put_document(load_feed::CHECKPOINT, &kept)).await
    }

    /// Puts the policy in force that the world names, once it was told what was recorded.
    async fn follow_choice(&self, world: &Arc<World>) {
        let asked = self.sizing.asked(world).to_owned();
        if self.lock().in_force.follows(&asked) {
            return;
        }
        let found = self.warm(&asked, world, None).await;
        let mut memory = self.lock();
        let Memory { in_force, usage, .. } = &mut *memory;
        in_force.take(&asked, found, usage.values());
        in_force.publish(&self.published);
    }

    /// Puts the policies in force that the world names for single workloads.
    async fn follow_own_choices(&self, world: &Arc<World>) {
        let lacks = self.lock().own.lacks(&own_sizing::wanted(world));
        for (policy, workloads) in lacks {
            let found = self.warm(&policy, world, Some(workloads.clone())).await;
            let mut memory = self.lock();
            let Memory { own, usage, .. } = &mut *memory;
            own.take(policy, workloads, found, usage.values());
        }
        let problems = self.lock().own.problems();
        self.published.send_if_modified(|analysis| {
            let changed = analysis.own_policy_problems != problems;
            analysis.own_policy_problems = problems;
            changed
        });
    }

    /// An estimator of a policy that was told what was recorded, of all workloads or of some.
    async fn warm(
        &self,
        policy: &str,
        world: &Arc<World>,
        only: Option<BTreeSet<WorkloadName>>,
    ) -> Result<Box<dyn Estimator>, String> {
        let estimator = self.sizing.make(policy)?;
        let (past, world, now) = (self.past.clone(), Arc::clone(world), self.state.clock().now());
        let began = std::time::Instant::now();
        match blocking(move || past.tell(estimator, &world, only.as_ref(), now)).await {
            Ok(warm) => {
                tracing::info!(policy, took = ?began.elapsed(), "sizes come from this policy");
                Ok(warm)
            }
            // What is measured from now on is worth more than what cannot be read.
            Err(error) => {
                tracing::warn!(error = %chain(&error), "the recorded usage cannot be read");
                self.sizing.make(policy)
            }
        }
    }

    /// When a task of the workload was last killed for want of memory.
    pub fn last_oom(&self, workload: &WorkloadName) -> Option<Timestamp> {
        self.lock().in_force.estimator.last_oom(workload)
    }

    /// A poisoned lock only means that another thread panicked; the maps behind it stay whole.
    fn lock(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Samples of one agent. A failed reading is counted and shown; the gap stays a gap.
    async fn scrape(&self, agent: &AgentSource) -> Vec<UsageSample> {
        let answer = agent.source.read().await;
        let now = self.state.clock().now();
        self.state.telemetry().scraped(match &answer {
            Ok(_) => ScrapeOutcome::Ok,
            Err(UsageError::Late { .. }) => ScrapeOutcome::Late,
            Err(_) => ScrapeOutcome::Failed,
        });
        let mut memory = self.lock();
        let health = memory.scrapes.entry(agent.name.clone()).or_default();
        health.agent.clone_from(&agent.name);
        let reading = match answer {
            Ok(reading) => {
                health.succeeded += 1;
                health.last_success = Some(now);
                health.last_error = None;
                reading
            }
            Err(error) => {
                match error {
                    UsageError::Late { .. } => health.late += 1,
                    _ => health.failed += 1,
                }
                health.last_error = Some(chain(&error));
                tracing::warn!(agent = agent.name, error = %chain(&error), "scrape failed");
                return Vec::new();
            }
        };
        let mut samples = Vec::new();
        for reading in reading.tasks {
            samples.extend(reading.since(memory.readings.get(&reading.task)));
            memory.readings.insert(reading.task.clone(), reading);
        }
        samples
    }

    /// Load of each service since the last pass.
    fn take_load(&self, world: &World, now: Timestamp) -> Vec<LoadSample> {
        let mut memory = self.lock();
        let mut samples = Vec::new();
        for reading in self.front_door.load() {
            let earlier = memory.load_readings.insert(reading.workload.clone(), reading.clone());
            for (task, counters) in &reading.instances {
                let before = earlier.as_ref().and_then(|earlier| earlier.instances.get(task));
                memory.feed.counted(task, reading.at, counters, before);
            }
            let Some(earlier) = earlier else { continue };
            let seconds = reading.at.duration_since(earlier.at).as_secs_f64();
            // The clock was set in between, or nobody looked for long: a mean over that says nothing.
            if seconds <= 0.0 || seconds > INTERVAL_SECONDS_MAX {
                continue;
            }
            let passed = reading.total.since(&earlier.total);
            let ready = world
                .tasks_of(&reading.workload)
                .filter(|task| task.state == crate::domain::task::TaskState::Running);
            let sample = LoadSample {
                workload: reading.workload.clone(),
                at: now,
                requests_per_second: passed.requests as f64 / seconds,
                errors_per_second: passed.errors as f64 / seconds,
                latency_p50: passed.latency_quantile(0.5),
                latency_p95: passed.latency_quantile(0.95),
                ready: u32::try_from(ready.count()).unwrap_or(u32::MAX),
            };
            memory.load.insert(reading.workload, sample.clone());
            samples.push(sample);
        }
        samples
    }

    fn publish(&self, world: &World, now: Timestamp) {
        let mut memory = self.lock();
        let overcommit = memory.peaks.overcommit(world, now);
        let (usage, load) = (Arc::new(memory.usage.clone()), Arc::new(memory.load.clone()));
        let scrapes = memory.scrapes.values().cloned().collect();
        self.published.send_modify(|analysis| {
            analysis.usage = usage;
            analysis.load = load;
            analysis.scrapes = scrapes;
            analysis.overcommit = overcommit.unwrap_or_default();
            analysis.at = Some(now);
        });
    }
}

impl Memory {
    /// Kills for want of memory and ends of runs among the changes since the last pass. The samples tell of kills
    /// too, but a task that dies between two samples is told by its end alone.
    fn take_ends(&mut self, world: &World) {
        loop {
            let change = match self.changes.try_recv() {
                Ok(change) => change,
                Err(broadcast::error::TryRecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "changes came faster than they were read");
                    self.runs.look(world);
                    continue;
                }
                Err(_) => return,
            };
            match &change.change {
                Change::TaskCreated { task } => self.runs.began(task),
                Change::TaskMoved { task, state, exit, .. } => {
                    self.runs.moved(task, *state, exit.as_ref(), change.at);
                }
                _ => {}
            }
            match &change.change {
                Change::TaskMoved { task, exit: Some(exit), .. } if exit.is_oom() => {
                    let known = world.tasks.get(task).map(|task| task.size);
                    let declared =
                        || world.workloads.get(task.workload()).map(crate::domain::world::Workload::size);
                    let Some(size) = known.or_else(declared) else { continue };
                    let kill = oom_kill(task, exit, size);
                    self.in_force.estimator.observe_oom(&kill);
                    self.own.observe_oom(&kill);
                }
                Change::WorkloadForgotten { workload } => {
                    self.in_force.estimator.forget(workload);
                    self.own.forget(workload);
                    self.runs.forget(workload);
                }
                _ => {}
            }
        }
    }
}
