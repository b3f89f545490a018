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
