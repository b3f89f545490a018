//! Requests that are sent again, preconditions, pages, diffs, streams.

use std::time::Duration;

use loadline::api::client::{Client, ClientError, EventFilter};
use loadline::api::dto::ApplyRequest;
use loadline::api::requests::{LastingRequest, RunRequest};
use reqwest::StatusCode;

use crate::api::harness::{Engine, SPECS, specs, unique};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_sent_again_is_answered_as_before_and_done_once() {
    let engine = Engine::start("").await;
    let http = crate::http::client().build().expect("a client");
    let key = unique("key");
    let send = async |user: &str, key: &str, body: &str| {
        let request = http.post(format!("{}/v1/workloads/ours/run", engine.url()));
        let request = request.header("x-loadline-user", user).header("idempotency-key", key);
        let request = request.header("content-type", "application/json").body(body.to_owned());
        let answer = request.send().await.expect("an answer");
        let replayed = answer.headers().contains_key("idempotent-replayed");
        (answer.status(), replayed, answer.text().await.expect("a body"))
    };
    let runs = async || {
        let view = engine.app.control().view().await;
        view.world.runs.keys().filter(|key| key.workload.as_str() == "ours").count()
    };
    let first = send("ann", &key, "{\"message\":\"x\"}").await;
    assert_eq!((first.0, first.1, runs().await), (StatusCode::OK, false, 1));
    let again = send("ann", &key, "{\"message\":\"x\"}").await;
    assert_eq!((again.0, again.1, runs().await), (StatusCode::OK, true, 1));
    assert_eq!(first.2, again.2);
    assert_eq!(send("ann", &key, "{\"message\":\"y\"}").await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(send("bob", &key, "{\"message\":\"x\"}").await.0, StatusCode::OK);
    assert_eq!(runs().await, 2, "another caller's key is another key");
    assert_eq!(send("ann", &"k".repeat(256), "{}").await.0, StatusCode::BAD_REQUEST);
    // A call that changes nothing is remembered as well: its answer does not become a change later.
    let client = Client::new(&engine.url(), "test");
    assert!(client.apply(&specs(SPECS)).await.expect("valid specs").changes.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_one_key_at_the_same_time_are_carried_out_once() {
    let engine = Engine::start("").await;
    let http = crate::http::client().build().expect("a client");
    let key = unique("key");
    let send = async || {
        let request = http.post(format!("{}/v1/workloads/ours/run", engine.url()));
        let request = request.header("idempotency-key", &key).header("content-type", "application/json");
        let answer = request.body("{}").send().await.expect("an answer");
        (answer.status(), answer.headers().contains_key("idempotent-replayed"))
    };
    let answers = futures_util::future::join_all((0..20).map(|_| send())).await;
    assert!(answers.iter().all(|(status, _)| *status == StatusCode::OK), "{answers:?}");
    assert_eq!(answers.iter().filter(|(_, replayed)| !replayed).count(), 1, "{answers:?}");
    let view = engine.app.control().view().await;
    assert_eq!(view.world.runs.keys().filter(|key| key.workload.as_str() == "ours").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_who_saw_something_else_is_told() {
    let engine = Engine::start("").await;
    let http = crate::http::client().build().expect("a client");
    let url = format!("{}/v1/workloads/ours", engine.url());
    let seen = http.get(&url).send().await.expect("an answer");
    let tag = seen.headers()["etag"].to_str().expect("text").to_owned();
    let remove = async |tag: &str| {
        let answer = http.delete(&url).header("if-match", tag).send().await.expect("an answer");
        answer.status()
    };
    assert_eq!(remove("\"77\"").await, StatusCode::PRECONDITION_FAILED);
    assert_eq!(remove("none").await, StatusCode::BAD_REQUEST);
    assert_eq!(remove(&tag).await, StatusCode::OK);
    let freeze = http.put(format!("{}/v1/freezes/cron", engine.url())).header("if-match", &tag);
    assert_eq!(freeze.send().await.expect("an answer").status(), StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_what_would_change_and_changes_nothing() {
    let engine = Engine::start("").await;
    let client = Client::new(&engine.url(), "test");
    let before = engine.world().await;
    let text =
        SPECS.replace("[job.ours]\ncommand = \"exit 0\"", "[job.ours]\ncommand = \"exit 1\"\npriority = 3");
    let request = ApplyRequest { dry_run: true, ..specs(&text) };
    let told = client.apply(&request).await.expect("valid specs");
    assert_eq!(told.changes, ["job ours gets revision 2"]);
    assert_eq!(told.diffs.len(), 1, "{:?}", told.diffs);
    let lines = told.diffs[0].lines.join("\n");
    assert!(
        lines.contains("exit 0") && lines.contains("exit 1") && lines.contains("priority: 0 -> 3"),
        "{lines}"
    );
    assert_eq!(before, engine.world().await);
    client.apply(&specs(&text)).await.expect("valid specs");
    let revisions = client.revisions("ours").await.expect("revisions");
    let newest = revisions.last().expect("a revision");
    assert!(newest.in_force && newest.number == 2);
    assert!(newest.lines.iter().any(|line| line.contains("priority: 0 -> 3")), "{newest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages_that_hold_every_row_once() {
    let engine = Engine::start("").await;
    let client = Client::new(&engine.url(), "test");
    for _ in 0..7 {
        client.run("ours", &RunRequest::default()).await.expect("a run");
    }
    let all: Vec<serde_json::Value> = client.list("/v1/runs?workload=ours", 1000).await.expect("runs");
    let paged: Vec<serde_json::Value> =
        client.list("/v1/runs?workload=ours&limit=2", 1000).await.expect("runs");
    assert_eq!(all.len(), 7);
    let keys = |rows: &[serde_json::Value]| rows.iter().map(|row| row["at"].to_string()).collect::<Vec<_>>();
    assert_eq!(keys(&all), keys(&paged));
    let events: Vec<serde_json::Value> = client.list("/v1/events?limit=3", 1000).await.expect("events");
    let numbers: Vec<u64> = events.iter().map(|event| event["number"].as_u64().expect("a number")).collect();
    assert!(numbers.len() > 9 && numbers.is_sorted_by(|a, b| a == &(b + 1)), "{numbers:?}");
    let audit: Vec<serde_json::Value> = client.list("/v1/audit?limit=3", 1000).await.expect("writes");
    assert_eq!(audit.len(), 8);
    let tasks: Vec<serde_json::Value> =
        client.list("/v1/tasks?ended=true&limit=2", 1000).await.expect("tasks");
    let mut ids: Vec<String> = tasks.iter().map(|task| task["id"].to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), tasks.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_tells_every_change_once_and_resumes_where_it_was() {
    let engine = Engine::start("").await;
    let client = Client::new(&engine.url(), "test");
    let known = client.events(&EventFilter::default(), 1000).await.expect("events");
    let mut from_start = client.follow(Some(0));
    for expected in known.iter().rev() {
        let event = tokio::time::timeout(Duration::from_secs(10), from_start.next()).await.expect("in time");
        assert_eq!(event.expect("an event").number, expected.number);
    }
    let writer = client.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        writer.run("ours", &RunRequest { message: "look".to_owned(), ..RunRequest::default() }).await
    });
    loop {
        let event = tokio::time::timeout(Duration::from_secs(10), from_start.next()).await.expect("in time");
        let event = event.expect("an event");
        if event.kind == "run_opened" {
            assert_eq!((event.reason.as_str(), event.by.as_str()), ("look", "test"));
            assert_eq!(event.workload.as_deref(), Some("ours"));
            break;
        }
    }
    // A stream of somebody whose token is revoked ends.
    let root =
        client.create_token(&crate::api::harness::token("root", "operator", None)).await.expect("a token");
    let holder = engine.with(&root.secret);
    let mut stream = holder.follow(Some(0));
    stream.next().await.expect("an event");
    holder.revoke_token(root.token.id, "").await.expect("revoked");
    let ended = tokio::time::timeout(Duration::from_secs(40), async {
        loop {
            if let Err(error) = stream.next().await {
                return error;
            }
        }
    });
    assert!(matches!(ended.await.expect("in time"), ClientError::Refused(problem) if problem.status == 401));
}

#[tokio::test(flavor = "multi_thread")]
async fn durations_out_of_bounds_are_refused() {
    let engine = Engine::start("").await;
    let client = Client::new(&engine.url(), "test");
    for seconds in [0, u64::MAX] {
        let request = LastingRequest { for_seconds: Some(seconds), ..LastingRequest::default() };
        let refused = client.pause("ours", &request).await;
        assert!(matches!(refused, Err(ClientError::Refused(problem)) if problem.status == 422), "{seconds}");
    }
}
