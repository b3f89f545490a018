//! `loadline check`: every error of spec files, with its position.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::cli::exit::Exit;
use crate::cli::output::{say, say_error};
use crate::config::{load_specs, render_errors};

/// `loadline check`
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Spec files, or folders of them.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

pub(super) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    match load_specs(&args.paths) {
        Ok(specs) => {
            say(&format!(
                "ok: {} workloads, {} pools, {} policies",
                specs.workloads.len(),
                specs.pools.len(),
                specs.policies.len()
            ))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(errors) => {
            say_error(render_errors(&errors).trim_end());
            Ok(Exit::BadInput.into())
        }
    }
}
