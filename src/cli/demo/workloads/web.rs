//! A web service that uses CPU time for each request.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use clap::Args;
use jiff::SignedDuration;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;

use crate::cli::demo::workloads::effort::{burn, hold};
use crate::domain::quantity::Bytes;

/// Requests that wait for a thread; more are refused with 503.
const WAITING_MAX: i64 = 1024;
/// CPU time that one request may ask for.
const WORK_MAX: Duration = Duration::from_secs(10);

/// Answers HTTP requests, each with CPU time.
#[derive(Debug, Clone, Args)]
pub struct WebArgs {
    /// Where it listens on loopback.
    #[arg(long, env = "PORT")]
    pub port: u16,
    /// Time from its start until it is ready.
    #[arg(long, default_value = "1s")]
    pub startup: SignedDuration,
    /// CPU time of a request that does not say, in milliseconds.
    #[arg(long, default_value_t = 10)]
    pub work_ms: u64,
    /// Time that each request waits besides, without using CPU, in milliseconds.
    #[arg(long, default_value_t = 0)]
    pub wait_ms: u64,
    /// Time that each request keeps its thread besides, without using CPU, in milliseconds.
    #[arg(long, default_value_t = 0)]
    pub hold_ms: u64,
    /// Requests that are worked on at a time; others wait.
    #[arg(long, default_value_t = 2)]
    pub threads: usize,
    /// Memory in use besides what serving needs.
    #[arg(long, default_value = "16MiB")]
    pub memory: Bytes,
}

/// What all requests share.
struct Shop {
    ready_at: Instant,
    work: Duration,
    wait: Duration,
    hold: Duration,
    threads: Semaphore,
    requests: Counter,
    in_flight: Gauge<i64, AtomicI64>,
    registry: Registry,
}

/// What a request may ask for.
#[derive(Debug, Deserialize)]
struct WorkQuery {
    /// CPU time in milliseconds.
    ms: Option<u64>,
}

/// Counts a request as in flight while it lives.
struct InFlight<'a>(&'a Gauge<i64, AtomicI64>);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Runs the service until SIGTERM; requests under way are finished.
pub(super) fn run(args: &WebArgs) -> anyhow::Result<()> {
    let held = hold(args.memory);
    // One thread for all sockets and few for the work: the process stays as small as a small service.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(args.threads.max(1))
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(serve(args))?;
    drop(held);
    Ok(())
}

async fn serve(args: &WebArgs) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port))
        .await
        .with_context(|| format!("cannot listen on port {}", args.port))?;
    let app = Router::new()
        .route("/", get(work))
        .route("/work", get(work))
        .route("/healthz", get(health))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(Shop::new(args)));
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            terminate.recv().await;
        })
        .await
        .context("cannot serve")
}

impl Shop {
    fn new(args: &WebArgs) -> Self {
        let (requests, in_flight) = (Counter::default(), Gauge::default());
        let mut registry = Registry::default();
        registry.register("demo_requests", "Requests worked on", requests.clone());
        registry.register("demo_in_flight", "Requests being worked on or waiting", in_flight.clone());
        Self {
            ready_at: Instant::now() + Duration::try_from(args.startup).unwrap_or(Duration::ZERO),
            work: Duration::from_millis(args.work_ms),
            wait: Duration::from_millis(args.wait_ms),
            hold: Duration::from_millis(args.hold_ms),
            threads: Semaphore::new(args.threads.max(1)),
            requests,
            in_flight,
            registry,
        }
    }
}

async fn work(State(shop): State<Arc<Shop>>, Query(query): Query<WorkQuery>) -> (StatusCode, &'static str) {
    let amount = query.ms.map_or(shop.work, Duration::from_millis).min(WORK_MAX);
    let before = shop.in_flight.inc();
    let _in_flight = InFlight(&shop.in_flight);
    if before >= WAITING_MAX {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many requests wait\n");
    }
    tokio::time::sleep(shop.wait).await;
    // Whoever waits here is not yet on a thread, so a client that leaves costs no CPU time.
    let Ok(_thread) = shop.threads.acquire().await else {
        return (StatusCode::SERVICE_UNAVAILABLE, "it ends\n");
    };
    let worked = tokio::task::spawn_blocking(move || burn(amount)).await;
    tokio::time::sleep(shop.hold).await;
    match worked {
        Ok(()) => {
            shop.requests.inc();
            (StatusCode::OK, "done\n")
        }
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the work failed\n"),
    }
}

async fn health(State(shop): State<Arc<Shop>>) -> (StatusCode, &'static str) {
    if Instant::now() < shop.ready_at {
        (StatusCode::SERVICE_UNAVAILABLE, "starting\n")
    } else {
        (StatusCode::OK, "ok\n")
    }
}

async fn metrics(State(shop): State<Arc<Shop>>) -> Result<String, StatusCode> {
    let mut text = String::new();
    encode(&mut text, &shop.registry).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(text)
}
