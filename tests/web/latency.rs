//! How long pages take where many tasks run: the real router over a filled view. Ten thousand tasks in an
//! optimised build (`cargo test --release --test it web::latency -- --nocapture`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use http_body_util::BodyExt;
use jiff::SignedDuration;
use loadline::adapters::storage::{Retention, SqliteStore};
use loadline::adapters::system_clock::SystemClock;
use loadline::api::ApiState;
use loadline::api::access::Access;
use loadline::api::stars::Stars;
use loadline::backtests::Backtester;
use loadline::config::ApiLimits;
use loadline::domain::cron_advice::CronAdvice;
use loadline::domain::decision::DecisionId;
use loadline::domain::intent::Submission;
use loadline::domain::load_forecast::LoadForecast;
use loadline::domain::money::{MicroCents, Prices};
use loadline::domain::node::NodeName;
use loadline::domain::rollout::Actor;
use loadline::domain::task::{Task, TaskId};
use loadline::domain::what_if::WhatIf;
use loadline::domain::workload::{TaskTemplate, WorkloadName};
use loadline::ports::clock::Clock;
use loadline::ports::cluster::ClusterError;
use loadline::ports::control::{AdviceAsked, Control, ControlError, SizePolicyEntry, View, WhatIfAsked};
use loadline::ports::exec::ExecOutput;
use loadline::ports::health::ProbeResult;
use loadline::ports::logs::{LogChunk, LogPosition, LogSource, LogStream};
use loadline::ports::own_state::{LoopState, OwnState, StoreState};
use loadline::ports::store::{NumberedChange, StoreError};
use tower::ServiceExt;

#[path = "../../benches/common/mod.rs"]
mod common;

/// A build for tests fills and reads a tenth of them.
const TASKS: u32 = if cfg!(debug_assertions) { 1_000 } else { 10_000 };
/// What a page may take.
const TIME_MAX: Duration = Duration::from_millis(200);
/// A build for tests is slower, and runs beside other tests.
const DEBUG_FACTOR: u32 = 5;

/// A view, and nothing that can be asked for.
struct Filled(View);

fn refused<T>() -> Result<T, ControlError> {
    Err(ControlError::Refused("nothing is changed here".to_owned()))
}

#[async_trait]
impl Control for Filled {
    async fn view(&self) -> View {
        self.0.clone()
    }
    async fn submit(&self, _: Submission) -> Result<Vec<String>, ControlError> {
        refused()
    }
    fn size_policies(&self) -> Vec<SizePolicyEntry> {
        Vec::new()
    }
    async fn what_if(&self, _: WhatIfAsked) -> Result<WhatIf, ControlError> {
        refused()
    }
    async fn cron_advice(&self, _: SignedDuration) -> Result<CronAdvice, ControlError> {
        refused()
    }
    async fn apply_advice(&self, _: AdviceAsked) -> Result<Vec<String>, ControlError> {
        refused()
    }
    async fn forecast(
        &self,
        _: &WorkloadName,
        _: SignedDuration,
        _: SignedDuration,
    ) -> Result<LoadForecast, ControlError> {
        Ok(LoadForecast::default())
    }
    fn last_change(&self) -> u64 {
        0
    }
    async fn changes_after(&self, _: u64, _: usize) -> Result<Vec<NumberedChange>, StoreError> {
        Ok(Vec::new())
    }
    async fn template(&self, _: &Task) -> Option<TaskTemplate> {
        None
    }
    fn probe_results(&self, _: &TaskId) -> Vec<ProbeResult> {
        Vec::new()
    }
    async fn approve(&self, _: Actor, _: DecisionId) -> Result<(), ControlError> {
        refused()
    }
    async fn exec(
        &self,
        _: Actor,
        _: &TaskId,
        _: &[String],
        _: SignedDuration,
    ) -> Result<ExecOutput, ControlError> {
        refused()
    }
    async fn fail_node(&self, _: Actor, _: &NodeName) -> Result<(), ControlError> {
        refused()
    }
}

struct Own(Arc<SqliteStore>);

impl OwnState for Own {
    fn loops(&self) -> Vec<LoopState> {
        Vec::new()
    }
    fn store(&self) -> Result<StoreState, StoreError> {
        let kept = SignedDuration::from_hours(24);
        self.0.state(&Retention { samples: kept, records: kept, rows: 1_000 })
    }
}

struct Silent;

#[async_trait]
impl LogSource for Silent {
    async fn read(
        &self,
        _: &TaskId,
        _: LogStream,
        _: LogPosition,
        _: usize,
    ) -> Result<LogChunk, ClusterError> {
        Ok(LogChunk { text: String::new(), next: String::new(), places: Vec::new() })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_answers_in_time_where_many_tasks_run() {
    let folder = tempfile::Builder::new().prefix("loadline-web-").tempdir().expect("a folder");
    let store = Arc::new(SqliteStore::open(&folder.path().join("store")).expect("a store"));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let access = Access::open(store.clone(), ApiLimits::default(), false).expect("a store");
    let prices = Prices { core_hour: MicroCents::from_units(0.03), gib_hour: MicroCents::from_units(0.004) };
    let api = ApiState {
        control: Arc::new(Filled(common::view(TASKS, TASKS / 10))),
        events: store.clone(),
        archive: store.clone(),
        search: store.clone(),
        decisions: store.clone(),
        history: store.clone(),
        task_times: None,
        logs: Arc::new(Silent),
        metrics: Arc::new(String::new),
        clock: Arc::clone(&clock),
        prices,
        currency: "EUR".to_owned(),
        backtests: Arc::new(Backtester::new(store.clone(), Arc::clone(&clock))),
        stars: Arc::new(Stars::new(store.clone())),
        own: Arc::new(Own(store)),
        access: Arc::new(access),
        totals: Arc::default(),
    };
    let totals = Arc::clone(&api.totals);
    totals.record(&api.control.view().await, &prices, clock.now());
    let router = loadline::web::router(loadline::api::router(api).expect("routes"), clock, 7070, false);
    let most = if cfg!(debug_assertions) { TIME_MAX * DEBUG_FACTOR } else { TIME_MAX };
    let service = "/workloads/service-7";
    let mut told = Vec::new();
    for path in [
        "/",
        "/workloads?sort=waste",
        service,
        "/tasks/service-7.1",
        "/cron",
        "/nodes",
        "/recommendations",
        "/recommendations?show=applied",
        "/recommendations?show=dismissed",
        "/decisions",
        "/reports",
        "/backtest",
        "/engine",
        "/search?q=service-99",
    ] {
        let mut times = Vec::new();
        for _ in 0..5 {
            let mut request =
                Request::get(path).header("host", "127.0.0.1:7070").body(Body::empty()).expect("a request");
            request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 1))));
            let began = Instant::now();
            let answer = router.clone().oneshot(request).await.expect("an answer");
            let status = answer.status();
            let body = answer.into_body().collect().await.expect("a body").to_bytes();
            times.push((began.elapsed(), body.len()));
            assert!(status.is_success(), "{path}: {status} {}", String::from_utf8_lossy(&body));
        }
        times.sort();
        told.push(format!("{path}: {:?}, {} bytes", times[2].0, times[2].1));
        assert!(times[2].0 < most, "{path} takes {:?}, at most {most:?}", times[2].0);
    }
    println!("medians of 5 at {TASKS} tasks:\n{}", told.join("\n"));
}
