//! In: the newest samples of tasks, recommended sizes. Out: what placement takes into account of them.
//!
//! A sample that is too old says nothing: its task counts with what it is likely to use, as does one that
//! was placed a moment ago. So a node of which nothing is known is no emptier than the requests on it
//! say, and does not draw all tasks at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::domain::node::NodeName;
use crate::domain::observation::Usage;
use crate::domain::overcommit::Overcommit;
use crate::domain::quantity::{Bytes, Millicores, Resources};
use crate::domain::recommendation::Estimate;
use crate::domain::task::TaskId;
use crate::domain::usage::UsageSample;
use crate::domain::workload::WorkloadName;
use crate::domain::world::World;

/// A node with a larger share of its memory in use takes no tasks ...
const CROWDED_ABOVE: f64 = 0.9;
/// ... until the share is below this: without a gap between the two it would come and go.
const CROWDED_UNTIL_BELOW: f64 = 0.8;

/// With a larger share of the tasks that count by their use unseen, all count as they request.
const UNSEEN_MAX: f64 = 0.1;

/// What is measured and estimated of tasks.
#[derive(Debug, Clone, Copy)]
pub struct Measured<'a> {
    /// The newest sample of each task.
    pub samples: &'a BTreeMap<TaskId, UsageSample>,
    /// The newest estimate of each workload.
    pub estimates: &'a BTreeMap<WorkloadName, Estimate>,
    /// What tasks count with instead of their requests for CPU, where overcommit is on.
    pub overcommit: &'a Arc<Overcommit>,
    /// Samples older than this say nothing.
    pub max_age: SignedDuration,
}

/// What tasks really use. `before` are the nodes that were crowded.
pub fn real_use(world: &World, measured: Measured<'_>, before: &BTreeSet<NodeName>, now: Timestamp) -> Usage {
    let mut usage = Usage::default();
    let mut sums: BTreeMap<&WorkloadName, (Resources, u64)> = BTreeMap::new();
    let mut memory: BTreeMap<&NodeName, Bytes> = BTreeMap::new();
    for (id, sample) in measured.samples {
        let fresh = now.duration_since(sample.at).abs() <= measured.max_age;
        let Some(task) = world.tasks.get(id).filter(|task| fresh && task.state.holds_resources()) else {
            continue;
        };
        // The first sample of a task has no interval, and so no CPU.
        let cpu = sample.cpu_cores.map_or(task.size.request.cpu, Millicores::from_cores);
        let used = Resources::new(cpu, sample.memory);
        usage.tasks.insert(id.clone(), used);
        let (sum, count) = sums.entry(task.workload()).or_default();
        *sum += used;
        *count += 1;
        if let Some(node) = &task.node {
            *memory.entry(node).or_default() += sample.memory;
        }
    }
    for (name, (sum, count)) in sums {
        let mean =
            Resources::new(Millicores::new(sum.cpu.get() / count), Bytes::new(sum.memory.get() / count));
        usage.expected.insert(name.clone(), mean);
    }
    for (name, estimate) in measured.estimates {
        if let Estimate::Recommended(found) = estimate {
            usage.expected.insert(name.clone(), found.size.request);
        }
    }
    for (name, used) in memory {
        let Some(size) = world.nodes.get(name).map(|node| node.size.memory) else { continue };
        let threshold = if before.contains(name) { CROWDED_UNTIL_BELOW } else { CROWDED_ABOVE };
        if used.as_f64() > size.as_f64() * threshold {
            usage.crowded.insert(name.clone());
        }
    }
    if is_seen(world, measured.overcommit, &usage) {
        usage.overcommit = Arc::clone(measured.overcommit);
    }
    usage
}

/// Whether there are fresh samples of nearly all tasks that count by their use. If not, nobody knows what nodes
/// use now, and requests count.
fn is_seen(world: &World, overcommit: &Overcommit, usage: &Usage) -> bool {
    let holding = |id: &&TaskId| world.tasks.get(*id).is_some_and(|task| task.state.holds_resources());
    let (there, unseen) = overcommit.charges.keys().filter(holding).fold((0_usize, 0_usize), |sums, id| {
        (sums.0 + 1, sums.1 + usize::from(!usage.tasks.contains_key(id)))
    });
    unseen as f64 <= there as f64 * UNSEEN_MAX
}
