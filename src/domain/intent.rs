//! What people and programs ask the engine to do.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::node::{NodeName, PoolName, PoolSpec};
use crate::domain::policy::{Policy, PolicyName};
use crate::domain::quantity::TaskSize;
use crate::domain::workload::{WorkloadName, WorkloadSpec};

/// Everything that a set of spec files declares.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Declared {
    /// Services, cron jobs and jobs.
    pub workloads: BTreeMap<WorkloadName, WorkloadSpec>,
    /// Node pools.
    pub pools: BTreeMap<PoolName, PoolSpec>,
    /// Policies.
    pub policies: BTreeMap<PolicyName, Policy>,
}

/// One thing that is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Intent {
    /// Make what is declared so; what is not named stays as it is.
    Apply(Box<Declared>),
    /// Stop a workload and forget it.
    Delete(WorkloadName),
    /// Forget a policy.
    DeletePolicy(PolicyName),
    /// Drain and remove all nodes of a pool.
    DeletePool(PoolName),
    /// Another number of instances.
    Scale {
        /// The service.
        workload: WorkloadName,
        /// Instances wanted.
        count: u32,
    },
    /// Another size.
    Resize {
        /// The workload.
        workload: WorkloadName,
        /// The size wanted.
        size: TaskSize,
    },
    /// One run now.
    Run(WorkloadName),
    /// Move everything off a node; it stays, empty, until it is activated.
    Drain(NodeName),
    /// Let a drained node take tasks again.
    Activate(NodeName),
}
