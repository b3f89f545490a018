//! The tasks of a simulated cluster: launched, started, ended, stopped, resized and forgotten.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::domain::node::NodeName;
use crate::domain::observation::{Health, ProcessState, TaskObservation};
use crate::domain::quantity::TaskSize;
use crate::domain::task::{ExitRecord, ExitStatus, Task, TaskId};
use crate::domain::world::RunKey;
use crate::simulation::cluster::{Cluster, Event, Guest, Process, Refusal};

/// Time from the polite signal to the end, unless the grace is shorter.
const STOPPING_TAKES: SignedDuration = SignedDuration::from_secs(2);

impl Cluster {
    /// Starts a task unless it is known.
    pub fn launch(&mut self, task: &Task, process: Process) -> Result<(), Refusal> {
        let (call, answer) = self.lost();
        let Some(node) = task.node.clone() else {
            return Err(Refusal::Refused(format!("{} has no node", task.id)));
        };
        if call || self.is_silent(&node) {
            return Err(Refusal::NoAnswer);
        }
        if !self.guests.contains_key(&task.id) {
            self.admit(task, &node, process)?;
        }
        if answer { Err(Refusal::NoAnswer) } else { Ok(()) }
    }

    pub(super) fn is_silent(&self, node: &NodeName) -> bool {
        self.hosts.get(node).is_some_and(|host| host.silent_until > self.now)
    }

    fn admit(&mut self, task: &Task, node: &NodeName, process: Process) -> Result<(), Refusal> {
        let bound = self.hosts.get(node).map(|host| self.bound(host.size)).unwrap_or_default();
        let there = self.hosts.get_mut(node).filter(|host| host.there);
        let Some(host) = there else { return Err(Refusal::NoSuchNode(node.clone())) };
        if !(host.reserved + task.size.request).fits(bound) {
            self.violations.no_room += 1;
            return Err(Refusal::Refused(format!("node {node} has no room for {}", task.id)));
        }
        host.reserved += task.size.request;
        host.tasks.insert(task.id.clone());
        let part = task.run().map(|run| (run, task.index()));
        if let Some(part) = &part {
            let running = self.running_parts.entry(part.clone()).or_default();
            self.violations.twice_at_once += u64::from(*running > 0);
            self.violations.twice_done += u64::from(self.done_parts.contains(part));
            *running += 1;
        }
        let (node, size) = (node.clone(), task.size);
        let guest = Guest { node, size, part, process, asked_to_stop: false, live: true };
        self.guests.insert(task.id.clone(), guest);
        let seen = TaskObservation {
            process: ProcessState::Starting,
            health: Health::Ready,
            in_flight: 0,
            size: Some(task.size),
            resize_refused: None,
        };
        self.observed.tasks.insert(task.id.clone(), seen);
        self.changed = true;
        self.plan(process.starts_after, Event::Starts(task.id.clone()));
        Ok(())
    }

    pub(super) fn starts(&mut self, id: &TaskId, at: Timestamp) {
        let Some(guest) = self.guests.get(id).filter(|guest| guest.live) else { return };
        let ends = guest.process.ends_after;
        if let Some(seen) = self.observed.tasks.get_mut(id) {
            seen.process = ProcessState::Running { pid: 1, started_at: at };
        }
        self.changed = true;
        if let Some((after, code)) = ends {
            let ended = at.saturating_add(after).unwrap_or(Timestamp::MAX);
            self.plan_at(ended, Event::Ends(id.clone(), ExitStatus::Code(code), ended));
        }
    }

