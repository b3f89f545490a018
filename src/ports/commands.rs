//! Runs commands of owners beside their tasks.

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use jiff::SignedDuration;

/// A command that is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandRun {
    /// Program and arguments; never empty.
    pub command: Vec<String>,
    /// Its environment, besides the path to programs.
    pub env: BTreeMap<String, String>,
    /// The folder that it starts in; the root folder where absent.
    pub working_dir: Option<PathBuf>,
    /// The user that it runs as; the engine's own where absent.
    pub user: Option<String>,
    /// It is killed, with everything that it started, when it takes longer.
    pub time_limit: SignedDuration,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandEnd {
    /// With exit status 0, in time.
    pub succeeded: bool,
    /// How, and the beginning of what it printed.
    pub message: String,
}

/// Runs commands.
#[async_trait]
pub trait Commands: Send + Sync {
    /// Runs a command to its end. What keeps it from starting is an end, too.
    async fn run(&self, run: CommandRun) -> CommandEnd;
}
