//! Usage of tasks that are not there: counters as an agent would read them.

use std::f64::consts::TAU;

use async_trait::async_trait;

use crate::adapters::simulated::SimulatedCluster;
use crate::domain::quantity::Bytes;
use crate::domain::usage::{AgentReading, NodeReading, TaskCounters, TaskReading};
use crate::ports::usage_source::{UsageError, UsageSource};
use crate::simulation::chance::Chance;

const DAY: f64 = 86_400.0;
/// CPU goes up and down by this share of its level in a day.
const WAVE: f64 = 0.4;

#[async_trait]
impl UsageSource for SimulatedCluster {
    async fn read(&self) -> Result<AgentReading, UsageError> {
        let at = self.inner.clock.now();
        let state = self.now();
        let mut reading = AgentReading::default();
        for running in state.cluster.running() {
            let mut chance = Chance::of(self.inner.config.seed, running.task.workload().as_str());
            let (cpu, memory) = (chance.between(0.2, 0.6), chance.between(0.3, 0.8));
            let age = at.duration_since(running.since).as_secs_f64().max(0.0);
            // The integral of a wave of a day, which only rises.
            let seconds = age - WAVE * (age / DAY * TAU).sin() * DAY / TAU;
            let working_set = Bytes::from_f64(running.size.request.memory.as_f64() * memory);
            reading.tasks.push(TaskReading {
                task: running.task.clone(),
                node: running.node.clone(),
                at,
                request: running.size.request,
                memory_limit: Some(running.size.memory_limit),
                counters: TaskCounters {
                    cpu_seconds: running.size.request.cpu.cores() * cpu * seconds,
                    throttled_seconds: None,
                    periods: None,
                    throttled_periods: None,
                    working_set,
                    page_cache: None,
                    peak_memory: Some(working_set),
                    oom_kills: Some(0),
                    disk_read: None,
                    disk_written: None,
                    network_received: None,
                    network_sent: None,
                    threads: None,
                    open_files: None,
                },
            });
        }
        for (node, size) in state.cluster.speaking() {
            let own = || reading.tasks.iter().filter(|task| task.node == *node);
            reading.nodes.push(NodeReading {
                node: node.clone(),
                at,
                size,
                cpu_seconds: own().map(|task| task.counters.cpu_seconds).sum(),
                working_set: Bytes::new(own().map(|task| task.counters.working_set.get()).sum()),
                tasks: own().count() as u64,
            });
        }
        Ok(reading)
    }
}
