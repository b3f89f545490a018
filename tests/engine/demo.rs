//! The demo as an ordinary user, who may not write control groups: it works all the same, and says what
//! is not enforced.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::machine::processes_in;

/// The user and group `nobody` of every Linux.
const NOBODY: u32 = 65_534;

#[test]
fn the_demo_works_without_permissions_and_says_what_is_not_enforced() {
    let folder = tempfile::Builder::new().prefix("loadline-test-").tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).expect("a mode");
    // The build folder may be closed to others.
    let binary = folder.path().join("loadline");
    std::fs::copy(env!("CARGO_BIN_EXE_loadline"), &binary).expect("a copy");
    let mut demo = Command::new(&binary);
    demo.args(["demo", "--duration", "60", "--data-dir"]).arg(folder.path().join("data")).current_dir("/");
    let is_root = nix::unistd::Uid::effective().is_root();
    if is_root {
        demo.uid(NOBODY).gid(NOBODY);
    }
    let output = demo.output().expect("the demo");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let warned = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}\n{warned}");
    for promise in ["instances of web went up", "pool small grew", "cron job stocktake"] {
        let line =
            said.lines().find(|line| line.contains(promise)).unwrap_or_else(|| panic!("{promise}: {said}"));
        assert!(line.trim_start().starts_with("yes"), "{line}");
    }
    assert!(said.contains(" 0 failed"), "{said}");
    if is_root {
        assert!(warned.contains("warning:"), "{warned}");
        assert!(said.contains("not enforced here"), "{said}");
    }
    assert_eq!(processes_in(folder.path()), Vec::<u32>::new(), "something was left running");
}
