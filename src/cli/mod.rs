//! The command line, one file a subcommand.

use std::process::ExitCode;

use crate::app;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    if let Some(code) = app::hidden_command(std::env::args_os()) {
        return code;
    }
    ExitCode::SUCCESS
}
