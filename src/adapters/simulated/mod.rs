//! A cluster that is not there, behind the ports of one that is: `cluster = "simulated"`.
//!
//! In: calls as the loops make them, a clock. Out: what a cluster of machines would answer. Machines and
//! processes are those of `simulation::cluster`; here they are driven by the clock that the engine has.
//!
//! What a task does follows from its command: `work N` ends well after N seconds, `fail N` with status 1
//! then, `exit N` at once with status N; anything else serves until it is stopped where it is a service, and
//! ends well after a minute where it is a run.

mod beside;
mod usage;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::SignedDuration;
use tokio::sync::Notify;

use crate::domain::money::MicroCents;
use crate::domain::node::{Node, NodeName};
use crate::domain::observation::Health;
use crate::domain::quantity::TaskSize;
use crate::domain::task::TaskId;
use crate::domain::workload::WorkloadKind;
use crate::ports::clock::Clock;
use crate::ports::cluster::{ClusterError, ClusterObservation, ClusterObserver, Launch, Resized, TaskRunner};
use crate::ports::node_provider::NodeProvider;
use crate::simulation::cluster::{Cluster, Process, Refusal, Terms};
use crate::simulation::faults::Faults;

/// Time from a launch until the process runs.
const STARTS_AFTER: SignedDuration = SignedDuration::from_millis(200);
/// How long a run takes whose command does not say it.
const RUN_TAKES: i64 = 60;
/// Nothing waits longer than this without looking.
const LOOK_AT_LEAST: Duration = Duration::from_secs(1);
/// Port numbers are given from here on; nothing listens on them.
const FIRST_PORT: u16 = 20_000;

/// What a simulated cluster is made with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SimulatedConfig {
    /// What chance is drawn from.
    pub seed: u64,
    /// What goes wrong.
    pub faults: Faults,
    /// Usual time until a node takes tasks.
    pub boot: SignedDuration,
}

impl Default for SimulatedConfig {
    fn default() -> Self {
        Self { seed: 1, faults: Faults::default(), boot: SignedDuration::from_secs(5) }
    }
}

/// The cluster. Clones are the same cluster.
#[derive(Clone)]
pub struct SimulatedCluster {
    inner: Arc<Inner>,
}

struct Inner {
    config: SimulatedConfig,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    changes: Notify,
}

struct State {
    cluster: Cluster,
    ports: BTreeMap<TaskId, BTreeMap<String, u16>>,
    given: u16,
    watched: std::collections::BTreeSet<TaskId>,
}

impl SimulatedCluster {
    /// An empty one.
    pub fn new(config: SimulatedConfig, clock: Arc<dyn Clock>) -> Self {
        let state = State {
            cluster: Cluster::new(config.seed, config.faults, clock.now()),
            ports: BTreeMap::new(),
            given: FIRST_PORT,
            watched: std::collections::BTreeSet::new(),
        };
        Self { inner: Arc::new(Inner { config, clock, state: Mutex::new(state), changes: Notify::new() }) }
    }

    /// Everything as it is at this moment.
    fn now(&self) -> MutexGuard<'_, State> {
        // Another thread that panicked leaves maps that are whole.
        let mut state = self.inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.cluster.advance(self.inner.clock.now());
        state
    }

    fn called(&self, result: Result<(), Refusal>) -> Result<(), ClusterError> {
        self.inner.changes.notify_waiters();
        result.map_err(refused)
    }
}

fn refused(refusal: Refusal) -> ClusterError {
    match refusal {
        Refusal::NoSuchNode(node) => ClusterError::NoSuchNode(node),
        Refusal::NoSuchTask(task) => ClusterError::NoSuchTask(task),
        Refusal::NoAnswer => ClusterError::Refused("the simulated agent gave no answer".to_owned()),
        Refusal::Refused(why) => ClusterError::Refused(why),
    }
}

