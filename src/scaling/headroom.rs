//! Room for runs that nobody has announced but that have come often.
//!
//! In: the world: when runs of jobs were asked for, how many tasks they have; a risk. Out: tasks that may be asked
//! for before a node that is asked for now would be there. No node is made for them; but where there is room for
//! them, no node is emptied that would take it away, so the next burst finds what the last one left.
//!
//! Each job is taken to come at random with the rate of its newest runs. What is asked for within the time that
//! a node takes, less what ends in it, then varies around nothing with twice the variance of what comes (two
//! compound Poisson processes in balance); room is kept for what a normal variable of that variance passes
//! in the given share of such times.
//! Not here: services, whose counts are decided ahead by their own policy (`counts`); runs that a schedule
//! announces (`ahead`).

use jiff::{SignedDuration, Timestamp};

use crate::domain::quantity::{Resources, Share};
use crate::domain::task::TaskId;
use crate::domain::workload::WorkloadSpec;
use crate::domain::world::{Workload, World};
use crate::forecasting::probit;
use crate::scaling::ahead::{Coming, join_time};

/// A rate needs so many runs to be known.
const RUNS_LEAST: usize = 5;

/// A job that comes now and then.
struct Burst<'w> {
    workload: &'w Workload,
    tasks: u32,
    /// Millicores and bytes of one run.
    size: (f64, f64),
    /// Runs that are expected within the time that a node takes.
    expected: f64,
}

impl<'w> Burst<'w> {
    fn of(world: &World, workload: &'w Workload, within: SignedDuration, now: Timestamp) -> Option<Self> {
        let WorkloadSpec::Job(job) = &workload.spec else { return None };
        let run = &job.run;
        if workload.deleted || world.paused(&workload.name).is_some() {
            return None;
        }
        let known = world.runs_of(&workload.name).count();
        let first = world.runs_of(&workload.name).next().filter(|_| known >= RUNS_LEAST)?;
        let since = now.duration_since(first.key.at).as_secs_f64().max(1.0);
        let tasks = run.max_parallel.unwrap_or(run.count).min(run.count);
        let request = workload.size().request;
        let (count, cpu, memory) = (f64::from(tasks), request.cpu.get() as f64, request.memory.get() as f64);
        let expected = known as f64 / since * within.as_secs_f64();
        Some(Self { workload, tasks, size: (count * cpu, count * memory), expected })
    }

    fn variance(&self) -> (f64, f64) {
        (self.expected * self.size.0 * self.size.0, self.expected * self.size.1 * self.size.1)
    }

    fn coming(&self, at: Timestamp) -> impl Iterator<Item = Coming> + use<'_> {
        (0..self.tasks).map(move |index| Coming {
            task: TaskId::new(self.workload.name.clone(), self.workload.next_task + u64::from(index)),
            at,
            request: self.workload.size().request,
        })
    }
}

/// The tasks that room is kept for, so that it is too little in the share `risk` of the times that a node takes: of
/// the jobs that matter most, as many as it takes.
pub(super) fn unannounced(world: &World, risk: Share, now: Timestamp) -> Vec<Coming> {
    let Some(within) = join_time(world) else { return Vec::new() };
    let jobs = world.workloads.values();
    let mut bursts: Vec<Burst<'_>> = jobs.filter_map(|job| Burst::of(world, job, within, now)).collect();
    let (cpu, memory) = bursts.iter().map(Burst::variance).fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
    let passed = probit(1.0 - risk.get()).max(0.0);
    let room = |variance: f64| passed * (2.0 * variance).sqrt();
    let (cpu, memory) = (room(cpu), room(memory));
    let weight = |burst: &Burst<'_>| {
        let (of_cpu, of_memory) = burst.variance();
        of_cpu / (cpu * cpu).max(1.0) + of_memory / (memory * memory).max(1.0)
    };
    bursts.sort_by(|a, b| weight(b).total_cmp(&weight(a)).then(a.workload.name.cmp(&b.workload.name)));
    let at = now.checked_add(within).unwrap_or(Timestamp::MAX);
    let mut kept = Resources::ZERO;
    let mut found = Vec::new();
    for coming in bursts.iter().flat_map(|burst| burst.coming(at)) {
        if kept.cpu.get() as f64 >= cpu && kept.memory.get() as f64 >= memory {
            break;
        }
        kept += coming.request;
        found.push(coming);
    }
    found
}
