//! The backtest as people call it, on files.

use std::path::{Path, PathBuf};

use loadline::analytics::read_trace;
use loadline::replay::backtest::{Contender, Report, Resource, Scored, report};
use loadline::replay::grid::Trace;
use loadline::replay::vertical::replay;
use serde_json::Value;

use crate::backtest_command::{backtest, fault};

const HEAD: &str = "workload,task,time,cpu,memory,cpu_request,memory_request\n";

/// Three days of two workloads: one steady, one with a peak on the third day.
fn trace(folder: &Path) -> PathBuf {
    let rows = (0..864).map(|step| {
        let peak = if (576..579).contains(&step) { 900_000_000 } else { 300_000_000 };
        let time = 1_000_000_200 + step * 300;
        format!("peaky,p,{time},0.5,{peak},1,1000000000\nsteady,s,{time},0.2,300000000,1,1000000000\n")
    });
    let text = std::iter::once(HEAD.to_owned()).chain(rows).collect::<Vec<_>>().concat();
    let path = folder.join("three-days.csv");
    std::fs::write(&path, text).expect("written");
    path
}

#[test]
fn a_trace_becomes_a_table_json_and_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = trace(folder.path());
    let (path, emit) = (path.to_str().expect("a path"), folder.path().join("said"));
    let emitted = emit.to_str().expect("a path");
    let output =
        backtest(&["--trace", path, "--policy", "vpa", "krr:margin=1.1", "--emit", emitted, "-o", "json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let reports: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let line = |report: usize, line: usize| reports[report]["lines"][line].clone();
    assert_eq!(
        (reports[0]["resource"].as_str(), reports[1]["resource"].as_str()),
        (Some("memory"), Some("cpu"))
    );
    // The first day is apart: two tasks for two days. VPA says 351 MB, is killed at the first peak, says
    // enough for the second, and stays there.
    assert_eq!(line(0, 0)["figures"]["task_days"].as_f64(), Some(4.0));
    assert!(line(0, 0)["figures"]["missed"].as_u64().is_some_and(|kills| (1..=3).contains(&kills)));
    assert_eq!(line(0, 0)["excess"]["value"].as_f64().map(|excess| excess <= 1.0), Some(true));
    assert_eq!(line(0, 1)["policy"].as_str(), Some("krr:margin=1.1"));
    assert_eq!(line(1, 0)["figures"]["missed"].as_u64(), Some(0));
    for name in ["vpa.limits", "vpa.ooms", "krr-margin-1.1.limits", "krr-margin-1.1.ooms"] {
        let content = std::fs::read(emit.join(format!("{name}.parquet"))).expect("a file");
        assert!(content.starts_with(b"PAR1") && content.ends_with(b"PAR1"), "{name}");
    }
    let table = backtest(&["--trace", path, "--policy", "vpa", "--resource", "memory", "--no-sweep"]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.contains("OOM/TASK-DAY") && table.contains("margin=1.15"), "{table}");
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = trace(folder.path());
    let path = path.to_str().expect("a path");
    let with = |threads: &str| backtest(&["--trace", path, "--threads", threads, "-o", "json"]).stdout;
    assert_eq!(with("1"), with("3"));
}

#[test]
fn wrong_input_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = trace(folder.path());
    let good = good.to_str().expect("a path");
    let known = "there are loadline, vpa, autopilot-window, autopilot-ml, krr, crane, nomad, request";
    assert!(fault(&["--trace", good, "--policy", "best"]).contains(known));
    assert!(fault(&["--trace", good, "--policy", "vpa", "vpa"]).contains("policy vpa is named twice"));
    assert!(
        fault(&["--trace", good, "--policy", "krr:margin=none"])
            .contains("`margin=none` should be KEY=VALUE")
    );
    let wrong = |rows: &str| {
        let path = folder.path().join("wrong.csv");
        std::fs::write(&path, format!("{HEAD}{rows}")).expect("written");
        fault(&["--trace", path.to_str().expect("a path")])
    };
    assert!(wrong("w,a,0,1,2,,\nw,a,300,-1,2,,\n").contains("row 2, column `cpu`: found -1"));
    assert!(wrong("w,a,0,1,2,,\nw,a,300,1,NaN,,\n").contains("row 2, column `memory`: found NaN"));
    assert!(wrong("").contains("the trace has no rows"));
    let rows = |task: &str, count: u32, interval: u32| -> String {
        (0..count).map(|n| format!("w,{task},{},1,1,,\n", n * interval)).collect::<Vec<_>>().concat()
    };
    let mixed = wrong(&(rows("fine", 50, 60) + &rows("coarse", 12, 300)));
    assert!(mixed.contains("row 51, column `time`: rows of task coarse come every 300 s"), "{mixed}");
}

