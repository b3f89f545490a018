//! The cluster at even times, for figures and charts; and what its tasks use, which kills those of them
//! that pass their limit.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::domain::node::NodeName;
use crate::domain::observation::ProcessState;
use crate::domain::quantity::{Bytes, Resources};
use crate::domain::task::{Task, TaskState};
use crate::domain::usage::UsageSample;
use crate::simulation::bound::Shape;
use crate::simulation::chance::Chance;
use crate::simulation::engine::{Simulation, is_ready, takes_tasks};
use crate::simulation::scene::Part;
use crate::simulation::tally::Sample;

/// From one sample to the next.
pub(super) const INTERVAL: SignedDuration = SignedDuration::from_mins(5);

/// A task's use is off its workload's by at most this share.
const APART: f64 = 0.05;

impl Simulation<'_> {
    /// Takes a sample, and lets tasks that use more memory than they may be killed.
    pub(super) fn sample(&mut self) {
        let seconds = self.now.duration_since(self.sampled_at).as_secs_f64();
        self.sampled_at = self.now;
        let mut shapes: BTreeMap<Shape, u64> = BTreeMap::new();
        let mut sample =
            Sample { second: self.now.duration_since(self.tally.from).as_secs(), ..Sample::default() };
        let (mut wanted, mut lacking) = (0.0, 0.0);
        let mut killed = Vec::new();
        let mut used_on: BTreeMap<NodeName, f64> = BTreeMap::new();
        let observed = self.cluster.observed();
        let span = self.scene.end.duration_since(self.scene.begin).as_secs();
        let age = self.now.duration_since(self.scene.begin).as_secs();
        for (name, part) in &self.scene.parts {
            let Some(workload) = self.world.workloads.get(name) else { continue };
            let (memory_factor, cpu_factor) = part.family.factors(age, span).unwrap_or((0.0, 0.0));
            let mut ready = 0_u32;
            for task in self.world.tasks_of(name) {
                if task.state == TaskState::Pending {
                    sample.waiting += 1;
                }
                if !task.state.holds_resources() {
                    continue;
                }
                sample.tasks += 1;
                let request = task.size.request;
                *shapes.entry((request.cpu.get(), request.memory.get())).or_default() += 1;
                sample.cores_requested += request.cpu.cores();
                sample.gib_requested += request.memory.gib();
                let seen = observed.tasks.get(&task.id);
                ready += u32::from(is_ready(task, seen));
                if seen.is_some_and(|seen| matches!(seen.process, ProcessState::Running { .. })) {
                    let factors = (cpu_factor, memory_factor);
                    let (cores, memory) = used(part, request, factors, task.id.number());
                    sample.cores_used += cores;
                    if let Some(node) = &task.node {
                        *used_on.entry(node.clone()).or_default() += cores;
                    }
                    if let Some(peaks) = &mut self.peaks {
                        peaks.observe(&measured(task, (cores, memory), (self.now, seconds)));
                    }
                    sample.gib_used += memory / 1_073_741_824.0;
                    if memory > task.size.memory_limit.as_f64() {
                        killed.push(task.id.clone());
                    }
                }
            }
            if part.spec.as_service().is_some() {
                wanted += f64::from(workload.count);
                lacking += f64::from(workload.count.saturating_sub(ready));
            }
        }
        for id in killed {
            self.cluster.kill_for_memory(&id);
        }
        sample.lacking = lacking / f64::max(wanted, 1.0);
        self.measure_nodes(&mut sample, &used_on);
        if let Some(peaks) = &mut self.peaks {
            let overcommit = peaks.overcommit(&self.world, self.now);
            self.cluster.lend(overcommit);
        }
        sample.bound_per_hour = self.bound.per_hour(&shapes, &self.setting.machines);
        sample.longest_wait = std::mem::take(&mut self.tally.longest_wait);
        if self.now > self.tally.from {
            self.tally.wanted += wanted * seconds;
            self.tally.lacking += lacking * seconds;
            self.tally.outcome.nodes_max = self.tally.outcome.nodes_max.max(sample.nodes);
            self.tally.outcome.samples.push(sample);
        }
    }

    fn measure_nodes(&self, sample: &mut Sample, used_on: &BTreeMap<NodeName, f64>) {
        for node in self.world.nodes.values().filter(|node| takes_tasks(node.state)) {
            sample.nodes += 1;
            let used = used_on.get(&node.name).copied().unwrap_or(0.0);
            sample.nodes_beyond += u64::from(used > node.size.cpu.cores());
            sample.cores += node.size.cpu.cores();
            sample.gib += node.size.memory.gib();
        }
        sample.price_per_hour = self.cluster.price_per_hour().units();
    }
}

/// What an agent would tell of a task.
fn measured(task: &Task, (cores, memory): (f64, f64), (now, seconds): (Timestamp, f64)) -> UsageSample {
    UsageSample {
        workload: task.workload().clone(),
        task: task.id.clone(),
        at: now,
        interval_seconds: Some(seconds),
        cpu_cores: Some(cores),
        throttled_share: None,
        memory: Bytes::from_f64(memory),
        page_cache: None,
        request: task.size.request,
        oom_kills: 0,
    }
}

/// Cores and bytes that a task uses.
fn used(part: &Part, request: Resources, (cpu, memory): (f64, f64), number: u64) -> (f64, f64) {
    let mut chance = Chance::new(number);
    let mut about = || 1.0 + chance.between(-APART, APART);
    let cores = request.cpu.cores() * part.uses.0 * cpu * about();
    (cores, request.memory.as_f64() * part.uses.1 * memory * about())
}
