//! Load models of a real service, whose cost per request is known, behind the real front door.

use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use loadline::domain::load_model::{LoadModel, Relation};

use crate::engine::harness::Engine;

/// CPU time that a request asks for, in milliseconds, and what serving one costs besides at most: this is a debug
/// build.
const WORK_MS: u64 = 15;
const OTHER_WORK_MS: u64 = 21;
/// Instances: each gives an observation every five seconds.
const INSTANCES: u32 = 6;
/// Requests per second over all instances, one after another.
const RATES: [u64; 4] = [5, 15, 25, 40];
const PHASE: Duration = Duration::from_secs(7);
/// Observations do not come faster on a faster machine.
const PATIENCE: Duration = Duration::from_mins(4);

fn specs(work: u64, more: &str) -> String {
    let program = env!("CARGO_BIN_EXE_loadline");
    format!(
        r#"
        [pool.wide]
        cpu = 8
        memory = "8GiB"
        max = 1
        price_per_hour = 0.4
        [service.web]
        command = ["{program}", "demo-task", "web", "--startup", "0s", "--memory", "1MiB", "--work-ms", "{work}"]
        ports = ["http"]
        instances = {INSTANCES}
        cpu = 0.5
        memory = "64MiB"
        latency_objective = "5s"
        [service.web.readiness]
        http = "/healthz"
        interval = "1s"
        timeout = "5s"
        {more}
        "#
    )
}

/// Requests that are sent when they are due, in phases, until told to stop.
struct Waves {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Waves {
    fn start(port: u16) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let http = crate::http::client().build().expect("a client");
            let began = Instant::now();
            while !stopped.load(Ordering::Relaxed) {
                let phase = (began.elapsed().as_millis() / PHASE.as_millis()) as usize;
                let sent = http.get(format!("http://127.0.0.1:{port}/work"));
                tokio::spawn(async move { drop(sent.send().await) });
                tokio::time::sleep(Duration::from_micros(1_000_000 / RATES[phase % RATES.len()])).await;
            }
        });
        Self { stop, task }
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("a client");
    }
}

async fn model(engine: &Engine) -> Option<LoadModel> {
    engine.client.load_model("web").await.expect("a model").model
}

async fn until(engine: &Engine, what: &str, holds: impl Fn(&LoadModel) -> bool) -> LoadModel {
    let began = Instant::now();
    loop {
        let found = model(engine).await;
        if let Some(found) = found.as_ref().filter(|found| holds(found)) {
            return found.clone();
        }
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}: {found:#?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn slope_ms(model: &LoadModel) -> f64 {
    let Relation::Clear(line) = &model.cpu else { panic!("no relation: {model:#?}") };
    line.slope.value * 1e3
}

fn loadline(engine: &Engine, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadline"))
        .args(arguments)
        .env("LOADLINE_SERVER", engine.client.address())
        .env_remove("CLICOLOR_FORCE")
        .env("COLUMNS", "100")
        .env("TZ", "UTC")
        .output()
        .expect("the binary")
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What the commands say of a model that is clear.
fn look(engine: &Engine) {
    let text = said(&loadline(engine, &["model", "web"]));
    assert!(text.contains("ms a request") && text.contains("o observed"), "{text}");
    let text = said(&loadline(engine, &["whatif", "web", "--load", "250/s"]));
    assert!(text.contains("250.0/s") && text.contains("its count does not follow load"), "{text}");
    let text = said(&loadline(engine, &["whatif", "web", "--load", "x2", "--output", "json"]));
    let answer: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let answer = &answer["answer"];
    assert_eq!((answer["now"]["instances"].as_u64(), answer["then"]["nodes"].as_u64()), (Some(6), Some(1)));
    let (now, then) = (answer["now"]["load"].as_f64().expect("a load"), answer["then"]["load"].as_f64());
    assert!((then.expect("a load") - 2.0 * now).abs() < 1e-6, "{answer}");
    // A time of the day at which nothing was recorded, unless it is now.
    let other = jiff::Timestamp::from_second(engine_hour() + 12 * 3600).expect("an instant").to_string();
    let refused = loadline(engine, &["whatif", "web", "--peak", &other]);
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no history for that"), "{refused:?}");
    let wrong = loadline(engine, &["whatif", "web", "--load", "twice"]);
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
    let missing = loadline(engine, &["model", "nobody"]);
    assert_eq!(missing.status.code(), Some(5), "{missing:?}");
}

#[expect(clippy::disallowed_methods, reason = "hours in which nothing was recorded are those far from now")]
fn engine_hour() -> i64 {
    jiff::Timestamp::now().as_second()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cost_of_a_request_is_found_and_a_dearer_revision_is_told() {
    let mut engine =
        Engine::start_with(&specs(WORK_MS, ""), |_| "[load_models]\nwarm_up = \"2s\"\n".to_owned());
    engine.wait_ready("web", INSTANCES).await;
    let port = crate::engine::shop::front_door(&engine).await;
    let waves = Waves::start(port);
    let found =
        until(&engine, "a clear relation", |found| found.observations >= 70 && found.cpu.line().is_some())
            .await;
    // What a request costs besides its work, a debug build needs for HTTP: it is part of the truth.
    let first = slope_ms(&found);
    assert!((first / WORK_MS as f64 - 1.0).abs() < 0.15, "{first} ms: {found:#?}");
    assert!(found.kept_out.total() > 0, "their start is kept out: {:?}", found.kept_out);
    look(&engine);

    // The model is there again after a crash.
    let before = found.observations;
    engine.kill();
    engine.restart_in_place();
    let again = until(&engine, "the model as it was", |_| true).await;
    assert!(again.observations + 30 >= before && again.revision == found.revision, "{again:#?}");

    engine.apply(&specs(OTHER_WORK_MS, "")).await;
    let changed = until(&engine, "the change", |found| found.change.is_some()).await;
    let change = changed.change.expect("a change");
    println!("{change}");
    assert_eq!((change.from, change.to), (1, 2));
    let truth = OTHER_WORK_MS as f64 / WORK_MS as f64;
    assert!((change.ratio.value / truth - 1.0).abs() < 0.15, "{change} instead of {truth}");
    let events = engine.client.events(&loadline::api::client::EventFilter::default(), 200).await;
    let told: Vec<String> = events
        .expect("events")
        .into_iter()
        .filter(|event| event.kind == "cost_changed")
        .map(|event| event.reason)
        .collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("revision 2 uses") && told[0].contains("% more CPU"), "{told:?}");
    waves.end().await;
}
