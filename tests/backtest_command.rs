//! `loadline backtest` as people call it.

use std::process::{Command, Output};

/// What it does with these arguments.
pub(crate) fn backtest(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadline")).arg("backtest").args(arguments).output().expect("the binary")
}

/// What it says on arguments that it should refuse.
pub(crate) fn fault(arguments: &[&str]) -> String {
    let output = backtest(arguments);
    assert!(!output.status.success(), "{arguments:?} should fail");
    String::from_utf8_lossy(&output.stderr).into_owned()
}
