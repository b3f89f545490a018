//! What holds for every adapter of a port.

pub(crate) mod example;
pub(crate) mod store;
