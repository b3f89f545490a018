//! Which schedules, moved by minutes, lower the peak of nodes, and what that saves.
//!
//! In: the world: schedules, how long runs took, what they ask for, services, pools. Out: moves, with what the
//! nodes of the next day cost before and after.
//!
//! The day is cut into minutes. In each, a pool needs room for its services and for the runs that go on, and it
//! has the nodes for what is needed within its boot time (they are made ahead) and was within its time to
//! shrink (they are not given up at once). One job after the other is put where the sum costs least, the
//! others being where they are, until none gets better.
//! Not here: how tasks fit on nodes; what is needed is divided by a node's size.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};

use crate::domain::cron_advice::{CronAdvice, ScheduleShift};
use crate::domain::money::{MicroCents, Prices};
use crate::domain::node::NodePool;
use crate::domain::quantity::Resources;
use crate::domain::task::{Task, TaskId};
use crate::domain::workload::{CronJobSpec, WorkloadKind, WorkloadName};
use crate::domain::world::{Workload, World};
use crate::placement::dominant_share;
use crate::scaling::ahead::{boot_time, usual_time};
use crate::scaling::cluster::price_of;
use crate::scaling::cluster_fit::Item;

/// Minutes that are looked at.
const MINUTES: i64 = 24 * 60;
const DAY: usize = MINUTES as usize;
/// A job that is due more often has no time of its own to be moved from.
const OCCURRENCES_MAX: usize = 24;
/// Each job is looked at so often at most.
const ROUNDS_MAX: usize = 3;

/// Where runs go, minute by minute.
struct Pool<'w> {
    known: &'w NodePool,
    price: MicroCents,
    /// Minutes, each of them.
    boot: usize,
    hold: usize,
    /// What is asked for in each minute: millicores and bytes.
    demand: Vec<(u64, u64)>,
}

/// A cron job on that day.
struct Job<'w> {
    workload: &'w Workload,
    cron: &'w CronJobSpec,
    pool: usize,
    /// The minutes in which it begins.
    starts: Vec<i64>,
    /// How many minutes a run takes.
    takes: i64,
    request: (u64, u64),
    movable: bool,
    shift: i64,
}

impl Pool<'_> {
    fn add(&mut self, job: &Job<'_>, shift: i64, sign: bool) {
        for &start in &job.starts {
            for minute in start + shift..start + shift + job.takes {
                // What runs past the end of the day does so on each of them.
                let demand = &mut self.demand[minute.rem_euclid(MINUTES) as usize];
                let (cpu, memory) = job.request;
                *demand = if sign {
                    (demand.0 + cpu, demand.1 + memory)
                } else {
                    (demand.0.saturating_sub(cpu), demand.1.saturating_sub(memory))
                };
            }
        }
    }

    fn needed(&self, minute: usize) -> u32 {
        let (cpu, memory) = self.demand[minute % DAY];
        let size = self.known.spec.size;
        let nodes = |part: u64, whole: u64| part.div_ceil(whole.max(1));
        let nodes = nodes(cpu, size.cpu.get()).max(nodes(memory, size.memory.get()));
        u32::try_from(nodes).unwrap_or(u32::MAX).max(self.known.spec.min)
    }

    /// Node minutes of the day, and the most nodes that are needed.
    fn course(&self) -> (u64, u32) {
        let mut sum = 0;
        // The greatest of a window, which ends `boot` minutes ahead and begins `hold` minutes ago.
        let mut window: VecDeque<(usize, u32)> = VecDeque::new();
        let (hold, boot) = (self.hold.min(DAY), self.boot.min(DAY));
        for ahead in 0..DAY + hold + boot {
            let needed = self.needed(ahead + DAY - hold);
            while window.back().is_some_and(|(_, other)| *other <= needed) {
                window.pop_back();
            }
            window.push_back((ahead, needed));
            while window.front().is_some_and(|(first, _)| first + hold + boot < ahead) {
                window.pop_front();
            }
            if ahead >= hold + boot
                && let Some((_, nodes)) = window.front()
            {
                sum += u64::from(*nodes);
            }
        }
        (sum, (0..DAY).map(|minute| self.needed(minute)).max().unwrap_or(0))
    }

    fn cost(&self, node_minutes: u64) -> MicroCents {
        self.price.scale(node_minutes as f64 / 60.0)
    }
}

