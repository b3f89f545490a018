//! What the tasks of a node take of its CPU where that is less than they request.
//!
//! In: each task's share of the predicted peak of its node (`estimation::node_peak` works it out). Out: what is
//! taken of a node. Placement, growth and shrinking ask here, so all of them see the same room.
//!
//! Memory is taken as requested, always: what lacks it is killed, what lacks CPU only waits. A node never has
//! less room than its requests leave.

use std::collections::BTreeMap;

use crate::domain::quantity::{Millicores, Resources};
use crate::domain::task::{Task, TaskId};

/// What tasks count with instead of their request for CPU.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overcommit {
    /// Tasks whose use is known, each with its share of the predicted peak of its node. Others count as they
    /// request. Empty where overcommit is off, or use is not known.
    pub charges: BTreeMap<TaskId, Millicores>,
    /// Requests for CPU on a node come to at most so many times its size.
    pub most: f64,
}

/// What tasks hold of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// The sum of their requests.
    pub requests: Resources,
    /// The sum of what they count with.
    pub charged: Millicores,
}

impl Held {
    /// One more task.
    pub fn add(&mut self, request: Resources, charged: Millicores) {
        self.requests += request;
        self.charged += charged;
    }

    /// One task less.
    pub fn remove(&mut self, request: Resources, charged: Millicores) {
        self.requests = self.requests.saturating_sub(request);
        self.charged = self.charged.saturating_sub(charged);
    }
}

impl Overcommit {
    /// Whether every task counts as it requests.
    pub fn is_off(&self) -> bool {
        self.charges.is_empty()
    }

    /// The CPU that a task counts with.
    pub fn charge(&self, task: &Task) -> Millicores {
        let known = if self.is_off() { None } else { self.charges.get(&task.id) };
        known.copied().unwrap_or(task.size.request.cpu)
    }

    /// What is taken of a node of a size: what is predicted, but at most what is requested, and at least so much
    /// that requests stay within their bound.
    pub fn taken(&self, size: Resources, held: Held) -> Resources {
        let requested = held.requests.cpu;
        if held.charged >= requested {
            return held.requests;
        }
        let lent_most = Millicores::from_cores(size.cpu.cores() * (self.most - 1.0));
        let cpu = held.charged.max(requested.saturating_sub(lent_most));
        Resources::new(cpu, held.requests.memory)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::quantity::Bytes;

    fn of(cpu: u64, mib: u64) -> Resources {
        Resources::new(Millicores::new(cpu), Bytes::mib(mib))
    }

    fn held(cpu: u64, mib: u64, charged: u64) -> Held {
        Held { requests: of(cpu, mib), charged: Millicores::new(charged) }
    }

    #[test]
    fn a_predicted_peak_counts_instead_of_requests_within_bounds() {
        let twice = Overcommit { charges: BTreeMap::new(), most: 2.0 };
        assert_eq!(twice.taken(of(4000, 100), held(4000, 60, 1500)), of(1500, 60));
        // Requests may come to 8 cores: 1 more here.
        assert_eq!(twice.taken(of(4000, 100), held(7000, 60, 1500)), of(3000, 60));
        assert_eq!(twice.taken(of(4000, 100), held(9000, 60, 1500)), of(5000, 60));
        // More use than requested is no reason to give a node less than requests leave.
        assert_eq!(twice.taken(of(4000, 100), held(2000, 60, 3000)), of(2000, 60));
        assert_eq!(Overcommit::default().taken(of(4000, 100), held(4000, 60, 1500)), of(4000, 60));
    }

    proptest! {
        #[test]
        fn memory_is_never_lent_and_cpu_within_its_bound(
            size in 1_u64..64_000, requested in 0_u64..200_000, charged in 0_u64..200_000,
            mib in 0_u64..10_000, most in 1.0_f64..4.0, next in 0_u64..64_000,
        ) {
            let overcommit = Overcommit { charges: BTreeMap::new(), most };
            let (size, before) = (of(size, 5000), held(requested, mib, charged));
            let taken = overcommit.taken(size, before);
            prop_assert_eq!(taken.memory, before.requests.memory);
            prop_assert!(taken.cpu <= before.requests.cpu);
            // What is placed by this room keeps requests within the bound, unless they have room by themselves.
            let next = of(next, 0);
            if (taken + next).cpu <= size.cpu {
                let after = (before.requests + next).cpu.get() as f64;
                let most = size.cpu.get() as f64 * most;
                prop_assert!(after <= most + 1.0, "{} of {}", after, most);
            }
        }
    }
}
