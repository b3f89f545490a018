//! The command line, one file a subcommand.

use std::process::ExitCode;

pub mod report_table;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
