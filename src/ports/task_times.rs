//! The history of what tasks had and used, kept as files: it outlives the samples of the store.

use jiff::Timestamp;

use crate::domain::history_book::{HistoryFile, HourFile};
use crate::domain::task_time::TaskTimes;

/// Why a file of the history was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum TaskTimesError {
    /// It is not there.
    #[error("{file} is missing")]
    Missing {
        /// The file.
        file: String,
    },
    /// It is not what was written.
    #[error("{file} is damaged: {problem}")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// An operation failed.
    #[error("cannot {operation} {file}")]
    Failed {
        /// What was tried.
        operation: &'static str,
        /// The file.
        file: String,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Keeps the files. Calls block. What is written is on disk when a call returns, under its name and whole; a
/// call that is cut off leaves nothing under that name, or what was there before.
pub trait TaskTimeFiles: Send + Sync {
    /// Writes rows of the time from `from` to `until`, which is within one day of UTC. The same start gives
    /// the same name.
    fn write(
        &self,
        from: Timestamp,
        until: Timestamp,
        times: &TaskTimes,
    ) -> Result<HistoryFile, TaskTimesError>;

    /// Writes the rows of all parts of a day into one file, without holding all of them. The parts stay.
    fn merge(&self, parts: &[HistoryFile]) -> Result<HistoryFile, TaskTimesError>;

    /// Adds the rows of a file up to hours of UTC, and writes that beside it.
    fn sum_up(&self, file: &HistoryFile) -> Result<HourFile, TaskTimesError>;

    /// Whether the hours of a file are not there: never written, or gone.
    fn lacks_hours(&self, file: &HistoryFile) -> bool;

    /// Rows of a file in the time from `from` to `until`, added up to hours of UTC. It reads the hours that are
    /// written beside the file, where they hold for that time; where they cannot be read, the file itself.
    fn hours(
        &self,
        file: &HistoryFile,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<TaskTimes, TaskTimesError>;

    /// Deletes a file and its hours; what is gone already is no error.
    fn remove(&self, file: &HistoryFile) -> Result<(), TaskTimesError>;
}
