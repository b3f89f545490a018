//! What tasks print.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::domain::task::TaskId;
use crate::ports::cluster::ClusterError;

/// One of the two streams of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A piece of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogChunk {
    /// The text; bytes that are not UTF-8 are replaced.
    pub text: String,
    /// Where to go on reading (`LogPosition::After`); means nothing to anyone but the source.
    pub next: String,
    /// Where each line of the text begins, to read from it again; the first one may be the rest of a line.
    pub places: Vec<String>,
}

/// From where a log is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogPosition {
    /// From the oldest byte that is kept.
    Start,
    /// After an earlier chunk; what has been dropped since is skipped.
    After(String),
    /// So many lines before its present end.
    Tail(usize),
}

/// Reads what tasks print, while they run and after they ended.
#[async_trait]
pub trait LogSource: Send + Sync {
    /// A piece of at most `max_bytes`; empty where nothing new has come.
    async fn read(
        &self,
        task: &TaskId,
        stream: LogStream,
        from: LogPosition,
        max_bytes: usize,
    ) -> Result<LogChunk, ClusterError>;
}
