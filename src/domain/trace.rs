//! A row of a usage trace: what one task used in one interval. Not here: how rows are made of samples or
//! read from files (`analytics`), and what they are good for (`replay`).

/// One task in the interval that ends at `time`. An interval in which the task did not run, or in which
/// nothing was measured, has no row.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceRow {
    /// The workload; tasks of one workload share one recommendation.
    pub workload: String,
    /// The task.
    pub task: String,
    /// The end of the interval in seconds since the epoch, or since the trace began.
    pub time: i64,
    /// Cores in use, mean over the part of the interval that was measured.
    pub cpu: Option<f64>,
    /// Working set in bytes, the highest that was sampled in the interval.
    pub memory: Option<f64>,
    /// Cores that the owner asked for.
    pub cpu_request: Option<f64>,
    /// Bytes that the owner asked for.
    pub memory_request: Option<f64>,
    /// Demand on the whole workload, here requests per second; the same on each of its tasks.
    pub load: Option<f64>,
}
