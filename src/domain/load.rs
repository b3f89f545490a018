//! Demand on a service as the front door counts it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::task::TaskId;
use crate::domain::workload::WorkloadName;

/// Upper ends of the latency buckets, in seconds; the last bucket has none.
pub const LATENCY_BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Counters of requests, from the start of the front door.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RequestCounters {
    /// Requests answered, whatever the answer.
    pub requests: u64,
    /// Of those: status 500 and above, or no answer from any instance.
    pub errors: u64,
    /// Requests being answered now.
    pub in_flight: u64,
    /// Answers per latency bucket, not cumulative: one more than `LATENCY_BUCKETS`.
    pub latency: Vec<u64>,
    /// Sum of all latencies in seconds.
    pub latency_sum: f64,
}

impl RequestCounters {
    /// The latency below which a share `q` (0 to 1) of the answers lies, interpolated within its
    /// bucket as Prometheus' `histogram_quantile` does; absent without answers.
    pub fn latency_quantile(&self, q: f64) -> Option<f64> {
        let total: u64 = self.latency.iter().sum();
        if total == 0 {
            return None;
        }
        let rank = q * total as f64;
        let mut below = 0_u64;
        for (bucket, &count) in self.latency.iter().enumerate() {
            if count > 0 && (below + count) as f64 >= rank {
                let Some(&end) = LATENCY_BUCKETS.get(bucket) else { break };
                let start = if bucket == 0 { 0.0 } else { LATENCY_BUCKETS[bucket - 1] };
                return Some(start + (end - start) * ((rank - below as f64) / count as f64));
            }
            below += count;
        }
        LATENCY_BUCKETS.last().copied()
    }

    /// What came between an `earlier` reading and this one; a counter that fell began anew.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        if self.requests < earlier.requests {
            return self.clone();
        }
        Self {
            requests: self.requests - earlier.requests,
            errors: self.errors.saturating_sub(earlier.errors),
            in_flight: self.in_flight,
            latency: self
                .latency
                .iter()
                .enumerate()
                .map(|(i, n)| n.saturating_sub(earlier.latency.get(i).copied().unwrap_or(0)))
                .collect(),
            latency_sum: self.latency_sum - earlier.latency_sum,
        }
    }
}

/// The front door's counters of one service at an instant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadReading {
    /// The service.
    pub workload: WorkloadName,
    /// When it was read.
    pub at: Timestamp,
    /// Over all instances, requests that found none included.
    pub total: RequestCounters,
    /// Per instance.
    pub instances: BTreeMap<TaskId, RequestCounters>,
}

/// Load on a service over the interval that ends at `at`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadSample {
    /// The service.
    pub workload: WorkloadName,
    /// The end of the interval.
    pub at: Timestamp,
    /// Requests per second over the interval.
    pub requests_per_second: f64,
    /// Errors per second over the interval.
    pub errors_per_second: f64,
    /// The median latency in seconds; absent without answers.
    pub latency_p50: Option<f64>,
    /// The 95th percentile of latency in seconds; absent without answers.
    pub latency_p95: Option<f64>,
    /// Instances that were ready at the end.
    pub ready: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate_within_a_bucket() {
        let mut counters = RequestCounters { latency: vec![0; 15], ..RequestCounters::default() };
        assert_eq!(counters.latency_quantile(0.95), None);
        counters.latency[3] = 100; // 5 to 10 ms
        let p95 = counters.latency_quantile(0.95).expect("answers");
        assert!((p95 - 0.00975).abs() < 1e-9, "{p95}");
    }

    #[test]
    fn a_counter_that_fell_began_anew() {
        let earlier = RequestCounters { requests: 100, ..RequestCounters::default() };
        let now = RequestCounters { requests: 7, ..RequestCounters::default() };
        assert_eq!(now.since(&earlier).requests, 7);
    }
}
