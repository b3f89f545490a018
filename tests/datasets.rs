//! Datasets: the shipped ones are what their cards say, and the commands that make and show them.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use loadline::analytics::read_trace;
use serde_json::Value;

fn datasets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets")
}

/// Whether it went well, and everything that was said.
fn loadline(arguments: &[&str]) -> (bool, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_loadline"))
        .args(arguments)
        .output()
        .expect("the binary");
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path")
}

#[test]
fn the_demos_trace_reads_and_its_card_counts_it() {
    let rows = read_trace(&datasets().join("demo-2026-11.parquet")).expect("a trace");
    let tasks: BTreeSet<&str> = rows.iter().map(|row| row.task.as_str()).collect();
    let workloads: BTreeSet<&str> = rows.iter().map(|row| row.workload.as_str()).collect();
    assert_eq!(workloads, BTreeSet::from(["leaky", "stocktake", "web", "worker"]));
    let card = std::fs::read_to_string(datasets().join("README.md")).expect("the card");
    let counted = format!("{} rows, {} tasks of 4 workloads", rows.len(), tasks.len());
    assert!(card.contains(&counted), "the card should say: {counted}");
    let (first, last) = (rows.iter().map(|row| row.time).min(), rows.iter().map(|row| row.time).max());
    assert!(last.zip(first).is_some_and(|(last, first)| last - first >= 1800), "half an hour at least");
    assert!(rows.iter().any(|row| row.workload == "web" && row.load.is_some_and(|load| load > 0.0)));
}

/// The card's own command makes the shipped set again, with its truth, to the last bit of every value.
#[test]
fn the_generated_set_is_what_its_card_makes() {
    let folder = tempfile::tempdir().expect("a folder");
    let card = std::fs::read_to_string(datasets().join("README.md")).expect("the card");
    let command = card
        .lines()
        .find_map(|line| line.split('`').find(|part| part.starts_with("loadline dataset generate")))
        .expect("a command in the card");
    let inside = command.replace("datasets/", &format!("{}/", text(folder.path())));
    let arguments: Vec<&str> = inside.split_whitespace().skip(1).collect();
    let (made, said) = loadline(&arguments);
    assert!(made, "{said}");
    let (parquet, truth) = ("families-2026-11.parquet", "families-2026-11.truth.json");
    let rows = read_trace(&datasets().join(parquet)).expect("the shipped trace");
    assert!(rows == read_trace(&folder.path().join(parquet)).expect("a trace"), "{parquet} is another");
    let read = |folder: &Path| std::fs::read_to_string(folder.join(truth)).expect("truths");
    assert!(read(&datasets()) == read(folder.path()), "{truth} is another");
    let truths: Value = serde_json::from_str(&read(&datasets())).expect("JSON");
    let told: BTreeSet<&str> = truths["workloads"]
        .as_array()
        .expect("workloads")
        .iter()
        .filter_map(|truth| truth["workload"].as_str())
        .collect();
    assert_eq!(told, rows.iter().map(|row| row.workload.as_str()).collect(), "a truth for each workload");
    assert!(card.contains(&format!("{} rows, {} workloads", rows.len(), told.len())), "the card counts");
}

#[test]
fn generated_usage_is_a_trace_that_can_be_replayed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("made.csv");
    let file = text(&path);
    let made = loadline(&["dataset", "generate", file, "--family", "steady,cron", "--days", "3"]);
    assert!(made.0 && made.1.contains("cron: runs of 30 minutes"), "{}", made.1);
    let tested =
        loadline(&["backtest", "--trace", file, "--policy", "vpa", "--resource", "memory", "--no-sweep"]);
    assert!(tested.0 && tested.1.contains("6 workloads, 39 tasks"), "{}", tested.1);
    let refused = loadline(&["dataset", "generate", file, "--family", "wavy"]);
    assert!(!refused.0 && refused.1.contains("there is no family `wavy`; there are steady"), "{}", refused.1);
}

