//! Traces x policies -> figures: what a sizing policy would have said, killed and cost on recorded usage.
//!
//! In: rows of a trace, policies by name. Out: figures, curves and the limits themselves. The policies
//! are those that the engine runs (`estimation::policy`). Not here: files (`analytics`), threads and
//! tables (`cli`).
//!
//! - `grid`: rows to steps; what a trace must be, and what is repaired.
//! - `horizontal`: load past a policy of counts.
//! - `load_backtest`: that for one series and several policies.
//! - `variants`: which policies, at which values of their knobs.
//! - `vertical`: steps past a policy, kills and short-falls counted.
//! - `tally`: what is counted of one workload.
//! - `figures`: tallies to figures with intervals.
//! - `curve`: figures over the risk knob; comparison at an equal rate.
//! - `backtest`: everything for one trace and several policies.
//! - `coverage`: figures by how volatile workloads are.
//! - `lessons`, `fit`: the model of Loadline's own policy.
//! - `weights`: weights of a baseline that publishes none.
//! - `families`: usage with known truth, to try policies on.
//! - `describe`: what is in a trace, in figures.
//! - `forecasts`: load traces past forecasts, with figures of each.
//! - `jobs`: batch runs past policies that size them by the peaks of earlier runs.

pub mod backtest;
pub mod coverage;
pub mod curve;
pub mod describe;
pub mod families;
#[cfg(test)]
mod families_findings;
pub mod figures;
pub mod fit;
pub mod forecasts;
pub mod grid;
pub mod horizontal;
pub mod jobs;
pub mod lessons;
pub mod load_backtest;
pub mod packing;
pub mod tally;
pub mod variants;
pub mod vertical;
pub mod weights;
