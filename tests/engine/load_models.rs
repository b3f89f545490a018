//! Load models of a real service, whose cost per request is known, behind the real front door.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use loadline::domain::load_model::{LoadModel, Relation};
use tokio::task::JoinHandle;

use crate::engine::harness::Engine;
use crate::machine::free_port;

/// CPU time that a request asks for, in milliseconds: of one revision, and of the next one.
const WORK_MS: u64 = 10;
const OTHER_WORK_MS: u64 = 25;
/// What a request may cost beside its work, in milliseconds, in a debug build on a machine that is busy.
const BESIDE_MS: f64 = 8.0;
/// Instances: each gives an observation every five seconds.
const INSTANCES: u32 = 10;
/// Requests per second over all instances, one after another.
const RATES: [u64; 4] = [5, 15, 25, 40];
const PHASE: Duration = Duration::from_secs(4);
/// A relation is clear, and revisions are compared, from so many observations on.
const ENOUGH: u64 = 40;
/// Observations do not come faster on a faster machine, and may come slower on a busy one.
const PATIENCE: Duration = Duration::from_mins(3);

/// The service. Its address is its own: while its engine is away, nobody else gets it.
fn specs(work: u64, port: u16) -> String {
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
        ports = [{{ name = "http", front_door = {port} }}]
        instances = {INSTANCES}
        cpu = 0.5
        memory = "64MiB"
        latency_objective = "5s"
        stop_grace = "2s"
        drain_timeout = "2s"
        [service.web.readiness]
        http = "/healthz"
        interval = "1s"
        timeout = "5s"
        [service.web.rollout]
        max_surge = {INSTANCES}
        "#
    )
}

/// Requests that are sent when they are due, in phases, as long as this lives.
struct Waves(JoinHandle<()>);

impl Waves {
    fn start(port: u16) -> Self {
        Self(tokio::spawn(async move {
            let http = crate::http::client().build().expect("a client");
            let began = Instant::now();
            loop {
                let phase = (began.elapsed().as_millis() / PHASE.as_millis()) as usize;
                let sent = http.get(format!("http://127.0.0.1:{port}/work"));
                tokio::spawn(async move { drop(sent.send().await) });
                tokio::time::sleep(Duration::from_micros(1_000_000 / RATES[phase % RATES.len()])).await;
            }
        }))
    }
}

impl Drop for Waves {
    fn drop(&mut self) {
        self.0.abort();
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
        tokio::time::sleep(Duration::from_millis(250)).await;
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
    let counts = (answer["now"]["instances"].as_u64(), answer["then"]["nodes"].as_u64());
    assert_eq!(counts, (Some(u64::from(INSTANCES)), Some(1)));
    let (now, then) = (answer["now"]["load"].as_f64().expect("a load"), answer["then"]["load"].as_f64());
    assert!((then.expect("a load") - 2.0 * now).abs() < 1e-6, "{answer}");
    let wrong = loadline(engine, &["whatif", "web", "--load", "twice"]);
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
    let missing = loadline(engine, &["model", "nobody"]);
    assert_eq!(missing.status.code(), Some(5), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cost_of_a_request_is_found_and_a_dearer_revision_is_told() {
    let port = free_port();
    let mut engine =
        Engine::start_with(&specs(WORK_MS, port), |_| "[load_models]\nwarm_up = \"2s\"\n".to_owned());
    engine.wait_ready("web", INSTANCES).await;
    let _waves = Waves::start(port);
    let clear = |found: &LoadModel| found.observations >= ENOUGH && found.cpu.line().is_some();
    let found = until(&engine, "a clear relation", clear).await;
    // Its work, and what serving it takes besides.
    let first = slope_ms(&found);
    println!("{first:.1} ms after {} observations", found.observations);
    assert!((0.9 * WORK_MS as f64..WORK_MS as f64 + BESIDE_MS).contains(&first), "{first} ms: {found:#?}");
    assert!(found.kept_out.total() > 0, "their start is kept out: {:?}", found.kept_out);
    look(&engine);

    // The model is there again after a crash.
    let before = found.observations;
    engine.kill();
    engine.restart();
    let again = until(&engine, "the model as it was", |_| true).await;
    assert!(again.observations + 30 >= before && again.revision == found.revision, "{again:#?}");

    engine.apply(&specs(OTHER_WORK_MS, port)).await;
    let changed = until(&engine, "the change", |found| found.change.is_some()).await;
    let change = changed.change.expect("a change");
    println!("{change}");
    assert_eq!((change.from, change.to), (1, 2));
    // Twice and a half as much work, less by what serving takes in both. How near it comes after so few observations on a
    // busy machine is for the model's own tests; here it is found, and it is large.
    assert!((1.3..5.0).contains(&change.ratio.value), "{change}");
    let events = engine.client.events(&loadline::api::client::EventFilter::default(), 200).await;
    let told: Vec<String> = events
        .expect("events")
        .into_iter()
        .filter(|event| event.kind == "cost_changed")
        .map(|event| event.reason)
        .collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("revision 2 uses") && told[0].contains("% more CPU"), "{told:?}");
}
