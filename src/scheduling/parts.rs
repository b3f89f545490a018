//! The world cut into parts that can be walked at the same time. In: a world. Out: what a function gives for each
//! part, in the order of names, so that the result does not depend on the number of parts.

use std::ops::{Bound, RangeBounds};
use std::panic::resume_unwind;
use std::thread;

use crate::domain::observation::{Observed, TaskObservation};
use crate::domain::task::{Task, TaskId};
use crate::domain::workload::WorkloadName;
use crate::domain::world::{Workload, World};

/// Under so many tasks a part costs less than the thread that would walk it.
const TASKS_MIN: usize = if cfg!(test) { 8 } else { 50_000 };
const PARTS: usize = 4;

/// The names from one, included, to another, excluded; open where there is none.
#[derive(Clone, Copy, Default)]
pub(super) struct Part<'a> {
    from: Option<&'a WorkloadName>,
    to: Option<&'a WorkloadName>,
}

impl<'a> Part<'a> {
    pub(super) fn tasks(&self, world: &'a World) -> impl Iterator<Item = (&'a TaskId, &'a Task)> + use<'a> {
        world.tasks.range(self.ids())
    }

    pub(super) fn observations(
        &self,
        observed: &'a Observed,
    ) -> impl Iterator<Item = (&'a TaskId, &'a TaskObservation)> + use<'a> {
        observed.tasks.range(self.ids())
    }

    pub(super) fn workloads(
        &self,
        world: &'a World,
    ) -> impl Iterator<Item = (&'a WorkloadName, &'a Workload)> + use<'a> {
        let bounds = (
            self.from.map_or(Bound::Unbounded, Bound::Included),
            self.to.map_or(Bound::Unbounded, Bound::Excluded),
        );
        world.workloads.range::<WorkloadName, _>(bounds)
    }

    fn ids(&self) -> impl RangeBounds<TaskId> + use<> {
        let first = |name: &WorkloadName| TaskId::new(name.clone(), 0);
        (
            self.from.map_or(Bound::Unbounded, |name| Bound::Included(first(name))),
            self.to.map_or(Bound::Unbounded, |name| Bound::Excluded(first(name))),
        )
    }
}

/// What `work` gives for each part, in order of names; one part where the world is small.
pub(super) fn for_parts<'a, T: Send>(world: &'a World, work: impl Fn(Part<'a>) -> T + Sync) -> Vec<T> {
    at_once(&cut(world, if world.tasks.len() < TASKS_MIN { 1 } else { PARTS }), |part| work(*part))
}

/// What `work` gives for pieces of equal length, in order; for one piece where there is little to do.
pub(super) fn for_pieces<I: Sync, T: Send>(
    all: &[I],
    tasks: usize,
    work: impl Fn(&[I]) -> T + Sync,
) -> Vec<T> {
    let pieces = if tasks < TASKS_MIN { 1 } else { PARTS };
    let pieces: Vec<&[I]> = all.chunks(all.len().div_ceil(pieces).max(1)).collect();
    at_once(&pieces, |piece| work(piece))
}

fn at_once<I: Sync, T: Send>(inputs: &[I], work: impl Fn(&I) -> T + Sync) -> Vec<T> {
    let Some((own, others)) = inputs.split_first() else { return Vec::new() };
    thread::scope(|scope| {
        let work = &work;
        let others: Vec<_> = others.iter().map(|input| scope.spawn(move || work(input))).collect();
        let mut results = vec![work(own)];
        results.extend(
            others.into_iter().map(|other| other.join().unwrap_or_else(|panic| resume_unwind(panic))),
        );
        results
    })
}

fn cut(world: &World, parts: usize) -> Vec<Part<'_>> {
    let step = world.workloads.len().div_ceil(parts).max(1);
    let mut cuts: Vec<Option<&WorkloadName>> = vec![None];
    cuts.extend(world.workloads.keys().step_by(step).skip(1).map(Some));
    cuts.push(None);
    cuts.windows(2).map(|ends| Part { from: ends[0], to: ends[1] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduling::simulation::{Simulation, service};

    #[test]
    fn parts_hold_each_task_and_workload_once_in_order() {
        let mut sim = Simulation::with_nodes(2);
        for number in 0..7 {
            sim.apply(&format!("service-{number}"), service("serve 0", number));
        }
        sim.run_for(3);
        // A task without a workload belongs to a part as well.
        sim.world.workloads.remove(&WorkloadName::new("service-3").expect("a name"));
        assert_eq!(sim.world.tasks.len(), 21);
        for parts in 1..9 {
            let cut = cut(&sim.world, parts);
            assert!((1..=parts).contains(&cut.len()), "{parts}");
            let tasks = cut.iter().flat_map(|part| part.tasks(&sim.world)).map(|(id, _)| id);
            assert!(tasks.eq(sim.world.tasks.keys()));
            let seen = cut.iter().flat_map(|part| part.observations(&sim.observed)).map(|(id, _)| id);
            assert!(seen.eq(sim.observed.tasks.keys()));
            let workloads = cut.iter().flat_map(|part| part.workloads(&sim.world)).map(|(name, _)| name);
            assert!(workloads.eq(sim.world.workloads.keys()));
        }
    }

    #[test]
    fn results_come_in_order_whatever_the_number_of_pieces() {
        let all: Vec<u32> = (0..1001).collect();
        for tasks in [0, TASKS_MIN] {
            let sums = for_pieces(&all, tasks, <[u32]>::to_vec);
            assert_eq!(sums.concat(), all);
        }
        assert_eq!(for_pieces(&[], 9, |piece: &[u32]| piece.len()), [] as [usize; 0]);
    }
}
