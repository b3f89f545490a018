//! How long pages take where many tasks run: the real router over a filled view. Ten thousand tasks in an
//! optimised build (`cargo test --release --test it web::latency -- --nocapture`).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use http_body_util::BodyExt;
use jiff::{SignedDuration, Timestamp};
use loadline::adapters::storage::{Retention, SqliteStore};
use loadline::adapters::system_clock::SystemClock;
use loadline::api::ApiState;
use loadline::api::access::Access;
use loadline::api::stars::Stars;
use loadline::backtests::Backtester;
use loadline::config::ApiLimits;
use loadline::domain::change::{Change, RecordedChange};
use loadline::domain::cron_advice::CronAdvice;
use loadline::domain::decision::{DecisionId, DecisionKind, DecisionOutcome, Proposal};
use loadline::domain::intent::Submission;
use loadline::domain::load_forecast::LoadForecast;
use loadline::domain::money::{MicroCents, Prices};
use loadline::domain::node::NodeName;
use loadline::domain::policy::PolicyMode;
use loadline::domain::quantity::{Bytes, Millicores, Resources, TaskSize};
use loadline::domain::recommendation::{Estimate, Recommendation};
use loadline::domain::rollout::Actor;
use loadline::domain::task::{Task, TaskId};
use loadline::domain::usage::UsageSample;
use loadline::domain::what_if::WhatIf;
use loadline::domain::workload::{TaskTemplate, WorkloadName};
use loadline::domain::world::EntityKey;
use loadline::ports::clock::Clock;
use loadline::ports::cluster::ClusterError;
use loadline::ports::control::{AdviceAsked, Control, ControlError, SizePolicyEntry, View, WhatIfAsked};
use loadline::ports::exec::ExecOutput;
use loadline::ports::health::ProbeResult;
use loadline::ports::history::History;
use loadline::ports::logs::{LogChunk, LogPosition, LogSource, LogStream};
use loadline::ports::own_state::{LoopState, OwnState, StoreState};
use loadline::ports::store::{DecisionLog, NumberedChange, Store, StoreError};
use tower::ServiceExt;

#[path = "../../benches/common/mod.rs"]
mod common;

/// A build for tests fills and reads a tenth of them.
const TASKS: u32 = if cfg!(debug_assertions) { 1_000 } else { 10_000 };
/// What a page may take.
const TIME_MAX: Duration = Duration::from_millis(200);
/// A build for tests is slower, and runs beside other tests.
const DEBUG_FACTOR: u32 = 5;

/// Every page, and what of its ways to be shown asks for the most.
const PAGES: [&str; 26] = [
    "/",
    "/?hours=168",
    "/workloads",
    "/workloads?sort=waste",
    "/workloads?state=over&page=3",
    "/workloads/service-7",
    "/workloads/service-7?hours=24",
    "/tasks/service-7.1",
    "/tasks/service-7.1/exec",
    "/logs?workload=service-7",
    "/cron",
    "/nodes",
    "/recommendations",
    "/recommendations?show=applied",
    "/recommendations?show=dismissed",
    "/decisions",
    "/decisions?subject=service-7",
    "/decisions/7",
    "/reports",
    "/reports?by=workload&share=proportional",
    "/reports?window=day",
    "/reports?window=month",
    "/backtest",
    "/engine",
    "/search?q=service-99",
    "/login",
];

/// The view with advice for each service.
fn advised(view: View) -> View {
    let size = TaskSize::of(Resources::new(Millicores::new(50), Bytes::mib(64)));
    let at = common::start();
    let advice = |workload: &WorkloadName| Recommendation {
        workload: workload.clone(),
        at,
        size,
        lower: size.request,
        upper: size.request,
        samples: 10_000,
        confidence_days: 7.0,
        reason: "memory p98".to_owned(),
        price_effect: MicroCents::new(-1_000),
        risk: Some(0.001),
        reasons: vec!["its memory is steady".to_owned(), "its CPU is idle at night".to_owned()],
        candidates: Vec::new(),
        findings: Vec::new(),
    };
    let known = view.world.workloads.keys();
    let all = known.map(|name| (name.clone(), Estimate::Recommended(Box::new(advice(name))))).collect();
    View { recommendations: Arc::new(all), ..view }
}