#[test]
fn repairs_are_counted_and_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("repaired.csv");
    let rows = "w,a,600,1,2,,\nw,a,300,1,2,,\nw,a,900,1,2,,\nw,a,900,1,3,,\n";
    std::fs::write(&path, format!("{HEAD}{rows}")).expect("written");
    let output = backtest(&["--trace", path.to_str().expect("a path"), "--policy", "vpa", "--no-sweep"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(": 1 rows stood before an earlier one of their task: sorted"), "{said}");
    assert!(said.contains(": 1 rows repeat the workload, task and time of another: joined"), "{said}");
}

/// Real traces are not in the repository: `LOADLINE_TRACES` names the folder that has them.
fn real(name: &str, policies: &[&str]) -> Option<Report> {
    let folder = std::env::var_os("LOADLINE_TRACES")?;
    let path = Path::new(&folder).join("usage").join(name);
    let rows = read_trace(&path).expect("a trace");
    let trace = Trace::new(name, &rows, None).expect("a trace");
    let all: Vec<usize> = (0..trace.workloads.len()).collect();
    let contenders: Vec<Contender> =
        policies.iter().map(|label| Contender::parse(label).expect("a policy")).collect();
    let scored: Vec<Scored> = contenders
        .iter()
        .map(|contender| {
            let mut teller = contender.teller().expect("a teller");
            let outcome = replay(&trace, &all, &mut teller, false, &|_| {});
            Scored {
                label: contender.label().to_owned(),
                knob: contender.knob().1,
                asked: true,
                tallies: outcome.tallies.into_iter().map(|(_, tally)| tally).collect(),
            }
        })
        .collect();
    Some(report(&trace, Resource::Memory, &contenders, &scored))
}

/// Kills per task-day and footprint over usage of an independent replay of the same traces.
#[test]
fn real_traces_give_the_figures_of_an_independent_replay() {
    let google = [("vpa", 0.0755, 1.4349), ("krr", 0.0660, 1.4247), ("oracle", 0.0, 1.1580)];
    let bitbrains = [("vpa", 0.2187, 5.4617), ("krr", 0.1417, 6.4543), ("oracle", 0.0, 3.7093)];
    // Days begin with each workload here, with the trace there: where workloads begin at odd times the
    // figures differ a little.
    for (name, expected, within) in
        [("google2011-jobs.parquet", google, 0.0006), ("bitbrains-faststorage.parquet", bitbrains, 0.02)]
    {
        let Some(report) = real(name, &expected.map(|(policy, ..)| policy)) else {
            println!("skipped: LOADLINE_TRACES does not name a folder of traces");
            return;
        };
        for (line, (policy, rate, footprint)) in report.lines.iter().zip(expected) {
            let figures = line.settled;
            assert!((figures.rate - rate).abs() <= rate * within + 6e-5, "{name} {policy}: {figures:?}");
            let off = (figures.footprint_over_use - footprint).abs();
            assert!(off <= footprint * within, "{name} {policy}: {figures:?}");
        }
    }
}
