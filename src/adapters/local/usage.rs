//! In: the kernel's counters of each task's processes, from its control group or from `/proc`.
//! Out: one `AgentReading` of every running task and every node.

use async_trait::async_trait;
use procfs::process::Process;

use crate::adapters::local::cgroup::Group;
use crate::adapters::local::process::ProcessTable;
use crate::adapters::local::record::TaskRecord;
use crate::adapters::local::{Inner, LocalCluster};
use crate::domain::node::NodeName;
use crate::domain::quantity::Bytes;
use crate::domain::usage::{AgentReading, NodeReading, TaskCounters, TaskReading};
use crate::ports::usage_source::{UsageError, UsageSource};

#[async_trait]
impl UsageSource for LocalCluster {
    async fn read(&self) -> Result<AgentReading, UsageError> {
        self.blocking("read usage", |inner| Ok(inner.read_usage())).await.map_err(|error| {
            UsageError::Unreachable { source_name: "this machine".to_owned(), source: error.into() }
        })
    }
}

/// The highest sums over processes that were read of a task. A process that ends takes its part out of
/// such a sum, but what was used stays used: a counter never goes back.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Floor {
    pub(super) cpu_seconds: f64,
    disk_read: u64,
    disk_written: u64,
}

/// A running task, as far as its usage goes.
struct Running {
    record: TaskRecord,
    supervisor: u32,
    floor: Floor,
}

impl Inner {
    fn read_usage(&self) -> AgentReading {
        let mut running = self.running();
        // One look at all processes tells whose they are where no group does.
        let table = if running.iter().any(|task| task.record.group.is_none()) {
            ProcessTable::read().unwrap_or_default()
        } else {
            ProcessTable::default()
        };
        let tasks: Vec<TaskReading> =
            running.iter_mut().filter_map(|task| self.read_task(task, &table)).collect();
        let mut state = self.state();
        for task in &running {
            if let Some(entry) = state.tasks.get_mut(&task.record.task) {
                entry.floor = task.floor;
            }
        }
        let nodes = state
            .nodes
            .values()
            .filter(|node| !node.record.failed)
            .map(|node| {
                let record = &node.record;
                let own: Vec<&TaskReading> = tasks.iter().filter(|task| task.node == record.name).collect();
                let summed =
                    || own.iter().map(|task| task.counters.cpu_seconds).sum::<f64>() + node.past_cpu_seconds;
                let counted = record.group.as_ref().and_then(|group| group.cpu_seconds().ok());
                NodeReading {
                    node: record.name.clone(),
                    at: self.clock.now(),
                    size: record.size,
                    cpu_seconds: counted.unwrap_or_else(summed),
                    working_set: Bytes::new(own.iter().map(|task| task.counters.working_set.get()).sum()),
                    tasks: own.len() as u64,
                }
            })
            .collect();
        drop(state);
        AgentReading { tasks, nodes }
    }

    /// Tasks whose program runs, on nodes that are there.
    fn running(&self) -> Vec<Running> {
        let state = self.state();
        let is_there = |node: &NodeName| state.nodes.get(node).is_some_and(|entry| !entry.record.failed);
        state
            .tasks
            .values()
            .filter(|entry| entry.is_live() && is_there(&entry.record.node))
            .filter_map(|entry| {
                let supervisor = entry.supervisor.as_ref()?.pid;
                Some(Running { record: entry.record.clone(), supervisor, floor: entry.floor })
            })
            .collect()
    }

    /// Reads a task; none where it has ended.
    fn read_task(&self, task: &mut Running, table: &ProcessTable) -> Option<TaskReading> {
        let at = self.clock.now();
        let counters = match &task.record.group {
            Some(group) => read_group(group, &mut task.floor)?,
            None => read_processes(task.supervisor, table, &mut task.floor)?,
        };
        let record = &task.record;
        Some(TaskReading {
            task: record.task.clone(),
            node: record.node.clone(),
            at,
            request: record.size.request,
            memory_limit: record.group.as_ref().map(|_| record.size.memory_limit),
            counters,
        })
    }
}

