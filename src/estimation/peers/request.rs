//! The size that the owner asked for, times a factor.

use jiff::Timestamp;

use crate::estimation::policy::{Asked, Kill, Limits, Model, Observation};

/// What the owner asked for, times a factor.
#[derive(Debug, Clone)]
pub struct Request {
    /// The factor; 1 is the request itself.
    pub factor: f64,
}

impl Model for Request {
    type State = Asked;

    fn declare(&self, state: &mut Asked, asked: Asked) {
        state.cpu = asked.cpu.or(state.cpu);
        state.memory = asked.memory.or(state.memory);
    }

    fn observe(&self, _: &mut Asked, _: &Observation) {}

    fn observe_oom(&self, _: &mut Asked, _: &Kill) {}

    fn limits(&self, state: &Asked, _: Timestamp) -> Limits {
        Limits {
            memory: state.memory.map(|bytes| bytes * self.factor),
            cpu: state.cpu.map(|cores| cores * self.factor),
        }
    }
}