#[test]
fn a_trace_is_described_in_a_table_and_in_json() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("made.parquet");
    let made = loadline(&["dataset", "generate", text(&path), "--workloads", "2", "--days", "7"]);
    assert!(made.0, "{}", made.1);
    let (shown, said) = loadline(&["dataset", "describe", text(&path), "--limit", "5", "--sort", "gaps"]);
    assert!(shown && said.contains("22 workloads, ") && said.contains("rows every 5m00s"), "{said}");
    assert!(said.contains("second 300 to 604800 of the trace: 7d00h"), "{said}");
    assert!(said.contains("memory 100.0 %, cpu_request 100.0 %") && said.contains("load 0.0 %"), "{said}");
    assert!(said.contains("more series; --limit") && said.contains('█'), "{said}");
    let (shown, said) =
        loadline(&["dataset", "describe", text(&path), "--sort", "name", "--limit", "3", "-o", "json"]);
    let found: Value = serde_json::from_str(&said).expect("JSON");
    assert!(shown);
    let series = found["series"].as_array().expect("series");
    assert_eq!((series.len(), found["courses"].as_array().map(Vec::len)), (3, Some(3)));
    assert_eq!(found["tasks"].as_u64().map(|tasks| tasks - 3), found["left_out"].as_u64());
    assert_eq!((series[0]["workload"].as_str(), series[0]["samples"].as_u64()), (Some("cron-0"), Some(6)));
    let spread = &series[0]["memory"];
    let [min, p50, max] = ["min", "p50", "max"].map(|name| spread[name].as_f64().expect("a figure"));
    assert!(0.0 < min && min <= p50 && p50 <= max && max <= min * 1.11, "{spread}");
}

#[test]
fn a_public_trace_becomes_one_of_ours() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = |name: &str| folder.path().join(name).to_str().expect("a path").to_owned();
    let usage = place("part-00000-of-00500.csv.gz");
    // Ten steps of two tasks of a job, as clusterdata-2011-2 has them.
    let rows = (0..10_u64).flat_map(|step| {
        (0..2).map(move |task| {
            let from = (600 + step * 300) * 1_000_000;
            let to = from + 300_000_000;
            format!("{from},{to},6251,{task},4820,0.0625,0.01,0.02,0.001,0.002,0.015625,0,0,0.1,0,1.2,0.01,1,0,0.06\n")
        })
    });
    let mut gz = flate2::write::GzEncoder::new(
        std::fs::File::create(&usage).expect("a file"),
        flate2::Compression::fast(),
    );
    gz.write_all(rows.collect::<String>().as_bytes()).expect("written");
    gz.finish().expect("finished");
    let import =
        |more: &[&str]| loadline(&[&["dataset", "import", "--format", "google-2011"], more].concat());
    for out in [place("ours.parquet"), place("ours.csv")] {
        let (done, said) = import(&["--cores", "16", "--memory-gib", "64", &usage, &out]);
        assert!(done && said.contains("20 rows written to"), "{said}");
        let ours = read_trace(Path::new(&out)).expect("a trace");
        assert_eq!((ours.len(), ours[1].task.as_str(), ours[1].time), (20, "6251.1", 900));
        assert_eq!((ours[0].cpu, ours[0].memory), (Some(1.0), Some(1_073_741_824.0)));
        let (done, said) = loadline(&["dataset", "describe", &out]);
        assert!(done && said.contains("1 workloads, 2 series, 20 rows every 5m00s"), "{said}");
    }
    let out = place("ours.parquet");
    let before = std::fs::read(&out).expect("a file");
    for (arguments, expected) in [
        (vec![usage.as_str(), out.as_str(), "--cores", "16", "--memory-gib", "64"], "is there already"),
        (vec![usage.as_str(), "new.parquet", "--cores", "16"], "say its size with --memory-gib"),
        (vec![usage.as_str()], "expected a file name that ends in .parquet or .csv"),
        (vec!["new.parquet", "--cores", "16", "--memory-gib", "64"], "name the published files before"),
        (vec![usage.as_str(), "new.parquet", "--vms", "vms.csv"], "--vms says nothing of this format"),
    ] {
        let (done, said) = import(&arguments);
        assert!(!done && said.contains(expected), "{arguments:?}: {said}");
    }
    // A fault in the second file leaves the trace that was there, and nothing else.
    let broken = place("part-00001-of-00500.csv");
    std::fs::write(&broken, "600000000,900000000,6251,0,4820,lots,0.01,0,0,0,0.02\n").expect("written");
    let (done, said) = import(&["--cores", "16", "--memory-gib", "64", "--overwrite", &usage, &broken, &out]);
    let fault =
        "part-00001-of-00500.csv: row 1, column `CPU rate`: found `lots`, expected a number of at least 0";
    assert!(!done && said.contains(fault), "{said}");
    assert_eq!(std::fs::read(&out).expect("a file"), before);
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("a folder").collect();
    assert_eq!(left.len(), 4, "{left:?}");
}
