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

/// Room is kept for so many runs of one job at most.
const RUNS_MAX: u32 = 100;

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

    /// The tasks of one more run of it, after so many others.
    fn coming(&self, at: Timestamp, after: u32) -> impl Iterator<Item = Coming> + use<'_> {
        let first = self.workload.next_task + u64::from(after) * u64::from(self.tasks);
        (0..self.tasks).map(move |index| Coming {
            task: TaskId::new(self.workload.name.clone(), first + u64::from(index)),
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
    let runs = (0..RUNS_MAX).flat_map(|after| bursts.iter().flat_map(move |burst| burst.coming(at, after)));
    for coming in runs {
        if kept.cpu.get() as f64 >= cpu && kept.memory.get() as f64 >= memory {
            break;
        }
        kept += coming.request;
        found.push(coming);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::change::{Change, RecordedChange};
    use crate::domain::node::{PoolName, PoolSpec};
    use crate::domain::quantity::{Bytes, Millicores, TaskSize};
    use crate::domain::rollout::Actor;
    use crate::domain::sample_specs;
    use crate::domain::workload::WorkloadName;
    use crate::domain::world::RunKey;

    const JOBS: u64 = 20;
    /// Runs of each job in each time that a node takes, on the mean.
    const RATE: f64 = 0.3;

    fn now() -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1000)
    }

    fn follow(world: &mut World, change: Change) {
        let reason = String::new();
        world.apply(&RecordedChange { at: now(), by: Actor::Engine, reason, request: None, change });
    }

    fn name(number: u64) -> WorkloadName {
        WorkloadName::new(&format!("job-{number}")).expect("a name")
    }

    /// A core for each run of the jobs, each of which came 30 times.
    fn world() -> World {
        let mut world = World::default();
        let request = Resources::new(Millicores::new(1000), Bytes::mib(1));
        let pool = PoolName::new("small").expect("a name");
        let spec = PoolSpec { max: 9, ..PoolSpec::one_node(request) };
        follow(&mut world, Change::PoolApplied { pool, spec });
        let within = join_time(&world).expect("a pool that may grow");
        for number in 0..JOBS {
            let mut job = sample_specs::job("true", false, 0);
            job.template.size = TaskSize::of(request);
            let (workload, spec) = (name(number), WorkloadSpec::Job(Box::new(job)));
            follow(&mut world, Change::WorkloadApplied { workload: workload.clone(), spec });
            for turn in 1..=30 {
                let at = now() - SignedDuration::from_secs_f64(within.as_secs_f64() / RATE * f64::from(turn));
                let run = RunKey { workload: workload.clone(), at };
                follow(&mut world, Change::RunOpened { run, manual: true, order: Box::default() });
            }
        }
        world
    }

    /// Runs in a time that a node takes, by chance (`SplitMix64`; Knuth's way to a Poisson variable).
    fn runs(seed: &mut u64) -> i64 {
        let (mut product, mut runs) = (1.0, -1);
        while product > (-RATE).exp() {
            *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            product *= ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64;
            runs += 1;
        }
        runs
    }

    #[test]
    fn the_room_is_too_little_as_often_as_the_risk_says() {
        let world = world();
        for risk in [0.2, 0.05, 0.01] {
            let kept = unannounced(&world, Share::new(risk), now()).len();
            let kept = i64::try_from(kept).expect("a small number");
            let mut seed = 7;
            let times = 20_000;
            let passed = (0..times)
                .filter(|_| (0..JOBS).map(|_| runs(&mut seed) - runs(&mut seed)).sum::<i64>() > kept)
                .count();
            let share = passed as f64 / f64::from(times);
            assert!(
                share <= risk * 1.2 && share > risk / 4.0,
                "{share} at a risk of {risk}, room for {kept}"
            );
        }
    }

    #[test]
    fn jobs_that_are_paused_gone_or_hardly_known_get_none() {
        let risk = Share::new(0.05);
        let mut world = world();
        assert!(!unannounced(&world, risk, now()).is_empty());
        for number in 0..JOBS {
            let name = name(number);
            if number % 2 == 0 {
                world.workloads.get_mut(&name).expect("a job").deleted = true;
            } else {
                let mut seen = 0;
                world.runs.retain(|key, _| {
                    let own = key.workload == name;
                    seen += usize::from(own);
                    !own || seen < RUNS_LEAST
                });
            }
        }
        assert_eq!(unannounced(&world, risk, now()), []);
    }
}
