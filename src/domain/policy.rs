//! What may be changed automatically, how far, and by whom.

use serde::{Deserialize, Serialize};

use crate::domain::quantity::{Bytes, Millicores, Share};
use crate::domain::workload::name_type;

name_type!(
    /// The name of a policy.
    PolicyName
);

/// How far automation goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyMode {
    /// Nothing is computed.
    Off,
    /// Decisions are recorded and shown; nothing changes.
    #[default]
    Observe,
    /// A decision waits for `loadline approve`.
    Approve,
    /// A decision is carried out.
    Auto,
}

impl PolicyMode {
    /// The word in specs and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Observe => "observe",
            Self::Approve => "approve",
            Self::Auto => "auto",
        }
    }
}

impl std::fmt::Display for PolicyMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Bounds on recommended sizes; absent means unbounded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeBounds {
    /// Smallest CPU request.
    pub min_cpu: Option<Millicores>,
    /// Largest CPU request.
    pub max_cpu: Option<Millicores>,
    /// Smallest memory request.
    pub min_memory: Option<Bytes>,
    /// Largest memory request.
    pub max_memory: Option<Bytes>,
}

/// A named set of rules that workloads refer to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// For the size of tasks.
    pub size: PolicyMode,
    /// For the number of instances.
    pub count: PolicyMode,
    /// Bounds on sizes.
    pub bounds: SizeBounds,
    /// A size is not changed by less than this share of the present request.
    pub min_change: Share,
    /// At most this many instances of one workload are replaced at a time to apply a size.
    pub max_disruption: u32,
}

impl Default for Policy {
    /// Sizes are observed only. A declared `scale` block is a request to scale, so counts are automatic.
    /// 10 % is the least change worth making (VPA's updater threshold for long-lived pods).
    fn default() -> Self {
        Self {
            size: PolicyMode::Observe,
            count: PolicyMode::Auto,
            bounds: SizeBounds::default(),
            min_change: Share::new(0.1),
            max_disruption: 1,
        }
    }
}