/// A store in which every task has lately been measured, one service closely for a day; with a record and decisions.
fn fill(store: &SqliteStore, view: &View, now: Timestamp) {
    let before = |seconds: i64| now - SignedDuration::from_secs(seconds);
    let sample = |of: &UsageSample, at: Timestamp, seconds: f64| UsageSample {
        at,
        interval_seconds: Some(seconds),
        ..of.clone()
    };
    for back in (0..12).rev().map(|step| step * 300) {
        let all: Vec<UsageSample> =
            view.usage.values().map(|known| sample(known, before(back), 300.0)).collect();
        store.append(&all, &[]).expect("samples");
    }
    let closely: Vec<&UsageSample> =
        view.usage.values().filter(|known| known.workload.as_str() == "service-7").collect();
    assert_eq!(closely.len(), 10);
    let day = (360..8_640).rev().flat_map(|turn| closely.iter().map(move |known| (turn, *known)));
    let day: Vec<UsageSample> = day.map(|(turn, known)| sample(known, before(turn * 10), 10.0)).collect();
    store.append(&day, &[]).expect("samples");

    let applied = view.world.workloads.iter().map(|(name, workload)| RecordedChange {
        at: before(3_600),
        by: Actor::Engine,
        reason: "applied".to_owned(),
        request: None,
        change: Change::WorkloadApplied { workload: name.clone(), spec: workload.spec.clone() },
    });
    let changes: Vec<RecordedChange> = applied.collect();
    let tasks = view.world.tasks.keys().map(|task| EntityKey::Task(task.clone()));
    store.commit(&view.world, &tasks.collect::<Vec<_>>(), &changes).expect("a commit");
    for name in view.world.workloads.keys() {
        let proposal = Proposal {
            kind: DecisionKind::Count { workload: name.clone(), from: 9, to: 10 },
            rule: "requests per second".to_owned(),
            reason: "load grew".to_owned(),
            inputs: BTreeMap::from([("requests".to_owned(), "480 /s".to_owned())]),
            candidates: Vec::new(),
            price_before: MicroCents::new(9_000),
            price_after: MicroCents::new(10_000),
        };
        store.record(before(60), PolicyMode::Auto, &DecisionOutcome::Applied, &proposal).expect("a decision");
    }
}

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
    let view = advised(common::view(TASKS, TASKS / 10));
    fill(&store, &view, clock.now());
    let access = Access::open(store.clone(), ApiLimits::default(), false).expect("a store");
    let prices = Prices { core_hour: MicroCents::from_units(0.03), gib_hour: MicroCents::from_units(0.004) };
    let api = ApiState {
        control: Arc::new(Filled(view)),
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
    let (mut told, mut slow) = (Vec::new(), Vec::new());
    for path in PAGES {
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
        slow.extend((times[2].0 >= most).then_some(path));
    }
    println!("medians of 5 at {TASKS} tasks:\n{}", told.join("\n"));
    assert!(slow.is_empty(), "{slow:?} take longer than {most:?}:\n{}", told.join("\n"));
}

#[test]
fn every_page_is_among_those_that_are_held_to_it() {
    let places = [
        include_str!("../../src/web/pages/mod.rs").split("fn routes").nth(1).expect("the routes"),
        include_str!("../../src/web/mod.rs"),
    ];
    let lines = places.into_iter().flat_map(|text| text.split(".route(\"").skip(1));
    let pages = lines.filter(|line| line.split(".route(").next().is_some_and(|line| line.contains("get(")));
    let pages: Vec<&str> = pages.filter_map(|line| line.split('"').next()).collect();
    assert!(pages.len() >= 16, "{pages:?}");
    let fits = |route: &str, page: &str| {
        let page = page.split('?').next().unwrap_or_default().split('/').collect::<Vec<_>>();
        let route: Vec<&str> = route.split('/').collect();
        route.len() == page.len()
            && route.iter().zip(&page).all(|(route, page)| route.starts_with('{') || route == page)
    };
    // A file takes as long as it takes; a browser keeps what stands under `assets`.
    let files = ["/reports.csv", "/assets/{file}"];
    for route in pages.into_iter().filter(|route| !files.contains(route)) {
        assert!(PAGES.iter().any(|page| fits(route, page)), "{route} is held to no time");
    }
}
