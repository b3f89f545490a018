//! Machines and processes that are not there. In: calls as a provider and an agent get them, and the time.
//! Out: what an observer would see, kept up to date in place, and what the machines cost.
//!
//! Everything that happens by itself is an event at an instant; `advance` lets what is due happen, in
//! order. What a machine or a message suffers follows from the seed: the same calls give the same cluster.
//!
//! An agent that is silent answers no call, and what happens on its machine is seen when it speaks again.

mod tasks;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::domain::money::MicroCents;
use crate::domain::node::{Node, NodeName};
use crate::domain::observation::{NodeObservation, Observed, ProcessState, Usage};
use crate::domain::overcommit::Overcommit;
use crate::domain::quantity::{Millicores, Resources, TaskSize};
use crate::domain::task::{ExitStatus, TaskId};
use crate::domain::world::RunKey;
use crate::simulation::chance::Chance;
use crate::simulation::cluster::tasks::leave;
use crate::simulation::faults::{Faults, SILENT_SECONDS, SLOW_TIMES};

/// A boot takes from and to so many times the usual time.
const BOOT_SPREAD: (f64, f64) = (0.8, 1.4);
/// A machine whose boot comes to nothing is given back, and no longer paid for, after so many boot times.
const GIVEN_BACK_AFTER: f64 = 3.0;
const DAY: f64 = 86_400.0;

/// Why a call came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The machine is not there.
    NoSuchNode(NodeName),
    /// The task is not there.
    NoSuchTask(TaskId),
    /// Nothing was heard: the call or its answer was lost, or the agent is silent.
    NoAnswer,
    /// It cannot be done, in words.
    Refused(String),
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// From the launch until it runs.
    pub starts_after: SignedDuration,
    /// From then until it ends by itself, and the status that it ends with; it stays where absent.
    pub ends_after: Option<(SignedDuration, i32)>,
}

/// What a machine costs and takes to boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Price of an hour.
    pub price: MicroCents,
    /// Usual time until it takes tasks.
    pub boot: SignedDuration,
}

/// A task that runs.
#[derive(Debug, Clone, Copy)]
pub struct Running<'a> {
    /// The task.
    pub task: &'a TaskId,
    /// Where.
    pub node: &'a NodeName,
    /// The size in force.
    pub size: TaskSize,
    /// Since when.
    pub since: Timestamp,
}

/// What must never happen, and whether it did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Violations {
    /// Launches that the machine had no room for.
    pub no_room: u64,
    /// Launches of a part of a run of which another try was running.
    pub twice_at_once: u64,
    /// Parts of runs that had ended well and were launched again.
    pub twice_done: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Event {
    Boots(NodeName),
    BootFails(NodeName),
    Dies(NodeName),
    FallsSilent(NodeName),
    Starts(TaskId),
    Ends(TaskId, ExitStatus, Timestamp),
}

#[derive(Debug)]
struct Host {
    size: Resources,
    reserved: Resources,
    price: MicroCents,
    there: bool,
    failed: bool,
    silent_until: Timestamp,
    tasks: BTreeSet<TaskId>,
}

#[derive(Debug)]
struct Guest {
    node: NodeName,
    size: TaskSize,
    part: Option<(RunKey, u32)>,
    process: Process,
    asked_to_stop: bool,
    live: bool,
}

/// The cluster.
#[derive(Debug)]
pub struct Cluster {
    seed: u64,
    faults: Faults,
    now: Timestamp,
    observed: Observed,
    hosts: BTreeMap<NodeName, Host>,
    guests: BTreeMap<TaskId, Guest>,
    events: BTreeMap<(Timestamp, u64), Event>,
    /// Numbers events, messages and boots, for order and for chance.
    number: u64,
    /// Machines that are paid for, and their price per hour.
    hired: i64,
    rate: i64,
    /// What was paid so far, in micro-cents per hour x milliseconds, and milliseconds of machines.
    paid: i128,
    node_time: i128,
    running_parts: BTreeMap<(RunKey, u32), u32>,
    done_parts: BTreeSet<(RunKey, u32)>,
    violations: Violations,
    changed: bool,
    /// Machines take tasks that request so many times their CPU.
    cpu_most: f64,
}

impl Cluster {
    /// An empty one.
    pub fn new(seed: u64, faults: Faults, now: Timestamp) -> Self {
        Self {
            seed,
            faults,
            now,
            observed: Observed { can_resize: true, ..Observed::default() },
            hosts: BTreeMap::new(),
            guests: BTreeMap::new(),
            events: BTreeMap::new(),
            number: 0,
            hired: 0,
            rate: 0,
            paid: 0,
            node_time: 0,
            running_parts: BTreeMap::new(),
            done_parts: BTreeSet::new(),
            violations: Violations::default(),
            changed: false,
            cpu_most: 1.0,
        }
    }

