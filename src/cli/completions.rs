//! `loadline completions`: what a shell needs to complete commands.

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use crate::cli::CommandLine;
use crate::cli::output::say_raw;

/// `loadline completions`
#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs) -> anyhow::Result<()> {
    let mut script = Vec::new();
    generate(args.shell, &mut CommandLine::command(), "loadline", &mut script);
    Ok(say_raw(&String::from_utf8_lossy(&script))?)
}
