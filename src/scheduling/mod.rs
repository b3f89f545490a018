//! Desired and observed state to plan.
