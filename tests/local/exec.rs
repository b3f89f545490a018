//! Commands in running tasks.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use loadline::domain::task::ExitStatus;
use loadline::domain::workload::EnvValue;
use loadline::ports::cluster::{ClusterError, Launch, TaskRunner};
use loadline::ports::exec::{ExecLimits, ExecOutput, ExecTarget, TaskExec};

use super::{Rig, both_modes, launch, size};
use crate::machine::{PATIENCE, is_alive, until};

const LIMITS: ExecLimits = ExecLimits { time: SignedDuration::from_secs(15), output: 1 << 20 };

async fn run(
    rig: &Rig,
    launch: &Launch,
    script: &str,
    limits: ExecLimits,
) -> Result<ExecOutput, ClusterError> {
    let target = ExecTarget {
        task: launch.task.id.clone(),
        template: launch.template.clone(),
        first_port: launch.ports.first().cloned(),
    };
    let command = ["sh", "-c", script].map(str::to_owned);
    rig.cluster.exec(&target, &command, limits).await
}

fn sleeper() -> Launch {
    let mut launch = launch("web.1", "small-1", &["sleep", "1000"], size(100, 64));
    launch.ports = vec!["http".to_owned()];
    launch.template.env = BTreeMap::from([("GREETING".to_owned(), EnvValue::Plain("hello".to_owned()))]);
    launch
}

#[tokio::test]
async fn a_command_has_the_tasks_environment_folder_and_group() {
    for mode in both_modes() {
        let rig = Rig::new(mode);
        rig.node("small-1").await;
        let task = sleeper();
        let ports = rig.cluster.launch(&task).await.expect("a launch");
        let script =
            "echo $PORT $PORT_HTTP $GREETING $LOADLINE_TASK $LOADLINE_NODE; pwd; echo oops >&2; exit 3";
        let done = run(&rig, &task, script, LIMITS).await.expect("an end");
        let lines: Vec<&str> = done.stdout.lines().collect();
        let port = ports["http"];
        assert_eq!(lines[0], format!("{port} {port} hello web.1 small-1"));
        assert!(lines[1].ends_with("tasks/web.1/workdir"), "{}", lines[1]);
        assert_eq!((done.status, done.stderr.as_str()), (Some(ExitStatus::Code(3)), "oops\n"));
        assert!(!done.truncated && !done.timed_out);
        if rig.enforces() {
            let group = run(&rig, &task, "cat /proc/self/cgroup", LIMITS).await.expect("an end").stdout;
            assert!(group.contains("/small-1/web.1/exec-"), "{group}");
        }
        // The task goes on as if nothing had been.
        assert!(is_alive(rig.pid(&task.task.id).await));
    }
}

#[tokio::test]
async fn the_time_limit_takes_everything_that_a_command_started() {
    for mode in both_modes() {
        let rig = Rig::new(mode);
        rig.node("small-1").await;
        let task = sleeper();
        rig.cluster.launch(&task).await.expect("a launch");
        // One child in the process group, one that left it.
        let script = "echo begun; sleep 500 & echo $! > a; setsid sleep 500 & echo $! > b; wait";
        // Long enough for a shell to get as far as its children.
        let limits = ExecLimits { time: SignedDuration::from_secs(3), ..LIMITS };
        let done = tokio::time::timeout(PATIENCE, run(&rig, &task, script, limits)).await;
        let done = done.expect("it does not wait for the children").expect("an end");
        assert!(done.timed_out && done.status.is_none() && done.stdout == "begun\n", "{done:?}");
        for file in ["a", "b"] {
            let path = rig.folder("web.1").join("workdir").join(file);
            let pid: u32 = std::fs::read_to_string(path).expect("a file").trim().parse().expect("a pid");
            until("the child ends", || !is_alive(pid));
        }
        assert!(is_alive(rig.pid(&task.task.id).await), "the task went with its command");
    }
}

#[tokio::test]
async fn output_is_bounded_and_what_cannot_run_is_said() {
    let rig = Rig::new(both_modes()[0].clone());
    rig.node("small-1").await;
    let task = sleeper();
    rig.cluster.launch(&task).await.expect("a launch");
    let limits = ExecLimits { output: 1000, ..LIMITS };
    let done = run(&rig, &task, "head -c 300000 /dev/zero | tr '\\0' x", limits).await.expect("an end");
    assert_eq!((done.stdout.len(), done.truncated), (1000, true));
    assert_eq!(done.status, Some(ExitStatus::Code(0)), "it was held up by a full pipe");

    let target = ExecTarget { task: task.task.id.clone(), template: task.template.clone(), first_port: None };
    let missing = rig.cluster.exec(&target, &["no-such-program".to_owned()], LIMITS).await;
    let error = missing.expect_err("it ran");
    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(cause.contains("program `no-such-program` was not found"), "{error}: {cause}");
    let nobody = ExecTarget { task: "web.2".parse().expect("an id"), ..target };
    let absent = rig.cluster.exec(&nobody, &["true".to_owned()], LIMITS).await;
    assert!(matches!(absent, Err(ClusterError::NoSuchTask(_))), "{absent:?}");
}
