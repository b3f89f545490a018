//! CPU lent by predicted peaks, on real tasks that hardly use what they request: two nodes' worth of requests
//! come to run on one node once their use is known, memory stays as requested, and it stays so over a restart.

use std::time::Duration;

use crate::engine::harness::Engine;

const SPECS: &str = r#"
[pool.small]
cpu = 1
memory = "256MiB"
min = 1
max = 1

[service.first]
command = ["sleep", "100000"]
instances = 2
cpu = 0.45
memory = "16MiB"
"#;

const MORE: &str = r#"
[service.second]
command = ["sleep", "100000"]
instances = 2
cpu = 0.45
memory = "16MiB"

[service.large]
command = ["sleep", "100000"]
instances = 1
cpu = 0.05
memory = "240MiB"
"#;

/// Use would be known after 8 s.
const NO_RISK: &str = r#"
[overcommit]
most = 2.0
warm_up = "8s"
window = "4s"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn idle_tasks_make_room_for_others_once_their_use_is_known() {
    let mut engine = Engine::start_with(SPECS, |_| format!("{NO_RISK}risk = 0.05\n"));
    engine.wait_ready("first", 2).await;
    engine.apply(MORE).await;
    // Requests leave 0.1 cores: whoever is placed is placed by use, and both are before the new ones are known.
    engine.wait_ready("second", 2).await;
    let running = [engine.running("first").await, engine.running("second").await].concat();
    assert_eq!(running.len(), 4);
    assert!(running.iter().all(|task| task.node.as_deref() == Some("small-1")), "{running:#?}");
    let waits = engine.tasks("large").await;
    assert!(waits.iter().all(|task| task.node.is_none()), "memory is not lent: {waits:#?}");
    let why = &engine.status().await.waiting;
    let words = serde_json::to_string(why).expect("JSON");
    assert!(words.contains("memory"), "{words}");

    engine.kill();
    engine.restart();
    engine.wait_ready("second", 2).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let still = [engine.running("first").await, engine.running("second").await].concat();
    let ids =
        |tasks: &[loadline::api::dto::TaskDto]| tasks.iter().map(|task| task.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&still), ids(&running), "nobody had to leave");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_stated_risk_requests_count() {
    let engine = Engine::start_with(SPECS, |_| NO_RISK.to_owned());
    engine.wait_ready("first", 2).await;
    engine.apply(MORE).await;
    // Twice and a half the time after which they would be placed with a risk.
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(engine.running("second").await.len(), 0);
}
