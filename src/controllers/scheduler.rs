//! In: what the cluster, the health checks and the front door report. Out: a plan, committed; then its
//! effects: tasks started, stopped and resized, nodes made and removed, routes set.
//!
//! Effects follow from state, not from the plan's steps: whatever a crash or an error left undone is
//! asked for again at the next pass, until the observation shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use crate::controllers::analyst::Analysis;
use crate::controllers::driver::chain;
use crate::controllers::judges::{Judges, run_of};
use crate::controllers::real_use::RealUse;
use crate::controllers::routes::FrontDoorPorts;
use crate::controllers::state::EngineState;
use crate::controllers::targets::{has_checks, launch_of, ports_unknown, probe_target};
use crate::domain::change::Change;
use crate::domain::node::{Node, NodeName, NodeState};
use crate::domain::observation::{
    CommandVerdict, CreationFailure, Health, Observed, ProcessState, TaskObservation,
};
use crate::domain::plan::{Alarm, Step, Waiting};
use crate::domain::rollout::Actor;
use crate::domain::task::{ExitRecord, TaskId, TaskState};
use crate::domain::workload::WorkloadName;
use crate::domain::world::World;
use crate::ports::cluster::{ClusterError, ClusterObserver, Resized, TaskRunner};
use crate::ports::commands::Commands;
use crate::ports::front_door::FrontDoor;
use crate::ports::health::HealthSource;
use crate::ports::node_provider::NodeProvider;
use crate::ports::store::StoreError;
use crate::scheduling::{Effect, PlanSettings, due_commands, effects, plan};

/// Cron jobs that are dealt with further ahead than this are told of.
const CURSOR_AHEAD_MAX: SignedDuration = SignedDuration::from_mins(1);
/// Addresses in a row that somebody else may have; the search goes on at the next pass.
const MOVES_MAX: usize = 100;

/// The outside world as the scheduler needs it.
pub struct SchedulerPorts {
    /// Starts, stops and resizes tasks.
    pub runner: Arc<dyn TaskRunner>,
    /// Shows what runs.
    pub observer: Arc<dyn ClusterObserver>,
    /// Makes and removes nodes.
    pub nodes: Arc<dyn NodeProvider>,
    /// Asks health checks.
    pub health: Arc<dyn HealthSource>,
    /// Balances requests.
    pub front_door: Arc<dyn FrontDoor>,
    /// Runs the commands that judge rollouts.
    pub commands: Arc<dyn Commands>,
    /// What was measured of each task.
    pub analysis: watch::Receiver<Analysis>,
    /// What tasks really use.
    pub real_use: RealUse,
}

/// What a pass saw and could not place.
#[derive(Debug, Clone, Default)]
pub struct Pass {
    /// What was observed.
    pub observed: Arc<Observed>,
    /// Tasks without a node, and why.
    pub waiting: Arc<Vec<Waiting>>,
    /// What wants a person's eye.
    pub alarms: Arc<Vec<Alarm>>,
    /// When the pass ended.
    pub at: Option<Timestamp>,
    /// What went wrong with effects and routes, in words.
    pub problems: Vec<String>,
}

