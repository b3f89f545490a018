//! Runs a command beside a task, as the task itself would run it.

use async_trait::async_trait;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::domain::task::{ExitStatus, TaskId};
use crate::domain::workload::TaskTemplate;
use crate::ports::cluster::ClusterError;

/// The task that a command is to run in.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecTarget {
    /// The task; it must be running.
    pub task: TaskId,
    /// For the user, the folder and the environment.
    pub template: TaskTemplate,
    /// The name of its first port.
    pub first_port: Option<String>,
}

/// What a command may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecLimits {
    /// After this it is killed with everything that it started.
    pub time: SignedDuration,
    /// This much is kept of each of its outputs, in bytes.
    pub output: usize,
}

/// What came of a command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecOutput {
    /// How it ended; absent where its time was up.
    pub status: Option<ExitStatus>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
    /// Whether it wrote more than was kept.
    pub truncated: bool,
    /// Whether it was killed because its time was up.
    pub timed_out: bool,
}

/// Runs commands in tasks: in the task's control group, folder and environment, as its user.
#[async_trait]
pub trait TaskExec: Send + Sync {
    /// Runs a command to its end. Whatever it leaves behind is ended with it, and so is all of it where
    /// the caller stops waiting.
    async fn exec(
        &self,
        target: &ExecTarget,
        command: &[String],
        limits: ExecLimits,
    ) -> Result<ExecOutput, ClusterError>;
}
