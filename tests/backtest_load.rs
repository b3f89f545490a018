//! The backtest of load as people call it, on files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use polars_io::SerReader;
use polars_io::prelude::ParquetReader;
use serde_json::Value;

use crate::backtest_command::{backtest, fault};

/// Two days of two services: one with a daily rhythm, one flat.
fn load(folder: &Path) -> PathBuf {
    let rows = (0..2 * 288).map(|step| {
        let time = 1_000_000_200 + step * 300;
        let day = 100.0 + 80.0 * (f64::from(step) / 288.0 * std::f64::consts::TAU).sin();
        format!("shop,{time},{day:.3}\nflat,{time},40\n")
    });
    let text = std::iter::once("series,time,load\n".to_owned()).chain(rows).collect::<Vec<_>>().concat();
    let path = folder.join("load.csv");
    std::fs::write(&path, text).expect("written");
    path
}

#[test]
fn a_load_becomes_a_table_json_a_page_and_counts() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = load(folder.path());
    let (path, emit) = (path.to_str().expect("a path"), folder.path().join("said"));
    let emitted = emit.to_str().expect("a path");
    let common = ["--load", path, "--interval", "60s", "--policy", "hpa", "autopilot:target=0.5", "oracle"];
    let json = backtest(&[&common[..], &["--emit", emitted, "-o", "json"]].concat());
    assert!(json.status.success(), "{}", String::from_utf8_lossy(&json.stderr));
    let reports: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    let series: Vec<&str> =
        reports.as_array().expect("reports").iter().filter_map(|report| report["series"].as_str()).collect();
    assert_eq!(series, ["shop", "flat"]);
    let shop = &reports[0]["lines"];
    // HPA is its own reference; another target may do as well for less.
    assert!(shop[0]["excess"]["value"].as_f64().is_some_and(|excess| excess > 0.0 && excess <= 1.0));
    assert_eq!(shop[2]["figures"]["hours"].as_f64(), Some(1.0));
    assert_eq!(shop[2]["excess"]["value"].as_f64(), Some(0.0));
    assert_eq!(shop[0]["points"].as_array().map(Vec::len), Some(11));
    // What was emitted says what was counted.
    let file = std::fs::File::open(emit.join("hpa.counts.parquet")).expect("a file");
    let frame = ParquetReader::new(file).finish().expect("a frame");
    let columns: Vec<&str> =
        frame.get_column_names().into_iter().map(polars::prelude::PlSmallStr::as_str).collect();
    assert_eq!(columns, ["policy", "series", "time", "count"]);
    let mut rows: BTreeMap<String, usize> = BTreeMap::new();
    for name in frame.column("series").and_then(|names| names.str()).expect("names").iter().flatten() {
        *rows.entry(name.to_owned()).or_default() += 1;
    }
    let changes = shop[0]["figures"]["changes"].as_f64().expect("changes") * 2.0;
    assert!((changes - (rows["shop"] - 1) as f64).abs() < 1e-9, "{changes} {rows:?}");
    assert!(emit.join("autopilot-target-0.5.counts.parquet").is_file());
    let table = String::from_utf8_lossy(&backtest(&common).stdout).into_owned();
    assert!(table.contains("UNDER-PROVISIONED") && table.contains("target=0.5"), "{table}");
    let page =
        String::from_utf8_lossy(&backtest(&[&common[..], &["-o", "html"]].concat()).stdout).into_owned();
    assert_eq!(page.matches("<figure>").count(), 2);
    assert!(
        !page.contains("src=") && page.contains("autopilot:target=0.5\ntarget=0.5"),
        "points tell their knob"
    );
    // The number of threads changes nothing.
    let with =
        |threads: &str| backtest(&[&common[..], &["--threads", threads, "-o", "json"]].concat()).stdout;
    assert_eq!(with("1"), with("3"));
}

#[test]
fn wrong_input_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = load(folder.path());
    let path = path.to_str().expect("a path");
    assert!(fault(&["--load", path, "--policy", "vpa"]).contains("there is no policy `vpa`; there are "));
    assert!(fault(&["--load", path, "--policy", "hpa", "hpa"]).contains("policy hpa is named twice"));
    assert!(fault(&["--load", path, "--min", "9", "--max", "3"]).contains("--max should be at least"));
    assert!(fault(&["--load", path, "--capacity", "0"]).contains("--capacity should be a number above 0"));
    assert!(fault(&["--trace", path, "--capacity", "3"]).contains("--load"));
    let empty = folder.path().join("empty.csv");
    std::fs::write(&empty, "series,time,load\ns,60,0\n").expect("written");
    let said = fault(&["--load", empty.to_str().expect("a path")]);
    assert!(
        said.contains("series s has no load above 0: left out") && said.contains("no series has"),
        "{said}"
    );
    let known = backtest(&["--list-load-policies"]);
    assert!(String::from_utf8_lossy(&known.stdout).contains("keda-cron"));
}