    /// What tasks count with from now on instead of their requests for CPU; machines take as many as that allows.
    pub fn lend(&mut self, overcommit: Overcommit) {
        self.cpu_most = overcommit.most.max(1.0);
        self.observed.usage = Arc::new(Usage { overcommit: Arc::new(overcommit), ..Usage::default() });
        self.changed = true;
    }

    /// What tasks may request of a machine of a size.
    fn bound(&self, size: Resources) -> Resources {
        Resources::new(Millicores::from_cores(size.cpu.cores() * self.cpu_most), size.memory)
    }

    /// What an observer sees.
    pub fn observed(&self) -> &Observed {
        &self.observed
    }

    /// Whether what an observer sees has changed since this was last asked.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// When the next thing happens by itself.
    pub fn next_event(&self) -> Option<Timestamp> {
        self.events.keys().next().map(|(at, _)| *at)
    }

    /// Tasks that run on machines whose agents speak.
    pub fn running(&self) -> impl Iterator<Item = Running<'_>> {
        self.guests.iter().filter_map(|(task, guest)| {
            let seen = self.observed.tasks.get(task)?;
            let ProcessState::Running { started_at: since, .. } = seen.process else { return None };
            let speaks = !self.is_silent(&guest.node);
            speaks.then_some(Running { task, node: &guest.node, size: guest.size, since })
        })
    }

    /// Machines whose agents speak, and what they offer.
    pub fn speaking(&self) -> impl Iterator<Item = (&NodeName, Resources)> {
        let speaks = |(_, host): &(&NodeName, &Host)| host.there && host.silent_until <= self.now;
        self.hosts.iter().filter(speaks).map(|(name, host)| (name, host.size))
    }

    /// What was paid for machines so far.
    pub fn paid(&self) -> f64 {
        self.paid as f64 / 3_600_000.0 / MicroCents::PER_UNIT as f64
    }

    /// Hours of machines so far.
    pub fn node_hours(&self) -> f64 {
        self.node_time as f64 / 3_600_000.0
    }

    /// What the machines that are paid for now cost per hour.
    pub fn price_per_hour(&self) -> MicroCents {
        MicroCents::new(self.rate)
    }

    /// Machines that take tasks.
    pub fn nodes(&self) -> usize {
        self.hosts.values().filter(|host| host.there).count()
    }

    /// What must never happen.
    pub fn violations(&self) -> Violations {
        self.violations
    }

    /// Lets everything happen that is due. Time that goes back does nothing.
    pub fn advance(&mut self, now: Timestamp) {
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let ((at, _), event) = entry.remove_entry();
            self.pay_until(at);
            self.happen(event, at);
        }
        self.pay_until(now);
    }

    fn pay_until(&mut self, at: Timestamp) {
        let time = at.duration_since(self.now).as_millis();
        if time > 0 {
            self.paid += i128::from(self.rate) * time;
            self.node_time += i128::from(self.hired) * time;
            self.now = at;
        }
    }

    fn hire(&mut self, price: MicroCents, machines: i64) {
        self.hired += machines;
        self.rate += price.get() * machines;
    }

    fn plan(&mut self, after: SignedDuration, event: Event) {
        let at = self.now.saturating_add(after).unwrap_or(Timestamp::MAX);
        self.plan_at(at, event);
    }

    fn plan_at(&mut self, at: Timestamp, event: Event) {
        self.number += 1;
        self.events.insert((at, self.number), event);
    }

    fn happen(&mut self, event: Event, at: Timestamp) {
        match event {
            Event::Boots(name) => self.joins(&name),
            Event::BootFails(name) => {
                if self.hosts.get(&name).is_some_and(|host| !host.there && !host.failed) {
                    self.drop_host(&name);
                }
            }
            Event::Dies(name) => {
                if self.hosts.get(&name).is_some_and(|host| host.there && !host.failed) {
                    self.lose(&name);
                }
            }
            Event::FallsSilent(name) => self.fall_silent(&name),
            Event::Starts(id) => match self.silence_of(&id) {
                Some(until) => self.plan_at(until, Event::Starts(id)),
                None => self.starts(&id, at),
            },
            Event::Ends(id, status, ended) => match self.silence_of(&id) {
                Some(until) => self.plan_at(until, Event::Ends(id, status, ended)),
                None => self.ends(&id, status, ended, false),
            },
        }
    }

    /// Until when the machine of a task is silent, if it is.
    fn silence_of(&self, id: &TaskId) -> Option<Timestamp> {
        let host = self.hosts.get(&self.guests.get(id)?.node)?;
        (host.silent_until > self.now).then_some(host.silent_until)
    }

    fn chance(&mut self, what: &str) -> Chance {
        self.number += 1;
        Chance::of(self.seed ^ self.number, what)
    }

    /// Whether the call gets lost on its way there, and whether its answer does.
    fn lost(&mut self) -> (bool, bool) {
        if self.faults.lost_messages <= 0.0 {
            return (false, false);
        }
        let share = self.faults.lost_messages;
        let mut chance = self.chance("message");
        let lost = chance.happens(share);
        let there = chance.happens(0.5);
        (lost && there, lost && !there)
    }

    /// Makes a machine unless it is there.
    pub fn create(&mut self, node: &Node, terms: Terms) -> Result<(), Refusal> {
        let (call, answer) = self.lost();
        if call {
            return Err(Refusal::NoAnswer);
        }
        if let Some(host) = self.hosts.get(&node.name) {
            let dead = format!("node {} is lost; a new node needs a new name", node.name);
            return if host.failed { Err(Refusal::Refused(dead)) } else { Ok(()) };
        }
        let host = Host {
            size: node.size,
            reserved: Resources::ZERO,
            price: terms.price,
            there: false,
            failed: false,
            silent_until: Timestamp::MIN,
            tasks: BTreeSet::new(),
        };
        self.hosts.insert(node.name.clone(), host);
        self.hire(terms.price, 1);
        let mut chance = self.chance(node.name.as_str());
        let mut times = chance.between(BOOT_SPREAD.0, BOOT_SPREAD.1);
        let fails = chance.happens(self.faults.failed_boot);
        if chance.happens(self.faults.slow_boot) {
            times *= SLOW_TIMES;
        }
        let after = |times: f64| terms.boot.as_secs_f64() * times;
        if fails {
            self.plan(seconds(after(GIVEN_BACK_AFTER)), Event::BootFails(node.name.clone()));
        } else {
            self.plan(seconds(after(times)), Event::Boots(node.name.clone()));
            if self.faults.node_loss > 0.0 {
                let life = chance.wait(DAY / self.faults.node_loss);
                self.plan(seconds(after(times) + life), Event::Dies(node.name.clone()));
            }
        }
        if answer { Err(Refusal::NoAnswer) } else { Ok(()) }
    }

    fn joins(&mut self, name: &NodeName) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        host.there = true;
        self.observed.nodes.insert(name.clone(), NodeObservation::Ready);
        self.changed = true;
        self.plan_silence(name);
    }

    fn plan_silence(&mut self, name: &NodeName) {
        if self.faults.silence > 0.0 {
            let wait = self.chance(name.as_str()).wait(DAY / self.faults.silence);
            self.plan(seconds(wait), Event::FallsSilent(name.clone()));
        }
    }

    fn fall_silent(&mut self, name: &NodeName) {
        let span = self.chance(name.as_str()).between(SILENT_SECONDS.0, SILENT_SECONDS.1);
        let until = self.now.saturating_add(seconds(span)).unwrap_or(Timestamp::MAX);
        let Some(host) = self.hosts.get_mut(name).filter(|host| !host.failed) else { return };
        host.silent_until = until;
        self.plan_silence(name);
    }

    /// Removes a machine; one that still has tasks is refused.
    pub fn remove(&mut self, name: &NodeName) -> Result<(), Refusal> {
        let (call, answer) = self.lost();
        if call {
            return Err(Refusal::NoAnswer);
        }
        if let Some(host) = self.hosts.get(name) {
            let busy = host.tasks.iter().filter(|id| self.guests.get(*id).is_some_and(|g| g.live)).count();
            if busy > 0 {
                return Err(Refusal::Refused(format!("node {name} still has {busy} tasks")));
            }
            self.drop_host(name);
        }
        if answer { Err(Refusal::NoAnswer) } else { Ok(()) }
    }

    fn drop_host(&mut self, name: &NodeName) {
        if let Some(host) = self.hosts.remove(name)
            && !host.failed
        {
            self.hire(host.price, -1);
        }
        self.observed.nodes.remove(name);
        self.changed = true;
    }

    /// Fails a machine: everything on it dies at once and leaves no record.
    pub fn fail(&mut self, name: &NodeName) -> Result<(), Refusal> {
        if !self.hosts.contains_key(name) {
            return Err(Refusal::NoSuchNode(name.clone()));
        }
        self.lose(name);
        Ok(())
    }

    fn lose(&mut self, name: &NodeName) {
        let Some(host) = self.hosts.get_mut(name).filter(|host| !host.failed) else { return };
        host.failed = true;
        host.there = false;
        host.reserved = Resources::ZERO;
        let (price, tasks) = (host.price, std::mem::take(&mut host.tasks));
        self.hire(price, -1);
        self.observed.nodes.insert(name.clone(), NodeObservation::Lost);
        for id in tasks {
            if let Some(guest) = self.guests.get_mut(&id).filter(|guest| guest.live) {
                guest.live = false;
                leave(&mut self.running_parts, guest.part.as_ref());
            } else {
                continue;
            }
            if let Some(seen) = self.observed.tasks.get_mut(&id) {
                seen.process = ProcessState::Lost;
            }
        }
        self.changed = true;
    }
}

fn seconds(seconds: f64) -> SignedDuration {
    // Far more than any run lasts, far less than a timestamp holds.
    SignedDuration::from_millis((seconds.clamp(0.0, 1e9) * 1000.0) as i64)
}
