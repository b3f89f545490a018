//! One integration binary: everything that is shown on real files, processes, sockets and traces.

mod architecture;
#[cfg(feature = "analytics")]
mod backtest;
mod config;
mod conformance;
#[cfg(feature = "analytics")]
mod datasets;
mod demo_parts;
mod engine;
mod front_door;
mod http;
mod local;
mod prober;
mod prometheus;
mod storage;
