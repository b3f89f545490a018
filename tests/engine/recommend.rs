//! `loadline recommend` over days of recorded usage and over a process that grows as one looks.

use std::path::Path;
use std::process::{Command, Output};

use jiff::{SignedDuration, Timestamp};
use loadline::adapters::storage::SqliteStore;
use loadline::api::client::ClientError;
use loadline::api::dto::{RecommendationDto, UsagePartDto};
use loadline::domain::advice::Confidence;
use loadline::domain::quantity::{Bytes, Millicores, Resources};
use loadline::domain::recommendation::Finding;
use loadline::domain::task::TaskId;
use loadline::domain::usage::UsageSample;
use loadline::domain::workload::WorkloadName;
use loadline::ports::history::History;
use loadline::ports::store::Store;
use serde_json::Value;

use crate::engine::harness::Engine;

const MIB: f64 = 1_048_576.0;
/// Minutes of usage that were recorded before the engine starts: less than it looks back.
const MINUTES: i64 = 186 * 60;

/// Services that no node takes: nothing but what was recorded is known of them.
pub(super) const SPECS: &str = r#"
[service.leaky]
command = "exec sleep 100000"
cpu = 0.5
memory = "1GiB"
[service.steady]
command = "exec sleep 100000"
cpu = 0.5
memory = "2GiB"
[service.heap]
command = "exec sleep 100000"
cpu = 0.5
memory = "512MiB"
[service.never]
command = "exec sleep 100000"
memory = "32MiB"
[pool.theirs]
cpu = 4
memory = "8GiB"
min = 0
max = 1
reserved_for = ["others"]
[policy.default]
size = "observe"
"#;

/// A sample a minute: the number of the task and its memory in MiB by the days gone by.
fn recorded(name: &str, memory: impl Fn(f64) -> (u64, f64)) -> Vec<UsageSample> {
    let workload = WorkloadName::new(name).expect("a name");
    let now = now();
    (0..MINUTES)
        .map(|step| {
            let (task, mib) = memory(step as f64 / 1440.0);
            // Some noise, the same each time.
            let noise = 0.99 + 0.02 * ((step * 7919 % 101) as f64 / 101.0);
            UsageSample {
                workload: workload.clone(),
                // Far from the numbers that the engine gives.
                task: TaskId::new(workload.clone(), 1000 + task),
                at: now - SignedDuration::from_mins(MINUTES - step),
                interval_seconds: Some(60.0),
                cpu_cores: Some(0.1 * noise),
                throttled_share: None,
                memory: Bytes::from_f64(mib * noise * MIB),
                page_cache: None,
                request: Resources::new(Millicores::new(500), Bytes::mib(1024)),
                oom_kills: 0,
            }
        })
        .collect()
}

#[expect(clippy::disallowed_methods, reason = "usage is recorded up to the engine's start")]
fn now() -> Timestamp {
    Timestamp::now()
}

/// Puts days of usage into the store of an engine that is not running, and damages what it had learnt.
pub(super) fn record(data: &Path) {
    let store = SqliteStore::open(&data.join("loadline.db")).expect("a store");
    let leaky = recorded("leaky", |day| ((day / 3.0) as u64, 300.0 + 120.0 * (day % 3.0)));
    let steady = recorded("steady", |_| (0, 400.0));
    let heap = recorded("heap", |day| (0, 150.0 * (1.0 + (day * 2.0).min(1.0))));
    for samples in [leaky, steady, heap] {
        store.append(&samples, &[]).expect("appended");
    }
    store.put_document("estimators", b"{}").expect("put");
}

pub(super) fn loadline(engine: &Engine, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadline"))
        .args(arguments)
        .env("LOADLINE_SERVER", engine.client.address())
        .env_remove("COLUMNS")
        .env_remove("CLICOLOR_FORCE")
        .env("TZ", "UTC")
        .envs(environment.iter().copied())
        .output()
        .expect("the binary")
}

pub(super) fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(super) async fn advised(engine: &Engine) -> Vec<RecommendationDto> {
    engine
        .wait("recommendations from the recorded usage", async || {
            let found = engine.client.recommendations().await.expect("recommendations");
            found.iter().filter(|row| row.samples >= 11_000).count() == 3
        })
        .await;
    engine.client.recommendations().await.expect("recommendations")
}

