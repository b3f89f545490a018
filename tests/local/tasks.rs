//! One task: how it starts, what it is given, how it ends.

use std::fs;
use std::path::Path;

use jiff::SignedDuration;
use loadline::adapters::local::CgroupMode;
use loadline::domain::observation::ProcessState;
use loadline::domain::task::ExitStatus;
use loadline::domain::workload::{EnvValue, SecretRef};
use loadline::ports::cluster::{ClusterError, ClusterObserver, TaskRunner};

use super::{LogLimits, Rig, both_modes, launch, size};
use crate::machine::{PATIENCE, is_alive, until};

#[tokio::test]
async fn a_task_runs_in_a_clean_environment_and_its_end_and_output_are_kept() {
    for mode in both_modes() {
        let rig = Rig::new(mode);
        rig.node("small-1").await;
        let script = "echo $GREETING $PORT $PORT_HTTP_ADMIN $LOADLINE_TASK $LOADLINE_NODE; pwd; \
                      echo ${CARGO_MANIFEST_DIR-clean}; echo problem >&2; exit 7";
        let mut wanted = launch("web.1", "small-1", &["sh", "-c", script], size(100, 64));
        wanted.template.env.insert("GREETING".to_owned(), EnvValue::Plain("hello".to_owned()));
        wanted.ports = vec!["http".to_owned(), "http-admin".to_owned()];
        let ports = rig.cluster.launch(&wanted).await.expect("a launch");

        let exit = rig.exit(&wanted.task.id).await;
        assert_eq!(exit.status, Some(ExitStatus::Code(7)));
        assert!(!exit.asked_to_stop);
        let folder = rig.folder("web.1").canonicalize().expect("a folder").join("workdir");
        let first = format!("hello {} {} web.1 small-1", ports["http"], ports["http-admin"]);
        let expected = [first, folder.display().to_string(), "clean".to_owned()];
        assert_eq!(rig.output(&wanted.task.id).await, expected);
        let problems = fs::read_to_string(rig.folder("web.1").join("stderr.log")).expect("a log");
        assert_eq!(problems, "problem\n");

        rig.cluster.forget(&wanted.task.id).await.expect("it ended");
        let observed = rig.cluster.observe().await.expect("an observation");
        assert!(observed.tasks.is_empty());
        assert_eq!(rig.output(&wanted.task.id).await, expected, "logs stay");
    }
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let rig = Rig::new(CgroupMode::Detect);
    rig.node("small-1").await;
    let cases = [
        ("web.1", vec!["no-such-program"], None, None, "program `no-such-program` was not found"),
        ("web.2", vec!["/etc/passwd"], None, None, "cannot run `/etc/passwd`: Permission denied"),
        (
            "web.3",
            vec!["true"],
            Some("/no/such/folder"),
            None,
            "working folder /no/such/folder: No such file",
        ),
        ("web.4", vec!["true"], None, Some("no-such-user"), "there is no user `no-such-user`"),
    ];
    for (name, command, folder, user, expected) in cases {
        let mut wanted = launch(name, "small-1", &command, size(100, 64));
        wanted.template.working_dir = folder.map(Into::into);
        wanted.template.user = user.map(ToString::to_string);
        rig.cluster.launch(&wanted).await.expect("a launch");
        let exit = rig.exit(&wanted.task.id).await;
        assert_eq!(exit.status, None, "{name}");
        assert!(exit.describe().starts_with("did not start: "), "{}", exit.describe());
        assert!(exit.describe().contains(expected), "{}", exit.describe());
    }
}

#[tokio::test]
async fn a_user_of_its_own_gets_its_rights_and_its_folder() {
    if !nix::unistd::Uid::effective().is_root() {
        eprintln!("skipped: only root can become another user");
        return;
    }
    let rig = Rig::new(CgroupMode::Detect);
    rig.node("small-1").await;
    let mut wanted =
        launch("web.1", "small-1", &["sh", "-c", "id -un; id -gn; touch mine && echo wrote"], size(100, 64));
    wanted.template.user = Some("nobody".to_owned());
    rig.cluster.launch(&wanted).await.expect("a launch");
    assert_eq!(rig.exit(&wanted.task.id).await.status, Some(ExitStatus::Code(0)));
    let output = rig.output(&wanted.task.id).await;
    assert_eq!((output[0].as_str(), output[2].as_str()), ("nobody", "wrote"), "{output:?}");
}

