//! A cluster in memory under a simulated clock, with the scheduler in a loop around it, for tests.
//!
//! What a task does follows from its command: `serve N` is ready after N seconds and stays, `crash N`
//! exits with 1 after N seconds, `hang` is never ready, `sick N` fails its health check after N seconds,
//! `work N` exits with 0 after N seconds, `fail N` with 1, and `hog N` serves but is killed for want of
//! memory 2 s after its limit is under N MiB. Each look checks what must hold of any plan.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::domain::change::{Change, RecordedChange};
use crate::domain::node::{NodeName, NodeState, PoolName, PoolSpec};
use crate::domain::observation::{
    CreationFailure, Health, NodeObservation, Observed, ProcessState, TaskObservation, Usage,
};
use crate::domain::plan::Plan;
use crate::domain::quantity::{MIB, Millicores, Resources, TaskSize};
use crate::domain::rollout::Actor;
use crate::domain::task::{ExitRecord, ExitStatus, Task, TaskId, TaskState};
use crate::domain::workload::{WorkloadName, WorkloadSpec};
use crate::domain::world::{RunKey, RunOutcome, World};
use crate::scheduling::invariants::check_step;
use crate::scheduling::simulated_people::Judges;
pub(super) use crate::scheduling::simulated_specs::{
    cron, job, name, pool_spec, seconds, service, service_spec, size,
};
use crate::scheduling::{Effect, PlanSettings, effects, is_ready, launching, plan};

/// Time from the polite signal to the end.
const STOPPING_TAKES: SignedDuration = SignedDuration::from_secs(1);
/// Time that a node takes to join.
const JOINING_TAKES: SignedDuration = SignedDuration::from_secs(5);
const NEVER: SignedDuration = SignedDuration::from_hours(10_000);

struct Process {
    node: NodeName,
    command: Vec<String>,
    started_at: Timestamp,
    size: TaskSize,
    sized_at: Timestamp,
    refused: Option<String>,
    stopped_at: Option<Timestamp>,
    end: Option<ExitRecord>,
}

/// The cluster: nodes and processes.
#[derive(Default)]
pub(super) struct Cluster {
    processes: BTreeMap<TaskId, Process>,
    nodes: BTreeMap<NodeName, Timestamp>,
    /// Whether sizes change in place.
    pub(super) can_resize: bool,
    /// Whether it refuses each change of a size all the same.
    pub(super) refuses_sizes: bool,
    /// What tasks really use.
    pub(super) usage: Arc<Usage>,
    /// Pools that get no more nodes than this.
    pub(super) stock: BTreeMap<PoolName, usize>,
    /// Pools whose nodes come and never join.
    pub(super) silent: BTreeSet<PoolName>,
    not_created: BTreeMap<NodeName, CreationFailure>,
}

impl Process {
    fn number(&self) -> i64 {
        self.command.get(1).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    fn end(&mut self, status: ExitStatus, at: Timestamp, oom: bool) {
        self.end.get_or_insert(ExitRecord {
            status: Some(status),
            at,
            oom_kills: Some(u64::from(oom)),
            peak_memory: Some(self.size.memory_limit),
            memory_limit: Some(self.size.memory_limit),
            asked_to_stop: self.stopped_at.is_some(),
            message: None,
        });
    }

    fn advance(&mut self, now: Timestamp) {
        let age = now.duration_since(self.started_at).as_secs();
        if self.stopped_at.is_some_and(|at| now.duration_since(at) >= STOPPING_TAKES) {
            self.end(ExitStatus::Signal(15), now, false);
        }
        match self.command[0].as_str() {
            "crash" | "fail" if age >= self.number() => self.end(ExitStatus::Code(1), now, false),
            "work" if age >= self.number() => self.end(ExitStatus::Code(0), now, false),
            "hog" => {
                let needs = self.number() as u64 * MIB;
                let grown = now.duration_since(self.sized_at).as_secs() >= 2;
                if self.size.memory_limit.get() < needs && grown {
                    self.end(ExitStatus::Signal(9), now, true);
                }
            }
            _ => {}
        }
    }

    fn health(&self, now: Timestamp) -> Health {
        let age = now.duration_since(self.started_at).as_secs();
        match self.command[0].as_str() {
            "hang" => Health::Starting,
            "serve" if age < self.number() => Health::Starting,
            "sick" if age >= self.number() => Health::Failed { message: "HTTP 500".to_owned() },
            _ => Health::Ready,
        }
    }
}

impl Cluster {
    fn carry_out(&mut self, world: &World, effect: Effect, now: Timestamp) {
        match effect {
            Effect::Launch(id) => {
                let task = &world.tasks[&id];
                let template = launching::template(world, task).expect("a workload");
                let node = task.node.clone().expect("a placed task");
                assert!(self.nodes.contains_key(&node), "{id} is launched on {node}, which is not there");
                self.processes.entry(id).or_insert(Process {
                    node,
                    command: template.command.clone(),
                    started_at: now,
                    size: task.size,
                    sized_at: now,
                    refused: None,
                    stopped_at: None,
                    end: None,
                });
            }
            Effect::Stop { task, .. } => {
                if let Some(process) = self.processes.get_mut(&task) {
                    process.stopped_at.get_or_insert(now);
                }
            }
            Effect::Resize { task, size } => {
                let process = self.processes.get_mut(&task).expect("a process");
                assert!(self.can_resize, "{task} is resized where that is impossible");
                if self.refuses_sizes {
                    process.refused = Some("more is in use".to_owned());
                } else {
                    process.size = size;
                    process.sized_at = now;
                }
            }
            Effect::Forget(id) => {
                let process = self.processes.remove(&id).expect("a process");
                assert!(process.end.is_some(), "{id} is forgotten while it runs");
            }
            Effect::CreateNode(name) => self.create(world, name, now),
            Effect::RemoveNode(name) => {
                let on_it = |task: &&Task| task.node.as_ref() == Some(&name) && task.state.holds_resources();
                let busy = world.tasks.values().find(on_it).map(|task| &task.id);
                assert_eq!(busy, None, "{name} is removed with a task on it");
                if !self.processes.values().any(|process| process.node == name) {
                    self.nodes.remove(&name);
                }
            }
        }
    }

