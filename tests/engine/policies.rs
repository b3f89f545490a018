//! Another policy for sizes: tried on what was recorded, chosen, in force, and still so after a crash.

use std::process::{Command, Output};

use jiff::{SignedDuration, Timestamp};
use loadline::adapters::storage::SqliteStore;
use loadline::domain::quantity::{Bytes, Millicores, Resources};
use loadline::domain::task::TaskId;
use loadline::domain::usage::UsageSample;
use loadline::ports::history::History;
use serde_json::Value;

use crate::engine::harness::Engine;

const ONE: &str = r#"
[service.one]
command = "exec sleep 100000"
memory = "64MiB"
"#;

fn loadline(engine: &Engine, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadline"))
        .args(arguments)
        .env("LOADLINE_SERVER", engine.client.address())
        .output()
        .expect("the binary")
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&text(output)).expect("JSON")
}

fn refusal(output: &Output, code: i32) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

/// Three days of a task that uses 300 MB, a sample every five minutes.
fn record(engine: &Engine) {
    let store = SqliteStore::open(&engine.data().join("loadline.db")).expect("the store");
    #[expect(clippy::disallowed_methods, reason = "the engine prunes by its clock")]
    let now = Timestamp::now();
    let task: TaskId = "one.1".parse().expect("an id");
    let samples: Vec<UsageSample> = (1..=864)
        .rev()
        .map(|step| UsageSample {
            workload: task.workload().clone(),
            task: task.clone(),
            at: now - SignedDuration::from_mins(5 * step),
            interval_seconds: Some(300.0),
            cpu_cores: Some(0.2),
            throttled_share: None,
            memory: Bytes::new(300_000_000),
            page_cache: None,
            request: Resources::new(Millicores::new(100), Bytes::mib(64)),
            oom_kills: 0,
        })
        .collect();
    store.append(&samples, &[]).expect("recorded");
}

async fn wait_in_force(engine: &Engine, policy: &str) {
    let what = format!("policy {policy} in force");
    engine.wait(&what, async || engine.status().await.engine.size_policy == policy).await;
}

