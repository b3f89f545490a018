//! Room for runs that are about to begin.
//!
//! In: the world: schedules, how long runs took, how long nodes took to join. Out: the tasks of occurrences that
//! are due so soon that a node asked for now would only just be there. What they need counts as if they
//! waited already (`cluster_grow`), and no node is emptied that they will need (`cluster_shrink`).
//! Not here: services, whose counts are decided as far ahead as an instance takes to start (`counts`).

use jiff::{SignedDuration, Timestamp};

use crate::domain::action::Switch;
use crate::domain::node::{NodePool, NodeState};
use crate::domain::quantity::Resources;
use crate::domain::task::TaskId;
use crate::domain::workload::{CronJobSpec, OverlapPolicy};
use crate::domain::world::{Workload, World};
use crate::placement::Ask;

/// A node takes this long as long as none has joined.
const BOOT_DEFAULT: SignedDuration = SignedDuration::from_secs(60);
/// No node is taken to need longer: one that was drained for a while looks as if it had.
const BOOT_MAX: SignedDuration = SignedDuration::from_mins(15);
/// Nodes are asked for this much earlier than they take to join: the engine looks at intervals.
const MARGIN: SignedDuration = SignedDuration::from_secs(30);
/// Room is kept for runs that begin within this time, rather than given up and asked for again.
const KEPT_FOR: SignedDuration = SignedDuration::from_mins(15);
/// Occurrences of one job that are looked at: more at once would be a queue, not a schedule.
const OCCURRENCES_MAX: usize = 10;

/// A task that a schedule will ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coming {
    /// What it would be called.
    pub task: TaskId,
    /// When.
    pub at: Timestamp,
    /// What it will ask for.
    pub request: Resources,
}

impl Coming {
    /// What it will ask placement for.
    pub(super) fn ask<'a>(&'a self, world: &'a World) -> Option<Ask<'a>> {
        let workload = world.workloads.get(self.task.workload())?;
        let template = workload.spec.template();
        Some(Ask {
            task: &self.task,
            team: workload.spec.owner().team.as_deref(),
            revision: workload.revision,
            priority: template.priority,
            request: self.request,
            expected: self.request,
            placement: &template.placement,
        })
    }
}

/// How long nodes of a pool take from being asked for to being ready: the median of those that are there.
pub fn boot_time(world: &World, pool: &NodePool) -> SignedDuration {
    let joined = world.nodes.values().filter(|node| node.pool == pool.name && node.state == NodeState::Ready);
    let took = joined.map(|node| node.state_since.duration_since(node.created_at).max(SignedDuration::ZERO));
    median(took.collect()).unwrap_or(BOOT_DEFAULT).min(BOOT_MAX)
}

/// How long runs of a cron job take: the median of the newest ones that succeeded.
pub fn usual_time(workload: &Workload) -> Option<SignedDuration> {
    median(workload.jobs.took.clone())
}

fn median(mut durations: Vec<SignedDuration>) -> Option<SignedDuration> {
    durations.sort();
    durations.get(durations.len().saturating_sub(1) / 2).copied()
}

/// Tasks that begin before a node that is asked for now would be there.
pub fn within_boot(world: &World, now: Timestamp) -> Vec<Coming> {
    join_time(world).map_or_else(Vec::new, |within| coming(world, now, within))
}

/// From asking for a node until it is there for certain, of the slowest pool that may grow.
pub(super) fn join_time(world: &World) -> Option<SignedDuration> {
    let pools = world.pools.values().filter(|pool| !pool.deleted && pool.target < pool.spec.max);
    pools.map(|pool| boot_time(world, pool)).max().map(|boot| boot + MARGIN)
}

/// Tasks that begin so soon that a node is better kept for them.
pub fn kept_for(world: &World, now: Timestamp) -> Vec<Coming> {
    coming(world, now, KEPT_FOR)
}

/// The tasks that schedules ask for within a time from now, those that are there already left out.
pub fn coming(world: &World, now: Timestamp, within: SignedDuration) -> Vec<Coming> {
    if world.frozen(Switch::Cron).is_some() {
        return Vec::new();
    }
    let until = now.checked_add(within).unwrap_or(Timestamp::MAX);
    let jobs = world.workloads.values().filter(|workload| !workload.deleted);
    let jobs = jobs.filter(|workload| world.paused(&workload.name).is_none());
    jobs.filter_map(|workload| Some((workload, workload.spec.as_cron()?)))
        .flat_map(|(workload, cron)| of_job(world, workload, cron, now, until))
        .collect()
}

