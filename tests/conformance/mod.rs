//! What holds for every adapter of a port.

mod cluster;
pub(crate) mod example;
mod machines;
pub(crate) mod store;
