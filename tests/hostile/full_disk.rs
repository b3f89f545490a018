//! The disk of the data folder is full: what is acknowledged is kept, the rest is refused, tasks go on, and
//! once there is room again so does everything else.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use loadline::api::client::ClientError;
use loadline::api::dto::RunDto;
use loadline::domain::task::{ExitStatus, TaskState};
use loadline::domain::world::RunOutcome;
use nix::sys::signal::Signal;

use super::disk::SmallDisk;
use crate::harness::{Engine, Place, supervisors};
use crate::machine::{is_alive, signal, until};

/// Commits that may still fit into room that the store has already.
const TRIES: u32 = 2_000;

fn specs(outside: &std::path::Path) -> String {
    let at = outside.display();
    format!(
        r#"
[service.talks]
command = "while :; do echo a line of some length, again and again; echo . >> {at}/alive; sleep 0.02; done"
memory = "32MiB"
[service.quiet]
command = ["sleep", "100000"]
memory = "32MiB"
instances = 2
[job.ends]
command = "echo begin >> {at}/ends; while [ ! -e {at}/go ]; do sleep 0.1; done; exit 7"
memory = "32MiB"
[job.unheard]
command = "echo begin >> {at}/unheard; while [ ! -e {at}/go ]; do sleep 0.1; done; exit 8"
memory = "32MiB"
[cron.often]
schedule = "*/2 * * * * *"
command = "echo $LOADLINE_TASK >> {at}/often"
start_deadline = "1s"
memory = "32MiB"
"#
    )
}

fn one_more(number: u32) -> String {
    format!("[service.more-{number}]\ncommand = [\"sleep\", \"100000\"]\ninstances = 0\n")
}

