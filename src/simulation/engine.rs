//! The loop of a simulation. In: a scene, machines, faults, a policy of nodes. Out: what it came to.
//!
//! Each tick: what is due in the cluster happens; what is due from outside changes the world; the
//! scheduler plans (`scheduling::plan`) and the world follows its steps; the policy of nodes decides and,
//! where it asked for something, the scheduler plans again; what the world asks for (`scheduling::effects`)
//! is called on the cluster. A call that comes to nothing is asked for again at the next tick, since
//! effects follow from state. A tick in which nothing can have changed plans nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::domain::change::{Change, RecordedChange};
use crate::domain::money::{MicroCents, Prices};
use crate::domain::node::{NodeName, NodeSource, NodeState, PoolName, PoolSpec};
use crate::domain::plan::{Plan, Step, WaitKind};
use crate::domain::quantity::Share;
use crate::domain::rollout::Actor;
use crate::domain::task::{Task, TaskId, TaskState};
use crate::domain::workload::WorkloadKind;
use crate::domain::world::{NextRun, RunKey, RunOrder, RunOutcome, World};
use crate::estimation::node_peak::NodePeaks;
use crate::scheduling::{Effect, PlanSettings, effects, is_ready, plan};
use crate::simulation::bound::Bound;
use crate::simulation::cluster::{Cluster, Terms};
use crate::simulation::faults::Faults;
use crate::simulation::machines::Machine;
use crate::simulation::policy::{ClusterPolicy, Load, Sight};
use crate::simulation::scene::{Deed, Scene, WARM_UP};
use crate::simulation::tally::{Effort, Outcome, Tally};

mod sampling;

/// From one look to the next where nothing happens.
const LOOK_AT_LEAST: SignedDuration = SignedDuration::from_secs(60);
/// Steps of a plan that say so replace an instance of a node that is to be emptied.
const MOVED: &str = "is to be emptied";

/// What a simulation is run with.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Types of machines.
    pub machines: Vec<Machine>,
    /// At most so many of each.
    pub nodes_max: u32,
    /// From one look to the next.
    pub tick: SignedDuration,
    /// What goes wrong.
    pub faults: Faults,
    /// Times that the scheduler waits for.
    pub plan: PlanSettings,
}

impl Setting {
    /// The usual one.
    pub fn new(machines: Vec<Machine>, nodes_max: u32) -> Self {
        let tick = SignedDuration::from_secs(15);
        Self { machines, nodes_max, tick, faults: Faults::default(), plan: PlanSettings::default() }
    }
}

/// What the caller lends: a stopwatch, and ears.
pub struct Caller<'a> {
    /// Time since any instant; it only rises.
    pub stopwatch: &'a dyn Fn() -> Duration,
    /// Called now and then with how far it is.
    pub progress: &'a mut dyn FnMut(Timestamp),
}

/// Runs a scene past a policy.
pub fn simulate(
    scene: &Scene,
    setting: &Setting,
    policy: &mut dyn ClusterPolicy,
    caller: &mut Caller<'_>,
) -> Result<(Outcome, Effort), String> {
    let began = (caller.stopwatch)();
    let mut simulation = Simulation::new(scene, setting)?;
    simulation.peaks = policy.lends().map(|settings| NodePeaks::new(settings, None));
    let mut counting = false;
    while simulation.now < scene.end {
        simulation.tick(policy, caller);
        if !counting && simulation.now >= simulation.tally.from {
            counting = true;
            simulation.paid_before = (simulation.cluster.paid(), simulation.cluster.node_hours());
        }
        (caller.progress)(simulation.now);
    }
    let wall = (caller.stopwatch)().saturating_sub(began).as_secs_f64();
    let effort = simulation.tally.effort(wall);
    Ok((simulation.outcome(policy.name()), effort))
}

