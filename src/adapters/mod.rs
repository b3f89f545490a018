//! Outside systems behind the ports. Adapters translate, never decide; no adapter knows another; they share
//! `lock`.

pub mod commands;
#[cfg(feature = "aws")]
pub mod ec2_asg;
pub mod exec_provider;
pub mod external_grpc;
pub mod front_door;
pub mod local;
mod lock;
pub mod notice;
pub mod prometheus;
pub mod simulated;
pub mod storage;
pub mod system_clock;
