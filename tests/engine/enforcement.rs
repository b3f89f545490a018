//! Limits, kills and usage as the whole engine sees them, where this machine lets it enforce them.

use loadline::domain::decision::{Decision, DecisionKind, DecisionOutcome};
use loadline::domain::task::ExitRecord;

use crate::engine::harness::Engine;

/// Tells whether limits are enforced here; says so where they are not.
#[expect(clippy::print_stderr, reason = "whoever reads the test's output wants to know what was skipped")]
async fn enforced(engine: &Engine) -> bool {
    let limitations = engine.status().await.engine.limitations;
    if !limitations.is_empty() {
        eprintln!("skipped: {}", limitations.join("; "));
    }
    limitations.is_empty()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hog_is_killed_in_its_cgroup_and_given_a_larger_size() {
    // `tail` keeps what it has read of an endless line: 80 MiB of it, and then it stays.
    let engine = Engine::start(
        r#"
        [policy.trust]
        size = "auto"
        min_memory = "16MiB"
        [service.hog]
        command = "(head -c 80M /dev/zero; sleep 100000) | tail"
        memory = "32MiB"
        policy = "trust"
        restart = { backoff = "500ms", backoff_max = "1s" }
        [service.neighbour]
        command = ["sleep", "100000"]
        memory = "32MiB"
        "#,
    );
    if !enforced(&engine).await {
        return;
    }
    engine.wait_ready("neighbour", 1).await;
    let neighbour = engine.running("neighbour").await.remove(0);
    engine
        .wait("the hog is killed for want of memory", async || {
            let ended = engine.ended("hog").await;
            ended.iter().filter_map(|task| task.exit.as_ref()).any(ExitRecord::is_oom)
        })
        .await;
    let ended = engine.ended("hog").await;
    let reason = &ended.last().expect("an end").reason;
    assert!(reason.contains("OOM") && reason.contains("32.0 MiB") && reason.contains("peak"), "{reason}");

    let decisions = async || -> Vec<Decision> {
        engine.client.get("/v1/decisions?subject=hog").await.expect("decisions")
    };
    engine
        .wait("a larger size is applied", async || {
            decisions().await.iter().any(|decision| {
                let larger = matches!(&decision.proposal.kind, DecisionKind::Size { from, to, .. } if to.memory_limit > from.memory_limit);
                larger && decision.outcome == DecisionOutcome::Applied
            })
        })
        .await;
    engine
        .wait("the hog lives", async || {
            let running = engine.running("hog").await;
            running.iter().any(|task| task.memory_used.is_some_and(|used| used > 80 << 20))
        })
        .await;
    let now = engine.running("neighbour").await.remove(0);
    assert_eq!(now.pid, neighbour.pid, "the neighbour was left alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capped_busy_loop_shows_its_usage_and_throttling() {
    let engine = Engine::start(
        r#"
        [service.busy]
        command = "while :; do :; done"
        cpu = 0.2
        cpu_limit = 0.2
        memory = "32MiB"
        "#,
    );
    if !enforced(&engine).await {
        return;
    }
    engine.wait_ready("busy", 1).await;
    engine
        .wait("usage and throttling show", async || {
            let tasks = engine.running("busy").await;
            tasks.first().is_some_and(|task| {
                task.cpu_used.is_some_and(|cpu| (0.15..0.25).contains(&cpu))
                    && task.throttled_share.is_some_and(|share| share > 0.5)
            })
        })
        .await;
}
