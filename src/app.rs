//! The composition root: the only module that knows every layer.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::adapters::local;
use crate::adapters::system_clock::SystemClock;

/// Runs this process as the supervisor of a task or as the helper that becomes its program, where the
/// arguments say so; none where they are a command for people. To be called before anything else.
pub fn hidden_command(arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    local::hidden_command(arguments, &SystemClock)
}