fn process(launch: &Launch) -> Process {
    let command = &launch.template.command;
    let number = command.get(1).and_then(|text| text.parse::<i64>().ok()).filter(|number| *number >= 0);
    let word = command.first().map_or("", String::as_str);
    let ends = |seconds: i64, code: i64| Some((SignedDuration::from_secs(seconds), code as i32));
    let ends_after = match (word, number) {
        ("work", Some(seconds)) => ends(seconds, 0),
        ("fail", Some(seconds)) => ends(seconds, 1),
        ("exit", Some(code)) => ends(0, code),
        _ if launch.task.kind == WorkloadKind::Service => None,
        _ => ends(RUN_TAKES, 0),
    };
    Process { starts_after: STARTS_AFTER, ends_after }
}

impl State {
    fn ports_of(&mut self, launch: &Launch) -> BTreeMap<String, u16> {
        let given = &mut self.given;
        let ports = self.ports.entry(launch.task.id.clone()).or_insert_with(|| {
            let mut next = || {
                *given = given.checked_add(1).unwrap_or(FIRST_PORT);
                *given
            };
            launch.ports.iter().map(|name| (name.clone(), next())).collect()
        });
        ports.clone()
    }
}

#[async_trait]
impl TaskRunner for SimulatedCluster {
    async fn launch(&self, launch: &Launch) -> Result<BTreeMap<String, u16>, ClusterError> {
        let mut state = self.now();
        let launched = state.cluster.launch(&launch.task, process(launch));
        self.called(launched)?;
        Ok(state.ports_of(launch))
    }

    async fn stop(&self, task: &TaskId, grace: SignedDuration) -> Result<(), ClusterError> {
        let stopped = self.now().cluster.stop(task, grace);
        self.called(stopped)
    }

    async fn resize(&self, task: &TaskId, size: &TaskSize) -> Result<Resized, ClusterError> {
        let resized = self.now().cluster.resize(task, size);
        self.called(resized).map(|()| Resized::InForce)
    }

    async fn forget(&self, task: &TaskId) -> Result<(), ClusterError> {
        let mut state = self.now();
        let forgotten = state.cluster.forget(task);
        if forgotten.is_ok() {
            state.ports.remove(task);
        }
        self.called(forgotten)
    }
}

#[async_trait]
impl NodeProvider for SimulatedCluster {
    async fn create(&self, node: &Node) -> Result<(), ClusterError> {
        // Prices of nodes are the engine's to know: its reports count them, this does not.
        let terms = Terms { price: MicroCents::ZERO, boot: self.inner.config.boot };
        let created = self.now().cluster.create(node, terms);
        self.called(created)
    }

    async fn remove(&self, node: &NodeName) -> Result<(), ClusterError> {
        let removed = self.now().cluster.remove(node);
        self.called(removed)
    }

    async fn fail(&self, node: &NodeName) -> Result<(), ClusterError> {
        let failed = self.now().cluster.fail(node);
        self.called(failed)
    }
}

#[async_trait]
impl ClusterObserver for SimulatedCluster {
    async fn observe(&self) -> Result<ClusterObservation, ClusterError> {
        let state = self.now();
        let observed = state.cluster.observed();
        let mut tasks = observed.tasks.clone();
        for task in tasks.values_mut() {
            // Health is the checks' to know.
            task.health = Health::Starting;
        }
        Ok(ClusterObservation { tasks, nodes: observed.nodes.clone(), can_resize: observed.can_resize })
    }

    async fn changed(&self) {
        loop {
            let called = self.inner.changes.notified();
            let wait = {
                let mut state = self.now();
                if state.cluster.take_changed() {
                    return;
                }
                let next = state.cluster.next_event();
                next.map_or(LOOK_AT_LEAST, |at| {
                    at.duration_since(self.inner.clock.now()).try_into().unwrap_or(Duration::ZERO)
                })
            };
            let wait = wait.clamp(Duration::from_millis(1), LOOK_AT_LEAST);
            tokio::select! {
                () = called => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn limitations(&self) -> Vec<String> {
        vec![
            "the cluster is simulated: no process runs, and nothing listens on the ports of tasks".to_owned(),
        ]
    }
}
