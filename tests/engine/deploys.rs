//! A service moves from one revision to the next under load, or back again.

use std::time::Duration;

use loadline::domain::rollout::RolloutState;

use crate::engine::harness::Engine;
use crate::engine::load::Load;

fn shop(version: &str, command: &str) -> String {
    format!(
        r#"
        [pool.wide]
        cpu = 4
        memory = "2GiB"
        max = 1
        [service.web]
        command = {command}
        env = {{ VERSION = "{version}" }}
        ports = ["http"]
        instances = 3
        cpu = 0.1
        memory = "64MiB"
        stop_grace = "5s"
        [service.web.readiness]
        http = "/healthz"
        interval = "200ms"
        timeout = "2s"
        [service.web.rollout]
        max_failures = 2
        deadline = "30s"
        [service.web.restart]
        backoff = "200ms"
        "#
    )
}

fn web() -> String {
    format!(r#"["{}", "demo-task", "web"]"#, env!("CARGO_BIN_EXE_loadline"))
}

async fn front_door(engine: &Engine) -> u16 {
    *engine.workload("web").await.front_doors.get("http").expect("a stable address")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_deploy_under_load_loses_no_request_and_no_capacity() {
    let engine = Engine::start(&shop("1", &web()));
    engine.wait_ready("web", 3).await;
    let load = Load::start(front_door(&engine).await);
    tokio::time::sleep(Duration::from_secs(1)).await;

    engine.apply(&shop("2", &web())).await;
    engine
        .wait("the rollout is done", async || {
            let web = engine.workload("web").await;
            assert!(web.ready >= 3, "under the declared capacity: {} ready", web.ready);
            web.revision == 2 && web.rollout.is_some_and(|rollout| rollout.state == RolloutState::Done)
        })
        .await;
    engine.wait_ready("web", 3).await;
    assert!(engine.running("web").await.iter().all(|task| task.revision == 2));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (sent, failures) = load.end().await;
    assert!(sent > 200, "only {sent} requests were sent");
    assert_eq!(failures, Vec::<String>::new(), "of {sent} requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_does_not_become_healthy_is_rolled_back() {
    let engine = Engine::start(&shop("1", &web()));
    engine.wait_ready("web", 3).await;
    let load = Load::start(front_door(&engine).await);
    let before: Vec<_> = engine.running("web").await.into_iter().filter_map(|task| task.pid).collect();

    engine.apply(&shop("2", r#"["sh", "-c", "echo broken; exit 3"]"#)).await;
    engine
        .wait("the rollout is rolled back", async || {
            let web = engine.workload("web").await;
            assert!(web.ready >= 3, "under the declared capacity: {} ready", web.ready);
            web.rollout.is_some_and(|rollout| matches!(rollout.state, RolloutState::RolledBack { .. }))
        })
        .await;
    engine.wait_ready("web", 3).await;
    let web = engine.workload("web").await;
    assert!(
        web.notes.iter().any(|note| note.contains("rolled back") && note.contains("exit status 3")),
        "{:?}",
        web.notes
    );
    let after: Vec<_> = engine.running("web").await.into_iter().filter_map(|task| task.pid).collect();
    assert_eq!(before, after, "the old instances were never touched");
    let (sent, failures) = load.end().await;
    assert_eq!(failures, Vec::<String>::new(), "of {sent} requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn scaling_by_hand_up_and_down_under_load_loses_no_request() {
    let engine = Engine::start(&shop("1", &web()));
    engine.wait_ready("web", 3).await;
    let load = Load::start(front_door(&engine).await);
    for count in [5, 1, 3] {
        let request = loadline::api::dto::ScaleRequest {
            count,
            message: "test".to_owned(),
            acknowledged: true,
            for_seconds: None,
        };
        let _: loadline::api::dto::Changed =
            engine.client.post("/v1/workloads/web/scale", &request).await.expect("a change");
        engine.wait_ready("web", count).await;
    }
    let (sent, failures) = load.end().await;
    assert_eq!(failures, Vec::<String>::new(), "of {sent} requests");
}
