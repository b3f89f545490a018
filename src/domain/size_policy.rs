//! Which policy sizes come from, and who said so. Not here: what the policies are (`estimation`).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::rollout::Actor;

/// A choice that is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizePolicyChoice {
    /// The policy as it was written: `NAME[:key=value]...`.
    pub policy: String,
    /// Who chose it.
    pub by: Actor,
    /// When.
    pub since: Timestamp,
}
