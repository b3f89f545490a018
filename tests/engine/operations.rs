//! Commands in tasks, health checks for life, disasters and hooks, with real processes and sockets.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use hmac::{Hmac, KeyInit, Mac};
use loadline::adapters::system_clock::SystemClock;
use loadline::api::dto::{Changed, MessageRequest, RunDto};
use loadline::api::exec::{ExecRequest, ExecResult};
use loadline::domain::world::RunOutcome;
use loadline::ports::clock::Clock;
use serde_json::Value;
use sha2::Sha256;
use tokio::net::TcpListener;

use crate::engine::harness::Engine;
use crate::machine::is_alive;

#[tokio::test(flavor = "multi_thread")]
async fn a_command_runs_in_a_task_by_way_of_the_api() {
    let engine = Engine::start(
        r#"
        [service.one]
        command = ["sleep", "100000"]
        env = { GREETING = "hello" }
        ports = ["http"]
        "#,
    );
    engine.wait_ready("one", 1).await;
    let task = engine.running("one").await.remove(0);
    let run = async |script: &str, seconds| -> ExecResult {
        let command = ["sh", "-c", script].map(str::to_owned).to_vec();
        let request = ExecRequest { command, timeout_seconds: Some(seconds), ..ExecRequest::default() };
        engine.client.post(&format!("/v1/tasks/{}/exec", task.id), &request).await.expect("a result")
    };
    let said = run("echo $GREETING $LOADLINE_TASK $PORT; exit 7", 20).await;
    assert_eq!(said.status, Some(7));
    let port = *task.ports.get("http").expect("a port");
    assert_eq!(said.stdout, format!("hello {} {port}\n", task.id));
    let late = run("sleep 600 & echo $! > child; wait", 5).await;
    assert!(late.timed_out && late.status.is_none(), "{late:?}");
    let folder = engine.data().join(format!("tasks/{}/workdir/child", task.id));
    let child: u32 = std::fs::read_to_string(folder).expect("a file").trim().parse().expect("a pid");
    engine.wait("the child ends", async || !is_alive(child)).await;
    let request = ExecRequest { command: vec!["true".to_owned()], ..ExecRequest::default() };
    let nobody = engine.client.post::<_, ExecResult>("/v1/tasks/one.99/exec", &request).await;
    assert!(nobody.is_err(), "{nobody:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_leaves_the_front_door_and_liveness_restarts_for_the_whole_life() {
    let engine = Engine::start(&format!(
        r#"
        [service.web]
        command = ["{}", "demo-task", "web"]
        ports = ["http"]
        instances = 1
        memory = "64MiB"
        restart = {{ backoff = "200ms" }}
        readiness = {{ exec = ["test", "!", "-e", "busy"], interval = "100ms", timeout = "5s", failures = 2 }}
        liveness = {{ exec = ["test", "!", "-e", "sick"], interval = "100ms", timeout = "5s", failures = 2 }}
        "#,
        env!("CARGO_BIN_EXE_loadline")
    ));
    engine.wait_ready("web", 1).await;
    let port = *engine.workload("web").await.front_doors.get("http").expect("an address");
    let status = async || {
        let answer = reqwest::get(format!("http://127.0.0.1:{port}/healthz")).await;
        answer.map_or(0, |answer| answer.status().as_u16())
    };
    engine.wait("it answers", async || status().await == 200).await;
    let task = engine.running("web").await.remove(0);
    let file = |name: &str| engine.data().join(format!("tasks/{}/workdir/{name}", task.id));
    // Long after the first success.
    std::fs::write(file("busy"), "").expect("a file");
    engine.wait("the front door has nobody", async || status().await >= 500).await;
    assert_eq!(engine.running("web").await[0].pid, task.pid, "it was restarted");
    std::fs::remove_file(file("busy")).expect("no file");
    engine.wait("it is back", async || status().await == 200).await;
    std::fs::write(file("sick"), "").expect("a file");
    engine
        .wait("another one runs", async || engine.running("web").await.iter().any(|t| t.id != task.id))
        .await;
    engine.wait("the sick one ended", async || !engine.ended("web").await.is_empty()).await;
    let ended = engine.ended("web").await;
    assert!(ended[0].reason.contains("liveness check failed 2 times: exit status 1"), "{}", ended[0].reason);
    engine.wait("it answers", async || status().await == 200).await;
}

const DISASTER: &str = r#"
[disaster]
interval = "500ms"
window = "4s"
calm = "3s"
grace = "1s"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn many_nodes_lost_at_once_freeze_scaling_and_draining_until_it_is_over() {
    let mut specs = String::new();
    for pool in ["a", "b", "c"] {
        let _ = write!(
            specs,
            "[pool.{pool}]\ncpu = 1\nmemory = \"512MiB\"\nmin = 2\nmax = 3\n[service.on-{pool}]\n\
             command = [\"sleep\", \"100000\"]\ninstances = 4\ncpu = 0.2\nmemory = \"16MiB\"\n\
             placement = {{ pool = \"{pool}\" }}\n"
        );
    }
    let engine = Engine::start_with(&specs, |_| DISASTER.to_owned());
    for pool in ["a", "b", "c"] {
        engine.wait_ready(&format!("on-{pool}"), 4).await;
    }
    let frozen = async || {
        let problems = engine.status().await.engine.problems;
        let of = |switch: &str| {
            problems.iter().any(|text| text.starts_with(&format!("{switch} is frozen by engine")))
        };
        (of("scaling"), of("draining"))
    };
    let fail = async |node: &str| {
        let _: Changed = engine
            .client
            .post(&format!("/v1/nodes/{node}/fail"), &MessageRequest::default())
            .await
            .expect("a node to fail");
    };
    tokio::time::sleep(Duration::from_secs(2)).await;
    // One node is everyday.
    fail("a-1").await;
    engine.wait_ready("on-a", 4).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(frozen().await, (false, false), "{:?}", engine.status().await.engine.problems);
    // Half of them are not.
    let all = engine.nodes().await;
    let ready: Vec<&str> =
        all.iter().filter(|node| node.state.as_str() == "ready").map(|node| node.name.as_str()).collect();
    for node in ready.iter().step_by(2) {
        fail(node).await;
    }
    engine.wait("both are frozen", async || frozen().await == (true, true)).await;
    let problems = engine.status().await.engine.problems;
    assert!(problems.iter().any(|text| text.contains("nodes were lost within 4s")), "{problems:?}");
    let metrics =
        reqwest::get(format!("http://{}/metrics", engine.client.address().trim_start_matches("http://")));
    let metrics = metrics.await.expect("metrics").text().await.expect("text");
    assert!(metrics.contains("loadline_frozen{switch=\"scaling\"} 1"), "{metrics}");
    // Replacements go on, and with them the services.
    for pool in ["a", "b", "c"] {
        engine.wait_ready(&format!("on-{pool}"), 4).await;
    }
    engine.wait("both are lifted", async || frozen().await == (false, false)).await;
}

/// A server that takes notices, or refuses them.
struct Receiver {
    open: Arc<AtomicBool>,
    got: Arc<Mutex<Vec<Value>>>,
    url: String,
}

const SECRET: &str = "correct horse";

impl Receiver {
    async fn listen() -> Self {
        let (open, got) = (Arc::new(AtomicBool::new(true)), Arc::<Mutex<Vec<Value>>>::default());
        let (is_open, taken) = (Arc::clone(&open), Arc::clone(&got));
        let take = move |headers: HeaderMap, body: String| {
            let (is_open, taken) = (Arc::clone(&is_open), Arc::clone(&taken));
            async move {
                if !is_open.load(Ordering::SeqCst) {
                    return StatusCode::SERVICE_UNAVAILABLE;
                }
                check_signature(&headers, &body);
                let notice: Value = serde_json::from_str(&body).expect("JSON");
                assert_eq!(headers["loadline-delivery"].to_str().ok(), notice["id"].as_str());
                taken.lock().expect("notices").push(notice);
                StatusCode::NO_CONTENT
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let app = Router::new().route("/hook", post(take));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { open, got, url }
    }

    /// The first delivery of each notice, in the order of arrival.
    fn notices(&self) -> Vec<Value> {
        let mut seen = BTreeSet::new();
        let got = self.got.lock().expect("notices");
        got.iter().filter(|notice| seen.insert(notice["id"].to_string())).cloned().collect()
    }
}

fn check_signature(headers: &HeaderMap, body: &str) {
    let signature = headers["loadline-signature"].to_str().expect("a text");
    let (time, hex) = signature.strip_prefix("t=").and_then(|rest| rest.split_once(",v1=")).expect("both");
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any key");
    mac.update(format!("{time}.{body}").as_bytes());
    assert_eq!(hex::encode(mac.finalize().into_bytes()), hex);
    let signed: i64 = time.parse().expect("seconds");
    assert!((SystemClock.now().as_second() - signed).abs() < 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_gets_everything_in_order_though_it_and_the_engine_go_away() {
    let receiver = Receiver::listen().await;
    let url = receiver.url.clone();
    let mut engine = Engine::start_with(
        "[cron.often]\nteam = \"shop\"\ncommand = \"true\"\nschedule = \"* * * * * *\"\nmemory = \"16MiB\"\n",
        |folder| {
            std::fs::write(folder.join("secret"), format!("{SECRET}\n")).expect("a secret");
            let file = folder.join("secret");
            format!(
                "[[webhook]]\nname = \"test\"\nurl = \"{url}\"\nsecret_file = \"{}\"\nevents = [\"cron\"]\n\
                 teams = [\"shop\"]\n",
                file.display()
            )
        },
    );
    let got = |least: usize| receiver.notices().len() >= least;
    engine.wait("some notices", async || got(4)).await;
    // The receiver is down for a while: the engine goes on as before, and says so.
    receiver.open.store(false, Ordering::SeqCst);
    engine
        .wait("status says so", async || {
            let problems = engine.status().await.engine.problems;
            problems
                .iter()
                .any(|text| text.contains("webhook test is not told") && text.contains("status 503"))
        })
        .await;
    let last_pass = async || engine.status().await.engine.scheduled_at.expect("a pass");
    for _ in 0..5 {
        let before = last_pass().await;
        engine.wait("another pass of the scheduler", async || last_pass().await > before).await;
    }
    // So is the engine.
    engine.kill();
    engine.restart();
    let runs = async || -> Vec<RunDto> {
        let runs: Vec<RunDto> = engine.client.get("/v1/runs?workload=often&limit=1000").await.expect("runs");
        runs.into_iter().filter(|run| run.outcome == RunOutcome::Succeeded).collect()
    };
    let before = receiver.notices().len();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(receiver.notices().len(), before);
    engine.wait("runs of which nobody was told", async || runs().await.len() >= 6).await;
    receiver.open.store(true, Ordering::SeqCst);
    let done = runs().await.len();
    let told = || {
        let notices = receiver.notices().into_iter().filter(|notice| notice["event"] == "run-succeeded");
        notices.map(|notice| notice["change"]["run"]["at"].to_string()).collect::<BTreeSet<_>>()
    };
    engine.wait("all are told", async || told().len() >= done).await;
    let runs: BTreeSet<String> = runs()
        .await
        .into_iter()
        .filter_map(|run| serde_json::to_value(run.at).ok())
        .map(|at| at.to_string())
        .collect();
    let told = told();
    let first = told.iter().next().cloned().expect("a notice");
    let missing: Vec<&String> = runs
        .iter()
        .filter(|run| **run >= first)
        .take(done.saturating_sub(2))
        .filter(|run| !told.contains(*run))
        .collect();
    assert!(missing.is_empty(), "not told: {missing:?}");
    let numbers: Vec<u64> =
        receiver.notices().iter().filter_map(|notice| notice["number"].as_u64()).collect();
    assert!(numbers.is_sorted() && numbers.len() > 10, "{numbers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_hook_tells_owners_of_a_crash_loop_a_few_times_not_each_time() {
    let engine = Engine::start_with(
        "[service.bad]\nteam = \"shop\"\ncommand = \"exit 1\"\nmemory = \"16MiB\"\n\
         restart = { backoff = \"50ms\", backoff_max = \"100ms\" }\n[service.bad.rollout]\nmax_failures = 1000\n",
        |folder| {
            let log = folder.join("told").display().to_string();
            format!(
                "[[command_hook]]\nname = \"mail\"\n\
                 command = \"read -r body; echo $LOADLINE_EVENT $LOADLINE_WORKLOAD $LOADLINE_TEAM $body >> {log}\"\n"
            )
        },
    );
    let told = || std::fs::read_to_string(engine.folder().join("told")).unwrap_or_default();
    let failures = async || engine.ended("bad").await.len();
    engine.wait("a crash loop", async || failures().await >= 8 && told().contains("crash-loop")).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let lines: Vec<String> = told().lines().map(str::to_owned).collect();
    let of =
        |event: &str| lines.iter().filter(|line| line.starts_with(&format!("{event} bad shop {{"))).count();
    assert_eq!((of("task-failed"), of("crash-loop")), (1, 1), "{lines:#?}");
}