/// The recommended request and why, once there is one by the policy.
async fn recommended(engine: &Engine, by: &str) -> u64 {
    let found = async || -> Option<u64> {
        let all = json(&loadline(engine, &["recommend", "--output", "json"]));
        let one = all.as_array()?.iter().find(|one| one["workload"] == "one")?.clone();
        let text = one.to_string();
        text.contains(by).then(|| one["recommended"]["memory_request"].as_u64())?
    };
    engine.wait("a recommendation", async || found().await.is_some()).await;
    found().await.expect("a size")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_tried_chosen_and_outlives_a_crash() {
    let mut engine = Engine::start(ONE);
    engine.wait_ready("one", 1).await;
    let listed = text(&loadline(&engine, &["policy", "list"]));
    assert!(listed.contains("vpa is what engines start with; nobody chose another"), "{listed}");
    assert!(!listed.contains("request") && listed.contains("krr"), "{listed}");
    engine
        .wait("something measured", async || {
            engine.status().await.workloads.iter().any(|workload| workload.memory_used.is_some())
        })
        .await;
    // A young engine says what there is, and changes nothing without being told to.
    let young = refusal(&loadline(&engine, &["policy", "set", "krr"]), 4);
    assert!(young.contains("krr cannot be tried here: too little history"), "{young}");
    assert!(young.contains("sizes stay with policy vpa") && young.contains("--yes"), "{young}");
    let little = refusal(&loadline(&engine, &["backtest", "--from-store"]), 4);
    assert!(little.contains("of 1 workload, from "), "{little}");
    for wrong in ["best", "oracle", "request", "krr:size=3", "vpa:margin=0.5"] {
        refusal(&loadline(&engine, &["policy", "set", wrong, "--yes"]), 2);
    }
    engine.kill();
    record(&engine);
    engine.restart();
    engine.wait_ready("one", 1).await;

    let reports = json(&loadline(
        &engine,
        &["backtest", "--from-store", "--since", "4d", "--policy", "vpa", "krr", "--output", "json"],
    ));
    assert_eq!(reports[0]["trace"], "recorded by the engine");
    assert!(reports[0]["samples"].as_u64().is_some_and(|samples| samples >= 864), "{reports}");
    let shown = loadline(&engine, &["policy", "set", "krr:margin=1.3"]);
    refusal(&shown, 4);
    let table = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(table.contains("krr:margin=1.3") && table.contains("margin=1.15"), "{table}");

    let chosen = json(&loadline(
        &engine,
        &["policy", "set", "krr:margin=1.3", "--yes", "-m", "tighter", "-o", "json"],
    ));
    assert_eq!(chosen["changes"][0], "sizes come from policy krr:margin=1.3 from now on");
    assert_eq!(chosen["reports"].as_array().map(Vec::len), Some(2));
    wait_in_force(&engine, "krr:margin=1.3").await;
    // What it says comes from the recorded days: now the task uses next to nothing.
    assert_eq!(recommended(&engine, "policy krr:margin=1.3").await, 390_000_000);
    assert!(text(&loadline(&engine, &["status"])).contains("sizes by krr:margin=1.3"));
    assert!(text(&loadline(&engine, &["events"])).contains("tighter"));
    let again = text(&loadline(&engine, &["policy", "set", "krr:margin=1.3"]));
    assert_eq!(again, "sizes come from policy krr:margin=1.3 already\n");

    engine.kill();
    engine.restart();
    wait_in_force(&engine, "krr:margin=1.3").await;
    assert_eq!(recommended(&engine, "policy krr:margin=1.3").await, 390_000_000);
    let listed = text(&loadline(&engine, &["policy", "list"]));
    assert!(listed.contains("krr:margin=1.3 was chosen by "), "{listed}");

    // And back, to the one with a state of its own: it knows the days before it was away.
    text(&loadline(&engine, &["policy", "set", "vpa", "--yes"]));
    wait_in_force(&engine, "vpa").await;
    let size = recommended(&engine, "p90 of daily peaks").await;
    assert!((300_000_000..400_000_000).contains(&size), "{size}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_told_nothing_sizes_by_loadlines_own_policy() {
    // No node takes it: nothing but what was recorded is known of it.
    let theirs = "[pool.theirs]\ncpu = 4\nmemory = \"8GiB\"\nmin = 0\nmax = 1\nreserved_for = [\"others\"]\n";
    let mut engine = Engine::start(&format!("{ONE}{theirs}"));
    engine.kill();
    record(&engine);
    let settings = engine.folder().join("engine.toml");
    let told = std::fs::read_to_string(&settings).expect("settings");
    assert!(told.contains("policy = \"vpa\"\n"), "{told}");
    std::fs::write(&settings, told.replace("policy = \"vpa\"\n", "")).expect("settings");
    engine.restart();
    let own = "loadline:change=2";
    wait_in_force(&engine, own).await;
    let listed = text(&loadline(&engine, &["policy", "list"]));
    assert!(listed.contains(&format!("{own} is what engines start with; nobody chose another")), "{listed}");
    let by = format!("policy {own}");
    let size = recommended(&engine, &by).await;
    assert!((300_000_000..450_000_000).contains(&size), "{size}");
    let all = json(&loadline(&engine, &["recommend", "--output", "json"]));
    assert!(all[0]["risk"].as_f64().is_some_and(|risk| risk > 0.0 && risk < 1.0), "{all}");
    engine.kill();
    engine.restart();
    assert_eq!(recommended(&engine, &by).await, size, "after a crash");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_service_is_sized_by_a_policy_of_its_own_after_a_crash_too() {
    let mut engine = Engine::start(ONE);
    engine.wait_ready("one", 1).await;
    engine.kill();
    record(&engine);
    engine.restart();
    engine.wait_ready("one", 1).await;
    for (wrong, code) in [(["best", "--workload", "one"], 2), (["krr", "--workload", "nobody"], 5)] {
        let output = loadline(&engine, &[&["policy", "set", "--yes"][..], &wrong].concat());
        assert_eq!(
            output.status.code(),
            Some(code),
            "{wrong:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let own = ["policy", "set", "krr:margin=1.3", "--workload", "one", "--yes", "-m", "it won here"];
    let said = text(&loadline(&engine, &own));
    assert!(said.contains("sizes of one come from policy krr:margin=1.3 from now on"), "{said}");
    assert_eq!(recommended(&engine, "policy krr:margin=1.3").await, 390_000_000);
    assert_eq!(engine.status().await.engine.size_policy, "vpa", "that of all others stays");
    let listed = text(&loadline(&engine, &["policy", "list"]));
    assert!(listed.contains("one is sized by krr:margin=1.3, chosen by "), "{listed}");
    let actions = text(&loadline(&engine, &["actions"]));
    assert!(actions.contains("size-policy/one") && actions.contains("it won here"), "{actions}");

    engine.kill();
    engine.restart();
    assert_eq!(recommended(&engine, "policy krr:margin=1.3").await, 390_000_000, "after a crash");
    text(&loadline(&engine, &["cancel", "size-policy/one", "-m", "enough"]));
    // The policy of all others has a state of its own, from before those days were put into the store.
    assert_ne!(recommended(&engine, "p90 of daily peaks").await, 390_000_000);
}
