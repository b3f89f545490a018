//! The binary: calls the command line, prints the error chain, sets the exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    loadline::cli::main()
}
