//! What each command does to an engine, and what it prints: the binary, a real engine, real tasks.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loadline::api::dto::RunDto;
use loadline::domain::world::RunOutcome;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::engine::command_line::{bare, errors, loadline, text};
use crate::engine::harness::Engine;

fn specs(version: &str) -> String {
    format!(
        r#"
        [pool.wide]
        cpu = 4
        memory = "2GiB"
        max = 1
        [service.web]
        team = "shop"
        command = "exec sleep 100000"
        env = {{ VERSION = "{version}" }}
        instances = 3
        cpu = 0.05
        memory = "32MiB"
        stop_grace = "2s"
        [service.web.rollout]
        deadline = "20s"
        [service.web.restart]
        backoff = "200ms"
        [job.echo]
        command = ["sh", "-c", "echo $0 $GREETING; exit ${{STATUS:-0}}", "from-spec"]
        cpu = 0.05
        memory = "32MiB"
        [job.long]
        command = "exec sleep 100000"
        cpu = 0.05
        memory = "32MiB"
        stop_grace = "2s"
        [cron.often]
        command = "exit 0"
        schedule = "* * * * * *"
        cpu = 0.05
        memory = "32MiB"
        "#
    )
}

async fn engine() -> Engine {
    let engine = Engine::start(&specs("1"));
    engine.wait_ready("web", 3).await;
    engine
}

fn code(engine: &Engine, arguments: &[&str]) -> i32 {
    loadline(engine, arguments).status.code().expect("an exit code")
}

/// What a command that must succeed tells programs.
fn json(engine: &Engine, arguments: &[&str]) -> Value {
    let answer = text(&loadline(engine, &[arguments, &["-o", "json"]].concat()));
    serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{arguments:?}: {error}\n{answer}"))
}