#[tokio::test]
async fn a_polite_task_ends_by_itself_with_its_own_status() {
    let rig = Rig::new(CgroupMode::Detect);
    rig.node("small-1").await;
    let script = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.02; done";
    let task = rig.run("web.1", &["sh", "-c", script]).await;
    assert_eq!(rig.first_line(&task).await, "ready");
    rig.cluster.stop(&task, SignedDuration::from_secs(30)).await.expect("a stop");
    // Again, as loops do; it changes nothing.
    rig.cluster.stop(&task, SignedDuration::from_secs(30)).await.expect("a stop");

    let exit = rig.exit(&task).await;
    assert_eq!((exit.status, exit.asked_to_stop), (Some(ExitStatus::Code(3)), true));
    assert_eq!(rig.output(&task).await, ["ready", "bye"]);
    rig.cluster.stop(&task, SignedDuration::ZERO).await.expect("it is not there, which is no error");
}

#[tokio::test]
async fn after_the_grace_nothing_is_left_of_a_task_that_ignores_the_signal() {
    for mode in both_modes() {
        let rig = Rig::new(mode);
        rig.node("small-1").await;
        // A child, a grandchild in a session of its own, and a process whose parent is gone.
        let script = "trap '' TERM; \
                      sh -c 'trap \"\" TERM; sleep 1000 & echo $!; wait' & \
                      setsid sh -c 'sleep 1000 & echo $!; wait' & \
                      sh -c 'setsid sleep 1000 & echo $!' ; \
                      echo ready; while :; do sleep 1; done";
        let task = rig.run("web.1", &["sh", "-c", script]).await;
        let log = rig.folder("web.1").join("stdout.log");
        until("four lines", || fs::read_to_string(&log).is_ok_and(|text| text.lines().count() == 4));
        let text = fs::read_to_string(&log).expect("a log");
        let mut pids: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
        assert_eq!(pids.len(), 3, "{text}");
        pids.push(rig.pid(&task).await);
        assert!(pids.iter().all(|pid| is_alive(*pid)));

        let asked = std::time::Instant::now();
        rig.cluster.stop(&task, SignedDuration::from_secs(2)).await.expect("a stop");
        assert!(asked.elapsed().as_secs() < 2, "a stop does not wait for the grace");
        let exit = rig.exit(&task).await;
        assert!(asked.elapsed().as_secs() >= 2, "the grace was not given");
        assert_eq!((exit.status, exit.asked_to_stop), (Some(ExitStatus::Signal(9)), true));
        for pid in pids {
            assert!(!is_alive(pid), "process {pid} was left");
            assert!(!Path::new(&format!("/proc/{pid}")).exists(), "process {pid} was not reaped");
        }
    }
}

#[tokio::test]
async fn what_a_task_leaves_behind_goes_with_it() {
    for mode in both_modes() {
        let rig = Rig::new(mode);
        rig.node("small-1").await;
        let task = rig.run("web.1", &["sh", "-c", "setsid sleep 1000 & echo $!"]).await;
        assert_eq!(rig.exit(&task).await.status, Some(ExitStatus::Code(0)));
        let left: u32 = rig.first_line(&task).await.parse().expect("a process");
        assert!(!is_alive(left));
    }
}

#[tokio::test]
async fn a_task_is_started_once_however_often_it_is_asked_for() {
    let rig = Rig::new(CgroupMode::Detect);
    rig.node("small-1").await;
    let mut wanted = launch("web.1", "small-1", &["sh", "-c", "echo started; sleep 1000"], size(100, 64));
    wanted.ports = vec!["http".to_owned()];
    let (first, second) = tokio::join!(rig.cluster.launch(&wanted), rig.cluster.launch(&wanted));
    let third = rig.cluster.launch(&wanted).await.expect("a launch");
    assert_eq!(first.expect("a launch"), third);
    assert_eq!(second.expect("a launch"), third);
    let pid = rig.pid(&wanted.task.id).await;
    assert_eq!(rig.first_line(&wanted.task.id).await, "started");
    assert!(matches!(rig.cluster.forget(&wanted.task.id).await, Err(ClusterError::Refused(_))));
    assert_eq!(rig.pid(&wanted.task.id).await, pid);
}

