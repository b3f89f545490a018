//! A hostile machine: full disks, folders that cannot be written, taken ports, damaged stores, floods of
//! output, too few descriptors, clocks that jump.

pub(crate) mod engine;
