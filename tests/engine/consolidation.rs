//! A cluster that has become fragmented, on real tasks: nodes are emptied onto others while services stay at
//! their counts, and what was consolidated stays.

use std::time::Duration;

use crate::engine::harness::Engine;

const SMALL: &str = r#"
[pool.small]
cpu = 1
memory = "256MiB"
min = 1
max = 6
price_per_hour = 0.05
scale_down_below = 0.9
scale_down_after = "2s"
cooldown_down = "2s"

[service.web]
command = ["sleep", "100000"]
instances = 4
cpu = 0.25
memory = "16MiB"
placement = { strategy = "spread" }

[service.batch-a]
command = ["sleep", "100000"]
instances = 4
cpu = 0.7
memory = "16MiB"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_fragmented_cluster_is_consolidated_and_services_stay_at_their_counts() {
    let engine = Engine::start(SMALL);
    engine.wait_ready("batch-a", 4).await;
    engine.wait_ready("web", 4).await;
    let ready = async || {
        let nodes = engine.nodes().await;
        nodes.iter().filter(|node| node.state.as_str() == "ready").count()
    };
    assert!(ready().await >= 4, "one of them fills most of a node");
    // What made the nodes full goes: a quarter of each node is left in use.
    engine.client.delete_workload("batch-a", "no longer needed").await.expect("it goes");
    engine
        .wait("the instances are on few nodes", async || {
            let web = engine.workload("web").await;
            assert!(web.ready >= 4, "under the declared capacity: {} ready", web.ready);
            ready().await <= 2 && engine.nodes().await.len() <= 2
        })
        .await;
    let decisions = engine.client.decisions(Some("small"), 50).await.expect("decisions");
    let shrunk: Vec<_> =
        decisions.iter().filter(|decision| decision.proposal.rule.starts_with("underused node")).collect();
    assert!(!shrunk.is_empty(), "{decisions:?}");
    for decision in &shrunk {
        let inputs = &decision.proposal.inputs;
        assert!(inputs["saves"].ends_with("an hour") && inputs.contains_key("tasks moved"), "{inputs:?}");
        assert!(decision.proposal.price_after < decision.proposal.price_before);
    }
    // It stays so: nothing is moved to and fro.
    let (nodes, before) = (engine.nodes().await.len(), decisions.len());
    tokio::time::sleep(Duration::from_secs(8)).await;
    let after = engine.client.decisions(Some("small"), 50).await.expect("decisions").len();
    assert!(engine.nodes().await.len() <= nodes && after <= before + 1, "{before} decisions, then {after}");
    assert_eq!(engine.workload("web").await.ready, 4);
}

/// A job that fires in a while, too large for what is free on the node that is there, has its node before.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_there_when_a_job_fires() {
    #[expect(clippy::disallowed_methods, reason = "a schedule in a while from now, by the engine's clock")]
    let second = (jiff::Timestamp::now().as_second() + 25) % 60;
    let specs = r#"
        [pool.small]
        cpu = 1
        memory = "256MiB"
        min = 1
        max = 3
        scale_down_after = "1m"
        cooldown_down = "1m"

        [service.web]
        command = ["sleep", "100000"]
        cpu = 0.8
        memory = "16MiB"

        [cron.report]
        command = ["true"]
        schedule = "SECOND * * * * *"
        cpu = 0.9
        memory = "16MiB"
    "#;
    let engine = Engine::start(&specs.replace("SECOND", &second.to_string()));
    engine.wait_ready("web", 1).await;
    engine.wait("a node is made ahead", async || engine.nodes().await.len() == 2).await;
    let decisions = engine.client.decisions(Some("small"), 10).await.expect("decisions");
    let first = decisions.last().expect("a decision");
    assert!(first.proposal.reason.contains("will find no node"), "{}", first.proposal.reason);
    assert!(first.proposal.reason.contains("due at"), "{}", first.proposal.reason);
    let advice = engine.client.cron_advice(10).await.expect("advice").advice;
    assert_eq!(advice.jobs, 1);
}
