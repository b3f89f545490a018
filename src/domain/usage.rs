//! In: two readings of a task's counters, as an agent's endpoint gives them.
//! Out: `UsageSample`, the usage over the interval between them.
//!
//! What was measured: usage of a task at an instant, totals of a node. What the kernel did not tell is
//! absent, never zero.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::node::NodeName;
use crate::domain::quantity::{Bytes, Resources};
use crate::domain::task::TaskId;
use crate::domain::workload::WorkloadName;

/// The counters of one task as an agent reads them from the kernel. Counters count from the task's
/// start.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TaskCounters {
    /// CPU time used, in seconds.
    pub cpu_seconds: f64,
    /// Time in which the task was runnable but held back by its CPU limit, in seconds.
    pub throttled_seconds: Option<f64>,
    /// CPU bandwidth periods that passed while the task was runnable.
    pub periods: Option<u64>,
    /// Those of them in which it was held back.
    pub throttled_periods: Option<u64>,
    /// Memory that the kernel cannot simply take back: use less inactive file cache.
    pub working_set: Bytes,
    /// File cache charged to the task.
    pub page_cache: Option<Bytes>,
    /// The highest memory use so far, cache included.
    pub peak_memory: Option<Bytes>,
    /// Kills by the kernel for want of memory within the task's limit.
    pub oom_kills: Option<u64>,
    /// Bytes read from storage.
    pub disk_read: Option<Bytes>,
    /// Bytes written to storage.
    pub disk_written: Option<Bytes>,
    /// Bytes received over the network.
    pub network_received: Option<Bytes>,
    /// Bytes sent over the network.
    pub network_sent: Option<Bytes>,
    /// Threads now.
    pub threads: Option<u64>,
    /// Open files now.
    pub open_files: Option<u64>,
}

/// One reading of a task's counters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskReading {
    /// The task.
    pub task: TaskId,
    /// The node that it runs on.
    pub node: NodeName,
    /// When the agent read the kernel.
    pub at: Timestamp,
    /// The size in force at that instant, as far as the agent knows.
    pub request: Resources,
    /// The memory limit in force, if one is enforced.
    pub memory_limit: Option<Bytes>,
    /// What it read.
    pub counters: TaskCounters,
}

/// The totals of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeReading {
    /// The node.
    pub node: NodeName,
    /// When the agent read the kernel.
    pub at: Timestamp,
    /// What it offers.
    pub size: Resources,
    /// CPU time used by all its tasks, in seconds since it joined.
    pub cpu_seconds: f64,
    /// Working set of all its tasks.
    pub working_set: Bytes,
    /// Tasks that run on it.
    pub tasks: u64,
}

/// Everything that one agent read at one instant.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AgentReading {
    /// A reading a task.
    pub tasks: Vec<TaskReading>,
    /// A reading a node.
    pub nodes: Vec<NodeReading>,
}

/// Usage of one task over the interval that ends at `at`: the sample that everything is computed from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UsageSample {
    /// The workload.
    pub workload: WorkloadName,
    /// The task.
    pub task: TaskId,
    /// The end of the interval.
    pub at: Timestamp,
    /// The length of the interval in seconds; absent for a task's first sample.
    pub interval_seconds: Option<f64>,
    /// Cores in use, mean over the interval; absent for a task's first sample.
    pub cpu_cores: Option<f64>,
    /// Share of the interval's CPU periods in which it was throttled.
    pub throttled_share: Option<f64>,
    /// Working set at the end of the interval.
    pub memory: Bytes,
    /// File cache at the end of the interval.
    pub page_cache: Option<Bytes>,
    /// The request in force.
    pub request: Resources,
    /// Kills for want of memory during the interval.
    pub oom_kills: u64,
}

/// Two readings further apart than this many seconds do not make an interval: a mean over it would hide
/// the peaks that sizes are estimated from. The gap stays a gap.
pub const INTERVAL_SECONDS_MAX: f64 = 600.0;

impl TaskReading {
    /// The sample over the interval from `earlier` to this reading; none where both are the same reading.
    ///
    /// Without an earlier reading, after a gap, and where a counter fell or the clock went back, it is a
    /// first sample: memory is known, the interval and what is measured over it are absent. Kills for want
    /// of memory are counted across gaps; those before the first reading are not, because an engine that
    /// starts again would count them twice.
    pub fn since(&self, earlier: Option<&Self>) -> Option<UsageSample> {
        let earlier = earlier.filter(|earlier| earlier.task == self.task);
        if earlier.is_some_and(|earlier| earlier.at == self.at) {
            return None;
        }
        let interval = earlier.and_then(|earlier| self.interval_since(earlier));
        let counters = &self.counters;
        Some(UsageSample {
            workload: self.task.workload().clone(),
            task: self.task.clone(),
            at: self.at,
            interval_seconds: interval.map(|(seconds, _)| seconds),
            cpu_cores: interval
                .map(|(seconds, before)| (counters.cpu_seconds - before.cpu_seconds) / seconds),
            throttled_share: interval.and_then(|(_, before)| counters.throttled_share_since(before)),
            memory: counters.working_set,
            page_cache: counters.page_cache,
            request: self.request,
            oom_kills: earlier.map_or(0, |earlier| counters.oom_kills_since(&earlier.counters)),
        })
    }

