//! Demand on a service as the front door counts it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::task::TaskId;
use crate::domain::workload::WorkloadName;

/// Upper ends of the latency buckets, in seconds; the last bucket has none.
pub const LATENCY_BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The end of the first fine bucket of latency, in seconds.
const FINE_FIRST: f64 = 0.000_1;
/// Each fine bucket ends at the fourth root of 2 times the one before: 19 % apart, so that two revisions
/// that are about as fast are not told apart by the edge of a bucket.
const FINE_PER_DOUBLING: f64 = 4.0;
/// Fine buckets; the last one, from 60 s on, has no end.
pub const FINE_BUCKETS: usize = 79;

/// The fine bucket that a latency belongs to.
pub fn fine_bucket(seconds: f64) -> usize {
    if seconds <= FINE_FIRST {
        return 0;
    }
    let bucket = ((seconds / FINE_FIRST).log2() * FINE_PER_DOUBLING).ceil();
    (bucket as usize).min(FINE_BUCKETS - 1)
}

fn fine_end(bucket: usize) -> f64 {
    FINE_FIRST * (bucket as f64 / FINE_PER_DOUBLING).exp2()
}

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
    /// Answers per fine bucket of latency (`fine_bucket`); empty where they are not counted.
    #[serde(default)]
    pub fine: Vec<u64>,
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

    /// The same from the fine buckets.
    pub fn fine_quantile(&self, q: f64) -> Option<f64> {
        let total: u64 = self.fine.iter().sum();
        if total == 0 {
            return None;
        }
        let rank = q * total as f64;
        let mut below = 0_u64;
        for (bucket, &count) in self.fine.iter().enumerate() {
            if count > 0 && (below + count) as f64 >= rank {
                let start = if bucket == 0 { 0.0 } else { fine_end(bucket - 1) };
                return Some(start + (fine_end(bucket) - start) * ((rank - below as f64) / count as f64));
            }
            below += count;
        }
        Some(fine_end(FINE_BUCKETS - 1))
    }

    /// Adds what another instance counted.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.in_flight += other.in_flight;
        self.latency_sum += other.latency_sum;
        for (sums, counts) in [(&mut self.latency, &other.latency), (&mut self.fine, &other.fine)] {
            sums.resize(sums.len().max(counts.len()), 0);
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum += count;
            }
        }
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
            latency: less(&self.latency, &earlier.latency),
            fine: less(&self.fine, &earlier.fine),
            latency_sum: self.latency_sum - earlier.latency_sum,
        }
    }
}

fn less(now: &[u64], earlier: &[u64]) -> Vec<u64> {
    now.iter().enumerate().map(|(i, n)| n.saturating_sub(earlier.get(i).copied().unwrap_or(0))).collect()
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
    fn a_fine_bucket_is_at_most_a_fifth_wide() {
        for seconds in [0.000_05, 0.000_1, 0.001, 0.024_9, 0.025_1, 1.0, 59.0] {
            let bucket = fine_bucket(seconds);
            assert!(seconds <= fine_end(bucket) * 1.000_001, "{seconds} in {bucket}");
            assert!(bucket == 0 || seconds > fine_end(bucket - 1) * 0.999_999, "{seconds} in {bucket}");
            let mut counters = RequestCounters { fine: vec![0; FINE_BUCKETS], ..RequestCounters::default() };
            counters.fine[bucket] = 100;
            let p95 = counters.fine_quantile(0.95).expect("answers");
            assert!(bucket == 0 || (p95 / seconds - 1.0).abs() < 0.2, "{seconds}: {p95}");
        }
        assert_eq!(fine_bucket(1e9), FINE_BUCKETS - 1);
    }

    #[test]
    fn a_counter_that_fell_began_anew() {
        let earlier = RequestCounters { requests: 100, ..RequestCounters::default() };
        let now = RequestCounters { requests: 7, ..RequestCounters::default() };
        assert_eq!(now.since(&earlier).requests, 7);
    }
}
