//! Batch runs past policies: on generated runs always, on real ones where they are.

use std::path::Path;

use loadline::analytics::read_jobs;
use loadline::replay::jobs::{AskedAt, JobReport, JobRow, JobTrace, report};

use crate::backtest_command::{backtest, fault};

const GIB: f64 = 1_073_741_824.0;
const POLICIES: [&str; 6] = ["request", "doubling", "percentile", "witt-lr", "tovar-ppm", "loadline"];

/// At least 30 % less wasted than doubling, at no more failed runs, whenever in a run a kill comes.
fn assert_better_than_doubling(report: &JobReport) {
    let line = |policy: &str| report.lines.iter().find(|line| line.policy == policy).expect("a line");
    let (own, doubling) = (line("loadline"), line("doubling"));
    for (own, doubling) in [(own.all, doubling.all), (own.killed_at_half, doubling.killed_at_half)] {
        assert!(own.wasted <= 0.7 * doubling.wasted, "{own:?}, doubling: {doubling:?}");
        assert!(own.failed_runs <= doubling.failed_runs, "{own:?}, doubling: {doubling:?}");
        assert!(own.killed <= doubling.killed, "{own:?}, doubling: {doubling:?}");
        assert_eq!(own.runs, doubling.runs);
    }
}

#[expect(clippy::print_stdout, reason = "figures for whoever looks")]
fn show(report: &JobReport) {
    for line in &report.lines {
        println!("{:12} {:?}", line.policy, line.all);
    }
}

/// From 0 up to 1, the same everywhere.
fn chance(state: &mut u64) -> f64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 11) as f64 / (1_u64 << 53) as f64
}

/// Eight jobs of sixty runs each, half an hour to two hours: peaks spread by a tenth to a half around
/// 0.5 to 4 GiB, 16 GiB asked for; one job outgrows what it asks for in its later half.
fn generated() -> Vec<JobRow> {
    let mut state = 7;
    let mut rows = Vec::new();
    for job in 0..8_u32 {
        let usual = 0.5 * f64::from(1 + job);
        let spread = 0.1 + 0.05 * f64::from(job);
        for run in 0..60_i64 {
            let normal = (0..12).map(|_| chance(&mut state)).sum::<f64>() - 6.0;
            let outgrown = if job == 7 && run >= 30 { 6.0 } else { 1.0 };
            let hours = 0.5 + 1.5 * chance(&mut state);
            let submit = run * 3_600_000;
            rows.push(JobRow {
                job: format!("job-{job}"),
                submit,
                start: submit + 1000,
                end: submit + 1000 + (hours * 3.6e6) as i64,
                took: None,
                request: Some(16.0 * GIB),
                peak: Some(usual * outgrown * (spread * normal).exp() * GIB),
                input: None,
                attempt: 1,
            });
        }
    }
    rows
}

#[test]
fn generated_runs_waste_less_than_under_doubling() {
    let trace = JobTrace::new("generated", &generated(), AskedAt::Submit).expect("runs");
    let report = report(&trace, &POLICIES).expect("a report");
    show(&report);
    assert_better_than_doubling(&report);
    let over = report.lines.last().and_then(|line| line.over_doubling_interval).expect("an interval");
    assert!(over.high < 1.0, "{over:?}");
}

/// Real runs are not in the repository: `LOADLINE_TRACES` names the folder that has them.
#[test]
fn real_runs_waste_less_than_under_doubling() {
    let Some(folder) = std::env::var_os("LOADLINE_TRACES") else {
        println!("skipped: LOADLINE_TRACES does not name a folder of traces");
        return;
    };
    let path = Path::new(&folder).join("jobs/nextflow-tasks.parquet");
    for with_input in [false, true] {
        let rows = read_jobs(&path, with_input).expect("runs");
        for asked_at in [AskedAt::Submit, AskedAt::Start] {
            let trace = JobTrace::new("nextflow-tasks", &rows, asked_at).expect("runs");
            let report = report(&trace, &POLICIES).expect("a report");
            println!("input {with_input}, asked at {asked_at:?}");
            show(&report);
            assert_better_than_doubling(&report);
        }
    }
}

#[test]
fn runs_become_a_table_and_json_and_faults_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("runs.csv");
    let row = |n: u64| {
        let (submit, peak) = (n * 100, 900_000_000 + n * 1_000_000);
        format!("nightly,{submit},{submit},{},8000000000,{peak},\n", submit + 60)
    };
    let rows = (0..40).map(row).collect::<Vec<_>>().concat();
    let head = "job,submit,start,end,memory_request,memory_peak,note\n";
    std::fs::write(&path, format!("{head}{rows}nightly,9000,9000,9060,8000000000,,\n")).expect("written");
    let path = path.to_str().expect("a path");
    let output = backtest(&["--jobs", path, "--policy", "doubling", "loadline:price=10", "-o", "json"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("1 rows without a request or a peak"), "{said}");
    let reports: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(reports[0]["lines"][0]["over_doubling"].as_f64(), Some(1.0));
    assert_eq!(reports[0]["lines"][1]["policy"].as_str(), Some("loadline:price=10"));
    assert!(reports[0]["lines"][1]["over_doubling"].as_f64().is_some_and(|ratio| ratio < 0.5), "{reports}");
    let table = String::from_utf8_lossy(&backtest(&["--jobs", path]).stdout).into_owned();
    assert!(table.contains("WASTED GIB-H") && table.contains("tovar-ppm"), "{table}");
    assert!(fault(&["--jobs", path, "--policy", "vpa"]).contains("there are request, doubling"));
    assert!(fault(&["--jobs", path, "--with-input"]).contains("there is no column `input`"));
    assert!(fault(&["--jobs", path, "--trace", path]).contains("cannot be used with"));
}
