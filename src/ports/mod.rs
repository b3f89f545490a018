//! What the loops ask of the outside world, in the engine's words. Adapters implement these; the
//! conformance suites in `tests/conformance` hold for every one of them.

pub mod access;
pub mod backtests;
pub mod clock;
pub mod cluster;
pub mod commands;
pub mod control;
pub mod exec;
pub mod front_door;
pub mod health;
pub mod history;
pub mod logs;
pub mod machines;
pub mod metric_source;
pub mod node_provider;
pub mod notifier;
pub mod own_state;
pub mod search;
pub mod store;
pub mod task_times;
pub mod telemetry;
pub mod usage_source;
