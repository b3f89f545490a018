//! Metrics that the instances of a service expose themselves.

use std::net::SocketAddr;

use async_trait::async_trait;

use crate::ports::usage_source::UsageError;

/// The value of a metric at one instance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MetricValue {
    /// A level.
    Gauge(f64),
    /// A count that only rises; its rate is what counts.
    Counter(f64),
}

/// Reads a metric of one instance.
#[async_trait]
pub trait MetricSource: Send + Sync {
    /// The sum over all label sets of `metric` at `http://ADDRESS PATH`.
    async fn read(&self, address: SocketAddr, path: &str, metric: &str) -> Result<MetricValue, UsageError>;
}
