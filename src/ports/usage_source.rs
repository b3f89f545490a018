//! Where usage is read: the kernel of this machine for an agent, an agent's endpoint for the engine.

use async_trait::async_trait;

use crate::domain::usage::AgentReading;

/// Why a reading did not come.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// No whole answer in time.
    #[error("{source_name} gave no whole answer in time")]
    Late {
        /// What was asked.
        source_name: String,
    },
    /// No answer.
    #[error("cannot read usage from {source_name}")]
    Unreachable {
        /// What was asked.
        source_name: String,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The answer could not be understood.
    #[error("usage from {source_name} is malformed: {message}")]
    Malformed {
        /// What was asked.
        source_name: String,
        /// What is wrong with the answer.
        message: String,
    },
}

/// Reads the usage of every task and node that it knows.
#[async_trait]
pub trait UsageSource: Send + Sync {
    /// One reading of everything.
    async fn read(&self) -> Result<AgentReading, UsageError>;
}
