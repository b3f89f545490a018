//! Desired and observed state to plan.
pub mod intent;