fn lines(path: &std::path::Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

async fn runs(engine: &Engine, name: &str) -> Vec<RunDto> {
    engine.client.get(&format!("/v1/runs?workload={name}&limit=1000")).await.expect("runs")
}

async fn only_run(engine: &Engine, name: &str) -> RunDto {
    let mut all = runs(engine, name).await;
    assert_eq!(all.len(), 1, "{name}: {all:?}");
    all.remove(0)
}

/// Declares one service after the other until one is refused. Tells which were acknowledged.
async fn declare_until_refused(engine: &Engine) -> (BTreeSet<String>, u32) {
    let mut kept = BTreeSet::new();
    for number in 0..TRIES {
        match engine.apply(&one_more(number)).await {
            Ok(_) => {
                kept.insert(format!("more-{number}"));
            }
            Err(ClientError::Refused(problem)) => {
                assert!(problem.status >= 500, "{problem:?}");
                assert!(problem.detail.contains("nothing was changed"), "{problem:?}");
                assert!(problem.detail.contains("no space is left"), "{problem:?}");
                return (kept, number);
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("the disk is full, and everything is acknowledged");
}

async fn declared(engine: &Engine) -> BTreeSet<String> {
    let all: Vec<loadline::api::dto::WorkloadDto> =
        engine.client.get("/v1/workloads").await.expect("workloads");
    all.into_iter().map(|each| each.name).filter(|name| name.starts_with("more-")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_and_tasks_go_on() {
    let Some(disk) = SmallDisk::new(12) else { return };
    let mut place = Place::new();
    place.data = disk.path().join("data");
    // The engine's own log is on the full disk as well.
    std::os::unix::fs::symlink(disk.path().join("engine.log"), place.folder.path().join("engine.log"))
        .expect("a link");
    let outside = place.folder.path().to_owned();
    let mut engine = place.start();
    engine.apply(&specs(&outside)).await.expect("valid specs");
    engine.wait_ready("talks", 1).await;
    engine.wait_ready("quiet", 2).await;
    engine
        .wait("the jobs run", async || outside.join("ends").exists() && outside.join("unheard").exists())
        .await;
    let before: Vec<_> =
        [engine.pids("talks").await, engine.pids("quiet").await].into_iter().flatten().collect();
    assert_eq!(before.len(), 3);

    disk.fill();
    let (kept, refused) = declare_until_refused(&engine).await;
    engine
        .wait("status says that the disk is full", async || {
            disk.fill();
            engine.status().await.engine.problems.iter().any(|problem| problem.contains("no space is left"))
        })
        .await;
    assert_eq!(declared(&engine).await, kept, "what was refused is not there");

    // Two tasks end, and their ends cannot be written down. One supervisor dies over it.
    let of_unheard = supervisors(&place.data)
        .into_iter()
        .find(|(_, task)| task.starts_with("unheard"))
        .expect("a supervisor")
        .0;
    fs::write(outside.join("go"), "").expect("a trigger");
    let written = lines(&outside.join("alive")).len();
    tokio::time::sleep(Duration::from_secs(3)).await;
    signal(of_unheard, Signal::SIGKILL);
    tokio::time::sleep(Duration::from_secs(1)).await;
    until("the task that prints goes on", || lines(&outside.join("alive")).len() > written + 40);
    assert!(before.iter().all(|(_, number)| is_alive(*number)), "tasks died of the full disk");
    assert!(!engine.has_ended(), "the engine died of the full disk");

    // An engine that comes in the middle of it says what is wrong, or does without what it cannot have.
    engine.kill();
    match place.try_start() {
        Ok(engine) => {
            assert_eq!(declared(&engine).await, kept, "what was acknowledged is there, and no more");
            engine.kill();
        }
        Err(said) => {
            assert!(said.to_lowercase().contains("no space") && said.contains("Free some space"), "{said}");
        }
    }
    assert!(before.iter().all(|(_, number)| is_alive(*number)), "tasks died of an engine that did not start");

    disk.free();
    let engine = place.start();
    engine
        .wait("all is well again", async || {
            engine.status().await.engine.problems.is_empty()
                && only_run(&engine, "ends").await.outcome.is_final()
                && only_run(&engine, "unheard").await.outcome.is_final()
        })
        .await;
    assert_eq!(declared(&engine).await, kept, "what was acknowledged is there, and no more");
    engine.apply(&one_more(refused)).await.expect("there is room");
    let after: Vec<_> =
        [engine.pids("talks").await, engine.pids("quiet").await].into_iter().flatten().collect();
    assert_eq!(before, after, "the same processes, all along");
    check_ends(&engine, &outside).await;
    check_cron(&engine, &outside).await;
    let log = fs::read_to_string(place.data.join("tasks/talks.1/stdout.log")).expect("a log");
    assert!(log.contains("bytes of output were dropped: No space left"), "the gap is not told");
    engine.end();
}

/// One end was put on record when there was room; the other is lost, and said to be. Neither ran again.
async fn check_ends(engine: &Engine, outside: &std::path::Path) {
    let ends = engine.ended("ends").await.remove(0);
    assert_eq!(ends.exit.and_then(|exit| exit.status), Some(ExitStatus::Code(7)));
    let unheard = engine.ended("unheard").await.remove(0);
    assert_eq!(unheard.state, TaskState::Lost);
    assert!(unheard.reason.contains("left no record of its end"), "{}", unheard.reason);
    for name in ["ends", "unheard"] {
        let run = only_run(engine, name).await;
        assert!(matches!(run.outcome, RunOutcome::Failed { .. }), "{run:?}");
        assert_eq!(lines(&outside.join(name)), ["begin"], "{name} ran again");
    }
}

/// Each occurrence has one record, and those that are said to have succeeded did it once.
async fn check_cron(engine: &Engine, outside: &std::path::Path) {
    engine
        .wait("cron runs go on", async || {
            let newest = runs(engine, "often").await.into_iter().next();
            newest.is_some_and(|run| run.outcome == RunOutcome::Succeeded)
        })
        .await;
    let effects = lines(&outside.join("often"));
    let distinct: BTreeSet<&String> = effects.iter().collect();
    assert_eq!(distinct.len(), effects.len(), "a task ran twice: {effects:?}");
    let mut all = runs(engine, "often").await;
    all.sort_by_key(|run| run.at);
    for pair in all.windows(2) {
        let apart = pair[1].at.duration_since(pair[0].at).as_secs();
        assert_eq!(apart, 2, "an occurrence is missing or doubled after {}", pair[0].at);
    }
    for run in all.iter().filter(|run| run.outcome == RunOutcome::Succeeded) {
        let count = effects.iter().filter(|task| run.tasks.contains(task)).count();
        assert_eq!(count, 1, "{run:?}");
    }
}
