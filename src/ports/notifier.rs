//! Tells others what happened: programs over HTTP, people by way of a command.

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::workload::WorkloadName;

/// What a notice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// A task entered another state.
    Task,
    /// A workload was declared, or its rollout moved.
    Deploy,
    /// A run was opened or closed.
    Cron,
    /// Something was decided automatically.
    Decision,
    /// Something was done by hand, or frozen by the engine.
    Action,
    /// Something wants a person's eye.
    Alarm,
}

impl NoticeKind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Task, Self::Deploy, Self::Cron, Self::Decision, Self::Action, Self::Alarm];

    /// The word in settings and notices.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Deploy => "deploy",
            Self::Cron => "cron",
            Self::Decision => "decision",
            Self::Action => "action",
            Self::Alarm => "alarm",
        }
    }
}

impl fmt::Display for NoticeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One thing to tell.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// The same each time that it is told.
    pub id: String,
    /// When it happened.
    pub at: Timestamp,
    /// What it is about.
    pub kind: NoticeKind,
    /// What happened, in a word such as `task-failed`.
    pub event: String,
    /// The workload that it is about, if it is about one.
    pub workload: Option<WorkloadName>,
    /// The team that owns that.
    pub team: Option<String>,
    /// Everything, as others get it.
    pub body: Map<String, Value>,
}

/// Why it could not be told, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotTold(pub String);

/// Tells one receiver.
#[async_trait]
pub trait Notifier: Send + Sync {
    /// Tells it; when this returns without error, the receiver has it. It ends within a time of its own.
    async fn tell(&self, notice: &Notice) -> Result<(), NotTold>;
}