/// The cheapest pool for a job, by the price of what it takes of a node.
fn home(prices: &Prices, item: &Item<'_>, pools: &[Pool<'_>]) -> Option<usize> {
    let cost = |pool: &Pool<'_>| {
        let share = i128::from(dominant_share(item.request, pool.known.spec.size));
        share * i128::from(price_of(pool.known, 1, prices).get())
    };
    let suited = pools.iter().enumerate().filter(|(_, pool)| item.suits(pool.known));
    suited.min_by_key(|(_, pool)| (cost(pool), &pool.known.name)).map(|(at, _)| at)
}

fn minutes(duration: SignedDuration) -> i64 {
    duration.as_secs().clamp(0, MINUTES * 60).saturating_add(59) / 60
}

fn pools<'w>(world: &'w World, prices: &Prices) -> Vec<Pool<'w>> {
    let mut steady: BTreeMap<_, Resources> = BTreeMap::new();
    let is_steady = |task: &&Task| task.kind == WorkloadKind::Service && task.state.holds_resources();
    for task in world.tasks.values().filter(is_steady) {
        let pool = task.node.as_ref().and_then(|node| world.nodes.get(node)).map(|node| &node.pool);
        if let Some(pool) = pool {
            *steady.entry(pool).or_default() += task.size.request;
        }
    }
    let there = world.pools.values().filter(|pool| !pool.deleted);
    there
        .map(|pool| {
            let base = steady.get(&pool.name).copied().unwrap_or_default();
            Pool {
                known: pool,
                price: price_of(pool, 1, prices),
                boot: minutes(boot_time(world, pool)) as usize,
                hold: minutes(pool.spec.scale_down_after.max(pool.settles_in())) as usize,
                demand: vec![(base.cpu.get(), base.memory.get()); DAY],
            }
        })
        .collect()
}

/// Works out the moves of at most `most` that make the day from `now` cheapest.
pub fn advise(world: &World, prices: &Prices, now: Timestamp, most: SignedDuration) -> CronAdvice {
    let mut pools = pools(world, prices);
    let (mut jobs, unknown) = jobs(world, prices, now, &pools);
    for job in &jobs {
        pools[job.pool].add(job, 0, true);
    }
    let total = |pools: &[Pool<'_>]| {
        let of = |pool: &Pool<'_>| pool.cost(pool.course().0);
        pools.iter().map(of).fold(MicroCents::ZERO, |a, b| a + b)
    };
    let cost_before = total(&pools);
    let (peak_before, peak_at) = peak(&pools);
    settle(&mut pools, &mut jobs, minutes(most));
    let cost_after = total(&pools);
    let (peak_after, _) = peak(&pools);
    let mut shifts = Vec::new();
    for job in jobs.iter().filter(|job| job.shift != 0) {
        let pool = &mut pools[job.pool];
        let with = pool.cost(pool.course().0);
        pool.add(job, job.shift, false);
        pool.add(job, 0, true);
        let without = pool.cost(pool.course().0);
        pool.add(job, 0, false);
        pool.add(job, job.shift, true);
        shifts.push(ScheduleShift {
            workload: job.workload.name.clone(),
            schedule: job.cron.schedule.to_string(),
            minutes: job.shift,
            becomes: moved(job.cron.schedule.expression(), job.shift),
            saves: without - with,
        });
    }
    shifts.sort_by(|one, other| other.saves.cmp(&one.saves).then_with(|| one.workload.cmp(&other.workload)));
    let jobs = jobs.len();
    let peak_at = now + SignedDuration::from_mins(peak_at);
    CronAdvice {
        from: now,
        most,
        jobs,
        peak_before,
        peak_at,
        peak_after,
        cost_before,
        cost_after,
        shifts,
        unknown,
    }
}

