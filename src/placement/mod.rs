//! Which node takes which task.
//! In: tasks that wait, with what they ask for, and nodes with what is free on them.
//! Out: an assignment for each task that fits somewhere; for each other one the reason, node by node.
//!
//! Not here: when a task may start and what happens to it afterwards (`scheduling`), whether nodes
//! should be added (`scaling`).

mod packing;

pub(crate) use packing::dominant_share;
pub use packing::{Ask, NODES_NAMED_MAX, Placement, Slot, place};