/// Why a pass failed.
#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    /// The cluster could not be observed: nothing is planned on a guess.
    #[error("cannot observe the cluster")]
    Observe(#[source] ClusterError),
    /// The plan could not be committed: nothing of it was done.
    #[error("cannot commit the plan")]
    Commit(#[source] StoreError),
}

/// The scheduler's loop body.
pub struct Scheduler {
    state: Arc<EngineState>,
    ports: SchedulerPorts,
    settings: PlanSettings,
    doors: Mutex<FrontDoorPorts>,
    /// The addresses as the last pass left them: open, or declared and told to be taken.
    shown: Mutex<BTreeMap<WorkloadName, BTreeMap<String, u16>>>,
    /// Whether `doors` are other than what the store has.
    unstored: AtomicBool,
    under_way: Arc<Mutex<UnderWay>>,
    judges: Arc<Mutex<Judges>>,
    published: watch::Sender<Pass>,
}

/// Effects that were begun and have not ended, and what came of the last ones.
#[derive(Default)]
struct UnderWay {
    effects: BTreeSet<String>,
    /// Tasks that could not be started: shown to the planner as tasks that ended.
    not_started: BTreeMap<TaskId, ExitRecord>,
    /// Sizes that the cluster refused to change in place.
    refused: BTreeMap<TaskId, (crate::domain::quantity::TaskSize, String)>,
    /// Nodes that could not be made.
    not_created: BTreeMap<NodeName, CreationFailure>,
    problems: BTreeMap<String, String>,
}

impl Scheduler {
    /// A scheduler over the given ports. `doors` are the stable addresses chosen so far.
    pub fn new(
        state: Arc<EngineState>,
        ports: SchedulerPorts,
        settings: PlanSettings,
        doors: FrontDoorPorts,
        published: watch::Sender<Pass>,
    ) -> Self {
        let shown = Mutex::new(doors.numbers().clone());
        let (doors, under_way, judges) = (Mutex::new(doors), Arc::default(), Arc::default());
        let unstored = AtomicBool::new(false);
        Self { state, ports, settings, doors, shown, unstored, under_way, judges, published }
    }

    /// Returns when there is something to look at before the clock says so.
    pub async fn signal(&self) {
        tokio::select! {
            () = self.state.woken() => {}
            () = self.ports.observer.changed() => {}
            () = self.ports.health.changed() => {}
            () = self.ports.front_door.drained() => {}
        }
    }

    /// Observes, plans, commits, acts. A pass that fails says so in status, and why.
    pub async fn pass(&self) -> Result<(), SchedulerError> {
        let passed = self.observe_and_act().await;
        if let Err(error) = &passed {
            let problem = chain(error);
            self.published.send_if_modified(|pass| {
                let news = !pass.problems.contains(&problem);
                if news {
                    pass.problems = vec![problem];
                }
                news
            });
        }
        passed
    }

    async fn observe_and_act(&self) -> Result<(), SchedulerError> {
        self.state.follow_clock().await.map_err(SchedulerError::Commit)?;
        let observed = Arc::new(self.observe().await?);
        let now = self.state.clock().now();
        let planned = self.state.update(&Actor::Engine, None, |world| {
            self.published.send_modify(|pass| pass.observed = Arc::clone(&observed));
            let plan = plan(world, &observed, &self.settings, now);
            self.state.telemetry().planned(plan.steps.len());
            self.state.telemetry().waiting(&plan.waiting);
            (plan.steps, (plan.waiting, plan.alarms))
        });
        let planned = planned.await;
        // Even where the plan could not be written: what was decided before still holds, and an instance
        // that is gone must leave the front door.
        let world = self.state.world().await;
        self.watch_health(&world);
        let mut problems = self.set_routes(&world, &observed).await;
        self.begin_effects(&world, &observed);
        self.begin_commands(&world, &observed);
        let (waiting, alarms) = planned.map_err(SchedulerError::Commit)?;
        problems.extend(ahead_of_clock(&world, now));
        problems.extend(lock(&self.under_way).problems.values().cloned());
        let at = Some(self.state.clock().now());
        self.published.send_replace(Pass {
            observed,
            waiting: Arc::new(waiting),
            alarms: Arc::new(alarms),
            at,
            problems,
        });
        Ok(())
    }

    /// Puts together what the cluster, the checks, the front door and failed launches say.
    async fn observe(&self) -> Result<Observed, SchedulerError> {
        let seen = self.ports.observer.observe().await.map_err(SchedulerError::Observe)?;
        let world = self.state.world().await;
        let mut checks = self.ports.health.health();
        let mut observed = Observed {
            tasks: seen.tasks,
            nodes: seen.nodes,
            can_resize: seen.can_resize,
            usage: self.ports.real_use.now(&world, self.state.clock().now()),
            rungs: Arc::clone(&self.ports.analysis.borrow().rungs),
            ..Observed::default()
        };
        self.observe_rollouts(&world, &mut observed);
        let mut under_way = lock(&self.under_way);
        // A task that the world has forgotten needs no memory of how it failed to start.
        under_way.not_started.retain(|id, _| world.tasks.contains_key(id));
        under_way.refused.retain(|id, (size, _)| world.tasks.get(id).is_some_and(|task| task.size == *size));
        let joining =
            |name: &NodeName| world.nodes.get(name).is_some_and(|node| node.state == NodeState::Joining);
        under_way.not_created.retain(|name, _| joining(name));
        observed.not_created.clone_from(&under_way.not_created);
        for (id, exit) in &under_way.not_started {
            observed.tasks.entry(id.clone()).or_insert_with(|| TaskObservation {
                process: ProcessState::Exited(exit.clone()),
                health: Health::Starting,
                in_flight: 0,
                size: None,
                resize_refused: None,
            });
        }
        for (id, task) in &mut observed.tasks {
            let checked = world.tasks.get(id).is_some_and(|task| has_checks(&world, task));
            task.health = match checks.remove(id) {
                Some(health) => health,
                None if checked => Health::Starting,
                None => Health::Ready,
            };
            task.in_flight = self.ports.front_door.in_flight(id);
            task.resize_refused = under_way.refused.get(id).map(|(_, why)| why.clone());
        }
        Ok(observed)
    }

    /// Adds what rollouts are judged by.
    fn observe_rollouts(&self, world: &World, observed: &mut Observed) {
        let mut judges = lock(&self.judges);
        observed.judged = judges.verdicts(world);
        // Walking through all counters is for rollouts that need them.
        if Judges::measure(world) {
            let usage = Arc::clone(&self.ports.analysis.borrow().usage);
            observed.compared = judges.compared(world, &self.ports.front_door.load(), &usage);
        }
    }

    /// Begins the commands that rollouts wait for.
    fn begin_commands(&self, world: &World, observed: &Observed) {
        for due in due_commands(world, observed, self.state.clock().now()) {
            let Some(run) = run_of(world, observed, &due) else { continue };
            let (commands, judges) = (Arc::clone(&self.ports.commands), Arc::clone(&self.judges));
            self.begin(format!("judge {} {:?}", due.workload, due.stage), async move {
                let end = commands.run(run).await;
                let (accepted, message) = (end.succeeded, end.message);
                let verdict = CommandVerdict { stage: due.stage, accepted, message };
                lock(&judges).judged(due.workload, verdict);
                Ok(())
            });
        }
    }

    fn watch_health(&self, world: &World) {
        let targets = world
            .tasks
            .values()
            .filter(|task| matches!(task.state, TaskState::Starting | TaskState::Running))
            .filter(|task| has_checks(world, task))
            .filter_map(|task| probe_target(world, task))
            .collect();
        self.ports.health.watch(targets);
    }

    /// Opens addresses. One that somebody else has is moved at once, so that nobody is told of it.
    async fn set_routes(&self, world: &World, observed: &Observed) -> Vec<String> {
        let mut problems = Vec::new();
        for _ in 0..MOVES_MAX {
            let (routes, chosen) = {
                let mut doors = lock(&self.doors);
                let chosen = doors.assign(world);
                (doors.routes(world, observed), chosen)
            };
            let failures = self.ports.front_door.route(routes).await;
            problems.clear();
            let mut moved = false;
            for failure in failures {
                if lock(&self.doors).taken(world, &failure) {
                    moved = true;
                } else {
                    problems.push(format!(
                        "the front door of {} cannot open port {}: {}",
                        failure.workload, failure.listen, failure.message
                    ));
                }
            }
            if chosen || moved {
                self.unstored.store(true, Ordering::Relaxed);
            }
            if !moved {
                break;
            }
        }
        lock(&self.shown).clone_from(lock(&self.doors).numbers());
        if self.unstored.load(Ordering::Relaxed) {
            let (document, store) = (lock(&self.doors).document(), Arc::clone(self.state.store()));
            let written =
                tokio::task::spawn_blocking(move || store.put_document(FrontDoorPorts::DOCUMENT, &document))
                    .await;
            if matches!(written, Ok(Ok(()))) {
                self.unstored.store(false, Ordering::Relaxed);
            } else {
                problems.push("the chosen front door addresses could not be stored".to_owned());
            }
        }
        problems
    }

    /// Begins what the state asks for and is not under way. Passes go on meanwhile; an effect that
    /// succeeds wakes the scheduler, one that fails is tried again at the next tick.
    fn begin_effects(&self, world: &Arc<World>, observed: &Observed) {
        for task in world.tasks.values().filter(|task| ports_unknown(world, task, observed)) {
            self.begin(format!("ports {}", task.id), self.launch(world, task.id.clone()));
        }
        let wanted: Vec<(String, Effect)> =
            effects(world, observed).into_iter().map(|effect| (format!("{effect:?}"), effect)).collect();
        // What is no longer asked for is no longer a problem.
        lock(&self.under_way).problems.retain(|key, _| wanted.iter().any(|(wanted, _)| wanted == key));
        for (key, effect) in wanted {
            match effect {
                Effect::Launch(id) => self.begin(key, self.launch(world, id)),
                Effect::Stop { task, grace } => {
                    let runner = Arc::clone(&self.ports.runner);
                    self.begin(key, async move { runner.stop(&task, grace).await });
                }
                Effect::Resize { task, size } => self.begin(key, self.resize(task, size)),
                Effect::Forget(task) => {
                    let runner = Arc::clone(&self.ports.runner);
                    self.begin(key, async move { runner.forget(&task).await });
                }
                Effect::CreateNode(name) => {
                    self.begin(key, self.create_node(world.nodes.get(&name).cloned()));
                }
                Effect::RemoveNode(name) => {
                    let nodes = Arc::clone(&self.ports.nodes);
                    self.begin(key, async move { nodes.remove(&name).await });
                }
            }
        }
    }

    fn begin(&self, key: String, effect: impl Future<Output = Result<(), ClusterError>> + Send + 'static) {
        if !lock(&self.under_way).effects.insert(key.clone()) {
            return;
        }
        let (under_way, state) = (Arc::clone(&self.under_way), Arc::clone(&self.state));
        tokio::spawn(async move {
            let result = effect.await;
            let mut under_way = lock(&under_way);
            under_way.effects.remove(&key);
            match result {
                Ok(()) => {
                    under_way.problems.remove(&key);
                    state.wake();
                }
                Err(error) => {
                    let text = chain(&error);
                    tracing::warn!(effect = key, error = text, "effect failed");
                    under_way.problems.insert(key, text);
                }
            }
        });
    }

    fn launch(
        &self,
        world: &Arc<World>,
        id: TaskId,
    ) -> Pin<Box<dyn Future<Output = Result<(), ClusterError>> + Send>> {
        let (runner, state, under_way) =
            (Arc::clone(&self.ports.runner), Arc::clone(&self.state), Arc::clone(&self.under_way));
        let launch = launch_of(world, &id);
        Box::pin(async move {
            let Some(launch) = launch else { return Ok(()) };
            match runner.launch(&launch).await {
                Ok(ports) if ports.is_empty() => Ok(()),
                Ok(ports) => {
                    let reason = "given by the agent".to_owned();
                    let change = Change::TaskPorts { task: id.clone(), ports };
                    let written = state.commit(&Actor::Engine, vec![Step { change, reason }]).await;
                    written.map_err(|error| ClusterError::Refused(chain(&error)))
                }
                Err(error) => {
                    let exit = did_not_start(state.clock().now(), &chain(&error));
                    lock(&under_way).not_started.insert(id, exit);
                    Ok(())
                }
            }
        })
    }

    /// Asks for a node, and remembers what kept it from being made.
    fn create_node(
        &self,
        node: Option<Node>,
    ) -> impl Future<Output = Result<(), ClusterError>> + Send + 'static {
        let (nodes, under_way) = (Arc::clone(&self.ports.nodes), Arc::clone(&self.under_way));
        async move {
            let Some(node) = node else { return Ok(()) };
            let made = nodes.create(&node).await;
            let mut under_way = lock(&under_way);
            match &made {
                Ok(()) => drop(under_way.not_created.remove(&node.name)),
                Err(error) => {
                    let calls = under_way.not_created.get(&node.name).map_or(0, |failure| failure.calls) + 1;
                    let definite = matches!(error, ClusterError::NoMachine(_));
                    let failure = CreationFailure { reason: chain(error), definite, calls };
                    under_way.not_created.insert(node.name, failure);
                }
            }
            made
        }
    }

    fn resize(
        &self,
        task: TaskId,
        size: crate::domain::quantity::TaskSize,
    ) -> impl Future<Output = Result<(), ClusterError>> + Send + 'static {
        let (runner, under_way) = (Arc::clone(&self.ports.runner), Arc::clone(&self.under_way));
        async move {
            if let Resized::Refused(why) = runner.resize(&task, &size).await? {
                lock(&under_way).refused.insert(task, (size, why));
            }
            Ok(())
        }
    }

    /// The stable addresses of services.
    pub fn front_doors(&self) -> BTreeMap<WorkloadName, BTreeMap<String, u16>> {
        lock(&self.shown).clone()
    }
}

/// A poisoned lock only means that another thread panicked; the maps behind these stay whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Cron jobs whose occurrences are accounted for up to a time that has not come: the clock was set back.
fn ahead_of_clock(world: &World, now: Timestamp) -> Option<String> {
    let cursors = world.workloads.values().filter_map(|workload| workload.cron_cursor);
    let ahead = cursors.max().filter(|cursor| cursor.duration_since(now) > CURSOR_AHEAD_MAX)?;
    Some(format!(
        "the clock was set back: occurrences of cron jobs up to {ahead} have been dealt with and are not run \
         again; run what is needed before by hand"
    ))
}

fn did_not_start(at: Timestamp, why: &str) -> ExitRecord {
    ExitRecord {
        status: None,
        at,
        oom_kills: None,
        peak_memory: None,
        memory_limit: None,
        asked_to_stop: false,
        message: Some(format!("did not start: {why}")),
    }
}
