//! The backtest of forecasts as people call it, on a small file.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn backtest(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadline"))
        .args(["backtest", "--forecast"])
        .args(arguments)
        .env("COLUMNS", "200")
        .output()
        .expect("the binary")
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Six days of a shop with a daily rhythm, the same of one with none, and two days of one that is too young.
fn load(folder: &Path) -> PathBuf {
    let mut seed = 1_u64;
    // Knuth's linear congruential generator: from -0.5 to 0.5.
    let mut noise = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as f64 / f64::from(1_u32 << 31) - 0.5
    };
    let rows = (0..6 * 288).map(|step| {
        let time = 1_000_000_200 + step * 300;
        let day = 100.0 + 80.0 * (f64::from(step) / 288.0 * std::f64::consts::TAU).sin();
        let shop = format!("shop,{time},{:.3}\n", day * (1.0 + 0.1 * noise()));
        let random = format!("noise,{time},{:.3}\n", 50.0 + 20.0 * noise());
        let young = if step < 2 * 288 { format!("young,{time},{day:.3}\n") } else { String::new() };
        [shop, random, young].concat()
    });
    let text = std::iter::once("series,time,load\n".to_owned()).chain(rows).collect::<Vec<_>>().concat();
    let path = folder.join("load.csv");
    std::fs::write(&path, text).expect("written");
    path
}

#[test]
fn forecasts_of_a_file_become_json_a_table_and_a_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = load(folder.path());
    let path = path.to_str().expect("a path");
    let json = backtest(&[path, "-o", "json"]);
    let warned = String::from_utf8_lossy(&json.stderr).into_owned();
    let reports: Value = serde_json::from_str(&said(&json)).expect("JSON");
    let report = &reports[0];
    assert_eq!(
        (reports.as_array().map(Vec::len), report["series"].as_array().map(Vec::len)),
        (Some(1), Some(2))
    );
    assert_eq!(report["too_short"], serde_json::json!(["young"]));
    assert!(warned.contains("series young is left out"), "{warned}");
    let methods: Vec<&str> =
        report["methods"].as_array().expect("methods").iter().filter_map(Value::as_str).collect();
    assert_eq!(methods, ["loadline", "naive-day", "naive-week", "ets", "holt-winters", "mstl"]);
    let structures: Vec<&Value> =
        report["series"].as_array().expect("series").iter().map(|series| &series["structure"]).collect();
    assert_eq!(structures, ["seasonal", "none"], "the noise is known for what it is");
    for row in report["summary"].as_array().expect("rows") {
        let ratio = |method: usize| row["ratio"][method].as_f64().expect("a ratio");
        assert!((ratio(1) - 1.0).abs() < 1e-9, "what the others are told against");
        assert!((0.1..2.0).contains(&ratio(0)), "{row}");
        let coverage = row["coverage"][0][2].as_f64().expect("a coverage");
        assert!((0.75..=1.0).contains(&coverage), "of 90 %: {row}");
    }

    let table = said(&backtest(&[path]));
    assert!(table.contains("2 series, at the end 1 with seasons, 1 without structure"), "{table}");
    assert!(table.contains("loss over seasonal naive's") && table.contains("HOLT-WINTERS"), "{table}");
    for horizon in ["5 min", "30 min", "1 h", "6 h", "24 h", "48 h"] {
        assert!(table.lines().any(|line| line.trim_start().starts_with(horizon)), "{horizon}: {table}");
    }
    let page = said(&backtest(&[path, "-o", "html"]));
    assert!(page.contains("Backtest of forecasts") && page.contains("<figure>"));
    let missing = backtest(&["no-such-file.csv"]);
    assert!(
        !missing.status.success() && String::from_utf8_lossy(&missing.stderr).contains("no-such-file.csv")
    );
}
