//! What is answered about the future of nodes. Values only.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is to become of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeOutlookDto {
    /// `arriving`, `stays`, `leaves` or `gone`.
    pub prospect: String,
    /// When it is expected, or before when it does not go, where that is known.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub not_before: Option<Timestamp>,
    /// What keeps it.
    pub blocks: Vec<NodeBlockDto>,
}

/// What keeps a node from going.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeBlockDto {
    /// In a word: `used`, `resting`, `minimum`, `settling`, `run`, `disruption`, `not worth`, `no room`, `receives`,
    /// `turn`, `replacement`, `tasks wait`, `frozen`, `by hand`.
    pub by: String,
    /// In words.
    pub reason: String,
    /// When it ends, where that is known.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
}

/// A change of nodes that is decided and not done yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedChangeDto {
    /// `ask`, `join`, `empty` or `remove`.
    pub kind: String,
    /// The pool.
    pub pool: String,
    /// The node, where it has a name.
    pub node: Option<String>,
    /// Nodes that it is about.
    pub nodes: u32,
    /// Tasks that have to leave first.
    pub tasks: u32,
    /// Since when.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// When it is expected to be done, where that is known.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expected_at: Option<Timestamp>,
    /// Why, in words.
    pub reason: String,
}