    pub(super) fn ends(&mut self, id: &TaskId, status: ExitStatus, at: Timestamp, oom: bool) {
        let Some(guest) = self.guests.get_mut(id).filter(|guest| guest.live) else { return };
        guest.live = false;
        leave(&mut self.running_parts, guest.part.as_ref());
        if status == ExitStatus::Code(0)
            && let Some(part) = &guest.part
        {
            self.done_parts.insert(part.clone());
        }
        if let Some(host) = self.hosts.get_mut(&guest.node) {
            host.reserved = host.reserved.saturating_sub(guest.size.request);
            host.tasks.remove(id);
        }
        let limit = Some(guest.size.memory_limit);
        let record = ExitRecord {
            status: Some(status),
            at,
            oom_kills: Some(u64::from(oom)),
            peak_memory: limit.filter(|_| oom),
            memory_limit: limit,
            asked_to_stop: guest.asked_to_stop,
            message: None,
        };
        if let Some(seen) = self.observed.tasks.get_mut(id) {
            seen.process = ProcessState::Exited(record);
        }
        self.changed = true;
    }

    /// The kernel kills a task for want of memory.
    pub fn kill_for_memory(&mut self, id: &TaskId) {
        if self.silence_of(id).is_none() {
            self.ends(id, ExitStatus::Signal(9), self.now, true);
        }
    }

    /// Asks a task to end; one that is not there is no error.
    pub fn stop(&mut self, id: &TaskId, grace: SignedDuration) -> Result<(), Refusal> {
        let (call, answer) = self.lost();
        if call || self.silence_of(id).is_some() {
            return Err(Refusal::NoAnswer);
        }
        if let Some(guest) = self.guests.get_mut(id).filter(|guest| guest.live && !guest.asked_to_stop) {
            guest.asked_to_stop = true;
            let ended = self.now.saturating_add(STOPPING_TAKES.min(grace)).unwrap_or(Timestamp::MAX);
            self.plan_at(ended, Event::Ends(id.clone(), ExitStatus::Signal(15), ended));
        }
        if answer { Err(Refusal::NoAnswer) } else { Ok(()) }
    }

    /// Puts a size in force while the task runs.
    pub fn resize(&mut self, id: &TaskId, size: &TaskSize) -> Result<(), Refusal> {
        let (call, answer) = self.lost();
        if call || self.silence_of(id).is_some() {
            return Err(Refusal::NoAnswer);
        }
        let host = self.guests.get(id).and_then(|guest| self.hosts.get(&guest.node));
        let bound = host.map(|host| self.bound(host.size)).unwrap_or_default();
        let guest = self.guests.get_mut(id).filter(|guest| guest.live);
        let Some(guest) = guest else { return Err(Refusal::NoSuchTask(id.clone())) };
        if let Some(host) = self.hosts.get_mut(&guest.node) {
            let reserved = host.reserved.saturating_sub(guest.size.request) + size.request;
            if !reserved.fits(bound) {
                self.violations.no_room += 1;
                return Err(Refusal::Refused(format!("node {} has no room for that", guest.node)));
            }
            host.reserved = reserved;
        }
        guest.size = *size;
        if let Some(seen) = self.observed.tasks.get_mut(id) {
            seen.size = Some(*size);
        }
        self.changed = true;
        if answer { Err(Refusal::NoAnswer) } else { Ok(()) }
    }

    /// Drops what is kept of a task that ended; one that runs is refused.
    pub fn forget(&mut self, id: &TaskId) -> Result<(), Refusal> {
        let (call, answer) = self.lost();
        if call || self.silence_of(id).is_some() {
            return Err(Refusal::NoAnswer);
        }
        if self.guests.get(id).is_some_and(|guest| guest.live) {
            return Err(Refusal::Refused(format!("{id} still runs")));
        }
        self.guests.remove(id);
        self.observed.tasks.remove(id);
        self.changed = true;
        if answer { Err(Refusal::NoAnswer) } else { Ok(()) }
    }
}

/// A part of a run runs once less.
pub(super) fn leave(running: &mut BTreeMap<(RunKey, u32), u32>, part: Option<&(RunKey, u32)>) {
    if let Some(part) = part
        && let Some(count) = running.get_mut(part)
    {
        *count = count.saturating_sub(1);
        if *count == 0 {
            running.remove(part);
        }
    }
}
