//! An engine that starts over a folder finds what an earlier one left.

use std::fs;
use std::process::Command;

use jiff::SignedDuration;
use loadline::domain::observation::{NodeObservation, ProcessState};
use loadline::domain::task::{ExitStatus, TaskId};
use loadline::ports::cluster::{ClusterObserver, TaskRunner};

use super::{Rig, both_modes, launch, size};
use crate::machine::{is_alive, until};

#[tokio::test]
async fn running_tasks_are_taken_over_and_exits_meanwhile_are_known() {
    for mode in both_modes() {
        let rig = Rig::new(mode);
        rig.node("small-1").await;
        let mut pids = Vec::new();
        for number in 1..=5 {
            let task = rig.run(&format!("web.{number}"), &["sleep", "1000"]).await;
            pids.push((task.clone(), rig.pid(&task).await));
        }
        let trigger = rig.dir.path().join("trigger");
        let script = format!("while ! test -e {}; do sleep 0.01; done; exit 9", trigger.display());
        let ends = rig.run("job.1", &["sh", "-c", &script]).await;

        let rig = rig.reopened_after(|data| {
            fs::write(&trigger, "").expect("a trigger");
            until("the exit record", || data.join("tasks/job.1/exit.json").exists());
        });
        assert_eq!(rig.exit(&ends).await.status, Some(ExitStatus::Code(9)));
        let observed = rig.cluster.observe().await.expect("an observation");
        assert_eq!(observed.tasks.len(), 6);
        assert_eq!(observed.nodes.values().collect::<Vec<_>>(), [&NodeObservation::Ready]);
        for (task, pid) in &pids {
            assert_eq!(rig.pid(task).await, *pid);
        }
        // It is known, so it is not started again; and it is under control.
        let again = launch("web.1", "small-1", &["sleep", "1000"], size(100, 64));
        rig.cluster.launch(&again).await.expect("a launch");
        assert_eq!(rig.pid(&again.task.id).await, pids[0].1);
        rig.cluster.stop(&again.task.id, SignedDuration::from_secs(5)).await.expect("a stop");
        assert_eq!(rig.exit(&again.task.id).await.status, Some(ExitStatus::Signal(15)));
    }
}

#[tokio::test]
async fn an_exit_after_the_takeover_wakes_the_engine() {
    let rig = Rig::new(super::CgroupMode::Detect);
    rig.node("small-1").await;
    let task = rig.run("web.1", &["sleep", "1000"]).await;
    let rig = rig.reopened();
    let pid = i32::try_from(rig.pid(&task).await).expect("a number");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGUSR1)
        .expect("a signal");
    assert_eq!(rig.exit(&task).await.status, Some(ExitStatus::Signal(10)));
}

#[tokio::test]
async fn a_number_that_was_given_again_is_neither_adopted_nor_killed() {
    for mode in both_modes() {
        let rig = Rig::new(mode);
        rig.node("small-1").await;
        let task = rig.run("web.1", &["sleep", "1000"]).await;
        let pid = rig.pid(&task).await;
        let mut stranger =
            Command::new("sleep").arg("1000").env("LOADLINE_TASK", "web.1").spawn().expect("a process");

        let rig = rig.reopened_after(|data| {
            // As if the supervisor had died and its number, and the task's, had been given to another.
            let folder = data.join("tasks/web.1");
            let claim: serde_json::Value = read(&folder.join("supervisor.json"));
            let supervisor = claim["supervisor"]["pid"].as_i64().expect("a number");
            let supervisor = nix::unistd::Pid::from_raw(i32::try_from(supervisor).expect("a number"));
            nix::sys::signal::kill(supervisor, nix::sys::signal::Signal::SIGKILL).expect("a kill");
            until("the end of the task", || !is_alive(pid));
            for (file, path) in [("supervisor.json", "/supervisor/pid"), ("started.json", "/process/pid")] {
                let mut document = read(&folder.join(file));
                *document.pointer_mut(path).expect("a number") = stranger.id().into();
                fs::write(folder.join(file), document.to_string()).expect("a write");
            }
        });
        assert_eq!(rig.process(&task).await, ProcessState::Lost);
        rig.cluster.stop(&task, SignedDuration::ZERO).await.expect("nothing to stop");
        drop(rig);
        assert!(stranger.try_wait().expect("a state").is_none(), "another process was killed");
        stranger.kill().expect("an end");
        stranger.wait().expect("an end");
    }
}

