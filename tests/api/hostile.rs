//! A hostile client: it gets the refusal that fits, changes nothing, and keeps nobody else waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use loadline::api::client::{Client, ClientError};
use loadline::api::dto::Problem;
use loadline::api::requests::RunRequest;
use reqwest::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::api::description::operations;
use crate::api::harness::{Engine, specs, token};
use crate::machine::PATIENCE;

const PLENTY: &str = "requests_per_second = 100000\nburst = 100000\n";

#[tokio::test(flavor = "multi_thread")]
async fn every_route_refuses_who_may_not_call_it_and_nothing_changes() {
    let engine = Engine::start(PLENTY).await;
    let tokens = engine.tokens().await;
    let document = engine.with(&tokens.operator).openapi().await.expect("a description");
    let before = engine.world().await;
    let http = crate::http::client().build().expect("a client");
    let mut refused = 0;
    for (method, path, operation) in operations(&document) {
        let roles = operation["security"][0]["token"].as_array().cloned();
        let may = |role: &str| roles.as_ref().is_none_or(|roles| roles.iter().any(|each| each == role));
        let callers = [
            (None, roles.is_none(), StatusCode::UNAUTHORIZED),
            (Some("ll_wrong"), false, StatusCode::UNAUTHORIZED),
            (Some(tokens.viewer.as_str()), may("viewer"), StatusCode::FORBIDDEN),
            (Some(tokens.finance.as_str()), may("finance"), StatusCode::FORBIDDEN),
            (Some(tokens.ours.as_str()), may("developer"), StatusCode::FORBIDDEN),
        ];
        for (secret, allowed, refusal) in callers {
            if allowed && (method != Method::GET || path.ends_with("/stream")) {
                continue;
            }
            let what = format!("{method} {path} as {secret:?}");
            let mut request = http.request(method.clone(), format!("{}{path}", engine.url()));
            if let Some(secret) = secret {
                request = request.bearer_auth(secret);
            }
            let answer = request.send().await.expect(&what);
            let status = answer.status();
            if allowed {
                assert!(!matches!(status.as_u16(), 401 | 403) && status.as_u16() < 500, "{what}: {status}");
                continue;
            }
            assert_eq!(status, refusal, "{what}");
            assert_eq!(answer.headers()["content-type"], "application/problem+json", "{what}");
            let problem: Problem = answer.json().await.expect(&what);
            assert!(
                !problem.detail.is_empty() && !secret.is_some_and(|secret| problem.detail.contains(secret)),
                "{what}: {problem:?}"
            );
            refused += 1;
        }
    }
    assert!(refused > 150, "{refused} refusals");
    assert_eq!(before, engine.world().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn developers_change_what_is_their_teams_and_nothing_else() {
    let engine = Engine::start(PLENTY).await;
    let tokens = engine.tokens().await;
    let (ours, operator) = (engine.with(&tokens.ours), engine.with(&tokens.operator));
    let before = engine.world().await;
    let forbidden = |result: Result<(), ClientError>, what: &str| match result {
        Err(ClientError::Refused(problem)) => assert_eq!(problem.status, 403, "{what}: {problem:?}"),
        other => panic!("{what}: {other:?}"),
    };
    for verb in ["run", "bounce", "pause", "resume", "rollback", "rollout/advance", "rollout/abort"] {
        let path = format!("/v1/workloads/theirs/{verb}");
        let answer = ours.post::<_, serde_json::Value>(&path, &serde_json::json!({})).await;
        forbidden(answer.map(|_| ()), verb);
    }
    forbidden(ours.delete_workload("theirs", "").await.map(|_| ()), "delete");
    forbidden(ours.stop_task("theirs.1", "").await.map(|_| ()), "stop");
    forbidden(ours.cancel_action("pause", "theirs", "").await.map(|_| ()), "cancel");
    forbidden(ours.cancel_action("freeze", "cron", "").await.map(|_| ()), "unfreeze");
    let job = |name: &str, team: &str| {
        specs(&format!("[job.{name}]\ncommand = \"exit 0\"\nteam = \"{team}\"\nrun_on_apply = false\n"))
    };
    // Neither taking theirs over, nor giving ours away, nor making one for them, nor one without a team.
    for (name, team) in [("theirs", "a"), ("theirs", "b"), ("ours", "b"), ("new", "b")] {
        forbidden(ours.apply(&job(name, team)).await.map(|_| ()), &format!("{name} for {team}"));
    }
    let nobodys = specs("[job.new]\ncommand = \"exit 0\"\nrun_on_apply = false\n");
    forbidden(ours.apply(&nobodys).await.map(|_| ()), "no team");
    let pool = specs("[pool.more]\ncpu = 1\nmemory = \"64MiB\"\nmin = 0\nmax = 1\n");
    forbidden(ours.apply(&pool).await.map(|_| ()), "a pool");
    assert_eq!(before, engine.world().await);

    assert_eq!(ours.apply(&job("new", "a")).await.expect("ours").changes, ["job new is created"]);
    assert!(!ours.run("ours", &RunRequest::default()).await.expect("ours").changes.is_empty());
    assert_eq!(ours.delete_workload("new", "done").await.expect("ours").changes.len(), 1);

    let audit = operator.audit(1000).await.expect("the audit log");
    let refused: Vec<_> = audit.iter().filter(|entry| entry.status == 403).collect();
    assert!(
        refused.len() >= 15 && refused.iter().all(|entry| entry.by.as_deref() == Some("dev")),
        "{refused:?}"
    );
    let deleted =
        audit.iter().find(|entry| entry.method == "DELETE" && entry.status == 200).expect("an entry");
    assert_eq!((deleted.message.as_str(), deleted.path.as_str()), ("done", "/v1/workloads/new"));
    let shown = serde_json::to_string(&audit).expect("JSON");
    assert!(!shown.contains(&tokens.ours) && !shown.contains("ll_"), "a secret is in the audit log");
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_and_expired_tokens_open_nothing_and_the_door_stays_shut() {
    let engine = Engine::start(PLENTY).await;
    let anyone = Client::new(&engine.url(), "test");
    let first = anyone.create_token(&token("vera", "viewer", None)).await;
    assert!(matches!(first, Err(ClientError::Refused(problem)) if problem.status == 422));
    let root = anyone.create_token(&token("root", "operator", None)).await.expect("a token");
    let operator = engine.with(&root.secret);
    let mut brief = token("brief", "viewer", None);
    brief.for_seconds = Some(5);
    let brief = operator.create_token(&brief).await.expect("a token");
    assert_eq!(engine.with(&brief.secret).whoami().await.expect("valid").role, "viewer");
    tokio::time::sleep(Duration::from_millis(5_200)).await;
    let status = |result: Result<_, ClientError>| match result {
        Err(ClientError::Refused(problem)) => problem.status,
        Ok(_) => 200,
        Err(other) => panic!("{other}"),
    };
    assert_eq!(status(engine.with(&brief.secret).whoami().await), 401);
    assert_eq!(status(anyone.whoami().await), 401);
    assert_eq!(operator.revoke_token(root.token.id, "").await.expect("revoked").changes.len(), 1);
    assert_eq!(status(operator.whoami().await), 401);
    assert_eq!(status(anyone.whoami().await), 401, "no token is valid: the door does not open for that");
    let listed = engine.app.control().view().await;
    assert!(listed.world.workloads.contains_key(&"ours".to_owned().try_into().expect("a name")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_malformed_or_too_much_is_refused_as_a_problem() {
    let engine = Engine::start(PLENTY).await;
    let before = engine.world().await;
    let http = crate::http::client().build().expect("a client");
    let url = |path: &str| format!("{}{path}", engine.url());
    let json = "application/json";
    let run = "/v1/workloads/ours/run";
    let big = format!("{{\"message\": \"{}\"}}", "x".repeat(5 << 20));
    let long = format!("/v1/tasks?workload={}", "x".repeat(9_000));
    let cases: [(u16, Method, &str, &str, &str); 16] = [
        (400, Method::POST, run, json, "{\"message\": "),
        (422, Method::POST, run, json, "{\"message\": 5}"),
        (422, Method::POST, run, json, "{\"mesage\": \"x\"}"),
        (422, Method::POST, run, json, "[]"),
        (422, Method::POST, run, json, "{\"cpu\": -1}"),
        (415, Method::POST, run, "text/plain", "{}"),
        (415, Method::POST, run, "application/x-www-form-urlencoded", "message=x"),
        (413, Method::POST, run, json, &big),
        (404, Method::POST, "/v1/workloads/..%2f..%2fetc/run", json, "{}"),
        (404, Method::POST, "/v1/workloads/OURS/run", json, "{}"),
        (404, Method::GET, "/v1/none", json, ""),
        (405, Method::PATCH, "/v1/workloads/ours", json, ""),
        (400, Method::GET, "/v1/tasks?limit=1001", json, ""),
        (400, Method::GET, "/v1/tasks?workloads=ours", json, ""),
        (400, Method::GET, "/v1/runs?cursor=zz", json, ""),
        (414, Method::GET, &long, json, ""),
    ];
    for (status, method, path, kind, body) in cases {
        let what = format!("{method} {}", &path[..path.len().min(60)]);
        let request = http.request(method, url(path)).header("content-type", kind).body(body.to_owned());
        let answer = request.send().await.expect(&what);
        assert_eq!(answer.status().as_u16(), status, "{what}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{what}");
        let problem: Problem = answer.json().await.expect(&what);
        assert_eq!(problem.status, status, "{what}");
    }
    let stuffed =
        http.get(url("/v1/status")).header("x-stuff", "x".repeat(20_000)).send().await.expect("an answer");
    assert_eq!(stuffed.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    let rebound = http.get(url("/v1/status")).header("host", "evil.example").send().await.expect("an answer");
    assert_eq!(rebound.status(), StatusCode::FORBIDDEN);
    let page = http.post(url(run)).header("origin", "http://evil.example").send().await.expect("an answer");
    assert_eq!(page.status(), StatusCode::FORBIDDEN);
    assert_eq!(before, engine.world().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_calls_are_told_when_to_come_again() {
    let engine = Engine::start("requests_per_second = 1\nburst = 5\n").await;
    let http = crate::http::client().build().expect("a client");
    let call = async || http.get(format!("{}/v1/status", engine.url())).send().await.expect("an answer");
    // All at once, so that a busy machine does not make them few enough.
    let answers = futures_util::future::join_all((0..30).map(|_| call())).await;
    let limited = answers.iter().find(|answer| answer.status() == StatusCode::TOO_MANY_REQUESTS);
    let limited = limited.expect("a refusal within 30 calls at once");
    assert_eq!(limited.headers()["retry-after"], "1");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let answer = http.get(format!("{}/v1/status", engine.url())).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
}

/// What an honest caller waited for its answers.
#[derive(Debug, Default)]
struct Calls {
    made: u32,
    /// Those that took over 100 ms.
    late: u32,
    slowest: Duration,
}

impl Calls {
    async fn time(&mut self, client: &Client) {
        let asked = Instant::now();
        client.status().await.expect("a status");
        self.made += 1;
        self.late += u32::from(asked.elapsed() >= Duration::from_millis(100));
        self.slowest = self.slowest.max(asked.elapsed());
    }
}

/// 1,000 connections that send a byte now and then: headers of half of them, bodies of the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_that_trickle_keep_nobody_waiting() {
    let engine = Engine::start(&format!("{PLENTY}header_timeout = \"4s\"\nbody_timeout = \"4s\"\n")).await;
    // One that nobody trickles at: it tells how busy this machine is meanwhile.
    let spared = Engine::start(PLENTY).await;
    let tokens = engine.tokens().await;
    let before = engine.world().await;
    let address = engine.app.address();
    let open = Arc::new(AtomicUsize::new(0));
    let mut trickling = tokio::task::JoinSet::new();
    for number in 0..1_000_u32 {
        let (open, secret) = (Arc::clone(&open), tokens.operator.clone());
        trickling.spawn(tokio::time::timeout(PATIENCE, async move {
            let mut stream = TcpStream::connect(address).await?;
            if number % 2 == 0 {
                stream.write_all(b"GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\n").await?;
            } else {
                let head = format!(
                    "POST /v1/workloads/ours/run HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\
                     Content-Type: application/json\r\nAuthorization: Bearer {secret}\r\n\r\n"
                );
                stream.write_all(head.as_bytes()).await?;
            }
            open.fetch_add(1, Ordering::Relaxed);
            let mut answer = Vec::new();
            loop {
                let mut byte = [0; 512];
                match tokio::time::timeout(Duration::from_millis(500), stream.read(&mut byte)).await {
                    Ok(Ok(0) | Err(_)) => return std::io::Result::Ok(answer),
                    Ok(Ok(count)) => answer.extend_from_slice(&byte[..count]),
                    Err(_) if stream.write_all(b"x").await.is_err() => return Ok(answer),
                    Err(_) => {}
                }
            }
        }));
    }
    let (honest, elsewhere) = (engine.with(&tokens.viewer), Client::new(&spared.url(), "test"));
    let (mut opening, mut beside, mut spared) = (Calls::default(), Calls::default(), Calls::default());
    let (mut closed, mut told) = (0, 0);
    while !trickling.is_empty() {
        let are_open = open.load(Ordering::Relaxed) == 1_000;
        let calls = if are_open { &mut beside } else { &mut opening };
        tokio::join!(calls.time(&honest), spared.time(&elsewhere));
        while let Some(ended) = trickling.try_join_next() {
            if let Ok(Ok(Ok(answer))) = ended {
                closed += 1;
                told += usize::from(answer.starts_with(b"HTTP/1.1 408"));
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    eprintln!(
        "while 1,000 connections open: {opening:?}; beside them: {beside:?}; spared: {spared:?}; \
         {closed} closed, {told} told 408"
    );
    // The clients share this machine's cores with the engine and with other tests: a call or two may wait
    // for them while a thousand connections are opened at once, never until one is thrown out.
    assert!(opening.slowest < Duration::from_secs(3), "{opening:?}");
    assert!(beside.made > 20, "{beside:?}");
    assert!(beside.late <= 2 + 2 * spared.late, "{beside:?}, elsewhere {spared:?}");
    let slowest = Duration::from_millis(900).max(3 * spared.slowest);
    assert!(beside.slowest < slowest, "{beside:?}, elsewhere {spared:?}");
    assert!(closed >= 990, "{closed} of 1,000 were closed");
    assert!(told >= 490, "{told} of 500 slow bodies were told");
    assert_eq!(before, engine.world().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_and_streams_are_bounded() {
    let engine = Engine::start(&format!("{PLENTY}streams = 2\n")).await;
    let http = crate::http::client().build().expect("a client");
    let open =
        async || http.get(format!("{}/v1/events/stream", engine.url())).send().await.expect("an answer");
    let (first, _second) = (open().await, open().await);
    assert_eq!(first.headers()["content-type"], "text/event-stream");
    assert_eq!(open().await.status(), StatusCode::SERVICE_UNAVAILABLE);
    drop(first);
    let began = Instant::now();
    while open().await.status() != StatusCode::OK {
        assert!(began.elapsed() < Duration::from_secs(10), "a closed stream is not given back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let client = Client::new(&engine.url(), "test");
    client.run("ours", &RunRequest::default()).await.expect("a change");
}
