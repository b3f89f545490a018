//! What is absurd: values past these are mistakes, not wishes.

use jiff::SignedDuration;

use crate::domain::quantity::{Bytes, GIB, MIB};

/// Most instances of a service, or nodes of a pool.
pub(super) const COUNT_MAX: u32 = 10_000;
/// Most retries, failures or passes.
pub(super) const TRIES_MAX: u32 = 1_000;
/// Priorities lie between minus and plus this.
pub(super) const PRIORITY_MAX: i32 = 1_000_000;
/// Least CPU: the smallest amount that is told apart.
pub(super) const CORES_MIN: f64 = 0.001;
/// Most CPU of a task or node; the largest machines on sale have fewer cores.
pub(super) const CORES_MAX: f64 = 4096.0;
/// Least memory; no process lives in less.
pub(super) const MEMORY_MIN: Bytes = Bytes::new(MIB);
/// Most memory of a task or node.
pub(super) const MEMORY_MAX: Bytes = Bytes::new(64 * 1024 * GIB);
/// Longest duration anywhere.
pub(super) const DURATION_MAX: SignedDuration = SignedDuration::from_hours(24 * 366 * 10);
/// Shortest interval of anything that repeats.
pub(super) const INTERVAL_MIN: SignedDuration = SignedDuration::from_millis(100);
/// Targets for CPU and memory are shares of the request: 70 is a slip for 0.7.
pub(super) const UTILIZATION_MAX: f64 = 10.0;
/// Longest stabilisation window, as in `autoscaling/v2`.
pub(super) const STABILIZATION_SECONDS_MAX: i64 = 3600;
/// Longest period of a scaling rule, as in `autoscaling/v2`.
pub(super) const PERIOD_SECONDS_MAX: i64 = 1800;
/// Most that an hour of anything may cost, and the most that a metric's target may be.
pub(super) const NUMBER_MAX: f64 = 1e9;
/// Longest file that is read as a spec.
pub(super) const FILE_BYTES_MAX: u64 = MIB;
/// Longest piece of a file that an error repeats, in characters.
pub(super) const FOUND_CHARACTERS_MAX: usize = 60;
/// Longest name of a pool: its nodes are called `POOL-NUMBER`, and that is a name too.
pub(super) const POOL_NAME_MAX: usize = 50;