#[tokio::test]
async fn a_launch_that_was_broken_off_before_its_start_can_be_repeated() {
    let rig = Rig::new(super::CgroupMode::Detect);
    rig.node("small-1").await;
    let task = rig.run("web.1", &["sleep", "1000"]).await;
    rig.cluster.stop(&task, SignedDuration::ZERO).await.expect("a stop");
    rig.exit(&task).await;
    let rig = rig.reopened_after(|data| {
        // What is on disk when the engine dies between its record and the supervisor's claim.
        for file in ["supervisor.json", "started.json", "exit.json", "stop.json"] {
            fs::remove_file(data.join("tasks/web.1").join(file)).expect("a removal");
        }
    });
    let observed = rig.cluster.observe().await.expect("an observation");
    assert!(!observed.tasks.contains_key(&task), "it is known though it never ran");
    let task = rig.run("web.1", &["sleep", "1000"]).await;
    rig.pid(&task).await;
}

#[tokio::test]
async fn a_second_engine_over_the_same_folder_is_refused() {
    let rig = Rig::new(super::CgroupMode::ForcedOff);
    let second = super::LocalCluster::open(rig.config.clone(), std::sync::Arc::new(super::SystemClock));
    let Err(error) = second else { panic!("two engines share a folder") };
    assert!(error.to_string().ends_with("is in use by another engine"), "{error}");
}

#[tokio::test]
async fn logs_of_the_oldest_tasks_go_first() {
    let mut rig = Rig::new(super::CgroupMode::ForcedOff);
    rig.config.kept_logs = 2;
    let rig = rig.reopened();
    rig.node("small-1").await;
    for number in 1..=4 {
        let task = rig.run(&format!("job.{number}"), &["echo", "done"]).await;
        rig.exit(&task).await;
        rig.cluster.forget(&task).await.expect("it ended");
    }
    let mut kept: Vec<TaskId> = fs::read_dir(rig.config.data_dir.join("tasks"))
        .expect("a folder")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().parse().expect("an id"))
        .collect();
    kept.sort();
    assert_eq!(kept.iter().map(TaskId::number).collect::<Vec<_>>(), [3, 4]);
}

#[tokio::test]
async fn a_task_does_not_hold_what_its_engine_was_given() {
    // A pipe that the engine was started with must close when the engine ends, not when its tasks do.
    let rig = Rig::new(super::CgroupMode::ForcedOff);
    rig.node("small-1").await;
    let task = rig.run("web.1", &["sleep", "1000"]).await;
    let pid = rig.pid(&task).await;
    let open = || fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    // A program that has just begun has its libraries open for a moment.
    until("the standard three open files and no more", || open() == 3);
    // Nor does what is typed at its terminal reach the task.
    let of = |pid: u32| {
        nix::unistd::getsid(Some(nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a number"))))
    };
    assert_ne!(of(pid).expect("a session"), of(std::process::id()).expect("a session"));
}

fn read(path: &std::path::Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(path).expect("a file")).expect("a document")
}

#[test]
fn a_supervisor_that_comes_after_its_engine_has_died_starts_nothing() {
    let supervise = |engine: u32| {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("workdir")).expect("a folder");
        let marker = folder.path().join("ran");
        let assignment = serde_json::json!({
            "folder": folder.path(), "command": ["touch", marker], "working_dir": null, "user": null,
            "environment": { "PATH": std::env::var("PATH").expect("a path") }, "group": null, "own_group": null,
            "stop_grace": { "secs": 1, "nanos": 0 }, "logs": { "file_bytes": 1000, "rotated_files": 1 },
            "engine": engine, "open_files": { "begin": 256, "most": 1024 },
        });
        let mut child = Command::new(env!("CARGO_BIN_EXE_loadline"))
            .args(["supervise", "web.1"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("the binary");
        let mut line = child.stdin.take().expect("standard input");
        std::io::Write::write_all(&mut line, format!("{assignment}\n").as_bytes()).expect("a write");
        drop(line);
        assert!(child.wait().expect("its end").success());
        (marker.exists(), folder.path().join("supervisor.json").exists())
    };
    assert_eq!(supervise(std::process::id()), (true, true), "one whose engine lives takes its task");
    // As if another process had become its parent.
    assert_eq!(supervise(1), (false, false));
}
