//! Reports and traces: the only module that knows polars, which the feature `analytics` brings.
//! Without the feature the same functions are there and say that this build has none, so that no caller
//! needs to know.
//!
//! Not here: what a task-hour came to (`accounting`). This module groups, joins and sorts, and reads and
//! writes files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::SignedDuration;
use serde::Deserialize;

use crate::accounting::facts::Facts;
use crate::accounting::report::Report;
use crate::domain::load::LoadSample;
use crate::domain::load_series::{LoadRepairs, LoadSeries};
use crate::domain::trace::TraceRow;
use crate::domain::usage::UsageSample;
use crate::ports::task_times::TaskTimeFiles;
use crate::replay::grid::Trace;
use crate::replay::horizontal::Asked;
use crate::replay::jobs::JobRow;
use crate::replay::vertical::Record;

#[cfg(feature = "analytics")]
mod backtest_file;
pub mod bill_file;
pub mod focus;
#[cfg(feature = "analytics")]
mod frame;
#[cfg(feature = "analytics")]
mod history_files;
#[cfg(feature = "analytics")]
mod history_rows;
pub mod import;
#[cfg(feature = "analytics")]
mod jobs_file;
#[cfg(feature = "analytics")]
mod load_file;
pub mod table;
pub mod trace;
#[cfg(feature = "analytics")]
mod trace_csv;
#[cfg(feature = "analytics")]
mod trace_file;
#[cfg(feature = "analytics")]
mod trace_writer;

#[cfg(feature = "analytics")]
pub use trace_writer::TraceWriter;

