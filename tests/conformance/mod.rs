//! What holds for every adapter of a port.

mod cluster;