    fn create(&mut self, world: &World, name: NodeName, now: Timestamp) {
        let pool = &world.nodes[&name].pool;
        let have = self.nodes.keys().filter(|node| world.nodes.get(node).is_some_and(|n| n.pool == *pool));
        if self.stock.get(pool).is_some_and(|stock| have.count() >= *stock) && !self.nodes.contains_key(&name)
        {
            let reason = "out of stock".to_owned();
            self.not_created.insert(name, CreationFailure { reason, definite: true, calls: 1 });
            return;
        }
        let takes = if self.silent.contains(pool) { NEVER } else { JOINING_TAKES };
        self.nodes.entry(name).or_insert(now + takes);
    }

    fn observe(&mut self, world: &World, now: Timestamp) -> Observed {
        let usage = Arc::clone(&self.usage);
        self.not_created
            .retain(|name, _| world.nodes.get(name).is_some_and(|n| n.state == NodeState::Joining));
        let mut observed = Observed { can_resize: self.can_resize, usage, ..Observed::default() };
        for (name, ready) in &self.nodes {
            let seen = if *ready <= now { NodeObservation::Ready } else { NodeObservation::Arriving };
            observed.nodes.insert(name.clone(), seen);
        }
        observed.not_created.clone_from(&self.not_created);
        for (id, process) in &mut self.processes {
            process.advance(now);
            let state = match &process.end {
                Some(end) => ProcessState::Exited(end.clone()),
                None => ProcessState::Running { pid: 1, started_at: process.started_at },
            };
            let open = world.tasks.get(id).is_some_and(|task| match task.state {
                TaskState::Running => true,
                TaskState::Retiring => now.duration_since(task.state_since).as_secs() < 1,
                _ => false,
            });
            let seen = TaskObservation {
                process: state,
                health: process.health(now),
                in_flight: u64::from(open),
                size: Some(process.size),
                resize_refused: process.refused.clone(),
            };
            observed.tasks.insert(id.clone(), seen);
        }
        observed
    }
}

/// The loop around the cluster.
pub(super) struct Simulation {
    pub(super) world: World,
    pub(super) cluster: Cluster,
    pub(super) observed: Observed,
    pub(super) now: Timestamp,
    pub(super) settings: PlanSettings,
    /// What was planned, a line a step: seconds, the reason.
    pub(super) journal: Vec<String>,
    /// The last plan.
    pub(super) plan: Plan,
    /// How often each run was opened and closed.
    pub(super) runs: BTreeMap<RunKey, (u32, Vec<RunOutcome>)>,
    /// What rollouts are judged by.
    pub(super) judges: Judges,
    /// How many occurrences each planned run accounts for.
    pub(super) occurrences: BTreeMap<RunKey, u64>,
    start: Timestamp,
}

impl Simulation {
    pub(super) fn new() -> Self {
        Self::starting("2026-11-22T10:00:00Z")
    }

