//! The cost of one node in one hour, split among what had it.
//!
//! The rule: CPU and memory have their shares of the cost in proportion to what both are worth at the prices of
//! resources. Of each, the parts are what the system kept, then for each task what it used of its request, what
//! lay idle of it and what was not measured, then what was free; they weigh as much as they took times how long.
//! A part is the difference of two cumulative sums, rounded down: the parts add up to the cost to the last
//! micro-cent, and none is more than one from its exact value.

use crate::accounting::bill::taken::Taken;
use crate::accounting::ledger::Exact;
use crate::domain::money::Prices;
use crate::domain::quantity::{GIB, Resources};

/// Resources times microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Millicore-microseconds.
    pub cpu: u128,
    /// Byte-microseconds.
    pub memory: u128,
}

impl Held {
    /// An amount held for a time.
    pub fn over(size: Resources, micros: i64) -> Self {
        let micros = u128::from(micros.max(0).unsigned_abs());
        Self { cpu: micros * u128::from(size.cpu.get()), memory: micros * u128::from(size.memory.get()) }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { cpu: self.cpu.saturating_add(other.cpu), memory: self.memory.saturating_add(other.memory) }
    }
}

/// What one node offered and cost in one hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeHour {
    /// What it cost, in micro-cents.
    pub cost: i64,
    /// Everything that it had.
    pub capacity: Held,
    /// Of it, what the system kept.
    pub overhead: Held,
}

/// What a task pays of a node and hour, in micro-cents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    /// For what it used of its request.
    pub used: i64,
    /// For what lay idle of its request.
    pub idle: i64,
    /// For what it requested while nothing was measured.
    pub unsampled: i64,
}

/// The cost of a node and hour in parts, in micro-cents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Split {
    /// A share a task, in the order of the tasks.
    pub tasks: Vec<Share>,
    /// What the system kept.
    pub overhead: i64,
    /// What nobody had.
    pub free: i64,
}

/// The share of CPU in a node's cost: what its CPU is worth, of what both are worth, at the prices of
/// resources. Half where they give it no worth.
pub fn cpu_worth(size: Resources, prices: Prices) -> (u128, u128) {
    let worth = |amount: u64, price: i64| u128::from(amount) * u128::from(price.max(0).unsigned_abs());
    // To one unit: millicores by price a core, bytes by price a GiB.
    let cpu = worth(size.cpu.get(), prices.core_hour.get()) * u128::from(GIB);
    let memory = worth(size.memory.get(), prices.gib_hour.get()) * 1000;
    if cpu + memory == 0 { (1, 2) } else { (cpu, cpu + memory) }
}

/// Splits the cost of a node and hour. `worth` is the share of CPU as a fraction.
pub fn split(hour: &NodeHour, worth: (u128, u128), tasks: &[Taken]) -> Split {
    let cpu_cost = part(hour.cost, worth.0, worth.1);
    let mut all = Split { tasks: vec![Share::default(); tasks.len()], ..Split::default() };
    let memory = tasks.iter().map(|task| task.sums.memory);
    divide(hour.cost - cpu_cost, (hour.capacity.memory, hour.overhead.memory), memory, &mut all);
    let cpu = tasks.iter().map(|task| task.sums.cpu);
    divide(cpu_cost, (hour.capacity.cpu, hour.overhead.cpu), cpu, &mut all);
    all
}

/// Adds the parts of `cost` to `all`, by the weights of one resource.
fn divide(
    cost: i64,
    (capacity, overhead): (u128, u128),
    tasks: impl Iterator<Item = Exact> + Clone,
    all: &mut Split,
) {
    let had = tasks.clone().fold(overhead, |sum, task| {
        sum.saturating_add(task.within).saturating_add(task.idle).saturating_add(task.unsampled)
    });
    // Where more was requested than there was, the requests share the whole of it.
    let whole = capacity.max(had);
    if whole == 0 {
        all.free += cost;
        return;
    }
    let (mut weight, mut paid) = (0_u128, 0_i64);
    let mut next = |more: u128| {
        if more == 0 {
            return 0; // A division that a month of tasks asks for by the million.
        }
        weight = weight.saturating_add(more);
        let until = part(cost, weight.min(whole), whole);
        let part = until - paid;
        paid = until;
        part
    };
    all.overhead += next(overhead);
    for (task, share) in tasks.zip(&mut all.tasks) {
        share.used += next(task.within);
        share.idle += next(task.idle);
        share.unsampled += next(task.unsampled);
    }
    all.free += cost - paid;
}

