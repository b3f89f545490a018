//! What runs beside tasks on a node.

pub mod prober;
pub mod sampler;
