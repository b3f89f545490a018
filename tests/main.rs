//! One integration binary: everything that is shown on real files, processes, sockets and traces.

mod api;
mod architecture;
#[cfg(feature = "analytics")]
mod backtest;
mod backtest_command;
#[cfg(feature = "analytics")]
mod backtest_forecast;
mod backtest_jobs;
#[cfg(feature = "analytics")]
mod backtest_load;
#[cfg(feature = "analytics")]
mod bad_traces;
mod causality;
mod chaos;
mod config;
mod conformance;
#[cfg(feature = "analytics")]
mod datasets;
mod demo_parts;
mod engine;
#[cfg(feature = "analytics")]
mod findings;
mod freezes;
mod front_door;
mod harness;
#[cfg(feature = "analytics")]
mod history;
mod hostile;
mod http;
mod load_causality;
#[cfg(feature = "analytics")]
mod load_models;
mod local;
mod machine;
#[cfg(feature = "analytics")]
mod overcommit;
mod packing;
mod prober;
mod prometheus;
mod providers;
mod simulate;
mod storage;
mod web;
