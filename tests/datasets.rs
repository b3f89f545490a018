//! The shipped traces are what their cards say.

use std::collections::BTreeSet;
use std::path::Path;

use loadline::analytics::read_trace;

#[test]
fn the_demos_trace_reads_and_its_card_counts_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets");
    let rows = read_trace(&folder.join("demo-2026-11.parquet")).expect("a trace");
    let tasks: BTreeSet<&str> = rows.iter().map(|row| row.task.as_str()).collect();
    let workloads: BTreeSet<&str> = rows.iter().map(|row| row.workload.as_str()).collect();
    assert_eq!(workloads, BTreeSet::from(["leaky", "stocktake", "web", "worker"]));
    let card = std::fs::read_to_string(folder.join("README.md")).expect("the card");
    let counted = format!("{} rows, {} tasks of 4 workloads", rows.len(), tasks.len());
    assert!(card.contains(&counted), "the card should say: {counted}");
}

#[test]
fn generated_usage_is_a_trace_that_can_be_replayed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("made.csv");
    let loadline = |arguments: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_loadline"))
            .args(arguments)
            .output()
            .expect("the binary");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.success(), said)
    };
    let file = path.to_str().expect("a path");
    let made = loadline(&["dataset", "generate", file, "--family", "steady,cron", "--days", "3"]);
    assert!(made.0 && made.1.contains("cron: runs of 30 minutes"), "{}", made.1);
    let tested =
        loadline(&["backtest", "--trace", file, "--policy", "vpa", "--resource", "memory", "--no-sweep"]);
    assert!(tested.0 && tested.1.contains("6 workloads, 39 tasks"), "{}", tested.1);
    let refused = loadline(&["dataset", "generate", file, "--family", "wavy"]);
    assert!(!refused.0 && refused.1.contains("there is no family `wavy`; there are steady"), "{}", refused.1);
}