    /// The seconds from `earlier` to this reading with the counters then, where the two can be compared.
    fn interval_since<'a>(&self, earlier: &'a Self) -> Option<(f64, &'a TaskCounters)> {
        let seconds = self.at.duration_since(earlier.at).as_secs_f64();
        let comparable = seconds > 0.0
            && seconds <= INTERVAL_SECONDS_MAX
            && self.counters.cpu_seconds >= earlier.counters.cpu_seconds;
        comparable.then_some((seconds, &earlier.counters))
    }
}

impl TaskCounters {
    /// The share of the periods since `earlier` in which the task was throttled; absent where no period
    /// passed, because then nothing was tried.
    fn throttled_share_since(&self, earlier: &Self) -> Option<f64> {
        let periods = self.periods?.checked_sub(earlier.periods?)?;
        let throttled = self.throttled_periods?.checked_sub(earlier.throttled_periods?)?;
        (periods > 0).then(|| throttled as f64 / periods as f64)
    }

    /// Kills since `earlier`; a counter that fell began anew, so all that it counts is new.
    fn oom_kills_since(&self, earlier: &Self) -> u64 {
        let kills = self.oom_kills.unwrap_or(0);
        kills.checked_sub(earlier.oom_kills.unwrap_or(0)).unwrap_or(kills)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::quantity::Millicores;

    fn reading(second: i64, cpu_seconds: f64) -> TaskReading {
        TaskReading {
            task: "web.1".parse().expect("a task id"),
            node: NodeName::new("small-1").expect("a name"),
            at: Timestamp::from_second(1_800_000_000 + second).expect("an instant"),
            request: Resources::new(Millicores::new(500), Bytes::mib(64)),
            memory_limit: None,
            counters: TaskCounters {
                cpu_seconds,
                throttled_seconds: None,
                periods: Some(second.unsigned_abs() * 10),
                throttled_periods: Some(second.unsigned_abs()),
                working_set: Bytes::mib(32),
                page_cache: None,
                peak_memory: None,
                oom_kills: Some(second.unsigned_abs() / 5),
                disk_read: None,
                disk_written: None,
                network_received: None,
                network_sent: None,
                threads: None,
                open_files: None,
            },
        }
    }

    #[test]
    fn a_first_sample_knows_memory_but_no_rates() {
        let sample = reading(5, 1.0).since(None).expect("a sample");
        assert_eq!((sample.interval_seconds, sample.cpu_cores, sample.throttled_share), (None, None, None));
        assert_eq!((sample.memory, sample.page_cache, sample.oom_kills), (Bytes::mib(32), None, 0));
    }

    #[test]
    fn rates_are_means_over_the_interval() {
        let sample = reading(15, 3.0).since(Some(&reading(5, 1.0))).expect("a sample");
        assert_eq!((sample.interval_seconds, sample.cpu_cores), (Some(10.0), Some(0.2)));
        assert_eq!((sample.throttled_share, sample.oom_kills), (Some(0.1), 2));
    }

    #[test]
    fn the_same_reading_twice_is_no_sample() {
        assert_eq!(reading(5, 1.0).since(Some(&reading(5, 1.0))), None);
    }

    #[test]
    fn a_counter_that_fell_or_a_clock_that_went_back_begins_anew() {
        let fell = reading(10, 0.5).since(Some(&reading(5, 1.0))).expect("a sample");
        assert_eq!((fell.interval_seconds, fell.cpu_cores), (None, None));
        let back = reading(5, 2.0).since(Some(&reading(10, 1.0))).expect("a sample");
        assert_eq!((back.interval_seconds, back.oom_kills), (None, 1));
    }

    #[test]
    fn a_gap_stays_a_gap_but_its_kills_count() {
        let sample = reading(606, 9.0).since(Some(&reading(5, 1.0))).expect("a sample");
        assert_eq!((sample.interval_seconds, sample.cpu_cores, sample.oom_kills), (None, None, 120));
        let longest = reading(605, 9.0).since(Some(&reading(5, 1.0))).expect("a sample");
        assert_eq!(longest.interval_seconds, Some(INTERVAL_SECONDS_MAX));
    }

    #[test]
    fn throttling_is_absent_where_no_period_passed_or_none_is_counted() {
        let mut now = reading(10, 1.0);
        now.counters.periods = Some(50);
        let sample = now.since(Some(&reading(5, 1.0))).expect("a sample");
        assert_eq!(sample.throttled_share, None);
        now.counters.periods = None;
        assert_eq!(now.since(Some(&reading(5, 1.0))).expect("a sample").throttled_share, None);
    }

    #[test]
    fn readings_of_another_task_are_not_compared() {
        let mut other = reading(5, 1.0);
        other.task = "web.2".parse().expect("a task id");
        assert_eq!(reading(5, 1.0).since(Some(&other)).expect("a sample").interval_seconds, None);
    }
}
