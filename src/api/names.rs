//! Reads names, numbers and durations out of calls.

use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};

use crate::api::dto::Problem;
use crate::domain::node::NodeName;
use crate::domain::quantity::{Bytes, Millicores, TaskSize};
use crate::domain::task::TaskId;
use crate::domain::workload::WorkloadName;

/// The longest time that anything is asked for: a year.
const LASTING_MAX: u64 = 365 * 24 * 3600;
/// Sizes beyond these are mistakes, as in specs.
const CORES_MAX: f64 = 4096.0;
const MEMORY_MAX: u64 = 64 << 40;
const MEMORY_MIN: u64 = 1 << 20;

/// Reads a workload's name from a path; a name that cannot be one does not exist.
pub(super) fn workload_name(text: &str) -> Result<WorkloadName, Problem> {
    WorkloadName::new(text).map_err(|_| Problem::not_found("workload", text))
}

/// Reads a task's identity from a path.
pub(super) fn task_id(text: &str) -> Result<TaskId, Problem> {
    text.parse().map_err(|_| Problem::not_found("task", text))
}

/// Reads a node's name from a path.
pub(super) fn node_name(text: &str) -> Result<NodeName, Problem> {
    NodeName::new(text).map_err(|_| Problem::not_found("node", text))
}

/// Reads an instant from a parameter.
pub(super) fn instant(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    let read = |text: &str| {
        Timestamp::from_str(text).map_err(|_| {
            Problem::bad_request(format!(
                "`{name}` is `{text}`, expected an instant such as 2026-11-22T10:00:00Z"
            ))
        })
    };
    text.map(read).transpose()
}

/// Reads how long something is to last.
pub(super) fn lasting(seconds: Option<u64>) -> Result<Option<SignedDuration>, Problem> {
    match seconds {
        None => Ok(None),
        Some(seconds) if (1..=LASTING_MAX).contains(&seconds) => {
            Ok(Some(SignedDuration::from_secs(seconds.cast_signed())))
        }
        Some(seconds) => Err(Problem::unprocessable(format!(
            "`for_seconds` is {seconds}, expected a number from 1 to {LASTING_MAX}"
        ))),
    }
}

/// What is asked of a size; what is absent stays.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SizeWish {
    pub(super) cpu: Option<f64>,
    pub(super) memory: Option<u64>,
    pub(super) cpu_limit: Option<f64>,
    pub(super) memory_limit: Option<u64>,
}

/// The size that is asked for, from the one that is there. A memory limit that was the request follows it.
pub(super) fn resized(present: TaskSize, wish: SizeWish) -> Result<TaskSize, Problem> {
    let cores = |name: &str, value: Option<f64>| {
        let fits = |cores: &f64| (0.001..=CORES_MAX).contains(cores);
        match value {
            Some(cores) if !fits(&cores) => Err(Problem::unprocessable(format!(
                "`{name}` is {cores}, expected 0.001 to {CORES_MAX} cores"
            ))),
            value => Ok(value.map(Millicores::from_cores)),
        }
    };
    let bytes = |name: &str, value: Option<u64>| match value {
        Some(bytes) if !(MEMORY_MIN..=MEMORY_MAX).contains(&bytes) => Err(Problem::unprocessable(format!(
            "`{name}` is {bytes}, expected {MEMORY_MIN} to {MEMORY_MAX} bytes"
        ))),
        value => Ok(value.map(Bytes::new)),
    };
    let mut size = present;
    size.request.cpu = cores("cpu", wish.cpu)?.unwrap_or(present.request.cpu);
    size.cpu_limit = cores("cpu_limit", wish.cpu_limit)?.or(present.cpu_limit);
    size.request.memory = bytes("memory", wish.memory)?.unwrap_or(present.request.memory);
    size.memory_limit = match bytes("memory_limit", wish.memory_limit)? {
        Some(limit) => limit,
        None if present.memory_limit == present.request.memory => size.request.memory,
        None => present.memory_limit.max(size.request.memory),
    };
    if size.memory_limit < size.request.memory {
        return Err(Problem::unprocessable("`memory_limit` is less than the memory that is reserved"));
    }
    if size.cpu_limit.is_some_and(|limit| limit < size.request.cpu) {
        return Err(Problem::unprocessable("`cpu_limit` is less than the CPU that is reserved"));
    }
    Ok(size)
}
