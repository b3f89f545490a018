//! What accounting starts from: lives of tasks, samples, owners, prices. Gathered by the caller.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::load::LoadSample;
use crate::domain::money::{MicroCents, Prices};
use crate::domain::node::{NodeName, PoolName, PoolSpec};
use crate::domain::quantity::Resources;
use crate::domain::task::{Task, TaskId};
use crate::domain::usage::UsageSample;
use crate::domain::workload::{Owner, WorkloadKind, WorkloadName};

/// Time in which a task ran with one request. A task that was resized in place has one interval a
/// size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskInterval {
    /// The task.
    pub task: TaskId,
    /// The pool of the node that it ran on; its prices hold.
    pub pool: Option<PoolName>,
    /// The node itself; it pays for its part of it.
    #[serde(default)]
    pub node: Option<NodeName>,
    /// When it began.
    pub from: Timestamp,
    /// When it ended; absent while it goes on.
    pub to: Option<Timestamp>,
    /// What was reserved for it.
    pub request: Resources,
}

impl TaskInterval {
    /// The interval that a task's record tells: from its start to its end with the size that it has
    /// now, which holds where no sample says otherwise. None for a task that never started.
    pub fn of_record(task: &Task, pool: Option<PoolName>) -> Option<Self> {
        let from = task.started_at?;
        let ended = task.exit.as_ref().map_or(task.state_since, |exit| exit.at);
        Some(Self {
            task: task.id.clone(),
            pool,
            node: task.node.clone(),
            from,
            to: task.state.is_terminal().then_some(ended),
            request: task.size.request,
        })
    }
}

/// What accounting needs to know of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadFacts {
    /// Its kind.
    pub kind: WorkloadKind,
    /// Who pays for it.
    pub owner: Owner,
    /// The request recommended for each of its tasks, if one is.
    pub recommended: Option<Resources>,
}

/// Prices by pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceBook {
    /// Where a pool has no price of its own.
    pub base: Prices,
    /// Pools with a price of their own.
    pub pools: BTreeMap<PoolName, Prices>,
}

impl PriceBook {
    /// The engine's prices, and those of the pools that have their own.
    pub fn new<'a>(base: Prices, pools: impl IntoIterator<Item = (&'a PoolName, &'a PoolSpec)>) -> Self {
        let own = |spec: &PoolSpec| split_node_price(spec.price_per_hour?, spec.size, base);
        let pools = pools.into_iter().filter_map(|(name, spec)| Some((name.clone(), own(spec)?))).collect();
        Self { base, pools }
    }

    /// The prices that hold in a pool.
    pub fn of(&self, pool: Option<&PoolName>) -> Prices {
        pool.and_then(|name| self.pools.get(name)).copied().unwrap_or(self.base)
    }
}

/// Splits the price of a node into prices of its core and its GiB, in the proportion that `base` has
/// between them; so a fully requested node costs its tasks what it costs. None where `base` gives the
/// node no price to be in proportion to.
fn split_node_price(node: MicroCents, size: Resources, base: Prices) -> Option<Prices> {
    let whole = i128::from(base.per_hour(size).get());
    if whole <= 0 {
        return None;
    }
    let share = |price: MicroCents| {
        let scaled = (i128::from(price.get()) * i128::from(node.get()) + whole / 2).div_euclid(whole);
        i64::try_from(scaled).ok().map(MicroCents::new)
    };
    Some(Prices { core_hour: share(base.core_hour)?, gib_hour: share(base.gib_hour)? })
}

/// Everything that is known of a window of time.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The window's start, inclusive.
    pub from: Timestamp,
    /// The window's end, exclusive.
    pub to: Timestamp,
    /// Workloads; one that is not named has no owner and no recommendation.
    pub workloads: &'a BTreeMap<WorkloadName, WorkloadFacts>,
    /// Lives of tasks that touch the window, in any order.
    pub tasks: &'a [TaskInterval],
    /// Usage samples that touch the window, in any order. A sample that ends after the window still
    /// covers the part of its interval within, so ask for a little more than the window.
    pub samples: &'a [UsageSample],
    /// Load samples of the window, in any order.
    pub load: &'a [LoadSample],
    /// Prices.
    pub prices: &'a PriceBook,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::quantity::{Bytes, GIB, Millicores, TaskSize};
    use crate::domain::task::{ExitRecord, ExitStatus, TaskOrigin, TaskState};

    fn instant(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn task(state: TaskState, started: Option<i64>, exited: Option<i64>) -> Task {
        let exit = exited.map(|at| ExitRecord {
            status: Some(ExitStatus::Code(0)),
            at: instant(at),
            oom_kills: None,
            peak_memory: None,
            memory_limit: None,
            asked_to_stop: false,
            message: None,
        });
        Task {
            id: "web.1".parse().expect("an id"),
            kind: WorkloadKind::Service,
            revision: 1,
            origin: TaskOrigin::Instance,
            size: TaskSize::of(Resources::new(Millicores::new(100), Bytes::mib(64))),
            state,
            reason: String::new(),
            node: None,
            ports: BTreeMap::new(),
            created_at: instant(0),
            not_before: instant(0),
            started_at: started.map(instant),
            ready_at: None,
            state_since: instant(90),
            exit,
            preempted_for: None,
        }
    }

    #[test]
    fn a_record_tells_when_its_task_ran() {
        let span =
            |task: &Task| TaskInterval::of_record(task, None).map(|interval| (interval.from, interval.to));
        assert_eq!(span(&task(TaskState::Pending, None, None)), None);
        assert_eq!(span(&task(TaskState::Running, Some(10), None)), Some((instant(10), None)));
        let finished = task(TaskState::Finished, Some(10), Some(80));
        assert_eq!(span(&finished), Some((instant(10), Some(instant(80)))));
        // Nobody saw the end of a lost task: it is charged until it was missed.
        assert_eq!(span(&task(TaskState::Lost, Some(10), None)), Some((instant(10), Some(instant(90)))));
    }

    #[test]
    fn a_full_node_costs_its_tasks_what_it_costs() {
        let base = Prices { core_hour: MicroCents::new(3_000_000), gib_hour: MicroCents::new(400_000) };
        let size = Resources::new(Millicores::new(4000), Bytes::new(16 * GIB));
        let prices = split_node_price(MicroCents::new(9_200_000), size, base).expect("prices");
        assert_eq!(prices.core_hour, MicroCents::new(1_500_000));
        assert_eq!(prices.gib_hour, MicroCents::new(200_000));
        assert_eq!(prices.per_hour(size), MicroCents::new(9_200_000));
    }

    #[test]
    fn a_node_of_free_resources_has_no_split() {
        let free = Prices { core_hour: MicroCents::ZERO, gib_hour: MicroCents::ZERO };
        assert_eq!(split_node_price(MicroCents::new(1), Resources::ZERO, free), None);
    }
}
