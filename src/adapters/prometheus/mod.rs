//! Prometheus text, both ways: what agents and instances expose, and the engine's own metrics.

pub mod engine_metrics;
pub mod exposition;
mod fetch;
pub mod instance_metrics;
pub mod scraper;
pub mod text;
