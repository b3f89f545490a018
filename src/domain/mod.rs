//! The nouns: every other module speaks these words. They know no back end, no clock and no file.

pub mod action;
pub mod advice;
pub mod change;
mod civil;
pub mod cron;
pub mod decision;
pub mod intent;
pub mod load;
pub mod load_model;
pub mod load_series;
pub mod money;
pub mod node;
pub mod observation;
pub mod placement;
pub mod plan;
pub mod planned;
pub mod policy;
pub mod quantity;
pub mod quota;
pub mod recommendation;
mod recurrence;
pub mod reducer;
pub mod rollout;
mod run_policy;
#[cfg(test)]
pub(crate) mod sample_specs;
pub mod scale;
pub mod scale_status;
pub mod scale_window;
pub mod size_policy;
pub mod strategy;
pub mod task;
pub mod trace;
pub mod usage;
pub mod what_if;
pub mod workload;
pub mod world;
