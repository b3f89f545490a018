//! What the demo's tasks run: small programs that really use what they say they use. They are a hidden
//! subcommand of the same binary, so that the demo needs nothing else.

mod effort;
mod steady;
mod web;

use clap::Subcommand;

pub use crate::cli::demo::workloads::steady::{CronArgs, LeakyArgs, WorkerArgs};
pub use crate::cli::demo::workloads::web::WebArgs;

/// A program of the demo.
#[derive(Debug, Clone, Subcommand)]
pub enum DemoTask {
    /// Answers HTTP requests, each with CPU time.
    Web(WebArgs),
    /// Uses CPU and memory steadily.
    Worker(WorkerArgs),
    /// Works for a while and ends.
    Cron(CronArgs),
    /// Grows until it has what it needs, or until the kernel kills it.
    Leaky(LeakyArgs),
}

/// Runs a program until it ends by itself or is told to by SIGTERM.
pub fn run(task: &DemoTask) -> anyhow::Result<()> {
    match task {
        DemoTask::Web(args) => web::run(args),
        DemoTask::Worker(args) => steady::worker(args),
        DemoTask::Cron(args) => steady::cron(args),
        DemoTask::Leaky(args) => steady::leaky(args),
    }
}
