//! A task that prints ten thousand lines a second: bounded memory and files, and nobody else notices.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{Place, binary, supervisors};

/// Lines of one burst, and bursts; the pause between them makes ten thousand lines a second.
const BURST: u32 = 500;
const BURSTS: u32 = 400;
const LOG_BYTES: u64 = 1 << 20;
const LOG_FILES: u64 = 3;
/// What an engine and a supervisor may grow by meanwhile, in KiB. Both are far larger to begin with.
const GROWTH_MAX: u64 = 32 << 10;

fn resident_kib(number: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{number}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_lines_a_second_hurt_nobody() {
    let place = Place::new();
    place.set("[logs]\nmax_size = \"1MiB\"\nfiles = 3\n");
    let engine = place.start();
    let line = "x".repeat(90);
    let done = place.folder.path().join("done");
    let specs = format!(
        r#"
[service.neighbour]
command = ["sleep", "100000"]
memory = "32MiB"
[job.flood]
command = """i=0; while [ $i -lt {BURSTS} ]; do yes "$i {line}" | head -n {BURST}; i=$((i + 1)); sleep 0.04; done; touch {}"""
memory = "64MiB"
cpu = 0.5
"#,
        done.display()
    );
    engine.apply(&specs).await.expect("valid specs");
    engine.wait_ready("neighbour", 1).await;
    engine.wait("the flood begins", async || !engine.pids("flood").await.is_empty()).await;
    let began = Instant::now();
    let holder =
        supervisors(&place.data).into_iter().find(|(_, task)| task.starts_with("flood")).expect("one").0;
    let first = (resident_kib(engine.pid()), resident_kib(holder));
    let scraped = engine.status().await.engine.scrapes[0].clone();
    let mut most = first;
    let mut slowest = Duration::ZERO;
    while !done.exists() {
        assert!(began.elapsed() < Duration::from_secs(90), "the flood is held up");
        most = (most.0.max(resident_kib(engine.pid())), most.1.max(resident_kib(holder)));
        let asked = Instant::now();
        let output = Command::new(binary())
            .args(["logs", "flood"])
            .env("LOADLINE_SERVER", engine.client.address())
            .output()
            .expect("the binary");
        slowest = slowest.max(asked.elapsed());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains(&line), "logs: {output:?}");
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    let took = began.elapsed();
    let health = engine.status().await.engine.scrapes[0].clone();
    let samples = health.succeeded - scraped.succeeded;
    let kept: u64 = fs::read_dir(place.data.join("tasks/flood.1"))
        .expect("a folder")
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("stdout.log"))
        .map(|entry| entry.metadata().expect("a file").len())
        .sum();
    eprintln!(
        "{} lines in {took:?}; resident KiB of engine {} to {}, of supervisor {} to {}; {kept} bytes kept; \
         `logs` in {slowest:?} at most; {samples} samples",
        BURST * BURSTS,
        first.0,
        most.0,
        first.1,
        most.1
    );
    assert!(
        most.0 < first.0 + GROWTH_MAX && most.1 < first.1 + GROWTH_MAX,
        "memory grew: {first:?} to {most:?}"
    );
    assert!(kept <= LOG_BYTES * LOG_FILES + (64 << 10), "{kept} bytes of log");
    assert_eq!((health.failed, health.late), (scraped.failed, scraped.late), "samples were late");
    assert!(samples + 4 >= took.as_secs(), "{samples} samples in {took:?}, one a second");
    engine.end();
}
