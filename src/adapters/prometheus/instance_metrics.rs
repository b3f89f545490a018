//! Reads any metric that an instance of a service exposes itself.

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Client;

use super::{fetch, text};
use crate::ports::metric_source::{MetricSource, MetricValue};
use crate::ports::usage_source::UsageError;

/// Scrapes instances over HTTP.
#[derive(Debug, Clone)]
pub struct InstanceMetrics {
    client: Client,
}

impl InstanceMetrics {
    /// A reader that waits `timeout` for the whole answer of an instance.
    pub fn new(timeout: Duration) -> Result<Self, UsageError> {
        Ok(Self { client: fetch::client(timeout)? })
    }
}

#[async_trait]
impl MetricSource for InstanceMetrics {
    async fn read(&self, address: SocketAddr, path: &str, metric: &str) -> Result<MetricValue, UsageError> {
        let slash = if path.starts_with('/') { "" } else { "/" };
        let url = format!("http://{address}{slash}{path}");
        let body = fetch::text(&self.client, &url).await.map_err(|error| error.of(&url))?;
        value(&body, metric).map_err(|message| UsageError::Malformed { source_name: url, message })
    }
}

/// The sum over all label sets of `metric`.
fn value(body: &str, metric: &str) -> Result<MetricValue, String> {
    let found = text::parse(body).map_err(|error| error.to_string())?;
    let mut samples = found.samples.iter().filter(|sample| sample.name == metric).peekable();
    if samples.peek().is_none() {
        return Err(format!("there is no metric `{metric}`"));
    }
    let sum: f64 = samples.map(|sample| sample.value).sum();
    if !sum.is_finite() {
        return Err(format!("metric `{metric}` is {sum}"));
    }
    Ok(if found.is_counter(metric) { MetricValue::Counter(sum) } else { MetricValue::Gauge(sum) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_sets_are_added_and_the_type_is_told() {
        let body = "# TYPE jobs counter\njobs_total{q=\"a\"} 3\njobs_total{q=\"b\"} 4\nqueue{q=\"a\"} 2.5\n";
        assert_eq!(value(body, "jobs_total"), Ok(MetricValue::Counter(7.0)));
        assert_eq!(value(body, "queue"), Ok(MetricValue::Gauge(2.5)));
    }

    #[test]
    fn an_absent_metric_or_one_that_is_no_number_is_an_error_not_zero() {
        assert_eq!(value("a 1\n", "b"), Err("there is no metric `b`".to_owned()));
        assert_eq!(value("a NaN\n", "a"), Err("metric `a` is NaN".to_owned()));
        assert_eq!(value("a +Inf\n", "a"), Err("metric `a` is inf".to_owned()));
        assert!(value("a one\n", "a").is_err());
    }
}
