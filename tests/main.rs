//! One integration binary: everything that is shown on real files, processes, sockets and traces.

mod architecture;
mod config;