/// What the kernel counted for a group, and what only its processes know.
fn read_group(group: &Group, floor: &mut Floor) -> Option<TaskCounters> {
    let members = group.members();
    if members.is_empty() {
        return None;
    }
    let counted = group.usage().ok()?;
    let own = OwnCounts::of(&members);
    own.raise(floor);
    Some(TaskCounters {
        cpu_seconds: counted.cpu_seconds,
        throttled_seconds: counted.throttled_seconds,
        periods: counted.periods,
        throttled_periods: counted.throttled_periods,
        working_set: counted.working_set,
        page_cache: counted.page_cache,
        peak_memory: counted.peak_memory,
        oom_kills: counted.oom_kills,
        disk_read: own.disk_known.then_some(Bytes::new(floor.disk_read)),
        disk_written: own.disk_known.then_some(Bytes::new(floor.disk_written)),
        // The kernel counts network bytes per network name space, and tasks share the machine's.
        network_received: None,
        network_sent: None,
        threads: Some(own.threads),
        open_files: own.open_files,
    })
}

/// The sums over a task's processes: CPU of those that run and of those that they waited for, memory
/// that is not a file's. Memory that processes share counts once for each; to count it exactly the
/// kernel walks all page tables (`smaps_rollup`), which costs too much every few seconds.
fn read_processes(supervisor: u32, table: &ProcessTable, floor: &mut Floor) -> Option<TaskCounters> {
    let members = table.descendants(supervisor);
    if members.is_empty() {
        return None;
    }
    let waited_for =
        |pid: u32| table.get(pid).map_or(0, |stat| u64::try_from(stat.cutime + stat.cstime).unwrap_or(0));
    let itself = |pid: u32| table.get(pid).map_or(0, |stat| stat.utime + stat.stime);
    // Processes whose parent ended are waited for by the supervisor; its own work is not the task's.
    let ticks: u64 =
        members.iter().map(|pid| itself(*pid) + waited_for(*pid)).sum::<u64>() + waited_for(supervisor);
    floor.cpu_seconds = floor.cpu_seconds.max(ticks as f64 / procfs::ticks_per_second() as f64);
    let own = OwnCounts::of(&members);
    own.raise(floor);
    Some(TaskCounters {
        cpu_seconds: floor.cpu_seconds,
        throttled_seconds: None,
        periods: None,
        throttled_periods: None,
        working_set: Bytes::new(members.iter().map(|pid| private_memory(*pid)).sum()),
        page_cache: None,
        peak_memory: None,
        oom_kills: None,
        disk_read: own.disk_known.then_some(Bytes::new(floor.disk_read)),
        disk_written: own.disk_known.then_some(Bytes::new(floor.disk_written)),
        network_received: None,
        network_sent: None,
        threads: Some(own.threads),
        open_files: own.open_files,
    })
}

/// Memory of a process that is not a file's, in bytes: what the kernel cannot simply take back.
fn private_memory(pid: u32) -> u64 {
    i32::try_from(pid)
        .ok()
        .and_then(|pid| Process::new(pid).and_then(|process| process.status()).ok())
        .map_or(0, |status| (status.rssanon.unwrap_or(0) + status.rssshmem.unwrap_or(0)) * 1024)
}

/// What is counted for each process and not for a group.
#[derive(Debug, Default)]
struct OwnCounts {
    threads: u64,
    /// Absent where it could not be read of any process.
    open_files: Option<u64>,
    disk_read: u64,
    disk_written: u64,
    disk_known: bool,
}

impl OwnCounts {
    fn of(members: &[u32]) -> Self {
        let mut counts = Self::default();
        for pid in members {
            let Some(process) = i32::try_from(*pid).ok().and_then(|pid| Process::new(pid).ok()) else {
                continue;
            };
            if let Ok(stat) = process.stat() {
                counts.threads += u64::try_from(stat.num_threads).unwrap_or(0);
            }
            // Both are closed to other users, for example where the task runs as one.
            if let Ok(count) = process.fd_count() {
                counts.open_files = Some(counts.open_files.unwrap_or(0) + count as u64);
            }
            if let Ok(io) = process.io() {
                counts.disk_read += io.read_bytes;
                counts.disk_written += io.write_bytes;
                counts.disk_known = true;
            }
        }
        counts
    }

    fn raise(&self, floor: &mut Floor) {
        floor.disk_read = floor.disk_read.max(self.disk_read);
        floor.disk_written = floor.disk_written.max(self.disk_written);
    }
}
