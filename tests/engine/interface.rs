//! The command line and the API as people and programs use them.

use std::process::{Command, Output};

use loadline::api::client::ClientError;
use loadline::api::dto::{ApplyRequest, Changed, MessageRequest, RunDto, SpecFile};
use loadline::domain::world::RunOutcome;

use crate::engine::harness::Engine;

const SMALL: &str = r#"
[service.one]
team = "a"
command = "echo hello; exec sleep 100000"
memory = "32MiB"
[cron.often]
command = "echo ran"
schedule = "*/2 * * * * *"
memory = "32MiB"
[job.once]
command = "exit 0"
memory = "32MiB"
"#;

fn loadline(engine: &Engine, arguments: &[&str]) -> Output {
    let address = engine.client.address().to_owned();
    Command::new(env!("CARGO_BIN_EXE_loadline"))
        .args(arguments)
        .env("LOADLINE_SERVER", address)
        .output()
        .expect("the binary")
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_listing_command_answers_in_both_forms() {
    let engine = Engine::start(SMALL);
    engine.wait_ready("one", 1).await;
    engine
        .wait("cron runs", async || {
            let runs: Vec<RunDto> = engine.client.get("/v1/runs?workload=often").await.expect("runs");
            runs.iter().filter(|run| run.outcome == RunOutcome::Succeeded).count() >= 2
        })
        .await;
    assert!(text(&loadline(&engine, &["status"])).contains("healthy"));
    assert!(text(&loadline(&engine, &["tasks"])).contains("one.1"));
    assert!(text(&loadline(&engine, &["nodes"])).contains("ready"));
    assert!(text(&loadline(&engine, &["cron"])).contains("*/2 * * * * *"));
    assert!(text(&loadline(&engine, &["cron", "often"])).contains("succeeded"));
    engine.wait("it has said so", async || text(&loadline(&engine, &["logs", "one"])) == "hello\n").await;
    assert!(text(&loadline(&engine, &["recommend"])).contains("one"));
    assert!(text(&loadline(&engine, &["decisions"])).contains("DECISION"));
    for command in ["status", "tasks", "nodes", "cron", "recommend", "decisions", "report"] {
        let answer = text(&loadline(&engine, &[command, "--output", "json"]));
        serde_json::from_str::<serde_json::Value>(&answer)
            .unwrap_or_else(|error| panic!("{command}: {error}"));
    }
    assert!(text(&loadline(&engine, &["report"])).contains("one"));
    assert!(text(&loadline(&engine, &["run", "once"])).contains("once"));
    assert!(text(&loadline(&engine, &["delete", "one"])).contains("deleted"));
    engine
        .wait("it is gone", async || !engine.status().await.workloads.iter().any(|w| w.name == "one"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_specs_and_unknown_names_change_nothing() {
    let engine = Engine::start(SMALL);
    engine.wait_ready("one", 1).await;
    let before = engine.status().await.workloads;
    let bad = SMALL.replace("32MiB", "a lot").replace("[service.one]", "[service.one]\ninstances = -1");
    let path = engine.folder().join("bad.toml");
    std::fs::write(&path, &bad).expect("a file");
    let output = loadline(&engine, &["apply", path.to_str().expect("a path")]);
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("bad.toml:3:13"), "{errors}");
    assert!(errors.lines().filter(|line| line.contains("bad.toml:")).count() >= 4, "{errors}");

    let files = vec![SpecFile { name: "bad.toml".to_owned(), text: bad }];
    let request = ApplyRequest { files, message: String::new(), dry_run: false };
    let refused = engine.client.post::<_, Changed>("/v1/apply", &request).await;
    assert!(
        matches!(refused, Err(ClientError::Refused(problem)) if problem.status == 422 && problem.errors.len() >= 4)
    );
    for path in ["/v1/workloads/none/run", "/v1/nodes/none/drain", "/v1/decisions/999/approve"] {
        let refused = engine.client.post::<_, Changed>(path, &MessageRequest::default()).await;
        assert!(matches!(refused, Err(ClientError::Refused(problem)) if problem.status == 404), "{path}");
    }
    let after = engine.status().await.workloads;
    let names = |all: &[loadline::api::dto::WorkloadDto]| -> Vec<(String, u64)> {
        all.iter().map(|each| (each.name.clone(), each.revision)).collect()
    };
    assert_eq!(names(&before), names(&after));
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_are_served() {
    let engine = Engine::start(SMALL);
    engine.wait_ready("one", 1).await;
    let http = crate::http::client().build().expect("a client");
    let get = async |path: &str| {
        let answer = http.get(format!("{}{path}", engine.client.address())).send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("a text"))
    };
    assert_eq!(get("/healthz").await.0, 200);
    assert_eq!(get("/readyz").await.0, 200);
    let (status, metrics) = get("/metrics").await;
    assert_eq!(status, 200);
    assert!(metrics.contains("loadline_"), "{metrics}");
    let (status, problem) = get("/v1/nothing").await;
    assert_eq!(status, 404);
    assert!(problem.contains("\"detail\""), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_engine_on_the_same_folder_is_refused() {
    let engine = Engine::start(SMALL);
    let output = Command::new(env!("CARGO_BIN_EXE_loadline"))
        .args(["up", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(engine.data())
        .output()
        .expect("the binary");
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("in use"), "{error}");
}
