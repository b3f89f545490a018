//! A cluster that is not there, on a clock that is not there: weeks of it in minutes, the same each time.
//!
//! In: what runs and when (`scene`), machines with prices and boot times, faults, a seed, a policy of
//! nodes. Out: what was paid, how long tasks waited, what was moved and killed. What decides is the
//! engine's own: `scheduling::plan` and `effects`, policies of counts, the reducer. Nothing here reads a
//! clock or sleeps; the caller may hand in a stopwatch. Not here: files, charts, the command line; the
//! ports of a running engine (`adapters::simulated`, which keeps a `cluster` of this module).
//!
//! - `chance`: numbers that look like chance, from a seed.
//! - `faults`: what goes wrong, and how often.
//! - `cluster`: machines and processes: they boot, start, end, die and fall silent.
//! - `machines`: types of machines with prices.
//! - `scene`, `demand`: workloads and what they do in time.
//! - `policy`: the one interface between the state and the number of nodes; `policies`: who implements it.
//! - `engine`: the loop.
//! - `tally`: what is counted; `bound`: the least that any packing costs.

pub mod bound;
pub mod chance;
pub mod cluster;
pub mod demand;
pub mod engine;
pub mod faults;
pub mod machines;
pub mod policies;
pub mod policy;
pub mod scene;
pub mod tally;

#[cfg(test)]
mod tests;