fn of_job(
    world: &World,
    workload: &Workload,
    cron: &CronJobSpec,
    now: Timestamp,
    until: Timestamp,
) -> Vec<Coming> {
    let count = cron.run.max_parallel.unwrap_or(cron.run.count).min(cron.run.count);
    let usual = usual_time(workload).unwrap_or(SignedDuration::ZERO);
    let last = world.runs_of(&workload.name).filter(|run| !run.outcome.is_final()).last();
    let mut busy_until = last.map(|run| run.started_at.unwrap_or(run.key.at) + usual);
    let mut found = Vec::new();
    let due = cron.schedule.after(now).take_while(|at| *at <= until).take(OCCURRENCES_MAX);
    for at in due {
        // One at a time takes the room of the one before.
        let overlaps = busy_until.is_some_and(|until| until > at);
        if overlaps && cron.overlap != OverlapPolicy::Allow {
            continue;
        }
        busy_until = Some(at + usual);
        let first_of_run = found.is_empty() || (overlaps && cron.overlap == OverlapPolicy::Allow);
        if !first_of_run {
            continue;
        }
        found.extend((0..count).map(|index| Coming {
            task: TaskId::new(workload.name.clone(), workload.next_task + u64::from(index)),
            at,
            request: workload.size().request,
        }));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::change::{Change, RecordedChange};
    use crate::domain::cron::CronSchedule;
    use crate::domain::node::{NodeName, PoolName, PoolSpec};
    use crate::domain::quantity::{Bytes, Millicores};
    use crate::domain::rollout::Actor;
    use crate::domain::sample_specs;
    use crate::domain::workload::{CatchUp, WorkloadName, WorkloadSpec};
    use crate::domain::world::RunKey;

    fn time(text: &str) -> Timestamp {
        format!("2026-11-22T{text}Z").parse().expect("a time")
    }

    fn follow(world: &mut World, at: Timestamp, change: Change) {
        let reason = String::new();
        world.apply(&RecordedChange { at, by: Actor::Engine, reason, request: None, change });
    }

    /// A job of two tasks every ten minutes, whose runs take four.
    fn world(overlap: OverlapPolicy) -> (World, WorkloadName) {
        let mut world = World::default();
        let job = sample_specs::job("true", false, 0);
        let cron = CronJobSpec {
            owner: job.owner,
            template: job.template,
            schedule: CronSchedule::new("*/10 * * * *", "UTC").expect("a schedule"),
            overlap,
            queue_max: 10,
            start_deadline: SignedDuration::from_mins(1),
            catch_up: CatchUp::default(),
            jitter: SignedDuration::ZERO,
            run: crate::domain::workload::RunPolicy { count: 2, ..job.run },
            policy: None,
        };
        let workload = WorkloadName::new("report").expect("a name");
        let spec = WorkloadSpec::CronJob(Box::new(cron));
        follow(&mut world, time("05:00:00"), Change::WorkloadApplied { workload: workload.clone(), spec });
        let jobs = &mut world.workloads.get_mut(&workload).expect("a job").jobs;
        jobs.took = [3, 4, 60].map(SignedDuration::from_mins).to_vec();
        (world, workload)
    }

    #[test]
    fn the_tasks_of_the_next_occurrence_come() {
        let (mut world, name) = world(OverlapPolicy::Forbid);
        let soon = SignedDuration::from_mins(2);
        assert_eq!(coming(&world, time("06:00:01"), soon), []);
        let found = coming(&world, time("06:08:01"), soon);
        assert_eq!(found.iter().map(|coming| coming.at).collect::<Vec<_>>(), [time("06:10:00"); 2]);
        assert_ne!(found[0].task, found[1].task);
        // A run that usually takes four minutes will be over, or not.
        for (begun, expected) in [("06:05:00", 2), ("06:07:00", 0)] {
            let mut world = world.clone();
            let run = RunKey { workload: name.clone(), at: time(begun) };
            follow(&mut world, time(begun), Change::RunOpened { run, manual: true, order: Box::default() });
            assert_eq!(coming(&world, time("06:08:01"), soon).len(), expected, "begun at {begun}");
        }
        world.workloads.get_mut(&name).expect("a job").deleted = true;
        assert_eq!(coming(&world, time("06:08:01"), soon), []);
    }

    #[test]
    fn how_long_nodes_take_is_learned() {
        let (mut world, _) = world(OverlapPolicy::Allow);
        let pool = PoolName::new("small").expect("a name");
        let size = Resources::new(Millicores::new(1000), Bytes::mib(512));
        let spec = PoolSpec { max: 9, ..PoolSpec::one_node(size) };
        follow(&mut world, time("05:00:00"), Change::PoolApplied { pool: pool.clone(), spec });
        assert_eq!(boot_time(&world, &world.pools[&pool]), BOOT_DEFAULT);
        for (number, took) in [(1, "05:02:00"), (2, "05:03:00"), (3, "06:30:00")] {
            let node = NodeName::new(&format!("small-{number}")).expect("a name");
            let create = Change::NodeCreated { node: node.clone(), pool: pool.clone() };
            follow(&mut world, time("05:00:00"), create);
            let (state, reason) = (NodeState::Ready, String::new());
            let joined = Change::NodeMoved { node, state, reason, remove_when_empty: false };
            follow(&mut world, time(took), joined);
        }
        assert_eq!(boot_time(&world, &world.pools[&pool]), SignedDuration::from_mins(3));
        assert_eq!(within_boot(&world, time("06:07:00")).len(), 2, "three minutes and a half ahead");
        assert_eq!(within_boot(&world, time("06:06:00")).len(), 0);
    }
}
