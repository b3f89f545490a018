//! Outside systems behind the ports. Adapters translate, never decide; no adapter knows another; they share
//! `lock`.

pub mod commands;
pub mod front_door;
pub mod local;
mod lock;
pub mod notice;
pub mod prometheus;
pub mod simulated;
pub mod storage;
pub mod system_clock;
