//! A hostile machine: full disks, folders that cannot be written, taken ports, damaged stores, floods of
//! output, too few descriptors, clocks that jump.

mod clock;
mod disk;
mod flood;
mod full_disk;
mod shortage;
mod startup;