    pub(super) fn starting(start: &str) -> Self {
        let start: Timestamp = start.parse().expect("a time");
        Self {
            world: World::default(),
            cluster: Cluster { can_resize: true, ..Cluster::default() },
            observed: Observed::default(),
            now: start,
            settings: PlanSettings::default(),
            journal: Vec::new(),
            plan: Plan::default(),
            runs: BTreeMap::new(),
            judges: Judges::default(),
            occurrences: BTreeMap::new(),
            start,
        }
    }

    /// With a pool `small` of some nodes, joined.
    pub(super) fn with_nodes(nodes: u32) -> Self {
        let mut sim = Self::new();
        sim.pool("small", pool_spec(nodes, nodes + 4));
        sim.run_for(7);
        sim
    }

    pub(super) fn assert_says(&self, part: &str) {
        let says = self.journal.iter().any(|line| line.contains(part));
        assert!(says, "nothing says {part:?}:\n{}", self.tail());
    }

    /// A change from outside: a person's or the scaler's.
    pub(super) fn change(&mut self, change: Change) {
        self.follow(change, "asked for".to_owned(), Actor::User("test".to_owned()));
    }

    pub(super) fn apply(&mut self, workload: &str, spec: WorkloadSpec) {
        self.change(Change::WorkloadApplied { workload: name(workload), spec });
    }

    pub(super) fn pool(&mut self, pool: &str, spec: PoolSpec) {
        self.change(Change::PoolApplied { pool: PoolName::new(pool).expect("a name"), spec });
    }

    pub(super) fn follow(&mut self, change: Change, reason: String, by: Actor) {
        match &change {
            Change::RunOpened { run, manual, order } => {
                self.runs.entry(run.clone()).or_default().0 += 1;
                if !manual {
                    self.occurrences.insert(run.clone(), order.occurrences);
                }
            }
            Change::RunClosed { run, outcome } => {
                self.runs.entry(run.clone()).or_default().1.push(outcome.clone());
            }
            _ => {}
        }
        self.world.apply(&RecordedChange { at: self.now, by, reason, request: None, change });
    }

    /// Lets time pass, then looks once.
    pub(super) fn tick(&mut self, time: SignedDuration) {
        self.now += time;
        self.look();
    }

    /// Looks each second for a while.
    pub(super) fn run_for(&mut self, seconds: i64) {
        for _ in 0..seconds {
            self.tick(SignedDuration::from_secs(1));
        }
    }

    /// Observes, plans, follows the plan, carries it out, and checks what must hold of any plan.
    pub(super) fn look(&mut self) {
        self.observed = self.cluster.observe(&self.world, self.now);
        self.judges.observe(&self.world, &mut self.observed, self.now);
        let before = self.ready_counts();
        self.plan = plan(&self.world, &self.observed, &self.settings, self.now);
        assert_eq!(self.plan, plan(&self.world, &self.observed, &self.settings, self.now), "not repeatable");
        for step in self.plan.steps.clone() {
            let seconds = self.now.duration_since(self.start).as_secs();
            let subject = subject(&step.change);
            self.journal.push(format!("{seconds:>4} {subject}: {}", step.reason));
            assert!(!step.reason.is_empty(), "a step without a reason: {:?}", step.change);
            check_step(&self.world, &step.change);
            self.follow(step.change, step.reason, Actor::Engine);
        }
        let again = plan(&self.world, &self.observed, &self.settings, self.now);
        assert!(again.steps.is_empty(), "planning again gives {:#?}\nafter\n{}", again.steps, self.tail());
        // The words may name another one of several that stand in the way.
        let kinds = |plan: &Plan| -> Vec<_> {
            plan.waiting.iter().map(|waiting| (waiting.task.clone(), waiting.kind)).collect()
        };
        assert_eq!(kinds(&again), kinds(&self.plan));
        self.check_capacity(&before);
        self.check_nodes();
        for effect in effects(&self.world, &self.observed) {
            self.cluster.carry_out(&self.world, effect, self.now);
        }
    }

    pub(super) fn tail(&self) -> String {
        self.journal[self.journal.len().saturating_sub(60)..].join("\n")
    }

    pub(super) fn ready(&self, workload: &str) -> usize {
        self.ready_counts().get(&name(workload)).copied().unwrap_or(0)
    }

    fn ready_counts(&self) -> BTreeMap<WorkloadName, usize> {
        let mut counts = BTreeMap::new();
        for task in self.world.tasks.values() {
            let serves = self.world.workloads.get(task.workload()).is_none_or(|w| w.takes_traffic(task));
            if serves && is_ready(task, self.observed.tasks.get(&task.id)) {
                *counts.entry(task.workload().clone()).or_default() += 1;
            }
        }
        counts
    }