/// Why there is no report or trace.
#[derive(Debug, thiserror::Error)]
pub enum AnalyticsError {
    /// The build lacks the feature.
    #[error("this build of Loadline has no analytics: it was built without the cargo feature `analytics`")]
    NotBuilt,
    /// A file could not be opened or written.
    #[error("cannot {operation} {path}")]
    File {
        /// What was tried, for example `open`.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The file's name does not tell its format.
    #[error("{path}: a trace is named *.parquet or *.csv")]
    Extension {
        /// The file.
        path: PathBuf,
    },
    /// The interval of a trace is not a whole number of seconds above zero.
    #[error("the interval of a trace is a whole number of seconds of at least 1, not {found}")]
    Interval {
        /// What was asked for.
        found: SignedDuration,
    },
    /// A file has no rows.
    #[error("{path}: there are no rows")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A file is an archive of files.
    #[error("{path}: this is a tar archive: unpack it first (tar -xf) and name the files that come out")]
    Archive {
        /// The file.
        path: PathBuf,
    },
    /// A row cannot be told apart into fields.
    #[error("{path}: row {row}: {problem}")]
    Row {
        /// The file.
        path: PathBuf,
        /// The row, counted from 1; a header is row 0.
        row: usize,
        /// What is wrong.
        problem: String,
    },
    /// A file holds no answer of Prometheus.
    #[error("{path}: this is no answer of Prometheus: {problem}")]
    Answer {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A series of an answer of Prometheus is not what it should be.
    #[error("{path}: series {series}: {problem}")]
    Series {
        /// The file.
        path: PathBuf,
        /// The series, counted from 1.
        series: usize,
        /// What is wrong.
        problem: String,
    },
    /// A file lacks a column that it must have.
    #[error("{path}: there is no column `{column}`; {expected}")]
    Column {
        /// The file.
        path: PathBuf,
        /// The column.
        column: &'static str,
        /// The columns that there should be.
        expected: String,
    },
    /// A value of a trace is not what its column holds.
    #[error("{path}: row {row}, column `{column}`: found {found}, expected {expected}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The row, counted from 1; a header is not counted.
        row: usize,
        /// The column.
        column: &'static str,
        /// What is there.
        found: String,
        /// What should be there.
        expected: &'static str,
    },
    /// What is named Parquet is none, or one that polars cannot read.
    #[error("{path}: this cannot be read as Parquet")]
    Parquet {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// polars refused.
    #[error("cannot {operation}")]
    Frame {
        /// What was tried.
        operation: String,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl AnalyticsError {
    /// Whether what was read is at fault, not the machine or this build.
    pub fn is_bad_input(&self) -> bool {
        !matches!(self, Self::NotBuilt | Self::File { .. } | Self::Frame { .. })
    }
}

/// Reports what a window of time came to: a row a workload, sums by owner and in all.
///
/// The figures of each task and hour come from `accounting::ledger`, as integers; polars adds them up,
/// so sums are exact.
#[cfg(feature = "analytics")]
pub fn report(facts: &Facts<'_>) -> Result<Report, AnalyticsError> {
    frame::report(facts).map_err(|source| AnalyticsError::Frame {
        operation: "make the report".to_owned(),
        source: Box::new(source),
    })
}

/// Reports what a window of time came to; this build cannot.
#[cfg(not(feature = "analytics"))]
pub fn report(_facts: &Facts<'_>) -> Result<Report, AnalyticsError> {
    Err(AnalyticsError::NotBuilt)
}

/// The file format of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TraceFormat {
    /// Apache Parquet.
    Parquet,
    /// Comma-separated values with a header.
    Csv,
}

/// Samples as a usage trace, a row a task and `interval`: the content of a file.
#[cfg(feature = "analytics")]
pub fn encode_trace(
    format: TraceFormat,
    interval: SignedDuration,
    usage: &[UsageSample],
    load: &[LoadSample],
) -> Result<Vec<u8>, AnalyticsError> {
    trace_file::encode(format, &trace::resample(interval, usage, load)?)
}

/// Samples as a usage trace; this build cannot.
#[cfg(not(feature = "analytics"))]
pub fn encode_trace(
    _format: TraceFormat,
    _interval: SignedDuration,
    _usage: &[UsageSample],
    _load: &[LoadSample],
) -> Result<Vec<u8>, AnalyticsError> {
    Err(AnalyticsError::NotBuilt)
}

/// Rows of a usage trace as the content of a file.
#[cfg(feature = "analytics")]
pub fn encode_rows(format: TraceFormat, rows: &[TraceRow]) -> Result<Vec<u8>, AnalyticsError> {
    trace_file::encode(format, rows)
}

/// Rows of a usage trace as the content of a file; this build cannot.
#[cfg(not(feature = "analytics"))]
pub fn encode_rows(_format: TraceFormat, _rows: &[TraceRow]) -> Result<Vec<u8>, AnalyticsError> {
    Err(AnalyticsError::NotBuilt)
}

/// Reads a usage trace, Parquet or CSV by the file's name.
#[cfg(feature = "analytics")]
pub fn read_trace(path: &Path) -> Result<Vec<TraceRow>, AnalyticsError> {
    trace_file::read(path)
}

/// Reads a usage trace; this build cannot.
#[cfg(not(feature = "analytics"))]
pub fn read_trace(_path: &Path) -> Result<Vec<TraceRow>, AnalyticsError> {
    Err(AnalyticsError::NotBuilt)
}

/// Reads a usage trace from the content of a Parquet file; `name` tells people where it came from.
#[cfg(feature = "analytics")]
pub fn decode_trace(name: &Path, content: Vec<u8>) -> Result<Vec<TraceRow>, AnalyticsError> {
    trace_file::decode(name, content)
}

/// Reads a usage trace; this build cannot.
#[cfg(not(feature = "analytics"))]
pub fn decode_trace(_name: &Path, _content: Vec<u8>) -> Result<Vec<TraceRow>, AnalyticsError> {
    Err(AnalyticsError::NotBuilt)
}

/// The limits that a policy said in a backtest, as a Parquet file: a row at each change, valid from
/// `time` on; `task` is null where all tasks of the workload share it.
#[cfg(feature = "analytics")]
pub fn encode_limits(policy: &str, trace: &Trace, record: &Record) -> Result<Vec<u8>, AnalyticsError> {
    backtest_file::limits(policy, trace, record)
}

/// The limits that a policy said; this build cannot.
#[cfg(not(feature = "analytics"))]
pub fn encode_limits(_policy: &str, _trace: &Trace, _record: &Record) -> Result<Vec<u8>, AnalyticsError> {
    Err(AnalyticsError::NotBuilt)
}

/// The kills of a backtest under a policy, as a Parquet file.
#[cfg(feature = "analytics")]
pub fn encode_kills(policy: &str, trace: &Trace, record: &Record) -> Result<Vec<u8>, AnalyticsError> {
    backtest_file::kills(policy, trace, record)
}

/// The kills of a backtest; this build cannot.
#[cfg(not(feature = "analytics"))]
pub fn encode_kills(_policy: &str, _trace: &Trace, _record: &Record) -> Result<Vec<u8>, AnalyticsError> {
    Err(AnalyticsError::NotBuilt)
}

/// The counts that a policy asked for in a backtest of load, as a Parquet file: a row at each change.
#[cfg(feature = "analytics")]
pub fn encode_counts(policy: &str, rows: &[(String, Asked)]) -> Result<Vec<u8>, AnalyticsError> {
    backtest_file::counts(policy, rows)
}

/// The counts that a policy asked for; this build cannot.
#[cfg(not(feature = "analytics"))]
pub fn encode_counts(_policy: &str, _rows: &[(String, Asked)]) -> Result<Vec<u8>, AnalyticsError> {
    Err(AnalyticsError::NotBuilt)
}

/// Writes a usage trace bit by bit; this build cannot.
#[cfg(not(feature = "analytics"))]
pub struct TraceWriter(std::convert::Infallible);

#[cfg(not(feature = "analytics"))]
impl TraceWriter {
    /// Begins a trace; this build cannot.
    pub fn create(_path: &Path) -> Result<Self, AnalyticsError> {
        Err(AnalyticsError::NotBuilt)
    }

    /// Takes in a row.
    pub fn push(&mut self, _row: TraceRow) -> Result<(), AnalyticsError> {
        match self.0 {}
    }

    /// Ends the trace.
    pub fn finish(self) -> Result<usize, AnalyticsError> {
        match self.0 {}
    }
}

/// Reads recorded batch runs, Parquet or CSV by the file's name; on request the sizes of their inputs.
#[cfg(feature = "analytics")]
pub fn read_jobs(path: &Path, with_input: bool) -> Result<Vec<JobRow>, AnalyticsError> {
    jobs_file::read(path, with_input)
}

/// Reads recorded batch runs; this build cannot.
#[cfg(not(feature = "analytics"))]
pub fn read_jobs(_path: &Path, _with_input: bool) -> Result<Vec<JobRow>, AnalyticsError> {
    Err(AnalyticsError::NotBuilt)
}

/// The history of what tasks had and used, as Parquet under a folder; none where this build has no analytics:
/// then reports are made from the store alone.
#[cfg(feature = "analytics")]
pub fn task_time_files(folder: PathBuf) -> Option<Arc<dyn TaskTimeFiles>> {
    Some(Arc::new(history_files::ParquetHistory::new(folder)))
}

/// The history of what tasks had and used; this build keeps none.
#[cfg(not(feature = "analytics"))]
pub fn task_time_files(_folder: PathBuf) -> Option<Arc<dyn TaskTimeFiles>> {
    None
}

/// Reads a load trace, Parquet or CSV by the file's name: its series, and what was repaired.
#[cfg(feature = "analytics")]
pub fn read_load(path: &Path) -> Result<(Vec<LoadSeries>, LoadRepairs), AnalyticsError> {
    load_file::read(path)
}

/// Reads a load trace; this build cannot.
#[cfg(not(feature = "analytics"))]
pub fn read_load(_path: &Path) -> Result<(Vec<LoadSeries>, LoadRepairs), AnalyticsError> {
    Err(AnalyticsError::NotBuilt)
}
