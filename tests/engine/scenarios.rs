//! Scenarios of the demo: a short one end to end, and one that is interrupted.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::{binary, supervisors};
use crate::machine::{processes_in, signal, until};

fn demo(folder: &tempfile::TempDir, arguments: &[&str]) -> Command {
    let mut demo = Command::new(binary());
    demo.args(["demo", "--data-dir"])
        .arg(folder.path().join("data"))
        .args(arguments)
        .env_remove("CLICOLOR_FORCE")
        .env("COLUMNS", "160")
        .current_dir("/");
    demo
}

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("loadline-test-").tempdir().expect("a folder")
}

/// Cells of the table's row that begins so.
fn row<'a>(said: &'a str, begins: &str) -> Vec<&'a str> {
    let line = said.lines().find(|line| line.trim_start().starts_with(begins));
    let line = line.unwrap_or_else(|| panic!("no row `{begins}` in:\n{said}"));
    line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()
}

#[test]
fn a_short_scenario_ends_with_figures_of_both_and_a_page() {
    let folder = folder();
    let page = folder.path().join("run.html");
    let arguments = ["--scenario", "deploy-under-load", "--minutes", "1", "--page"];
    let output = demo(&folder, &arguments).arg(&page).output().expect("the demo");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let warned = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}\n{warned}");
    println!("{said}");
    let (reactive, predictive) = (row(&said, "reactive: hpa"), row(&said, "predictive: loadline"));
    assert_eq!((reactive.len(), predictive.len()), (10, 10), "{said}");
    let number = |cell: &str| cell.split(' ').next().and_then(|text| text.parse::<f64>().ok());
    for cells in [&reactive, &predictive] {
        assert!(number(cells[1]).is_some_and(|requests| requests > 100.0), "{cells:?}");
        // A request alone takes 150 ms of its thread.
        assert!(cells[5].ends_with(" ms") && number(cells[5]).is_some_and(|p95| p95 >= 150.0), "{cells:?}");
        assert!(number(cells[8]).is_some_and(|seconds| seconds > 10.0), "{cells:?}");
    }
    // Over all days the same requests were due at both: the last row of each.
    let due = |begins: &str| {
        said.lines()
            .rfind(|line| line.trim_start().starts_with(begins))
            .map(|line| row(line, begins)[1].to_owned())
    };
    assert_eq!(due("reactive: hpa"), due("predictive: loadline"), "{said}");
    assert!(said.contains("In days 3 and 4 ") && !said.contains("nothing was seen"), "{said}");
    assert_eq!(said.matches("load model of ").count(), 2, "{said}");
    let written = std::fs::read_to_string(&page).expect("the page");
    assert_eq!(written.matches("<figure>").count(), 3);
    assert!(written.contains("predictive: loadline, budget 5 %") && !written.contains("NaN"));
    assert_eq!(processes_in(folder.path()), Vec::<u32>::new(), "something was left running");
}

/// A demo that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_interrupted_scenario_leaves_nothing_behind() {
    let folder = folder();
    let arguments = ["--scenario", "diurnal", "--minutes", "2"];
    let child =
        demo(&folder, &arguments).process_group(0).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut demo = Running(child.expect("the demo"));
    let data = folder.path().join("data");
    until("instances of both services run", || processes_in(&data).len() >= 2);
    std::thread::sleep(Duration::from_secs(3));
    signal(demo.0.id(), Signal::SIGINT);
    let began = Instant::now();
    let status = demo.0.wait().expect("an end");
    assert!(!status.success() && began.elapsed() < Duration::from_secs(30), "{status} {:?}", began.elapsed());
    assert_eq!(processes_in(&data), Vec::<u32>::new());
    assert!(supervisors(&data).is_empty());
}
