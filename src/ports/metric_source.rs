//! Metrics that the instances of a service, or what stands beside them, expose as Prometheus text.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::ports::usage_source::UsageError;

/// The value of a metric at one place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MetricValue {
    /// A level.
    Gauge(f64),
    /// A count that only rises; its rate is what counts.
    Counter(f64),
}

/// A value with the instant that its source gives to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MetricSample {
    /// The value.
    pub value: MetricValue,
    /// The oldest of the instants that the text names; absent where it names none, as most texts do.
    pub at: Option<Timestamp>,
}

/// Reads a metric at one place.
#[async_trait]
pub trait MetricSource: Send + Sync {
    /// The sum over all label sets of `metric` at `url`.
    async fn read(&self, url: &str, metric: &str) -> Result<MetricSample, UsageError>;
}
