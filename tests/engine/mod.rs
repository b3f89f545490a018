//! The whole engine as a process, used through its API, on real tasks.

#[cfg(feature = "analytics")]
mod advice;
mod bills;
mod command_line;
mod commands;
mod consolidation;
mod count_policies;
mod cron;
mod demo;
mod deploys;
mod enforcement;
mod failures;
mod front_doors;
mod harness;
#[cfg(feature = "analytics")]
mod history;
mod interface;
mod load;
mod load_models;
mod metric_faults;
mod operations;
mod overcommit;
#[cfg(feature = "analytics")]
mod policies;
mod providers;
mod recommend;
mod rollouts;
mod run_peaks;
mod scale_to_zero;
mod scenarios;
mod shop;