#[tokio::test]
async fn secrets_reach_the_task_and_never_the_disk() {
    let rig = Rig::new(CgroupMode::Detect);
    rig.node("small-1").await;
    let file = rig.dir.path().join("token");
    fs::write(&file, "hush-from-file\n").expect("a secret");
    let script = "test \"$TOKEN\" = hush-from-file && test -n \"$SHELL_PATH\" && echo ok; sleep 1000";
    let mut wanted = launch("web.1", "small-1", &["sh", "-c", script], size(100, 64));
    let env = &mut wanted.template.env;
    env.insert("TOKEN".to_owned(), EnvValue::Secret(SecretRef::File(file)));
    env.insert("SHELL_PATH".to_owned(), EnvValue::Secret(SecretRef::Env("PATH".to_owned())));
    env.insert("PLAIN".to_owned(), EnvValue::Plain("not-for-the-disk-either".to_owned()));
    rig.cluster.launch(&wanted).await.expect("a launch");
    assert_eq!(rig.first_line(&wanted.task.id).await, "ok");
    for secret in ["hush-from-file", "not-for-the-disk-either"] {
        assert_eq!(files_with(&rig.config.data_dir, secret), Vec::<String>::new());
    }
    // Nor do arguments show it, which every user of the machine can read.
    for entry in fs::read_dir("/proc").expect("processes").flatten() {
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&arguments).contains("=hush-from"), "{:?}", entry.path());
    }

    let mut missing = launch("web.2", "small-1", &["true"], size(100, 64));
    let nowhere = SecretRef::File("/no/such/secret".into());
    missing.template.env.insert("TOKEN".to_owned(), EnvValue::Secret(nowhere));
    let error = rig.cluster.launch(&missing).await.expect_err("no secret");
    assert!(matches!(&error, ClusterError::Secret { variable, .. } if variable == "TOKEN"), "{error}");
    let observed = rig.cluster.observe().await.expect("an observation");
    assert!(!observed.tasks.contains_key(&missing.task.id), "it can be asked for again");
}

fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        if entry.path().is_dir() {
            found.extend(files_with(&entry.path(), text));
        } else if String::from_utf8_lossy(&fs::read(entry.path()).expect("a file")).contains(text) {
            found.push(entry.path().display().to_string());
        }
    }
    found
}

#[tokio::test]
async fn much_output_is_kept_in_files_of_bounded_size() {
    let mut rig = Rig::new(CgroupMode::Detect);
    rig.config.logs = LogLimits { file_bytes: 100_000, rotated_files: 2 };
    let rig = rig.reopened();
    rig.node("small-1").await;
    let task = rig.run("web.1", &["seq", "1", "100000"]).await;
    assert_eq!(rig.exit(&task).await.status, Some(ExitStatus::Code(0)));

    for name in ["stdout.log", "stdout.log.1", "stdout.log.2"] {
        assert!(fs::metadata(rig.folder("web.1").join(name)).expect("a file").len() < 100_020);
    }
    assert!(!rig.folder("web.1").join("stdout.log.3").exists());
    let lines: Vec<u64> =
        rig.output(&task).await.iter().map(|line| line.parse().expect("a number")).collect();
    assert_eq!(lines.last(), Some(&100_000));
    assert!(lines.windows(2).all(|pair| pair[1] == pair[0] + 1), "lines were lost or cut");
}

#[tokio::test]
async fn a_supervisor_that_is_killed_takes_its_task_along_and_the_task_is_lost() {
    for mode in both_modes() {
        let rig = Rig::new(mode);
        rig.node("small-1").await;
        let task = rig.run("web.1", &["sh", "-c", "sleep 1000 & echo $!; wait"]).await;
        let child: u32 = rig.first_line(&task).await.parse().expect("a process");
        let pid = rig.pid(&task).await;
        let supervisor = parent_of(pid);
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(supervisor), nix::sys::signal::Signal::SIGKILL)
            .expect("a kill");

        tokio::time::timeout(PATIENCE, async {
            while rig.process(&task).await != ProcessState::Lost {
                rig.cluster.changed().await;
            }
        })
        .await
        .expect("its loss");
        for pid in [pid, child] {
            assert!(!is_alive(pid), "process {pid} was left");
        }
        rig.cluster.forget(&task).await.expect("it is gone");
    }
}

fn parent_of(pid: u32) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let rest = stat.rsplit(") ").next().expect("fields");
    rest.split(' ').nth(1).expect("a parent").parse().expect("a number")
}
