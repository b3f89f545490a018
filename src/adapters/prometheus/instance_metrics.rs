//! Reads any metric that an instance of a service exposes itself.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::Client;

use super::{fetch, text};
use crate::ports::metric_source::{MetricSample, MetricSource, MetricValue};
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
    async fn read(&self, url: &str, metric: &str) -> Result<MetricSample, UsageError> {
        let body = fetch::text(&self.client, url).await.map_err(|error| error.of(url))?;
        let malformed = |message| UsageError::Malformed { source_name: url.to_owned(), message };
        sample(&body, metric).map_err(malformed)
    }
}

/// Instants above this are in milliseconds, as the plain format has them; below, in seconds, as `OpenMetrics`.
const SECONDS_MAX: f64 = 1e11;

/// The sum over all label sets of `metric`.
fn sample(body: &str, metric: &str) -> Result<MetricSample, String> {
    let found = text::parse(body).map_err(|error| error.to_string())?;
    let mut samples = found.samples.iter().filter(|sample| sample.name == metric).peekable();
    if samples.peek().is_none() {
        return Err(format!("there is no metric `{metric}`"));
    }
    let (mut sum, mut at) = (0.0, None);
    for sample in samples {
        // An instant that is none is told as one that never was: such a value is not a young one.
        let named = sample.timestamp.map(|written| instant(written).unwrap_or(Timestamp::UNIX_EPOCH));
        at = at.into_iter().chain(named).min();
        sum += sample.value;
    }
    if !sum.is_finite() {
        return Err(format!("metric `{metric}` is {sum}"));
    }
    let value = if found.is_counter(metric) { MetricValue::Counter(sum) } else { MetricValue::Gauge(sum) };
    Ok(MetricSample { value, at })
}

fn instant(written: f64) -> Option<Timestamp> {
    let milliseconds = if written.abs() > SECONDS_MAX { written } else { written * 1000.0 };
    Timestamp::from_millisecond(milliseconds as i64).ok().filter(|_| milliseconds.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(body: &str, metric: &str) -> Result<MetricValue, String> {
        sample(body, metric).map(|sample| sample.value)
    }

    #[test]
    fn the_oldest_instant_is_told_in_either_unit() {
        let at = |body: &str| sample(body, "a").expect("a value").at.map(Timestamp::as_second);
        assert_eq!(at("a 1\n"), None);
        assert_eq!(at("a{x=\"1\"} 1 1764000000000\na{x=\"2\"} 1 1763999990000\n"), Some(1_763_999_990));
        assert_eq!(at("a 1 1764000000.5\n# EOF\n"), Some(1_764_000_000));
        assert_eq!(at("a 1 NaN\n"), Some(0), "no instant at all is an old one");
    }

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
