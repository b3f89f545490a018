//! A service moves from one revision to the next under load, or back again.

use loadline::domain::rollout::{Rollout, RolloutState};

use crate::engine::harness::Engine;
use crate::engine::load::Load;
use crate::engine::shop::{front_door, shop, wait_rollout};

/// What is declared of a deploy beside the shop itself.
const DEPLOY: &str = r#"max_failures = 2
        [service.web.restart]
        backoff = "200ms""#;

fn web() -> String {
    format!(r#"["{}", "demo-task", "web"]"#, env!("CARGO_BIN_EXE_loadline"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_deploy_under_load_loses_no_request_and_no_capacity() {
    let engine = Engine::start(&shop(&web(), "1", DEPLOY));
    engine.wait_ready("web", 3).await;
    let load = Load::start(front_door(&engine).await);
    load.reaches(100).await;

    engine.apply(&shop(&web(), "2", DEPLOY)).await;
    let is_done = |rollout: &Rollout| rollout.to == 2 && rollout.state == RolloutState::Done;
    wait_rollout(&engine, "the rollout is done", is_done).await;
    engine.wait_ready("web", 3).await;
    assert!(engine.running("web").await.iter().all(|task| task.revision == 2));
    load.reaches(load.sent() + 100).await;
    let (sent, failures) = load.end().await;
    assert_eq!(failures, Vec::<String>::new(), "of {sent} requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_does_not_become_healthy_is_rolled_back() {
    let engine = Engine::start(&shop(&web(), "1", DEPLOY));
    engine.wait_ready("web", 3).await;
    let load = Load::start(front_door(&engine).await);
    let before: Vec<_> = engine.running("web").await.into_iter().filter_map(|task| task.pid).collect();

    engine.apply(&shop(r#"["sh", "-c", "echo broken; exit 3"]"#, "2", DEPLOY)).await;
    let rolled_back = |rollout: &Rollout| matches!(rollout.state, RolloutState::RolledBack { .. });
    wait_rollout(&engine, "the rollout is rolled back", rolled_back).await;
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
    let engine = Engine::start(&shop(&web(), "1", DEPLOY));
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
