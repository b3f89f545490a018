//! `loadline simulate`, and an engine over a cluster that is not there.

use std::process::Command;
use std::time::{Duration, Instant};

use loadline::api::client::RunFilter;
use loadline::domain::world::RunOutcome;

use crate::harness::{Place, binary};
use crate::machine::PATIENCE;

fn simulate(arguments: &[&str]) -> std::process::Output {
    Command::new(binary()).arg("simulate").args(arguments).output().expect("it runs")
}

const SMALL: [&str; 8] = ["--tasks", "60", "--days", "0.1", "--nodes", "50", "--counts", "hpa"];

#[test]
fn the_same_seed_gives_the_same_figures_and_a_page_has_charts() {
    let json = || {
        let out =
            simulate(&[&SMALL[..], &["--policy", "karpenter", "-o", "json", "--faults", "all"]].concat());
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let mut said: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
        said["policies"][0]["effort"] = serde_json::Value::Null;
        said["peak_memory_mib"] = serde_json::Value::Null;
        said
    };
    let first = json();
    assert_eq!(first, json());
    assert!(first["policies"][0]["price_per_hour"].as_f64().expect("a price") > 0.0);
    assert_eq!(first["policies"][0]["violations"]["no_room"], 0);

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("week.html");
    let path = file.to_str().expect("a path");
    let out = simulate(&[&SMALL[..], &["-o", "html", "--file", path]].concat());
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let page = std::fs::read_to_string(&file).expect("a page");
    for policy in ["fixed", "cluster-autoscaler", "karpenter", "loadline"] {
        assert!(page.contains(&format!("<h2>{policy}</h2>")), "{policy} is not on the page");
    }
    assert!(page.contains("<svg") && !page.contains("Nothing to draw"));
}

#[test]
fn what_cannot_be_simulated_is_refused_in_words() {
    let refused = |arguments: &[&str]| {
        let out = simulate(arguments);
        assert!(!out.status.success());
        String::from_utf8(out.stderr).expect("text")
    };
    assert!(refused(&["--policy", "nomad"]).contains("those known are fixed, cluster-autoscaler"));
    assert!(refused(&["--faults", "rain=1"]).contains("`rain` is not a fault"));
    assert!(refused(&["--types", "m9.huge"]).contains("`m9.huge` is not a type of machine"));
    assert!(refused(&["--days", "0"]).contains("--days should be a number above 0"));
}

/// In real time: nodes join, instances become ready, a cron job's runs succeed, nobody starts a process.
#[tokio::test]
async fn an_engine_runs_a_cluster_that_is_not_there() {
    let specs = r#"
        [pool.small]
        cpu = 4
        memory = "8GiB"
        min = 2
        max = 4

        [service.web]
        command = ["no-such-program"]
        instances = 5
        cpu = 1
        memory = "1GiB"
        ports = ["http"]
        readiness = { http = "/ready" }

        [job.once]
        command = ["work", "1"]
        run_on_apply = true
        cpu = 0.5
        memory = "100MiB"
    "#;
    let mut place = Place::new();
    place.set("[engine]\ncluster = \"simulated\"\n[simulated]\nboot = \"300ms\"\n");
    let file = place.folder.path().join("specs.toml");
    std::fs::write(&file, specs).expect("specs");
    place.specs = Some(file);
    let engine = place.start();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let web = engine.client.workload("web").await.expect("a workload");
        let runs = engine.client.runs(&RunFilter::default(), 10).await.expect("runs");
        let done = runs.iter().any(|run| run.outcome == RunOutcome::Succeeded);
        if web.ready == 5 && done {
            break;
        }
        assert!(Instant::now() < deadline, "{web:?}\n{runs:?}\n{}", place.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    engine.end();
}