fn peak(pools: &[Pool<'_>]) -> (u32, i64) {
    let needed = |minute: i64| pools.iter().map(|pool| pool.needed(minute as usize)).sum::<u32>();
    let all = (0..MINUTES).map(|minute| (needed(minute), Reverse(minute)));
    all.max().map_or((0, 0), |(nodes, Reverse(minute))| (nodes, minute))
}

fn jobs<'w>(
    world: &'w World,
    prices: &Prices,
    now: Timestamp,
    pools: &[Pool<'_>],
) -> (Vec<Job<'w>>, Vec<WorkloadName>) {
    let awaited: BTreeSet<&WorkloadName> = world
        .workloads
        .values()
        .filter_map(|workload| workload.spec.run_policy())
        .flat_map(|policy| &policy.after)
        .collect();
    let (mut jobs, mut unknown) = (Vec::new(), Vec::new());
    for workload in world.workloads.values().filter(|workload| !workload.deleted) {
        let Some(cron) = workload.spec.as_cron() else { continue };
        let until = now + SignedDuration::from_mins(MINUTES);
        let due = cron.schedule.after(now).take_while(|at| *at < until).take(DAY);
        let starts: Vec<i64> = due.map(|at| at.duration_since(now).as_secs() / 60).collect();
        let (request, count) = (workload.size().request, u64::from(cron.run.count));
        let at_once = u64::from(cron.run.max_parallel.unwrap_or(cron.run.count)).min(count);
        let task = TaskId::new(workload.name.clone(), workload.next_task);
        let item = Item {
            task: &task,
            request,
            placement: Some(&cron.template.placement),
            team: cron.owner.team.as_deref(),
            narrowed: &[],
        };
        let Some(pool) = home(prices, &item, pools).filter(|_| !starts.is_empty()) else { continue };
        let usual = usual_time(workload);
        if usual.is_none() {
            unknown.push(workload.name.clone());
        }
        let movable =
            starts.len() <= OCCURRENCES_MAX && cron.run.after.is_empty() && !awaited.contains(&workload.name);
        let takes = usual.map_or(1, minutes).clamp(1, MINUTES);
        let request = (request.cpu.get() * at_once, request.memory.get() * at_once);
        jobs.push(Job { workload, cron, pool, starts, takes, request, movable, shift: 0 });
    }
    (jobs, unknown)
}

/// Moves one job after the other to where it costs least, the largest first.
fn settle(pools: &mut [Pool<'_>], jobs: &mut [Job<'_>], most: i64) {
    jobs.sort_by_key(|job| (Reverse(job.request), &job.workload.name));
    for _ in 0..ROUNDS_MAX {
        let mut better = false;
        for job in jobs.iter_mut().filter(|job| job.movable) {
            let pool = &mut pools[job.pool];
            let before = pool.course();
            pool.add(job, job.shift, false);
            let without = pool.course();
            // One that needs no node more than there are anyway stays.
            let mut best = (before.0, before.1, job.shift.abs(), job.shift);
            if without < before {
                for shift in (-most..=most).filter(|shift| *shift != job.shift) {
                    pool.add(job, shift, true);
                    let (cost, peak) = pool.course();
                    pool.add(job, shift, false);
                    best = best.min((cost, peak, shift.abs(), shift));
                }
            }
            pool.add(job, best.3, true);
            better |= best.3 != job.shift;
            job.shift = best.3;
        }
        if !better {
            break;
        }
    }
}

/// An expression with another minute, where its minute is a number and stays within the hour.
fn moved(expression: &str, by: i64) -> Option<String> {
    let mut fields: Vec<&str> = expression.split_whitespace().collect();
    let at = fields.len().checked_sub(5)?;
    if at > 1 || expression.contains('=') {
        return None;
    }
    let minute = fields[at].parse::<i64>().ok()? + by;
    let minute = (0..60).contains(&minute).then(|| minute.to_string())?;
    fields[at] = &minute;
    Some(fields.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::change::{Change, RecordedChange};
    use crate::domain::cron::CronSchedule;
    use crate::domain::node::{PoolName, PoolSpec};
    use crate::domain::quantity::{Bytes, Millicores, TaskSize};
    use crate::domain::rollout::Actor;
    use crate::domain::sample_specs;
    use crate::domain::workload::{CatchUp, OverlapPolicy, WorkloadSpec};

    fn now() -> Timestamp {
        "2026-11-22T00:00:00Z".parse().expect("a time")
    }

    fn amount(cpu: u64) -> Resources {
        Resources::new(Millicores::new(cpu), Bytes::mib(64))
    }

    fn follow(world: &mut World, change: Change) {
        let reason = String::new();
        world.apply(&RecordedChange { at: now(), by: Actor::Engine, reason, request: None, change });
    }

    /// A pool of nodes of one core, none of which must stay, and jobs of a core each that take ten minutes.
    fn world(schedules: &[&str]) -> World {
        let mut world = World::default();
        let spec = PoolSpec {
            min: 0,
            max: 10,
            price_per_hour: Some(MicroCents::from_units(0.06)),
            ..PoolSpec::one_node(Resources::new(Millicores::new(1000), Bytes::mib(1024)))
        };
        follow(&mut world, Change::PoolApplied { pool: PoolName::new("small").expect("a name"), spec });
        for (number, schedule) in schedules.iter().enumerate() {
            let job = sample_specs::job("true", false, 0);
            let mut template = job.template;
            template.size = TaskSize::of(amount(1000));
            let cron = CronJobSpec {
                owner: job.owner,
                template,
                schedule: CronSchedule::new(schedule, "UTC").expect("a schedule"),
                overlap: OverlapPolicy::Forbid,
                queue_max: 10,
                start_deadline: SignedDuration::from_mins(1),
                catch_up: CatchUp::default(),
                jitter: SignedDuration::ZERO,
                run: job.run,
                policy: None,
            };
            let workload = WorkloadName::new(&format!("job-{number}")).expect("a name");
            let spec = WorkloadSpec::CronJob(Box::new(cron));
            follow(&mut world, Change::WorkloadApplied { workload: workload.clone(), spec });
            let jobs = &mut world.workloads.get_mut(&workload).expect("a job").jobs;
            jobs.took = vec![SignedDuration::from_mins(10); 5];
        }
        world
    }

    fn advice(world: &World) -> CronAdvice {
        let prices = Prices { core_hour: MicroCents::ZERO, gib_hour: MicroCents::ZERO };
        advise(world, &prices, now(), SignedDuration::from_mins(30))
    }

    #[test]
    fn jobs_at_one_time_are_put_one_after_the_other() {
        let found = advice(&world(&["0 6 * * *", "0 6 * * *", "0 6 * * *"]));
        assert_eq!((found.jobs, found.peak_before, found.peak_after), (3, 3, 1), "{found:?}");
        assert_eq!(found.peak_at, "2026-11-22T06:00:00Z".parse().expect("a time"));
        // Three nodes of ten minutes and a minute of boot each, or one for half an hour.
        assert_eq!(found.cost_before, MicroCents::from_units(0.033));
        assert_eq!(found.cost_after, MicroCents::from_units(0.031));
        assert_eq!(found.shifts.len(), 2);
        for shift in &found.shifts {
            assert_eq!(shift.minutes.abs() % 10, 0, "{shift:?}");
            assert!(shift.saves > MicroCents::ZERO);
        }
        let later = found.shifts.iter().find(|shift| shift.minutes > 0);
        if let Some(later) = later {
            assert_eq!(later.becomes, Some(format!("{} 6 * * *", later.minutes)));
        }
    }

    #[test]
    fn what_others_wait_for_and_what_is_always_due_stays() {
        let mut waits = world(&["0 6 * * *", "0 6 * * *"]);
        let first = WorkloadName::new("job-0").expect("a name");
        let second = waits.workloads.get_mut(&WorkloadName::new("job-1").expect("a name")).expect("a job");
        let WorkloadSpec::CronJob(cron) = &mut second.spec else { panic!("a cron job") };
        cron.run.after.push(first);
        assert_eq!(advice(&waits).shifts, []);
        assert_eq!(advice(&world(&["*/20 * * * *", "*/20 * * * *"])).shifts, []);
        assert_eq!(advice(&world(&["0 6 * * *"])).shifts, [], "alone it is well where it is");
        assert_eq!(advice(&World::default()).jobs, 0);
    }

    #[test]
    fn schedules_move_within_their_hour() {
        assert_eq!(moved("0 6 * * *", 10), Some("10 6 * * *".to_owned()));
        assert_eq!(moved("30 0 6 * * *", 10), Some("30 10 6 * * *".to_owned()));
        assert_eq!(moved("0 6 * * *", -10), None);
        assert_eq!(moved("*/5 6 * * *", 1), None);
        assert_eq!(moved("@daily", 1), None);
        assert_eq!(moved("FREQ=DAILY;BYHOUR=6", 1), None);
    }
}
