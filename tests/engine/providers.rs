//! The real engine with pools whose machines come from a command: what it makes of one that works, one that
//! has none, and one whose machines never run.

use std::path::Path;
use std::time::Duration;

use loadline::domain::node::NodeState;

use crate::engine::harness::Engine;
use crate::providers::parts::python;

/// Settings with the shipped script as provider `vms`; its machines are in the engine's folder.
fn settings(folder: &Path, env: &[(&str, &str)]) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/config/examples/machines.py");
    let file = folder.join("machines.json").display().to_string();
    let env = env.iter().copied().chain([("MACHINES_FILE", file.as_str())]);
    let env: Vec<String> = env.map(|(name, value)| format!("{name} = {value:?}")).collect();
    format!(
        "\n[[provider]]\nname = \"vms\"\nkind = \"exec\"\ncommand = [\"python3\", {script:?}]\npoll = \"200ms\"\nenv = {{ {} }}\n",
        env.join(", ")
    )
}

/// A pool of machines with slices that stand for them; a little smaller than `spare`, so that it is chosen first.
const VMS: &str = r#"
[pool.vms]
provider = "vms"
group = "workers"
rehearse = true
cpu = 0.2
memory = "64MiB"
min = 0
max = 3
cooldown_down = "1s"
scale_down_after = "1s"
"#;

const SPARE: &str = r#"
[pool.spare]
cpu = 0.5
memory = "256MiB"
min = 0
max = 3
"#;

const WEB: &str = r#"
[service.web]
command = ["sleep", "100000"]
instances = 2
cpu = 0.2
memory = "64MiB"
"#;

/// The ids of the machines that there are.
fn machines(engine: &Engine) -> Vec<String> {
    let text = std::fs::read_to_string(engine.folder().join("machines.json")).unwrap_or_default();
    let known: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    known["machines"].as_object().map(|machines| machines.keys().cloned().collect()).unwrap_or_default()
}

/// How many machines were ever made.
fn made(engine: &Engine) -> u64 {
    let text = std::fs::read_to_string(engine.folder().join("machines.json")).unwrap_or_default();
    let known: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    known["number"].as_u64().unwrap_or(0)
}

/// Waits for the named condition in `loadline status`, with a reason.
async fn condition(engine: &Engine, reason: &str) {
    engine
        .wait(reason, async || {
            let problems = engine.status().await.engine.problems;
            problems
                .iter()
                .any(|problem| problem.starts_with("nodes do not join: pool vms") && problem.contains(reason))
        })
        .await;
}

async fn pools_of_tasks(engine: &Engine) -> Vec<String> {
    let tasks = engine.running("web").await;
    tasks.iter().filter_map(|task| Some(task.node.as_ref()?.rsplit_once('-')?.0.to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_of_a_command_come_and_go_with_what_needs_them() {
    if !python() {
        return;
    }
    let mut engine =
        Engine::start_with(&format!("{VMS}{WEB}"), |folder| settings(folder, &[("MACHINES_BOOT", "0.5")]));
    engine.wait_ready("web", 2).await;
    assert_eq!(pools_of_tasks(&engine).await, ["vms", "vms"]);
    assert_eq!(machines(&engine).len(), 2, "a machine for each task");

    // An engine that dies knows afterwards whose machines they are.
    engine.kill();
    engine.restart();
    engine.wait_ready("web", 2).await;
    engine.apply(&format!("{VMS}{}", WEB.replace("instances = 2", "instances = 1"))).await;
    engine.wait("one machine is left", async || machines(&engine).len() == 1).await;
    assert_eq!(made(&engine), 2, "none was made anew");
    let node = engine.running("web").await[0].node.clone().expect("a node");
    assert!(engine.nodes().await.iter().any(|known| known.name == node && known.state == NodeState::Ready));

    // A machine that its provider takes away is a node that is lost; its task runs on another one.
    std::fs::write(engine.folder().join("machines.json"), r#"{"number": 2, "machines": {}}"#)
        .expect("a file");
    engine.wait("another machine is there", async || machines(&engine) == ["vm-3"]).await;
    engine.wait_ready("web", 1).await;
    assert_ne!(engine.running("web").await[0].node.clone().expect("a node"), node);

    engine.client.delete::<serde_json::Value>("/v1/workloads/web").await.expect("a deletion");
    engine.wait("no machine is left", async || machines(&engine).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_without_machines_leaves_the_tasks_to_another_pool() {
    if !python() {
        return;
    }
    // One machine may be had, two are wanted.
    let engine = Engine::start_with(&format!("{VMS}{SPARE}{WEB}"), |folder| {
        settings(folder, &[("MACHINES_MAX", "1")])
    });
    engine.wait_ready("web", 2).await;
    let mut pools = pools_of_tasks(&engine).await;
    pools.sort();
    assert_eq!(pools, ["spare", "vms"]);
    condition(&engine, "group workers has at most 1 machines").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(made(&engine), 1, "it was not asked in a loop");
    let events: serde_json::Value = engine.client.get("/v1/events?limit=500").await.expect("events");
    let told = events.to_string().matches("of its nodes did not come").count();
    assert_eq!(told, 1, "{events:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_never_runs_is_removed_in_its_pools_time_and_another_pool_helps() {
    if !python() {
        return;
    }
    // Long enough for calls of a script on a loaded machine.
    let limited = VMS.replace("rehearse = true\n", "rehearse = true\njoin_timeout = \"10s\"\n");
    let engine = Engine::start_with(&format!("{limited}{SPARE}{WEB}"), |folder| {
        settings(folder, &[("MACHINES_BOOT", "100000")])
    });
    engine.wait("machines are made", async || machines(&engine).len() == 2).await;
    engine.wait_ready("web", 2).await;
    assert_eq!(pools_of_tasks(&engine).await, ["spare", "spare"]);
    engine.wait("what never ran is gone", async || machines(&engine).is_empty()).await;
    condition(&engine, "it did not join within 10s").await;
    assert_eq!(made(&engine), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_of_a_provider_that_is_not_there_or_runs_no_tasks_is_told() {
    let engine = Engine::start_with(WEB, |folder| settings(folder, &[]));
    // Past the harness, which takes valid specs only.
    let running: &crate::harness::Engine = &engine;
    let error =
        running.apply(&VMS.replace("\"vms\"\ng", "\"vmz\"\ng")).await.expect_err("an unknown provider");
    assert!(error.to_string().contains("name no provider vmz; they name: vms"), "{error}");

    engine.apply(&VMS.replace("rehearse = true\n", "").replace("min = 0", "min = 2")).await;
    engine
        .wait("it is told", async || {
            let problems = engine.status().await.engine.problems;
            problems
                .iter()
                .any(|problem| problem.contains("no agent runs tasks on machines of provider vms yet"))
        })
        .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(machines(&engine).is_empty(), "nobody pays for machines that run nothing");
}
