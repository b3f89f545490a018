//! A service without instances: the first requests are held until one is ready, none is lost, and it goes
//! back to nothing once nobody asks. Real processes, real requests.

use std::time::{Duration, Instant};

use loadline::api::dto::{Changed, ScaleRequest};
use reqwest::StatusCode;

use crate::engine::harness::Engine;
use crate::harness::binary;

fn spec(startup: &str, scale: &str) -> String {
    format!(
        r#"
[service.web]
command = ["{}", "demo-task", "web", "--startup", "{startup}", "--work-ms", "1"]
ports = ["http"]
memory = "64MiB"
drain_timeout = "10s"
readiness = {{ http = "/healthz", interval = "100ms" }}
scale = {{ min = 0, max = 3, requests_per_second = 1000, {scale} }}
"#,
        binary()
    )
}

fn client() -> reqwest::Client {
    crate::http::client().timeout(Duration::from_mins(1)).build().expect("a client")
}

async fn address(engine: &Engine) -> String {
    engine.wait("a front door", async || !engine.workload("web").await.front_doors.is_empty()).await;
    format!("http://127.0.0.1:{}", engine.workload("web").await.front_doors["http"])
}

async fn wait_asleep(engine: &Engine) {
    engine
        .wait("no instance", async || {
            let web = engine.workload("web").await;
            web.wanted == Some(0) && web.tasks == 0
        })
        .await;
}

async fn scaled(engine: &Engine, count: u32) -> Changed {
    let request = ScaleRequest { count, message: "a test".to_owned(), acknowledged: true, for_seconds: None };
    engine.client.scale("web", &request).await.expect("scaled")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_request_starts_an_instance_and_the_last_one_lets_it_go() {
    let engine = Engine::start(&spec("300ms", "idle_after = \"3s\", hold_timeout = \"40s\""));
    let (url, http) = (address(&engine).await, client());
    wait_asleep(&engine).await;

    let began = Instant::now();
    let answer = http.get(&url).send().await.expect("an answer");
    let cold = began.elapsed();
    assert_eq!(answer.status(), StatusCode::OK);
    println!("the first request was answered {cold:?} after it was sent, of which 300 ms were start-up");
    assert!(cold >= Duration::from_millis(300), "there was no instance before: {cold:?}");

    // It learns how long that takes, from launch to ready.
    engine
        .wait("a start-up time", async || {
            let startup = engine.workload("web").await.scale.and_then(|scale| scale.startup_seconds);
            startup.is_some_and(|seconds| (0.3..30.0).contains(&seconds))
        })
        .await;
    let scale = engine.workload("web").await.scale.expect("how it scales");
    println!("learned: {:?} s of {:?}", scale.startup_seconds, scale.startup_samples);
    assert_eq!((scale.startup_samples, scale.policy.as_str(), scale.min), (Some(1), "hpa", 0));

    // A request that lasts longer than the idle time keeps its instance.
    let (long, slow) = (client(), format!("{url}/?ms=5000"));
    let asked = tokio::spawn(async move { long.get(slow).send().await.map(|answer| answer.status()) });
    let began = Instant::now();
    while !asked.is_finished() {
        assert_ne!(engine.workload("web").await.wanted, Some(0), "after {:?}", began.elapsed());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(asked.await.expect("it ended").expect("an answer"), StatusCode::OK);
    wait_asleep(&engine).await;
    let decisions = engine.client.decisions(Some("web"), 50).await.expect("decisions");
    let rules: Vec<&str> = decisions.iter().map(|decision| decision.proposal.rule.as_str()).collect();
    assert!(rules.contains(&"from zero") && rules.contains(&"idle"), "{rules:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_come_together_are_all_answered() {
    // It begins without instances. That is not waited for: a request for whoever had this port before may wake it.
    let engine = Engine::start(&spec("1s", "idle_after = \"1m\", hold_timeout = \"40s\""));
    let (url, http) = (address(&engine).await, client());
    let began = Instant::now();
    let asked: Vec<_> = (0..100)
        .map(|_| {
            let (http, url) = (http.clone(), url.clone());
            tokio::spawn(async move { http.get(url).send().await.map(|answer| answer.status()) })
        })
        .collect();
    engine
        .wait("held requests are shown", async || {
            let web = engine.workload("web").await;
            web.ready > 0 || web.scale.is_some_and(|scale| scale.held_requests > 0)
        })
        .await;
    for one in asked {
        assert_eq!(one.await.expect("it ended").expect("an answer"), StatusCode::OK);
    }
    println!("100 held requests were answered within {:?}, of which 1 s was start-up", began.elapsed());
    let web = engine.workload("web").await;
    assert!(web.wanted.is_some_and(|wanted| wanted >= 1), "{web:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_held_is_refused_and_nobody_wakes_what_was_stopped() {
    // It takes longer to start than a request is held, and only three are held at a time.
    let limits = "idle_after = \"1h\", hold_timeout = \"2s\", hold_requests = 3";
    let engine = Engine::start(&spec("1m", limits));
    let (url, http) = (address(&engine).await, client());
    wait_asleep(&engine).await;
    // The address holds requests once the first pass has said so.
    let asked: Vec<_> = (0..10)
        .map(|_| {
            let (http, url) = (http.clone(), url.clone());
            tokio::spawn(async move {
                let began = Instant::now();
                let answer = http.get(url).send().await.expect("an answer");
                let retry = answer.headers().contains_key("retry-after");
                (answer.status(), retry, began.elapsed())
            })
        })
        .collect();
    let mut held = 0;
    for one in asked {
        let (status, retry, took) = one.await.expect("it ended");
        assert_eq!((status, retry), (StatusCode::SERVICE_UNAVAILABLE, true));
        held += u32::from(took >= Duration::from_secs(2));
    }
    assert_eq!(held, 3, "as many as the spec says");
    engine.wait("it was woken", async || engine.workload("web").await.wanted == Some(1)).await;

    scaled(&engine, 0).await;
    wait_asleep(&engine).await;
    let answer = http.get(&url).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let web = engine.workload("web").await;
    assert_eq!(
        (web.wanted, web.scale.map(|scale| scale.rule)),
        (Some(0), Some("stopped by hand".to_owned()))
    );
    // Given a count again, it is there again.
    scaled(&engine, 1).await;
    engine.wait("it starts", async || engine.workload("web").await.tasks == 1).await;
}
