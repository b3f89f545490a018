//! What holds for every adapter of a port.

mod cluster;
pub(crate) mod example;
pub(crate) mod store;