struct Simulation<'a> {
    scene: &'a Scene,
    setting: &'a Setting,
    pools: Vec<PoolName>,
    prices: Prices,
    world: World,
    cluster: Cluster,
    loads: BTreeMap<NodeName, Load>,
    now: Timestamp,
    next_act: usize,
    next_cron: Option<Timestamp>,
    planned_at: Timestamp,
    restless: bool,
    plan: Plan,
    tally: Tally,
    sampled_at: Timestamp,
    bound: Bound,
    /// Peaks of nodes, where tasks are placed by them.
    peaks: Option<NodePeaks>,
    paid_before: (f64, f64),
}

impl<'a> Simulation<'a> {
    fn new(scene: &'a Scene, setting: &'a Setting) -> Result<Self, String> {
        let named = setting.machines.iter().map(|machine| PoolName::new(&machine.name.replace('.', "-")));
        let pools: Vec<PoolName> = named.collect::<Result<_, _>>()?;
        let from = scene.begin + SignedDuration::from_secs(WARM_UP);
        let zero = MicroCents::ZERO;
        let mut simulation = Self {
            scene,
            setting,
            pools,
            prices: Prices { core_hour: zero, gib_hour: zero },
            world: World::default(),
            cluster: Cluster::new(scene.seed, setting.faults, scene.begin),
            loads: BTreeMap::new(),
            now: scene.begin,
            next_act: 0,
            next_cron: None,
            planned_at: Timestamp::MIN,
            restless: true,
            plan: Plan::default(),
            tally: Tally::new(from),
            sampled_at: scene.begin,
            bound: Bound::new(setting.machines.len()),
            peaks: None,
            paid_before: (0.0, 0.0),
        };
        simulation.declare();
        Ok(simulation)
    }

    /// Declares pools and workloads.
    fn declare(&mut self) {
        for (pool, machine) in self.pools.clone().into_iter().zip(&self.setting.machines) {
            let spec = PoolSpec {
                size: machine.size,
                min: 0,
                max: self.setting.nodes_max,
                price_per_hour: Some(machine.price),
                attributes: BTreeMap::new(),
                reserved_for: Vec::new(),
                // The engine's own policy alone reads these: each node may be emptied whose tasks fit
                // elsewhere. The peers have thresholds and times of their own.
                scale_down_below: Share::new(1.0),
                scale_down_after: SignedDuration::from_mins(1),
                cooldown_up: SignedDuration::ZERO,
                cooldown_down: SignedDuration::from_mins(1),
                source: NodeSource::default(),
            };
            self.follow(Change::PoolApplied { pool, spec }, String::new());
        }
        for (name, part) in &self.scene.parts {
            let change = Change::WorkloadApplied { workload: name.clone(), spec: part.spec.clone() };
            self.follow(change, String::new());
        }
    }

    fn tick(&mut self, policy: &mut dyn ClusterPolicy, caller: &mut Caller<'_>) {
        self.now += self.setting.tick;
        self.cluster.advance(self.now);
        let acted = self.act();
        let seen = self.cluster.take_changed();
        let cron_is_due = self.next_cron.is_some_and(|due| due <= self.now);
        let long_ago = self.now.duration_since(self.planned_at) >= LOOK_AT_LEAST;
        if acted || seen || cron_is_due || long_ago || self.restless {
            self.look(caller);
            let before = (caller.stopwatch)();
            let steps = policy.decide(&self.sight());
            self.tally.decisions.add(microseconds((caller.stopwatch)().saturating_sub(before)));
            if !steps.is_empty() {
                for step in steps {
                    self.follow(step.change, step.reason);
                }
                self.look(caller);
            }
            self.carry_out();
        }
        if self.now.duration_since(self.sampled_at) >= sampling::INTERVAL {
            self.sample();
        }
    }

