//! Counts of requests: cheap enough to touch on every request, consistent enough to report.
//! Not here: who reads them (`mod`), which instance gets a request (`backend`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::domain::load::{FINE_BUCKETS, LATENCY_BUCKETS, RequestCounters, fine_bucket};

/// Counters of a service or of one of its instances. Nothing here takes a lock.
#[derive(Debug)]
pub(super) struct Counters {
    in_flight: AtomicU64,
    errors: AtomicU64,
    /// One more than `LATENCY_BUCKETS`. The number of requests is their sum, so the two always agree.
    latency: [AtomicU64; LATENCY_BUCKETS.len() + 1],
    latency_nanos: AtomicU64,
    /// The same latencies once more, finely: revisions are compared by them.
    fine: [AtomicU64; FINE_BUCKETS],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            in_flight: AtomicU64::default(),
            errors: AtomicU64::default(),
            latency: Default::default(),
            latency_nanos: AtomicU64::default(),
            fine: std::array::from_fn(|_| AtomicU64::default()),
        }
    }
}

impl Counters {
    fn record(&self, took: Duration, error: bool) {
        let seconds = took.as_secs_f64();
        let bucket = LATENCY_BUCKETS.partition_point(|end| *end < seconds);
        self.latency[bucket].fetch_add(1, Ordering::Relaxed);
        self.fine[fine_bucket(seconds)].fetch_add(1, Ordering::Relaxed);
        self.latency_nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        if error {
            // Released after the bucket: who sees the error sees the request too.
            self.errors.fetch_add(1, Ordering::Release);
        }
    }

    /// The counters now.
    pub(super) fn read(&self) -> RequestCounters {
        let errors = self.errors.load(Ordering::Acquire);
        let latency: Vec<u64> = self.latency.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        RequestCounters {
            requests: latency.iter().sum(),
            errors,
            in_flight: self.in_flight.load(Ordering::SeqCst),
            latency,
            fine: self.fine.iter().map(|count| count.load(Ordering::Relaxed)).collect(),
            latency_sum: Duration::from_nanos(self.latency_nanos.load(Ordering::Relaxed)).as_secs_f64(),
        }
    }
}

/// An instance as all routes of its service see it.
#[derive(Debug)]
pub(super) struct Instance {
    /// Its counters over all its ports.
    pub(super) counters: Counters,
    /// Whether no route sends it new requests.
    retired: AtomicBool,
    /// Told when a retired instance has answered its last request.
    drained: Arc<Notify>,
}

impl Instance {
    /// An instance without requests so far.
    pub(super) fn new(drained: Arc<Notify>) -> Self {
        Self { counters: Counters::default(), retired: AtomicBool::new(false), drained }
    }

    /// Requests not answered yet.
    pub(super) fn in_flight(&self) -> u64 {
        self.counters.in_flight.load(Ordering::SeqCst)
    }

    /// Says whether it is retired; tells at once when it was busy with nothing.
    pub(super) fn set_retired(&self, retired: bool) {
        let before = self.retired.swap(retired, Ordering::SeqCst);
        if retired && !before && self.in_flight() == 0 {
            self.drained.notify_one();
        }
    }

    /// One request more. Sequentially consistent with the flags that say that it accepts: either the
    /// chooser sees the flag fall, or who lets it fall sees the request.
    pub(super) fn enter(&self) {
        self.counters.in_flight.fetch_add(1, Ordering::SeqCst);
    }

    /// One request less.
    pub(super) fn leave(&self) {
        if self.counters.in_flight.fetch_sub(1, Ordering::SeqCst) == 1 && self.retired.load(Ordering::SeqCst)
        {
            self.drained.notify_one();
        }
    }
}

/// A request on its way through a service. It counts when it is dropped: after the last byte of the
/// answer, or when either side gave up.
#[derive(Debug)]
pub(super) struct Visit {
    service: Arc<Counters>,
    since: Instant,
    /// Whether the answer is an error.
    pub(super) error: bool,
}

impl Visit {
    /// A request came in.
    pub(super) fn begin(service: Arc<Counters>) -> Self {
        service.in_flight.fetch_add(1, Ordering::SeqCst);
        Self { service, since: Instant::now(), error: false }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.service.record(self.since.elapsed(), self.error);
        self.service.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One try to have a request answered by an instance. It counts when it is dropped.
#[derive(Debug)]
pub(super) struct Attempt {
    instance: Arc<Instance>,
    since: Instant,
    /// Whether the instance failed.
    pub(super) error: bool,
}

impl Attempt {
    /// A try whose request the instance has been told of (`Instance::enter`).
    pub(super) fn entered(instance: Arc<Instance>) -> Self {
        Self { instance, since: Instant::now(), error: false }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        // Counted first: who sees the instance drained sees its last request counted.
        self.instance.counters.record(self.since.elapsed(), self.error);
        self.instance.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_on_the_end_of_a_bucket_belongs_to_it() {
        let counters = Counters::default();
        counters.record(Duration::from_millis(1), false);
        counters.record(Duration::from_micros(1001), true);
        counters.record(Duration::from_secs(31), false);
        let read = counters.read();
        assert_eq!((read.latency[0], read.latency[1], read.latency[LATENCY_BUCKETS.len()]), (1, 1, 1));
        assert_eq!((read.requests, read.errors), (3, 1));
        assert!((read.latency_sum - 31.002_001).abs() < 1e-6, "{}", read.latency_sum);
    }

    #[tokio::test]
    async fn the_last_request_of_a_retired_instance_is_told() {
        let drained = Arc::new(Notify::new());
        let instance = Arc::new(Instance::new(Arc::clone(&drained)));
        instance.enter();
        let attempt = Attempt::entered(Arc::clone(&instance));
        instance.set_retired(true);
        assert!(tokio::time::timeout(Duration::from_millis(20), drained.notified()).await.is_err());
        drop(attempt);
        tokio::time::timeout(Duration::from_secs(5), drained.notified()).await.expect("drained");
        assert_eq!(instance.in_flight(), 0);
    }
}
