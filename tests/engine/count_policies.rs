//! Counts by a policy that a service names: real processes, real requests, an engine that is killed meanwhile.

use crate::engine::harness::Engine;
use crate::engine::load::Load;
use crate::harness::binary;

/// A service that follows its requests, an instance for each 40 a second, by this policy.
fn spec(name: &str, policy: &str) -> String {
    format!(
        r#"
[service.{name}]
command = ["{}", "demo-task", "web", "--startup", "300ms", "--work-ms", "1"]
ports = ["http"]
memory = "64MiB"
readiness = {{ http = "/healthz", interval = "100ms" }}
scale = {{ min = 1, max = 3, requests_per_second = 40, policy = "{policy}", {} }}
"#,
        binary(),
        if policy == "loadline" { "budget = 0.05" } else { "tolerance = 0.1" }
    )
}

async fn is_policy(engine: &Engine, name: &str, policy: &str) {
    engine
        .wait("how it scales", async || {
            engine.workload(name).await.scale.is_some_and(|scale| scale.policy == policy)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn loadlines_own_policy_follows_requests_and_outlives_the_engine() {
    let mut engine = Engine::start(&spec("own", "loadline"));
    engine.wait_ready("own", 1).await;
    is_policy(&engine, "own", "loadline").await;
    engine.wait("a front door", async || !engine.workload("own").await.front_doors.is_empty()).await;
    let port = engine.workload("own").await.front_doors["http"];
    let load = Load::start(port);
    engine.wait_ready("own", 3).await;
    let (sent, failures) = load.end().await;
    assert!(failures.is_empty(), "of {sent}: {failures:?}");

    let decisions = engine.client.decisions(Some("own"), 50).await.expect("decisions");
    let up = decisions.iter().find(|decision| decision.proposal.reason.contains("load expected"));
    let up = &up.unwrap_or_else(|| panic!("{decisions:#?}")).proposal;
    assert!(["load now", "budget of time"].contains(&up.rule.as_str()), "{up:#?}");
    assert!(up.reason.contains("chance of too little"), "{up:#?}");

    engine.kill();
    engine.restart();
    is_policy(&engine, "own", "loadline").await;
    // No request for a moment is no reason to let capacity go that was just paid for.
    assert_eq!(engine.workload("own").await.wanted, Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_peer_can_be_named() {
    let peers = ["target-value", "keda-cron", "aws-predictive", "autopilot"];
    let specs: String = peers.iter().map(|policy| spec(policy, policy)).collect();
    let engine = Engine::start(&specs);
    for policy in peers {
        is_policy(&engine, policy, policy).await;
        engine.wait_ready(policy, 1).await;
    }
}
