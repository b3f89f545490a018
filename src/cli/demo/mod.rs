//! The demo: a small shop of real processes, and the load that drives it.

pub mod load_generator;
pub mod load_profile;
pub mod workloads;
