//! Traces that are not what they should be, as CSV and as Parquet, past the commands that read them.

use std::path::Path;
use std::process::{Command, Output};

use polars::prelude::{Column, DataFrame};
use polars_io::SerWriter;
use polars_io::prelude::{CsvWriter, ParquetWriter};

/// A column as a file may hold it.
enum Cells {
    Text(Vec<Option<&'static str>>),
    Whole(Vec<Option<i64>>),
    Real(Vec<Option<f64>>),
}

use Cells::{Real, Text, Whole};

impl Cells {
    fn column(&self, name: &str) -> Column {
        match self {
            Text(values) => Column::new(name.into(), values),
            Whole(values) => Column::new(name.into(), values),
            Real(values) => Column::new(name.into(), values),
        }
    }
}

/// What comes of a trace.
enum Comes {
    /// An error with this in it, and the exit code of bad input.
    Fault(&'static str),
    /// A repair that is said on standard error.
    Repair(&'static str),
}

use Comes::{Fault, Repair};

fn name(name: &'static str, rows: usize) -> Cells {
    Text(vec![Some(name); rows])
}

/// A trace by its columns.
type Columns = Vec<(&'static str, Cells)>;
/// What is wrong, the trace, what comes of it.
type Case = (&'static str, Columns, Comes);

/// Rows of one task that use 1 core and 100 MB, at these times.
fn at(times: &[i64]) -> Columns {
    let rows = times.len();
    vec![
        ("workload", name("w", rows)),
        ("task", name("a", rows)),
        ("time", Whole(times.iter().copied().map(Some).collect())),
        ("cpu", Real(vec![Some(1.0); rows])),
        ("memory", Real(vec![Some(1e8); rows])),
        ("memory_request", Real(vec![Some(2e8); rows])),
    ]
}

/// The same with one column replaced.
fn with(times: &[i64], column: &str, cells: Cells) -> Columns {
    let mut columns = at(times);
    let place = columns.iter().position(|(name, _)| *name == column).expect("a column");
    columns[place].1 = cells;
    columns
}

const THREE: [i64; 3] = [300, 600, 900];

fn reals(values: [f64; 3]) -> Cells {
    Real(values.map(Some).to_vec())
}

fn texts(values: [&'static str; 3]) -> Cells {
    Text(values.map(Some).to_vec())
}

/// Rows that are there or not, and when.
fn wrong_rows() -> Vec<Case> {
    let mut without = at(&THREE);
    without.retain(|(column, _)| *column != "memory");
    let minutes: Vec<i64> = (1..=60).map(|n| n * 60).collect();
    let slower: Vec<i64> = minutes.iter().copied().chain((1..=12).map(|n| 3600 + n * 300)).collect();
    let mut tasks = at(&minutes.iter().copied().chain((1..=12).map(|n| n * 300)).collect::<Vec<_>>());
    tasks[1].1 = Text([vec![Some("a"); 60], vec![Some("b"); 12]].concat());
    let mut unused = with(&THREE, "cpu", Real(vec![None; 3]));
    unused[4].1 = Real(vec![None; 3]);
    let mut away = with(&THREE, "cpu", Real(vec![Some(1.0), None, Some(1.0)]));
    away[4].1 = Real(vec![Some(1e8), None, Some(1e8)]);
    let unordered = "1 rows stood before an earlier one of their task: sorted";
    let twice = "1 rows repeat the workload, task and time of another: joined";
    let gone = "1 rows have neither CPU nor memory: left out, as if the task had not run";
    let of_b = "row 61, column `time`: rows of task b come every 300 s, those of the trace every 60 s";
    let of_a = "row 60, column `time`: rows of task a come every 300 s, those of the trace every 60 s";
    vec![
        ("missing column", without, Fault("there is no column `memory`; a trace has workload, task, time")),
        ("unordered", at(&[300, 900, 600]), Repair(unordered)),
        ("duplicates", at(&[300, 600, 600]), Repair(twice)),
        ("gone", away, Repair(gone)),
        ("two intervals", tasks, Fault(of_b)),
        ("an interval that changes", at(&slower), Fault(of_a)),
        ("no rows", at(&[]), Fault("the trace has no rows")),
        ("no usage", unused, Fault("no row of the trace has a value in column `cpu` or `memory`")),
    ]
}

/// Numbers that are none, or none that can be.
fn wrong_numbers() -> Vec<Case> {
    let cpu = |cells| with(&THREE, "cpu", cells);
    let memory = |values| with(&THREE, "memory", reals(values));
    let request = with(&THREE, "memory_request", reals([1.0, 1.0, -5.0]));
    let nan = "row 3, column `memory`: found NaN, expected a number of at least 0, or nothing";
    vec![
        ("negative", cpu(reals([1.0, -1.0, 1.0])), Fault("row 2, column `cpu`: found -1, expected")),
        ("not a number", memory([1e8, 1e8, f64::NAN]), Fault(nan)),
        ("infinite", memory([f64::INFINITY, 1e8, 1e8]), Fault("row 1, column `memory`: found inf, expected")),
        ("negative request", request, Fault("row 3, column `memory_request`: found -5, expected")),
        ("text for numbers", cpu(texts(["fast", "x", "y"])), Fault("row 1, column `cpu`: found")),
    ]
}

/// Names and times that are none.
fn wrong_names_and_times() -> Vec<Case> {
    let time = |cells| with(&THREE, "time", cells);
    let late = "row 3, column `time`: found 1000000000000000, expected seconds since the epoch";
    let none = "row 2, column `time`: found nothing, expected a whole number of seconds";
    let nobody = with(&THREE, "workload", Text(vec![Some("w"), None, Some("w")]));
    let nameless = with(&THREE, "task", texts(["a", "a", ""]));
    vec![
        ("text for times", time(texts(["noon", "1", "2"])), Fault("row 1, column `time`: found")),
        ("half seconds", time(reals([300.0, 600.5, 900.0])), Fault("row 2, column `time`: found")),
        ("beyond all calendars", time(Whole(vec![Some(300), Some(600), Some(10_i64.pow(15))])), Fault(late)),
        ("no time", time(Whole(vec![Some(300), None, Some(900)])), Fault(none)),
        ("no workload", nobody, Fault("row 2, column `workload`: found nothing, expected text")),
        ("no task's name", nameless, Fault("row 3, column `task`: found nothing, expected text")),
    ]
}

fn loadline(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadline")).args(arguments).output().expect("the binary")
}

/// Both commands that read a trace.
fn read(path: &Path) -> [(&'static str, Output); 2] {
    let path = path.to_str().expect("a path");
    let backtest = ["backtest", "--trace", path, "--policy", "vpa", "--resource", "memory", "--no-sweep"];
    [("backtest", loadline(&backtest)), ("describe", loadline(&["dataset", "describe", path]))]
}

fn check(case: &str, path: &Path, comes: &Comes) {
    for (command, output) in read(path) {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let (code, text) = match comes {
            Fault(text) => (2, text),
            Repair(text) => (0, text),
        };
        assert_eq!(output.status.code(), Some(code), "{case}, {command}: {said}");
        assert!(said.contains(text), "{case}, {command}: {said}");
        let file = path.file_name().expect("a name").to_string_lossy();
        assert!(said.contains(&*file), "{case}, {command} should name the file: {said}");
    }
}

#[test]
fn bad_traces_are_named_or_repaired_in_both_formats() {
    let folder = tempfile::tempdir().expect("a folder");
    let cases = [wrong_rows(), wrong_numbers(), wrong_names_and_times()];
    for (case, columns, comes) in cases.into_iter().flatten() {
        let rows = match &columns[0].1 {
            Text(values) => values.len(),
            Whole(_) | Real(_) => panic!("{case}: the first column is a name"),
        };
        let columns = columns.iter().map(|(name, cells)| cells.column(name)).collect();
        let mut frame = DataFrame::new(rows, columns).expect("a frame");
        let path = folder.path().join("trace.csv");
        CsvWriter::new(std::fs::File::create(&path).expect("a file")).finish(&mut frame).expect("written");
        check(case, &path, &comes);
        let path = folder.path().join("trace.parquet");
        ParquetWriter::new(std::fs::File::create(&path).expect("a file"))
            .finish(&mut frame)
            .expect("written");
        check(case, &path, &comes);
    }
}

#[test]
fn files_that_are_no_traces_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let head = "workload,task,time,cpu,memory\n";
    let ragged = format!("{head}w,a,300,1,2\nw,a,600,1\n");
    let many = format!("{head}w,a,300,1,2,3\n");
    let mut latin = format!("{head}w,a,300,1,2\n").into_bytes();
    latin.extend(b"caf\xe9,a,300,1,2\n");
    for (name, content, expected) in [
        ("empty.csv", Vec::new(), "there are no rows"),
        ("empty.parquet", Vec::new(), "there are no rows"),
        ("words.parquet", b"workload,task".to_vec(), "this cannot be read as Parquet"),
        ("ragged.csv", ragged.into_bytes(), "row 2: found 4 fields, expected 5 as in the rows before"),
        ("many.csv", many.into_bytes(), "row 1: found 6 fields, expected 5 as in the rows before"),
        ("latin.csv", latin, "row 2: this is not UTF-8 text"),
        ("trace.txt", Vec::new(), "a trace is named *.parquet or *.csv"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("written");
        check(name, &path, &Fault(expected));
    }
}

/// Types that other programs write and this build has no code for. The files were made by pyarrow: three rows
/// of a trace; in one `time` is a timestamp, in one `workload` a dictionary, and in one both types stand
/// in columns that a trace does not have.
#[test]
fn types_from_elsewhere_are_named_or_ignored() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traces");
    let times = "row 1, column `time`: found the type Timestamp, expected a whole number of seconds";
    check("timestamps", &folder.join("timestamps.parquet"), &Fault(times));
    let names = "row 1, column `workload`: found the type Dictionary, expected text";
    check("dictionary", &folder.join("dictionary.parquet"), &Fault(names));
    for (command, output) in read(&folder.join("more-columns.parquet")) {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.is_empty(), "{command}: {said}");
    }
}
