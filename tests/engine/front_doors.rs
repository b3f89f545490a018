//! Addresses of services where several engines of one machine want the same one.

use crate::engine::harness::Engine;
use crate::harness::binary;

fn spec() -> String {
    format!(
        r#"
[service.neighbour]
command = ["{}", "demo-task", "web", "--startup", "0s", "--memory", "1MiB"]
ports = ["http"]
memory = "64MiB"
readiness = {{ http = "/healthz", interval = "200ms" }}
"#,
        binary()
    )
}

/// The first address that an engine tells.
async fn address(engine: &Engine) -> u16 {
    engine.wait("a front door", async || !engine.workload("neighbour").await.front_doors.is_empty()).await;
    engine.workload("neighbour").await.front_doors["http"]
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_an_address_of_another_engine_and_a_moved_one_stays_over_a_restart() {
    let mut first = Engine::start(&spec());
    let taken = address(&first).await;
    let mut second = Engine::start(&spec());
    let moved = address(&second).await;
    assert_ne!(moved, taken, "clients of the second one would ask the first one");
    second.wait_ready("neighbour", 1).await;
    assert_eq!(address(&second).await, moved);

    second.kill();
    first.end();
    second.restart();
    second.wait_ready("neighbour", 1).await;
    assert_eq!(address(&second).await, moved, "it is free now, but clients know the other one");
}