    /// A plan takes ready instances away only where as many as wanted are left; for a task of higher
    /// priority, as many as wanted less those that may be disrupted.
    fn check_capacity(&self, before: &BTreeMap<WorkloadName, usize>) {
        let after = self.ready_counts();
        for (name, workload) in &self.world.workloads {
            let count = |counts: &BTreeMap<_, usize>| counts.get(name).copied().unwrap_or(0);
            let service = workload.spec.as_service().is_some() && !workload.deleted;
            let made_room = self.plan.steps.iter().any(
                |step| matches!(&step.change, Change::TaskPreempted { task, .. } if task.workload() == name),
            );
            let budget = if made_room { self.world.policy_of(workload).max_disruption } else { 0 };
            let wanted = if self.world.paused(name).is_some() { 0 } else { workload.count };
            let least = wanted.saturating_sub(budget) as usize;
            assert!(
                !service || count(&after) >= count(before) || count(&after) >= least,
                "{name}: {} ready, then {}, wanted {wanted}\n{}",
                count(before),
                count(&after),
                self.tail()
            );
        }
    }

    /// What is reserved on a node never exceeds its size; CPU where it is lent, its bound.
    fn check_nodes(&self) {
        for node in self.world.nodes.values() {
            let reserved: Resources = self
                .world
                .tasks
                .values()
                .filter(|task| task.node.as_ref() == Some(&node.name) && task.state.holds_resources())
                .map(|task| task.size.request)
                .sum();
            let most = self.cluster.usage.overcommit.most.max(1.0) * node.size.cpu.cores();
            let bound = Resources::new(Millicores::from_cores(most), node.size.memory);
            assert!(reserved.fits(bound), "{}: {reserved} of {}\n{}", node.name, node.size, self.tail());
        }
    }

    /// A process dies of signal 9.
    pub(super) fn kill(&mut self, task: &TaskId) {
        if let Some(process) = self.cluster.processes.get_mut(task) {
            process.end(ExitStatus::Signal(9), self.now, false);
        }
    }

    /// A node dies with everything on it.
    pub(super) fn fail_node(&mut self, node: &NodeName) {
        self.cluster.nodes.remove(node);
        self.cluster.processes.retain(|_, process| process.node != *node);
    }

    /// Time passes, then a node dies, all between two looks: what had ended by then keeps its record.
    pub(super) fn fail_node_later(&mut self, node: &NodeName, later: SignedDuration) {
        self.now += later;
        self.cluster.processes.values_mut().for_each(|process| process.advance(self.now));
        self.cluster.nodes.remove(node);
        self.cluster.processes.retain(|_, process| process.node != *node || process.end.is_some());
        self.look();
    }

    /// A person empties a node, for good or for a while.
    pub(super) fn drain(&mut self, node: &NodeName, remove_when_empty: bool) {
        if self.world.nodes.get(node).is_some_and(|node| node.state == NodeState::Ready) {
            let (node, reason) = (node.clone(), "maintenance".to_owned());
            self.change(Change::NodeMoved { node, state: NodeState::Draining, reason, remove_when_empty });
        }
    }

    /// Tasks of a workload in a state.
    pub(super) fn in_state(&self, workload: &str, state: TaskState) -> Vec<TaskId> {
        let name = name(workload);
        self.world.tasks_of(&name).filter(|task| task.state == state).map(|task| task.id.clone()).collect()
    }

    pub(super) fn outcomes(&self, workload: &str) -> Vec<String> {
        self.runs
            .iter()
            .filter(|(key, _)| key.workload == name(workload))
            .map(|(key, (_, outcomes))| {
                let seconds = key.at.duration_since(self.start).as_secs();
                let outcome = outcomes.last().map_or("active", RunOutcome::as_str);
                format!("{seconds} {outcome}")
            })
            .collect()
    }
}

fn subject(change: &Change) -> String {
    use crate::domain::world::EntityKey;
    match change.subjects().into_iter().next() {
        Some(EntityKey::Workload(name)) => name.to_string(),
        Some(EntityKey::Task(id)) => id.to_string(),
        Some(EntityKey::Run(key)) => format!("{} run", key.workload),
        Some(EntityKey::Node(name)) => name.to_string(),
        Some(EntityKey::Pool(name)) => name.to_string(),
        Some(EntityKey::Policy(name)) => name.to_string(),
        Some(EntityKey::Action(key)) => key.to_string(),
        Some(EntityKey::Quota(team)) => team,
        Some(EntityKey::SizePolicy) => "size policy".to_owned(),
        None => String::new(),
    }
}