    fn sight(&self) -> Sight<'_> {
        Sight {
            world: &self.world,
            waiting: &self.plan.waiting,
            loads: &self.loads,
            machines: &self.setting.machines,
            pools: &self.pools,
            prices: &self.prices,
            overcommit: &self.cluster.observed().usage.overcommit,
            now: self.now,
        }
    }

    /// Lets happen from outside what is due.
    fn act(&mut self) -> bool {
        let first = self.next_act;
        while let Some(act) = self.scene.acts.get(self.next_act).filter(|act| act.at <= self.now) {
            self.next_act += 1;
            let workload = self.scene.names[act.workload].clone();
            let change = match act.deed {
                Deed::Count(count) => Change::CountSet { workload, count, decision: None },
                Deed::Run => {
                    let run = RunKey { workload, at: act.at };
                    Change::RunOpened { run, manual: true, order: Box::new(RunOrder::default()) }
                }
            };
            self.follow(change, String::new());
        }
        self.next_act > first
    }

    /// Plans, and lets the world follow.
    fn look(&mut self, caller: &Caller<'_>) {
        let before = (caller.stopwatch)();
        let mut plan = plan(&self.world, self.cluster.observed(), &self.setting.plan, self.now);
        self.tally.plans.add(microseconds((caller.stopwatch)().saturating_sub(before)));
        self.tally.outcome.plans += 1;
        self.tally.outcome.steps += plan.steps.len() as u64;
        self.planned_at = self.now;
        let waits_for_time = plan.waiting.iter().any(|waiting| waiting.kind == WaitKind::Backoff);
        self.restless = !plan.steps.is_empty() || waits_for_time;
        for Step { change, reason } in std::mem::take(&mut plan.steps) {
            self.count(&change, &reason);
            self.follow(change, reason);
        }
        self.plan = plan;
        let crons = self.world.workloads.values().filter_map(|workload| match workload.jobs.next {
            NextRun::At { due, .. } => Some(due),
            NextRun::Unknown | NextRun::Finished => None,
        });
        self.next_cron = crons.min();
    }

    /// Counts what a step of the scheduler means.
    fn count(&mut self, change: &Change, reason: &str) {
        let counts = self.now > self.tally.from;
        match change {
            Change::TaskPlaced { task, .. } => {
                if let Some(task) = self.world.tasks.get(task).filter(|task| !task.reason.contains(MOVED)) {
                    let asked = task.created_at.max(task.not_before);
                    self.tally.placed(asked, self.now);
                    self.tally.outcome.placed += u64::from(asked >= self.tally.from);
                }
            }
            Change::TaskCreated { .. } if counts && reason.contains(MOVED) => self.tally.outcome.moved += 1,
            Change::TaskMoved { state: TaskState::Lost, .. } if counts => self.tally.outcome.lost += 1,
            Change::TaskMoved { exit: Some(exit), .. } if counts && exit.is_oom() => {
                self.tally.outcome.oom_kills += 1;
            }
            Change::RunClosed { outcome, .. } if counts => {
                self.tally.outcome.runs += 1;
                self.tally.outcome.runs_failed += u64::from(*outcome != RunOutcome::Succeeded);
            }
            Change::NodeCreated { .. } if counts => self.tally.outcome.nodes_made += 1,
            _ => {}
        }
    }

    /// The world follows a change, and so does what is known of the load of nodes.
    fn follow(&mut self, change: Change, reason: String) {
        let task = task_of(&change).cloned();
        let held = |world: &World| {
            let task = task.as_ref().and_then(|id| world.tasks.get(id));
            task.filter(|task| task.state.holds_resources()).map(Held::of)
        };
        let before = held(&self.world);
        let by = Actor::Engine;
        self.world.apply(&RecordedChange { at: self.now, by, reason, request: None, change });
        let after = held(&self.world);
        if let (Some(id), true) = (task, before != after) {
            self.weigh(&id, before, after);
        }
    }

    fn weigh(&mut self, id: &TaskId, before: Option<Held>, after: Option<Held>) {
        if let Some(held) = before
            && let Some(name) = held.node
            && let Some(load) = self.loads.get_mut(&name)
        {
            load.used = load.used.saturating_sub(held.request);
            load.tasks.remove(id);
            load.runs -= u32::from(held.runs);
            if load.tasks.is_empty() {
                self.loads.remove(&name);
            }
        }
        if let Some(held) = after
            && let Some(name) = held.node
        {
            let load = self.loads.entry(name).or_default();
            load.used += held.request;
            load.tasks.insert(id.clone());
            load.runs += u32::from(held.runs);
        }
    }

    /// Asks the cluster for what is not yet as the world says.
    fn carry_out(&mut self) {
        let mut all_done = true;
        for effect in effects(&self.world, self.cluster.observed()) {
            let done = match effect {
                Effect::Launch(id) => match self.world.tasks.get(&id) {
                    Some(task) => self.cluster.launch(task, self.scene.process(task)),
                    None => Ok(()),
                },
                Effect::Stop { task, grace } => self.cluster.stop(&task, grace),
                Effect::Resize { task, size } => self.cluster.resize(&task, &size),
                Effect::Forget(task) => self.cluster.forget(&task),
                Effect::CreateNode(name) => self.create(&name),
                Effect::RemoveNode(name) => self.cluster.remove(&name),
            };
            all_done &= done.is_ok();
        }
        // What came to nothing is asked for again.
        self.restless |= !all_done;
    }

    fn create(&mut self, name: &NodeName) -> Result<(), crate::simulation::cluster::Refusal> {
        let Some(node) = self.world.nodes.get(name) else { return Ok(()) };
        let machine = self.pools.iter().position(|pool| *pool == node.pool);
        let Some(machine) = machine.and_then(|place| self.setting.machines.get(place)) else { return Ok(()) };
        self.cluster.create(node, Terms { price: machine.price, boot: machine.boot })
    }

    fn outcome(mut self, policy: &str) -> Outcome {
        let waiting = self.world.tasks.values().filter(|task| task.state == TaskState::Pending);
        let asked: Vec<Timestamp> = waiting
            .filter(|task| !task.reason.contains(MOVED) && task.not_before <= self.now)
            .map(|task| task.created_at.max(task.not_before))
            .collect();
        // Those that wait at the end have waited at least so long.
        for asked in &asked {
            self.tally.placed(*asked, self.now);
        }
        let hours = self.now.duration_since(self.tally.from).as_secs_f64() / 3600.0;
        let tally = self.tally;
        let bound = tally.outcome.samples.iter().map(|sample| sample.bound_per_hour).sum::<f64>();
        Outcome {
            policy: policy.to_owned(),
            hours,
            paid: self.cluster.paid() - self.paid_before.0,
            bound: bound / tally.outcome.samples.len().max(1) as f64 * hours,
            node_hours: self.cluster.node_hours() - self.paid_before.1,
            unplaced: asked.len() as u64,
            wait_p50: tally.waits.percentile(0.5),
            wait_p99: tally.waits.percentile(0.99),
            wait_max: tally.waits.max(),
            wait_mean: tally.waits.mean(),
            under_provisioned: tally.lacking / tally.wanted.max(1.0),
            violations: self.cluster.violations(),
            ..tally.outcome
        }
    }
}

/// What a task holds of a node.
#[derive(PartialEq)]
struct Held {
    node: Option<NodeName>,
    request: crate::domain::quantity::Resources,
    runs: bool,
}

impl Held {
    fn of(task: &Task) -> Self {
        let runs = task.kind != WorkloadKind::Service;
        Self { node: task.node.clone(), request: task.size.request, runs }
    }
}

fn task_of(change: &Change) -> Option<&TaskId> {
    match change {
        Change::TaskCreated { task } => Some(&task.id),
        Change::TaskPlaced { task, .. }
        | Change::TaskMoved { task, .. }
        | Change::TaskResized { task, .. }
        | Change::TaskForgotten { task }
        | Change::TaskPreempted { task, .. } => Some(task),
        _ => None,
    }
}

fn microseconds(time: Duration) -> u64 {
    // Small counts for the long ones: three digits are enough.
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let unit = 10_u64.pow(micros.checked_ilog10().unwrap_or(0).saturating_sub(2));
    micros / unit * unit
}

/// Whether a node is one of those that tasks can be placed on.
fn takes_tasks(state: NodeState) -> bool {
    matches!(state, NodeState::Ready | NodeState::Draining)
}
