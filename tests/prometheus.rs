//! Scraping over real sockets: an agent that answers, one that is slow, one that answers nonsense, too
//! much or nothing.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::routing::get;
use futures_util::stream;
use loadline::adapters::prometheus::engine_metrics::EngineMetrics;
use loadline::adapters::prometheus::exposition;
use loadline::adapters::prometheus::instance_metrics::InstanceMetrics;
use loadline::adapters::prometheus::scraper::Scraper;
use loadline::adapters::prometheus::text;
use loadline::domain::quantity::{Bytes, Millicores, Resources};
use loadline::domain::usage::{AgentReading, NodeReading};
use loadline::ports::metric_source::{MetricSource, MetricValue};
use loadline::ports::telemetry::Telemetry;
use loadline::ports::usage_source::{UsageError, UsageSource};

use crate::conformance::example;

/// Long enough for any answer on a busy machine.
const PATIENT: Duration = Duration::from_secs(20);

fn reading() -> AgentReading {
    let node = NodeReading {
        node: example::node_name("small-1"),
        at: "2026-11-22T10:00:00.123456Z".parse().expect("an instant"),
        size: Resources::new(Millicores::new(500), Bytes::mib(512)),
        cpu_seconds: 12.5,
        working_set: Bytes::mib(100),
        tasks: 3,
    };
    AgentReading { tasks: Vec::new(), nodes: vec![node] }
}

/// Serves the routes of all tests on a free port for as long as `work` goes on.
fn with_server<F: Future<Output = ()>>(work: impl FnOnce(SocketAddr) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let routes = Router::new()
            .route("/ok", get(|| async { exposition::encode(&reading()) }))
            .route("/slow", get(std::future::pending::<String>))
            .route(
                "/drip",
                get(|| async {
                    // The head comes at once, the rest of the body never.
                    Body::from_stream(stream::pending::<Result<String, std::io::Error>>())
                }),
            )
            .route("/garbage", get(|| async { "<html>not metrics</html>" }))
            .route("/half", get(|| async { "loadline_node_tasks{node=\"small-1\"} 3\n" }))
            .route("/binary", get(|| async { vec![0xFF_u8, 0xFE] }))
            .route(
                "/huge",
                get(|| async {
                    Body::from_stream(stream::repeat_with(|| Ok::<_, std::io::Error>("# ".repeat(32 * 1024))))
                }),
            )
            .route("/refused", get(|| async { (StatusCode::SERVICE_UNAVAILABLE, "queue 1\n") }))
            .route("/elsewhere", get(|| async { axum::response::Redirect::temporary("/ok") }))
            .route(
                "/metrics",
                get(|| async {
                    "# TYPE jobs_total counter\njobs_total{q=\"a\"} 1\njobs_total{q=\"b\"} 2\nqueue 2.5\n"
                }),
            );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::select! {
            served = async { axum::serve(listener, routes).await } => panic!("the server ended: {served:?}"),
            () = work(address) => {}
        }
    });
}

fn scraper(address: SocketAddr, path: &str, timeout: Duration) -> Scraper {
    Scraper::new(&format!("http://{address}{path}"), timeout).expect("a scraper")
}

#[test]
fn what_an_agent_serves_arrives() {
    with_server(|address| async move {
        let scraper = scraper(address, "/ok", PATIENT);
        for _ in 0..2 {
            assert_eq!(scraper.read().await.expect("a reading"), reading());
        }
    });
}

#[test]
fn a_late_answer_is_late_whether_its_head_or_its_body_is_missing() {
    with_server(|address| async move {
        for path in ["/slow", "/drip"] {
            let scraper = scraper(address, path, Duration::from_millis(100));
            let error = scraper.read().await.expect_err(path);
            assert!(matches!(error, UsageError::Late { .. }), "{path}: {error}");
        }
    });
}

#[test]
fn nonsense_is_malformed_and_says_where() {
    with_server(|address| async move {
        for (path, expected) in [("/garbage", "line 1"), ("/half", "sample_time_seconds of small-1: absent")]
        {
            let scraper = scraper(address, path, PATIENT);
            let error = scraper.read().await.expect_err(path);
            let UsageError::Malformed { message, .. } = error else { panic!("{path}: {error}") };
            assert!(message.contains(expected), "{path}: {message}");
        }
    });
}

#[test]
fn refusals_redirects_and_answers_without_end_fail() {
    with_server(|address| async move {
        for (path, expected) in [
            ("/refused", "status 503"),
            ("/elsewhere", "status 307"),
            ("/none", "status 404"),
            ("/huge", "larger than"),
            ("/binary", "not UTF-8"),
        ] {
            let scraper = scraper(address, path, PATIENT);
            let error = scraper.read().await.expect_err(path);
            let UsageError::Unreachable { source, .. } = &error else { panic!("{path}: {error}") };
            assert!(source.to_string().contains(expected), "{path}: {source}");
        }
    });
}

#[test]
fn a_dead_agent_fails_and_one_that_comes_back_is_read_again() {
    with_server(|_| async move {
        // A port that was free a moment ago, and that nobody listens on.
        let dead =
            std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
        let scraper = scraper(dead, "/ok", PATIENT);
        scraper.read().await.expect_err("a dead agent");
        let Ok(listener) = tokio::net::TcpListener::bind(dead).await else {
            return; // Another process took the port: nothing more can be shown here.
        };
        let routes = Router::new().route("/ok", get(|| async { exposition::encode(&reading()) }));
        tokio::select! {
            served = async { axum::serve(listener, routes).await } => panic!("the server ended: {served:?}"),
            read = scraper.read() => assert_eq!(read.expect("a reading"), reading()),
        }
    });
}

#[test]
fn metrics_of_instances_are_read_with_their_type() {
    with_server(|address| async move {
        let source = InstanceMetrics::new(PATIENT).expect("a source");
        let url = |path: &str| format!("http://{address}{path}");
        let jobs = source.read(&url("/metrics"), "jobs_total").await.expect("a value");
        assert_eq!((jobs.value, jobs.at), (MetricValue::Counter(3.0), None));
        let queue = source.read(&url("/metrics"), "queue").await.expect("a value");
        assert_eq!(queue.value, MetricValue::Gauge(2.5));
        let absent = source.read(&url("/metrics"), "none").await;
        assert!(matches!(absent, Err(UsageError::Malformed { .. })), "{absent:?}");
        let refused = source.read(&url("/refused"), "queue").await;
        assert!(matches!(refused, Err(UsageError::Unreachable { .. })), "{refused:?}");
    });
}

#[test]
fn the_engine_s_own_metrics_are_prometheus_text() {
    let metrics = EngineMetrics::default();
    let failed =
        crate::conformance::store::moved(0, "web.1", loadline::domain::task::TaskState::Failed).change;
    metrics.committed(Duration::from_millis(4), &[&failed], &example::world());
    let text = metrics.encode();
    let found = text::parse(&text).expect("a text");
    let value = |name: &str, label: &str, word: &str| {
        found.samples.iter().find(|s| s.name == name && s.label(label) == Some(word)).map(|s| s.value)
    };
    assert_eq!(value("loadline_tasks", "state", "pending"), Some(1.0));
    assert_eq!(value("loadline_tasks", "state", "lost"), Some(0.0));
    assert_eq!(value("loadline_nodes", "state", "draining"), Some(1.0));
    assert_eq!(value("loadline_oom_kills_total", "workload", "web"), Some(1.0));
    assert!(found.is_counter("loadline_oom_kills_total"));
}
