//! What calls that change one thing say in their bodies. Every message is optional; durations are in
//! seconds, sizes in cores and bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why, and for how long: pauses, drains and freezes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LastingRequest {
    /// Why, in words.
    #[serde(default)]
    pub message: String,
    /// After so many seconds it is undone.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 31_536_000)]
    pub for_seconds: Option<u64>,
}

/// Another size; what is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResizeRequest {
    /// Cores reserved.
    #[serde(default)]
    pub cpu: Option<f64>,
    /// Bytes reserved; the limit moves with it unless it is given.
    #[serde(default)]
    pub memory: Option<u64>,
    /// Cores at most.
    #[serde(default)]
    pub cpu_limit: Option<f64>,
    /// Bytes at most.
    #[serde(default)]
    pub memory_limit: Option<u64>,
    /// Why, in words.
    #[serde(default)]
    pub message: String,
}

/// One run now, and what is other than the spec says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// In place of the arguments after the program.
    #[serde(default)]
    pub args: Option<Vec<String>>,
    /// Added to the environment, or in place of a variable of it.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Cores reserved.
    #[serde(default)]
    pub cpu: Option<f64>,
    /// Bytes reserved, and at most.
    #[serde(default)]
    pub memory: Option<u64>,
    /// Why, in words.
    #[serde(default)]
    pub message: String,
}

/// Back to an earlier revision.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// The revision's number; the last healthy one before the one in force where absent.
    #[serde(default)]
    pub to: Option<u64>,
    /// Why, in words.
    #[serde(default)]
    pub message: String,
}

/// Instances replaced by equal ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BounceRequest {
    /// One instance; all where absent.
    #[serde(default)]
    pub task: Option<String>,
    /// Why, in words.
    #[serde(default)]
    pub message: String,
}

/// A token to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// Whose it is: the name in every record of what it does.
    #[schema(min_length = 1, max_length = 63)]
    pub name: String,
    /// `viewer`, `developer`, `operator` or `finance`.
    pub role: String,
    /// The team whose workloads a developer may change.
    #[serde(default)]
    pub team: Option<String>,
    /// After so many seconds it is no longer valid.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 315_360_000)]
    pub for_seconds: Option<u64>,
    /// Why, in words.
    #[serde(default)]
    pub message: String,
}
