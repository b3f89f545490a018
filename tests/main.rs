//! One integration binary: everything that is shown on real files, processes, sockets and traces.

mod api;
mod architecture;
#[cfg(feature = "analytics")]
mod backtest;
#[cfg(feature = "analytics")]
mod causality;
mod chaos;
mod config;
mod conformance;
#[cfg(feature = "analytics")]
mod datasets;
mod demo_parts;
mod engine;
mod freezes;
mod front_door;
mod hostile;
mod http;
mod local;
mod prober;
mod prometheus;
mod storage;