/// `cost * weight / whole`, rounded down; exactly `cost` where both are equal.
fn part(cost: i64, weight: u128, whole: u128) -> i64 {
    // 63 bits for the weights and 63 for the cost fit; what is cut off is below 1e-18 of the whole.
    let excess = (128 - whole.leading_zeros()).saturating_sub(63);
    let (weight, whole) = (weight >> excess, (whole >> excess).max(1));
    // Both fit 63 bits now.
    let scaled = i128::from(cost) * i128::try_from(weight).unwrap_or(0);
    let part = scaled.div_euclid(i128::try_from(whole).unwrap_or(1));
    i64::try_from(part).unwrap_or(cost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounting::ledger::HourSums;
    use crate::domain::money::MicroCents;
    use crate::domain::quantity::{Bytes, Millicores};

    const HOUR: u128 = 3_600_000_000;

    fn exact(within: u128, idle: u128, unsampled: u128) -> Exact {
        Exact { within: within * HOUR, idle: idle * HOUR, unsampled: unsampled * HOUR, overuse: 0 }
    }

    fn node(cost: i64) -> NodeHour {
        NodeHour {
            cost,
            capacity: Held { cpu: 1000 * HOUR, memory: 1000 * HOUR },
            overhead: Held { cpu: 100 * HOUR, memory: 0 },
        }
    }

    fn taken(cpu: Exact, memory: Exact) -> Taken {
        Taken { subject: 0, sums: HourSums { cpu, memory, ..HourSums::default() } }
    }

    #[test]
    fn parts_cost_what_they_took() {
        let tasks = [taken(exact(200, 300, 0), exact(100, 0, 0)), taken(exact(0, 0, 100), exact(400, 0, 0))];
        let split = split(&node(2000), (1, 2), &tasks);
        assert_eq!(split.tasks[0], Share { used: 200 + 100, idle: 300, unsampled: 0 });
        assert_eq!(split.tasks[1], Share { used: 400, idle: 0, unsampled: 100 });
        assert_eq!((split.overhead, split.free), (100, 300 + 500));
    }

    #[test]
    fn more_requests_than_there_is_share_the_whole() {
        let tasks = [taken(exact(900, 0, 0), exact(0, 3000, 0)), taken(exact(1000, 0, 0), exact(1000, 0, 0))];
        let split = split(&node(2000), (1, 2), &tasks);
        assert_eq!((split.overhead, split.free), (50, 0));
        assert_eq!((split.tasks[0].used, split.tasks[0].idle), (450, 750));
    }

    #[test]
    fn a_cost_without_a_node_is_free_and_a_credit_is_split_as_well() {
        assert_eq!(split(&NodeHour { cost: 7, ..NodeHour::default() }, (1, 3), &[]).free, 7);
        let split = split(&node(-2000), (1, 2), &[taken(exact(500, 0, 0), exact(500, 0, 0))]);
        assert_eq!((split.tasks[0].used, split.overhead, split.free), (-1000, -100, -900));
    }

    #[test]
    fn cpu_has_its_share_by_the_prices() {
        let size = Resources::new(Millicores::new(4000), Bytes::new(16 * GIB));
        let prices = Prices { core_hour: MicroCents::new(3), gib_hour: MicroCents::new(1) };
        let (cpu, whole) = cpu_worth(size, prices);
        assert_eq!(cpu * 28, whole * 12);
        assert_eq!(cpu_worth(Resources::ZERO, prices), (1, 2));
    }

    #[test]
    fn weights_beyond_64_bits_still_add_up() {
        let huge = Held { cpu: u128::MAX / 2, memory: u128::MAX / 2 };
        let hour = NodeHour { cost: i64::MAX, capacity: huge, overhead: Held::default() };
        let taken = taken(exact(1 << 70, 0, 0), exact(1 << 80, 0, 1 << 70));
        let split = split(&hour, (1, 3), &[taken]);
        let tasks: i64 = split.tasks.iter().map(|task| task.used + task.idle + task.unsampled).sum();
        assert_eq!(tasks + split.overhead + split.free, i64::MAX);
    }
}
