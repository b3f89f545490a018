//! The `exec` provider on commands that hang, fail, lie and need secrets.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use loadline::adapters::exec_provider::{ExecProvider, ExecProviderConfig};
use loadline::domain::workload::{EnvValue, SecretRef};
use loadline::ports::machines::{FailureKind, MachineProvider, MachineState};

use crate::machine::{eventually, is_alive};
use crate::providers::parts::{TIMEOUT, python, shell, shipped};

#[tokio::test]
async fn a_command_that_hangs_is_killed_with_what_it_started_and_asked_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let pids = folder.path().join("pids");
    let script = format!("sleep 600 & echo $! >> {0}; echo $$ >> {0}; wait", pids.display());
    let began = Instant::now();
    let error = shell(&script, Duration::from_millis(500)).groups().await.expect_err("no answer");
    assert_eq!(error.kind, FailureKind::Unavailable);
    assert!(error.message.contains("took longer than 500ms and was killed"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    let pids = std::fs::read_to_string(pids).expect("process ids");
    let pids: Vec<u32> = pids.lines().map(|pid| pid.parse().expect("a process id")).collect();
    assert_eq!(pids.len(), 6, "three tries, each with a child");
    eventually("all of them are gone", || !pids.iter().any(|pid| is_alive(*pid))).await;
}

#[tokio::test]
async fn what_went_wrong_is_told_with_its_kind() {
    let quota = r#"echo '{"version":1,"error":{"kind":"quota","message":"at most 5"}}'; exit 1"#;
    for (script, kind, said) in [
        ("exit 3", FailureKind::Unavailable, "exit status: 3"),
        ("echo no network >&2; exit 1", FailureKind::Unavailable, "no network"),
        ("echo hello", FailureKind::Refused, "did not answer in JSON of the contract"),
        ("echo '{\"version\":2}'", FailureKind::Refused, "answered in version 2 of the contract"),
        (quota, FailureKind::Quota, "at most 5"),
        ("yes | head -c 9000000", FailureKind::Unavailable, "more than 8388608 bytes"),
    ] {
        let error = shell(script, TIMEOUT).groups().await.expect_err(script);
        assert_eq!(error.kind, kind, "{script}: {error}");
        assert!(error.message.contains(said), "{script}: {error}");
    }
    let nowhere = ExecProviderConfig {
        command: vec!["/nowhere/at/all".to_owned()],
        working_dir: None,
        env: BTreeMap::new(),
        timeout: TIMEOUT,
    };
    let error = ExecProvider::new(nowhere).groups().await.expect_err("no program");
    assert!(
        error.kind == FailureKind::Refused && error.message.contains("cannot start `/nowhere"),
        "{error}"
    );
}

#[tokio::test]
async fn a_try_that_fails_is_followed_by_another_and_no_two_overlap() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().display();
    // Fails the first time; tells when another one is under way.
    let script = format!(
        "cat >/dev/null; mkdir {path}/turn || {{ echo overlap >&2; exit 9; }}; sleep 0.1; rmdir {path}/turn; \
         [ -e {path}/again ] || {{ touch {path}/again; exit 1; }}; \
         echo '{{\"version\":1,\"groups\":[{{\"name\":\"g\",\"max\":3}}]}}'"
    );
    let provider = shell(&script, TIMEOUT);
    let answers = tokio::join!(provider.groups(), provider.groups(), provider.look("g"));
    assert_eq!(answers.0.expect("groups")[0].max, 3);
    answers.1.expect("groups");
    assert_eq!(answers.2.expect("a group").target, 0);
}

#[tokio::test]
async fn secrets_are_read_for_each_call_and_never_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "hunter2\n").expect("a secret");
    let script = r#"[ "$TOKEN" = "$WANTED" ] || { echo "token refused" >&2; exit 1; }; echo '{"version":1}'"#;
    let provider = |file: &std::path::Path, wanted: &str| {
        let plain = |text: &str| EnvValue::Plain(text.to_owned());
        ExecProvider::new(ExecProviderConfig {
            command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            working_dir: None,
            env: BTreeMap::from([
                ("TOKEN".to_owned(), EnvValue::Secret(SecretRef::File(file.to_owned()))),
                ("WANTED".to_owned(), plain(wanted)),
            ]),
            timeout: TIMEOUT,
        })
    };
    let first = provider(&secret, "hunter2");
    first.groups().await.expect("the right token");
    std::fs::write(&secret, "hunter3\n").expect("another secret");
    let error = first.groups().await.expect_err("another token");
    assert!(error.message.contains("token refused") && !error.message.contains("hunter"), "{error}");
    let error = provider(&folder.path().join("none"), "x").groups().await.expect_err("no secret");
    assert!(error.message.starts_with("TOKEN: cannot read") && error.kind == FailureKind::Refused, "{error}");
}

#[tokio::test]
async fn failed_and_slow_machines_are_seen_as_they_are() {
    let script = r#"echo '{"version":1,"groups":[{"name":"g","max":9,"size":3,"error":{"kind":"capacity","message":"no stock"},
        "machines":[{"id":"a","state":"creating"},{"id":"b","state":"removing"},
                    {"id":"c","error":{"kind":"quota","message":"at most 1"}}]}]}'"#;
    let state = shell(script, TIMEOUT).look("g").await.expect("a group");
    assert_eq!((state.target, state.live()), (3, 1));
    assert_eq!(state.machines[1].state, MachineState::Deleting);
    assert_eq!(state.machines[2].failure.as_ref().map(|failure| failure.kind), Some(FailureKind::Quota));
    assert_eq!(state.failure.map(|failure| failure.kind), Some(FailureKind::Capacity));
}

#[tokio::test]
async fn the_shipped_script_boots_its_machines_in_time() {
    if !python() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let provider = ExecProvider::new(shipped(folder.path(), &[("MACHINES_BOOT", "1.5")]));
    provider.grow("workers", 1).await.expect("a machine");
    let began = Instant::now();
    loop {
        let state = provider.look("workers").await.expect("a group");
        if state.machines[0].state == MachineState::Running {
            break;
        }
        assert!(began.elapsed() < TIMEOUT, "it never runs");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(began.elapsed() > Duration::from_secs(1), "it ran at once");
}
