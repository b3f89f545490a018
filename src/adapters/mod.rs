//! Outside systems behind the ports. Adapters translate, never decide; no adapter knows another.

pub mod prometheus;
pub mod storage;
pub mod front_door;
