//! One integration binary: everything that is shown on real files, processes, sockets and traces.

mod architecture;
mod conformance;
mod prometheus;
mod storage;
mod demo_parts;
mod front_door;
mod prober;
mod config;
mod local;
