//! Sends requests when they are due, whether or not earlier ones have been answered (an open loop), as
//! independent users do. Latency counts from the instant at which a request was due: one that had to
//! wait behind slow ones is not made to look quick ("coordinated omission").

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::Uri;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cli::demo::load_profile::LoadProfile;
use crate::domain::load::{FINE_BUCKETS, LATENCY_BUCKETS, RequestCounters, fine_bucket};

/// Requests under way at most; those that are due beyond it are shed and counted.
pub const IN_FLIGHT_MAX: usize = 512;
/// A request that takes longer has failed.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

type HttpClient = Client<HttpConnector, Empty<Bytes>>;

/// What has become of the requests so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoadSummary {
    /// Requests sent.
    pub sent: u64,
    /// Requests that were due while too many were under way; not sent.
    pub shed: u64,
    /// Those that ended: `errors` had a status other than 2xx or no answer.
    pub ended: RequestCounters,
}

impl LoadSummary {
    /// Requests that were answered well.
    pub fn ok(&self) -> u64 {
        self.ended.requests - self.ended.errors
    }

    /// Requests that failed.
    pub fn failed(&self) -> u64 {
        self.ended.errors
    }
}

/// Counts as requests end; shared with whoever shows them.
#[derive(Debug, Default)]
pub struct LoadStats(Mutex<LoadSummary>);

impl LoadStats {
    /// The counts now.
    pub fn summary(&self) -> LoadSummary {
        self.with(|summary| summary.clone())
    }

    fn with<T>(&self, change: impl FnOnce(&mut LoadSummary) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn sent(&self) {
        self.with(|summary| {
            summary.sent += 1;
            summary.ended.in_flight += 1;
        });
    }

    fn ended(&self, took: Duration, ok: bool) {
        let seconds = took.as_secs_f64();
        self.with(|LoadSummary { ended, .. }| {
            ended.in_flight -= 1;
            ended.requests += 1;
            ended.errors += u64::from(!ok);
            ended.latency.resize(LATENCY_BUCKETS.len() + 1, 0);
            ended.latency[LATENCY_BUCKETS.partition_point(|end| *end < seconds)] += 1;
            ended.fine.resize(FINE_BUCKETS, 0);
            ended.fine[fine_bucket(seconds)] += 1;
            ended.latency_sum += seconds;
        });
    }
}

/// Days of requests to one address.
#[derive(Debug, Clone)]
pub struct LoadGenerator {
    /// Where they go.
    pub target: SocketAddr,
    /// Path and query of each.
    pub path: String,
    /// When they are due, day by day.
    pub days: Vec<LoadProfile>,
    /// How long a day lasts.
    pub day: Duration,
}

impl LoadGenerator {
    /// When requests are due, from the beginning on.
    pub fn arrivals(&self) -> impl Iterator<Item = Duration> + Send {
        let day = self.day;
        let begins = std::iter::successors(Some(Duration::ZERO), move |begin| Some(*begin + day));
        self.days
            .iter()
            .zip(begins)
            .flat_map(move |(profile, begin)| profile.arrivals(day).map(move |due| begin + due))
    }

    /// Sends the requests; returns when the last has ended, or soon after `shutdown`, which gives
    /// up those under way.
    pub async fn run(
        &self,
        stats: Arc<LoadStats>,
        shutdown: CancellationToken,
    ) -> Result<(), hyper::http::uri::InvalidUri> {
        let uri: Uri = format!("http://{}{}", self.target, self.path).parse()?;
        let client: HttpClient = Client::builder(TokioExecutor::new()).build_http();
        let mut under_way = JoinSet::new();
        let start = Instant::now();
        let sending = async {
            for due in self.arrivals().map(|due| start + due) {
                tokio::time::sleep_until(due).await;
                while under_way.try_join_next().is_some() {}
                if under_way.len() >= IN_FLIGHT_MAX {
                    stats.with(|summary| summary.shed += 1);
                    continue;
                }
                stats.sent();
                let (client, uri, stats) = (client.clone(), uri.clone(), Arc::clone(&stats));
                under_way.spawn(async move {
                    let answered = tokio::time::timeout_at(due + REQUEST_TIMEOUT, get(&client, uri)).await;
                    stats.ended(due.elapsed(), answered.unwrap_or(false));
                });
            }
            while under_way.join_next().await.is_some() {}
        };
        tokio::select! {
            () = sending => {}
            () = shutdown.cancelled() => {}
        }
        Ok(())
    }
}

/// Whether the whole answer came and is a good one.
async fn get(client: &HttpClient, uri: Uri) -> bool {
    let Ok(response) = client.get(uri).await else { return false };
    let status = response.status();
    response.into_body().collect().await.is_ok() && status.is_success()
}
