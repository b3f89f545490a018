//! Which node takes which task.
//! In: tasks that wait, with what they ask for; nodes with what is free on them; where other tasks are.
//! Out: a node for each task that fits somewhere; for each other one the reason, node by node, and the
//! tasks of lower priority that could make room.
//!
//! Not here: when a task may start and what happens to it afterwards (`scheduling`), whether nodes
//! should be added (`scaling`).

mod board;
mod explain;
mod fit;
mod index;
mod packing;
pub mod planner;
mod preemption;
mod real_use;
mod rules;
#[cfg(test)]
mod scan_properties;
#[cfg(test)]
mod tests;
mod tree;

pub use board::{Board, Refused, Resident, Residents, Slot};
pub use explain::NODES_NAMED_MAX;
pub use fit::{Ask, Owner, admits, meets};
pub(crate) use packing::dominant_share;
pub use preemption::{Allowance, Occupant, Victims, choose};
pub use real_use::{Measured, real_use};
