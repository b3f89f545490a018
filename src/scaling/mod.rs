//! Recommendation, status and policy to decision: sizes, counts, nodes.
//!
//! In: what is wanted, what is there, what was measured. Out: a `Proposal` with everything that it was
//! decided from, or why nothing changes.

pub mod advice;
pub mod ahead;
pub mod cluster;
mod cluster_fit;
#[cfg(test)]
mod cluster_given;
mod cluster_grow;
#[cfg(test)]
mod cluster_grow_tests;
#[cfg(test)]
mod cluster_overcommit_tests;
mod cluster_shrink;
#[cfg(test)]
mod cluster_shrink_tests;
pub mod consolidation;
mod consolidation_board;
#[cfg(test)]
mod consolidation_properties;
mod consolidation_swap;
pub mod counts;
pub mod cron_advice;
mod headroom;
pub mod horizontal;
pub mod joint;
#[cfg(test)]
mod joint_conflict;
mod metric_count;
pub mod metric_guard;
pub mod node_outlook;
pub mod planned;
pub mod policy_count;
pub mod stabilization;
pub mod startup;
pub mod vertical;
pub mod what_if;
pub mod zero;