#[tokio::test(flavor = "multi_thread")]
async fn days_of_recorded_usage_become_advice() {
    let mut engine = Engine::start(SPECS);
    engine.wait("the specs are known", async || engine.status().await.workloads.len() == 4).await;
    engine.kill();
    record(&engine.data());
    engine.restart();
    let rows = advised(&engine).await;
    let row = |name: &str| rows.iter().find(|row| row.workload == name).expect("a row");
    let findings =
        |name: &str| -> Vec<Finding> { row(name).findings.iter().map(|found| found.finding).collect() };
    assert!(
        matches!(findings("leaky").as_slice(), [Finding::Leak { bytes_per_day }] if (bytes_per_day / MIB - 120.0).abs() < 15.0),
        "{:?}",
        findings("leaky")
    );
    assert_eq!(findings("steady"), []);
    assert!(
        matches!(findings("heap").as_slice(), [Finding::Plateau { memory }] if (memory.as_f64() / MIB - 300.0).abs() < 15.0),
        "{:?}",
        findings("heap")
    );
    assert_eq!(row("steady").confidence, Some(Confidence::High), "{}", row("steady").grounds);
    assert!(row("steady").price_per_month < 0.0 && row("never").recommended.is_none());

    // The largest saving comes first, what has no recommendation last; each says what to do.
    let table = text(&loadline(&engine, &["recommend"], &[]));
    let place = |part: &str| table.find(part).unwrap_or_else(|| panic!("no {part} in\n{table}"));
    assert!(place("steady") < place("leaky") && place("leaky") < place("never"), "{table}");
    for part in [
        "SAVES/MONTH",
        "a day as long as a task runs",
        "a leak to report, not a size to chase",
        "after a start and stays there",
        "-Xmx",
        "recommended: nothing measured yet",
        "nothing is recommended for 1 of 4",
    ] {
        place(part);
    }
    let json: Value =
        serde_json::from_str(&text(&loadline(&engine, &["recommend", "-o", "json"], &[]))).expect("JSON");
    assert_eq!(json[0]["workload"], "steady");
    assert_eq!(json[0]["confidence"], "high");
    let leaky = json.as_array().expect("rows").iter().find(|row| row["workload"] == "leaky").expect("leaky");
    assert_eq!(leaky["findings"][0]["finding"]["kind"], "leak");

    explained(&engine).await;
}

async fn explained(engine: &Engine) {
    for (arguments, width) in
        [(["recommend", "leaky", "--explain"], 80), (["recommend", "--explain", "leaky"], 160)]
    {
        let shown = text(&loadline(engine, &arguments, &[("COLUMNS", &width.to_string())]));
        for line in shown.lines() {
            assert!(line.chars().count() <= width, "{width}: {line}");
        }
        for part in
            ["now 1.0 GiB", "recommended ", "─", "═", "·", "OOM kills/month", "PRICE/MONTH", "leak to report"]
        {
            assert!(shown.to_lowercase().contains(&part.to_lowercase()), "no {part} in\n{shown}");
        }
        assert!(!shown.contains('\u{1b}'), "colours where no terminal is");
    }
    let coloured = text(&loadline(engine, &["recommend", "leaky", "--explain"], &[("CLICOLOR_FORCE", "1")]));
    assert!(coloured.contains("\u{1b}[3"), "{coloured}");

    let found = engine.client.explanation("leaky", 240, 100).await.expect("an explanation");
    assert!((76..=79).contains(&found.usage.len()), "{} parts", found.usage.len());
    let highest = found.usage.iter().map(|part| part.memory_max).max().expect("usage") as f64 / MIB;
    assert!((640.0..=680.0).contains(&highest), "{highest}");
    assert!(found.usage.iter().all(|part| part.memory_mean <= part.memory_max));
    for (name, hours, parts, status) in [("none", 1, 1, 404), ("leaky", 0, 1, 400), ("leaky", 1, 1001, 400)] {
        let refused = engine.client.explanation(name, hours, parts).await;
        assert!(matches!(refused, Err(ClientError::Refused(problem)) if problem.status == status), "{name}");
    }
    assert_eq!(loadline(engine, &["recommend", "none", "--explain"], &[]).status.code(), Some(5));
    let nameless = loadline(engine, &["recommend", "--explain"], &[]);
    assert!(String::from_utf8_lossy(&nameless.stderr).contains("needs the name of a workload"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_grows_is_drawn_as_it_does() {
    let engine = Engine::start(
        r#"
[service.growing]
command = "while :; do x=$x$(head -c 500000 /dev/zero | tr '\\0' x); sleep 0.2; done"
memory = "512MiB"
"#,
    );
    engine.wait_ready("growing", 1).await;
    engine
        .wait("usage that grows, drawn", async || {
            let found = engine.client.explanation("growing", 1, 1000).await.expect("an explanation");
            let highest = |part: Option<&UsagePartDto>| part.map_or(0, |part| part.memory_max);
            let (first, last) = (highest(found.usage.first()), highest(found.usage.last()));
            found.usage.len() >= 3 && last > first + (5 << 20)
        })
        .await;
    let shown = text(&loadline(&engine, &["recommend", "growing", "--explain", "--hours", "1"], &[]));
    assert!(shown.contains("now 512.0 MiB"), "{shown}");
}