fn write(engine: &Engine, name: &str, text: &str) -> String {
    let path = engine.folder().join(name);
    std::fs::write(&path, text).expect("a file");
    path.to_str().expect("a path").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_the_field_that_differs_and_changes_nothing() {
    let engine = engine().await;
    let file = write(&engine, "next.toml", &specs("2").replace("instances = 3", "instances = 4"));
    let plan = loadline(&engine, &["apply", "--dry-run", &file]);
    assert_eq!(plan.status.code(), Some(7), "{}", errors(&plan));
    assert_eq!(errors(&plan), "");
    let shown = String::from_utf8_lossy(&plan.stdout).into_owned();
    assert!(shown.contains("web gets revision 2"), "{shown}");
    assert!(shown.lines().any(|line| line.contains("instances") && line.contains('4')), "{shown}");
    assert!(!shown.contains("often"), "it shows what does not change: {shown}");
    let web = engine.workload("web").await;
    assert_eq!((web.revision, web.wanted), (1, Some(3)));

    let done = loadline(&engine, &["apply", &file, "-m", "more of it", "--wait", "--timeout", "40s"]);
    assert!(text(&done).contains("web gets revision 2"));
    let web = engine.workload("web").await;
    assert_eq!((web.revision, web.wanted, web.ready), (2, Some(4), 4));
    assert!(errors(&done).contains("web: done"), "{}", errors(&done));
    let again = loadline(&engine, &["apply", "--dry-run", &file]);
    assert_eq!(text(&again), "nothing to change\n");
    let revisions = json(&engine, &["revisions", "web"]);
    assert_eq!(revisions.as_array().map(Vec::len), Some(2), "{revisions}");
    assert!(text(&loadline(&engine, &["revisions", "web"])).contains("VERSION"));
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_with_wait_tells_by_its_exit_code_that_it_was_rolled_back() {
    let engine = engine().await;
    let broken = specs("2").replacen("exec sleep 100000", "echo broken; exit 3", 1);
    let file = write(&engine, "broken.toml", &broken);
    let output = loadline(&engine, &["apply", &file, "--wait", "--timeout", "40s"]);
    assert_eq!(output.status.code(), Some(8), "{}", errors(&output));
    assert!(errors(&output).contains("revision 2 was rolled back"), "{}", errors(&output));
    // What failed before says nothing of what comes after.
    let count = write(&engine, "count.toml", &specs("1").replace("instances = 3", "instances = 2"));
    text(&loadline(&engine, &["apply", &count, "--wait", "--timeout", "40s"]));
    assert_eq!(engine.workload("web").await.ready, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn scale_goes_back_by_itself_and_can_be_cancelled() {
    let engine = engine().await;
    assert_eq!(code(&engine, &["scale", "web", "1"]), 4, "a large drop asks for an acknowledgement");
    text(&loadline(&engine, &["scale", "web", "1", "--ack", "--for", "1h", "-m", "a quiet hour"]));
    engine.wait_ready("web", 1).await;
    let actions = json(&engine, &["actions"]);
    assert_eq!(actions[0]["kind"], "scale", "{actions}");
    assert_eq!(actions[0]["message"], "a quiet hour", "{actions}");
    assert_eq!(actions[0]["by"], "ann", "{actions}");
    let listed = text(&loadline(&engine, &["actions"]));
    assert!(listed.contains("scale/web") && listed.contains("back to 3 instances"), "{listed}");
    text(&loadline(&engine, &["cancel", "scale/web"]));
    engine.wait_ready("web", 3).await;
    assert_eq!(json(&engine, &["actions"]), Value::Array(Vec::new()));

    text(&loadline(&engine, &["scale", "web", "4", "--for", "2s"]));
    // Two seconds may pass unseen: the log of events tells what was in force.
    let counts = || -> Vec<u64> {
        let events = json(&engine, &["events", "--workload", "web", "-n", "1000"]);
        let set = events.as_array().expect("events").iter().filter(|event| event["kind"] == "count_set");
        set.map(|event| event["change"]["count"].as_u64().expect("a count")).collect()
    };
    engine.wait("it goes back", async || counts().ends_with(&[4, 3])).await;
    assert_eq!(engine.workload("web").await.wanted, Some(3));
    assert_eq!(code(&engine, &["cancel", "sleep/web"]), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn resize_changes_the_size() {
    let engine = engine().await;
    text(&loadline(&engine, &["resize", "web", "--memory", "48MiB"]));
    engine.wait("the size", async || engine.workload("web").await.size.memory_request == 48 << 20).await;
    assert_eq!(code(&engine, &["resize", "web"]), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn pause_takes_the_tasks_away_and_resume_brings_them_back() {
    let engine = engine().await;
    text(&loadline(&engine, &["pause", "web", "--for", "1h", "-m", "repairs"]));
    engine.wait("no tasks", async || engine.tasks("web").await.is_empty()).await;
    assert!(text(&loadline(&engine, &["actions"])).contains("pause/web"));
    text(&loadline(&engine, &["resume", "web"]));
    engine.wait_ready("web", 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bounce_and_stop_replace_tasks() {
    let engine = engine().await;
    let ids =
        async || -> Vec<String> { engine.running("web").await.into_iter().map(|task| task.id).collect() };
    let before = ids().await;
    text(&loadline(&engine, &["bounce", "web", "--task", &before[0]]));
    engine
        .wait("one is another", async || {
            let now = ids().await;
            now.len() == 3 && !now.contains(&before[0]) && now.contains(&before[1])
        })
        .await;
    text(&loadline(&engine, &["bounce", "web"]));
    engine
        .wait("all are others", async || {
            let now = ids().await;
            now.len() == 3 && !before.iter().any(|id| now.contains(id))
        })
        .await;
    let victim = ids().await[0].clone();
    text(&loadline(&engine, &["stop", &victim, "-m", "it hangs"]));
    engine
        .wait("it is replaced", async || {
            let now = ids().await;
            now.len() == 3 && !now.contains(&victim)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rollback_goes_back_and_rollout_tells() {
    let engine = engine().await;
    let file = write(&engine, "next.toml", &specs("2"));
    text(&loadline(&engine, &["apply", &file, "--wait", "--timeout", "40s"]));
    assert!(text(&loadline(&engine, &["rollout", "web"])).contains("revision 1 -> 2 is done"));
    text(&loadline(
        &engine,
        &["rollback", "web", "--to", "1", "-m", "it was better", "--wait", "--timeout", "40s"],
    ));
    engine.wait_ready("web", 3).await;
    let tasks = engine.running("web").await;
    let revisions = json(&engine, &["revisions", "web"]);
    let in_force = revisions.as_array().expect("a list").iter().find(|each| each["in_force"] == true);
    let in_force = in_force.expect("a revision in force")["number"].as_u64().expect("a number");
    assert!(tasks.iter().all(|task| task.revision == in_force), "{revisions}");
    let differs = loadline(&engine, &["apply", "--dry-run", &file]);
    assert_eq!(differs.status.code(), Some(7), "the old spec is in force");
    assert_eq!(code(&engine, &["rollout", "web", "advance"]), 4, "there is nothing to advance");
    assert_eq!(code(&engine, &["rollout", "echo"]), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_kind_of_change_does_not_happen() {
    let engine = engine().await;
    text(&loadline(&engine, &["freeze", "deploys", "--for", "30m", "-m", "the sale"]));
    let listed = text(&loadline(&engine, &["freezes"]));
    let deploys = listed.lines().find(|line| line.trim_start().starts_with("deploys")).expect("a row");
    assert!(
        deploys.contains("frozen") && deploys.contains("the sale") && deploys.contains("ann"),
        "{listed}"
    );
    let file = write(&engine, "next.toml", &specs("2"));
    let refused = loadline(&engine, &["apply", &file]);
    assert_eq!(refused.status.code(), Some(4), "{}", errors(&refused));
    text(&loadline(&engine, &["unfreeze", "deploys"]));
    text(&loadline(&engine, &["apply", &file]));
    assert_eq!(code(&engine, &["freeze", "everything"]), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_takes_tasks_again() {
    let engine = engine().await;
    let node = engine.nodes().await[0].name.clone();
    text(&loadline(&engine, &["drain", &node, "--for", "1h", "-m", "a new disk"]));
    assert!(text(&loadline(&engine, &["nodes"])).contains("draining"));
    assert!(text(&loadline(&engine, &["actions"])).contains(&format!("drain/{node}")));
    text(&loadline(&engine, &["drain", "--undo", &node]));
    assert!(text(&loadline(&engine, &["nodes"])).contains("ready"));
    assert_eq!(code(&engine, &["drain", "nowhere"]), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn run_takes_other_arguments_and_tells_how_it_went() {
    let engine = engine().await;
    let output = loadline(
        &engine,
        &["run", "echo", "--arg=-c", "--arg", "echo other $GREETING", "-e", "GREETING=hello", "--wait"],
    );
    assert!(text(&output).contains("succeeded"));
    let runs: Vec<RunDto> = engine.client.get("/v1/runs?workload=echo").await.expect("runs");
    let task = runs[0].tasks.last().expect("a try").clone();
    assert_eq!(text(&loadline(&engine, &["logs", &task])), "other hello\n");

    let failed = loadline(&engine, &["run", "echo", "-e", "STATUS=3", "--wait", "--timeout", "40s"]);
    assert_eq!(failed.status.code(), Some(8), "{}", errors(&failed));
    assert_eq!(code(&engine, &["run", "web"]), 4);
    assert_eq!(code(&engine, &["run", "echo", "-e", "nonsense"]), 2);
    assert_eq!(code(&engine, &["run", "long", "--wait", "--timeout", "1s"]), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_searched_and_cancelled() {
    let engine = engine().await;
    text(&loadline(&engine, &["run", "long"]));
    let run = async || -> RunDto {
        let runs: Vec<RunDto> = engine.client.get("/v1/runs?workload=long").await.expect("runs");
        runs.into_iter().next().expect("a run")
    };
    engine.wait("it runs", async || !engine.running("long").await.is_empty()).await;
    let active = json(&engine, &["runs", "long", "--outcome", "active", "--manual"]);
    assert_eq!(active.as_array().map(Vec::len), Some(1), "{active}");
    let id = format!("long@{}", run().await.at);
    assert!(text(&loadline(&engine, &["runs", "long"])).contains(&id));
    text(&loadline(&engine, &["cancel", &id, "-m", "no longer needed"]));
    engine
        .wait("it is cancelled", async || matches!(run().await.outcome, RunOutcome::Cancelled { .. }))
        .await;
    assert!(text(&loadline(&engine, &["runs", "--text", "long"])).contains("cancelled"));
    assert!(text(&loadline(&engine, &["runs", "often", "--manual"])).contains("no run is like that"));
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_ends_as_its_command_does() {
    let engine = engine().await;
    let task = engine.running("web").await[0].id.clone();
    let said = loadline(&engine, &["exec", &task, "--", "sh", "-c", "echo $VERSION; echo no >&2; exit 7"]);
    assert_eq!(
        (said.status.code(), said.stdout.as_slice()),
        (Some(7), b"1\n".as_slice()),
        "{}",
        errors(&said)
    );
    assert_eq!(errors(&said), "no\n");
    assert_eq!(code(&engine, &["exec", &task, "--timeout", "1s", "--", "sleep", "100"]), 124);
    assert_eq!(code(&engine, &["exec", "web.9999", "--", "true"]), 125);
    assert_eq!(code(&engine, &["exec", &task]), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_follow_a_deploy_over_a_restart_without_gap_or_double() {
    let mut engine = engine().await;
    let listed = json(&engine, &["events", "--workload", "web"]);
    assert!(listed[0]["number"].as_u64().is_some(), "{listed}");
    let log = engine.folder().join("followed");
    let mut follower = bare()
        .args(["events", "-f", "-o", "json", "--after", "0", "-n", "1000"])
        .env("LOADLINE_SERVER", engine.client.address())
        .stdout(std::fs::File::create(&log).expect("a file"))
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary");
    let followed = || -> Vec<Value> {
        let text = std::fs::read_to_string(&log).expect("a file");
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    let sees = |version: &str| {
        followed()
            .iter()
            .any(|event| event["kind"] == "workload_applied" && event["change"].to_string().contains(version))
    };
    engine.apply(&specs("second")).await;
    engine.wait("it sees the deploy", async || sees("second")).await;
    engine.kill();
    engine.restart_in_place();
    engine.apply(&specs("third")).await;
    engine.wait("it sees the deploy after the restart", async || sees("third")).await;
    follower.kill().expect("a child");
    follower.wait().expect("an end");
    let numbers: Vec<u64> = followed().iter().filter_map(|event| event["number"].as_u64()).collect();
    let all: Vec<u64> = (1..=numbers.len() as u64).collect();
    assert_eq!(numbers, all, "each event once, in its place");
}

/// Passes requests on to an engine, but breaks off the first questions for the stream of events, as an engine
/// does that dies between two questions.
async fn breaks_off_streams(engine: &str, times: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let engine = engine.trim_start_matches("http://").to_owned();
    let left = Arc::new(AtomicUsize::new(times));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (engine, left) = (TcpStream::connect(&engine).await.expect("an engine"), Arc::clone(&left));
            tokio::spawn(pass_on(client, engine, left));
        }
    });
    address
}

async fn pass_on(client: TcpStream, engine: TcpStream, left: Arc<AtomicUsize>) {
    let (from, mut back) = client.into_split();
    let (mut answers, mut to) = engine.into_split();
    let answering = tokio::spawn(async move { tokio::io::copy(&mut answers, &mut back).await });
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let breaks = |left: usize| left.checked_sub(1);
        let is_stream = line.starts_with("GET /v1/events/stream");
        if is_stream && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, breaks).is_ok() {
            answering.abort();
            return;
        }
        if to.write_all(format!("{line}\r\n").as_bytes()).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_follow_an_engine_that_dies_before_the_stream_begins() {
    let engine = engine().await;
    let between = breaks_off_streams(engine.client.address(), 2).await;
    let log = engine.folder().join("followed");
    let mut follower = bare()
        .args(["events", "-f", "-o", "json", "--after", "0", "-n", "1000"])
        .env("LOADLINE_SERVER", &between)
        .stdout(std::fs::File::create(&log).expect("a file"))
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary");
    let sees = |word: &str| std::fs::read_to_string(&log).expect("a file").contains(word);
    engine.wait("it sees what was", async || sees("workload_applied")).await;
    engine.apply(&specs("second")).await;
    engine.wait("it sees what came later", async || sees("second")).await;
    assert_eq!(follower.try_wait().expect("a child"), None, "it has ended");
    follower.kill().expect("a child");
    follower.wait().expect("an end");
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_show_what_was_answered() {
    let spec = format!(
        r#"
        [service.web]
        command = ["{}", "demo-task", "web"]
        ports = ["http"]
        cpu = 0.1
        memory = "64MiB"
        readiness.http = "/healthz"
        readiness.interval = "200ms"
        "#,
        env!("CARGO_BIN_EXE_loadline")
    );
    let engine = Engine::start(&spec);
    engine.wait_ready("web", 1).await;
    let task = engine.running("web").await[0].id.clone();
    let shown = text(&loadline(&engine, &["checks", &task]));
    assert!(shown.contains("readiness") && shown.contains("passed"), "{shown}");
    let passed = || {
        let checks = json(&engine, &["checks", &task]);
        checks.as_array().and_then(|all| Some(all.last()?["passed"] == true)).expect("an answer")
    };
    engine.wait("the newest answer is a good one", async || passed()).await;
    text(&loadline(&engine, &["checks", &task, "--body"]));
    assert_eq!(code(&engine, &["checks", "web.999"]), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_made_shown_once_and_revoked() {
    let engine = engine().await;
    assert!(text(&loadline(&engine, &["whoami"])).contains("asks for no tokens"));
    let made =
        loadline(&engine, &["token", "create", "--name", "ann", "--role", "operator", "--expires", "1d"]);
    let secret = text(&made);
    assert_eq!(secret.lines().count(), 1, "{secret}");
    let secret = secret.trim();
    assert!(errors(&made).contains("is not shown again"), "{}", errors(&made));
    let with = |token: &str, arguments: &[&str]| {
        let mut command = bare();
        command.args(arguments).env("LOADLINE_SERVER", engine.client.address()).env("LOADLINE_TOKEN", token);
        command.output().expect("the binary")
    };
    let me = text(&with(secret, &["whoami"]));
    assert!(me.starts_with("ann, operator"), "{me}");
    let file = write(&engine, "token", &format!("{secret}\n"));
    let by_file = text(&with("wrong", &["--token-file", &file, "whoami"]));
    assert!(by_file.starts_with("ann, operator"), "{by_file}");

    let wrong = with("wrong", &["status"]);
    assert_eq!(wrong.status.code(), Some(6), "{}", errors(&wrong));
    assert!(errors(&wrong).contains("the token comes from the environment's LOADLINE_TOKEN"));
    let listed = with(secret, &["token", "list", "-o", "json"]);
    assert!(!text(&listed).contains(secret));
    let listed: Value = serde_json::from_str(&text(&listed)).expect("JSON");
    let id = listed[0]["id"].to_string();
    let audited = text(&with(secret, &["audit"]));
    assert!(audited.contains("/v1/tokens"), "{audited}");
    text(&with(secret, &["token", "revoke", &id]));
    assert_eq!(with(secret, &["status"]).status.code(), Some(6));
    assert_eq!(code(&engine, &["token", "create", "--name", "bob", "--role", "king"]), 2);
    assert_eq!(code(&engine, &["token", "create", "--name", "bob", "--role", "developer"]), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_listing_is_read_by_programs() {
    let engine = engine().await;
    let lists = [
        "status",
        "tasks",
        "nodes",
        "cron",
        "runs",
        "actions",
        "freezes",
        "alarms",
        "quotas",
        "policies",
        "top",
        "recommend",
        "decisions",
        "events",
        "audit",
        "report",
        "whoami",
    ];
    for command in lists {
        json(&engine, &[command]);
        text(&loadline(&engine, &[command]));
    }
}
