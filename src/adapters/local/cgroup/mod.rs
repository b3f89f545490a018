//! Control groups: what the kernel holds a task to, and what it counts for it. One `Group` is a task's,
//! a node's, or the one that holds all nodes of this engine; version 1 and version 2 look the same from
//! outside.
//! Not here: how it is found out which version can be used (`detect`).

mod detect;
mod files;
mod v1;
mod v2;

use std::fs::{self, File};
use std::io;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::adapters::local::process;
use crate::domain::quantity::{Bytes, Millicores, Resources, TaskSize};

pub use detect::CgroupMode;
pub(super) use detect::{Found, detect};

/// How often a group that is still in use is tried to be removed, `REMOVE_WAIT` apart: a process that
/// was killed takes a moment to leave.
const REMOVE_TRIES: u32 = 100;
const REMOVE_WAIT: Duration = Duration::from_millis(10);

/// A group that nobody claims is left over once it has not been changed for so long.
const LEFT_OVER_AGE: Duration = Duration::from_mins(1);

/// A control group, in whichever version the machine has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Group {
    /// One folder in each of three hierarchies.
    V1(v1::GroupV1),
    /// One folder.
    V2(v2::GroupV2),
}

/// What a group is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// What it gets at least when CPU is short, relative to its siblings.
    pub(super) cpu_request: Millicores,
    /// What it gets at most; absent means as much as the group around it.
    pub(super) cpu_limit: Option<Millicores>,
    /// Memory above which the kernel kills in it.
    pub(super) memory: Bytes,
    /// Whether that kill takes all its processes, where the kernel can (version 2). Half a task is of
    /// no use; a node's other tasks are.
    pub(super) kills_all: bool,
}

impl Limits {
    /// What holds for a task of this size on a node of that size. A CPU limit above the node's size
    /// becomes the node's: version 1 refuses a larger one, and it would have no effect.
    pub(super) fn of_task(size: &TaskSize, node: Resources) -> Self {
        Self {
            cpu_request: size.request.cpu,
            cpu_limit: size.cpu_limit.map(|limit| limit.min(node.cpu)),
            memory: size.memory_limit,
            kills_all: true,
        }
    }

    /// What holds for all tasks of a node together.
    pub(super) fn of_node(size: Resources) -> Self {
        Self { cpu_request: size.cpu, cpu_limit: Some(size.cpu), memory: size.memory, kills_all: false }
    }
}

/// What the kernel counted for a group since it was made. Absent where this kernel does not tell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct GroupUsage {
    pub(super) cpu_seconds: f64,
    pub(super) throttled_seconds: Option<f64>,
    pub(super) periods: Option<u64>,
    pub(super) throttled_periods: Option<u64>,
    pub(super) working_set: Bytes,
    pub(super) page_cache: Option<Bytes>,
    pub(super) peak_memory: Option<Bytes>,
    pub(super) oom_kills: Option<u64>,
}

/// What is put on record when a task ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct GroupEnd {
    pub(super) oom_kills: Option<u64>,
    pub(super) peak_memory: Option<Bytes>,
    pub(super) memory_limit: Option<Bytes>,
}

/// What became of a change of limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Applied {
    /// They hold.
    Yes,
    /// The old ones still hold.
    Refused(String),
}

impl Group {
    /// The group of this name within this one; it may not be there.
    pub(super) fn child(&self, name: &str) -> Self {
        match self {
            Self::V1(group) => Self::V1(group.child(name)),
            Self::V2(group) => Self::V2(group.child(name)),
        }
    }

    /// Makes the group unless it is there.
    pub(super) fn create(&self) -> io::Result<()> {
        match self {
            Self::V1(group) => group.create(),
            Self::V2(group) => group.create(),
        }
    }

    /// Makes it possible to hold groups within this one to limits.
    pub(super) fn delegate(&self) -> io::Result<()> {
        match self {
            Self::V1(group) => group.delegate(),
            Self::V2(group) => group.delegate(),
        }
    }

    /// Puts limits on a group. Memory that is in use is not taken away: less than that is refused.
    pub(super) fn limit(&self, limits: &Limits) -> io::Result<Applied> {
        let lower = self.memory_limit().ok().flatten().is_none_or(|limit| limits.memory < limit);
        if lower && let Ok(used) = self.unreclaimable() {
            // Version 2 would kill, version 1 would refuse without a word; both after a long try.
            if used > limits.memory {
                return Ok(Applied::Refused(format!(
                    "a memory limit of {} is less than the {used} in use",
                    limits.memory
                )));
            }
        }
        match self {
            Self::V1(group) => group.limit(limits),
            Self::V2(group) => group.limit(limits),
        }
    }

    /// Moves a process into the group.
    pub(super) fn enter(&self, pid: u32) -> io::Result<()> {
        match self {
            Self::V1(group) => group.enter(pid),
            Self::V2(group) => group.enter(pid),
        }
    }

    /// The processes in the group and in groups within it; none where it is not there.
    pub(super) fn members(&self) -> Vec<u32> {
        files::members(self.main_folder())
    }

    /// What the kernel counted.
    pub(super) fn usage(&self) -> io::Result<GroupUsage> {
        match self {
            Self::V1(group) => group.usage(),
            Self::V2(group) => group.usage(),
        }
    }

    /// CPU time used in the group and in groups within it, those that are gone included, in seconds.
    pub(super) fn cpu_seconds(&self) -> io::Result<f64> {
        match self {
            Self::V1(group) => group.cpu_seconds(),
            Self::V2(group) => group.cpu_seconds(),
        }
    }

    /// What is worth keeping once a task has ended.
    pub(super) fn end(&self) -> GroupEnd {
        let usage = self.usage().ok();
        GroupEnd {
            oom_kills: usage.and_then(|usage| usage.oom_kills),
            peak_memory: usage.and_then(|usage| usage.peak_memory),
            memory_limit: self.memory_limit().ok().flatten(),
        }
    }

    /// The memory limit in force; none where there is none.
    pub(super) fn memory_limit(&self) -> io::Result<Option<Bytes>> {
        match self {
            Self::V1(group) => group.memory_limit(),
            Self::V2(group) => group.memory_limit(),
        }
    }

    /// Kills every process in the group. True once nothing is left.
    pub(super) fn kill(&self) -> bool {
        if let Self::V2(group) = self {
            group.kill();
        }
        let members = self.members();
        process::kill_if(&members, |pid| self.members().contains(&pid));
        members.is_empty()
    }

    /// Removes the group and the groups within it; an error where a process is in one of them.
    pub(super) fn remove(&self) -> io::Result<()> {
        match self {
            Self::V1(group) => group.remove(),
            Self::V2(group) => group.remove(),
        }
    }

    /// Kills everything in the group and removes it, waiting until both are done.
    pub(super) fn destroy(&self) -> io::Result<()> {
        let mut last = Ok(());
        for _ in 0..REMOVE_TRIES {
            if self.kill() {
                last = self.remove();
                if last.is_ok() {
                    return Ok(());
                }
            }
            thread::sleep(REMOVE_WAIT);
        }
        last.and(Err(io::Error::new(io::ErrorKind::ResourceBusy, "processes do not end")))
    }

    /// The names of the groups directly within this one.
    pub(super) fn children(&self) -> Vec<String> {
        files::subfolders(self.main_folder())
            .iter()
            .filter_map(|path| path.file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    }

    /// Says that this group is in use for as long as the returned file is open. None where it is in use
    /// already, or the file system has no such locks.
    pub(super) fn claim(&self) -> Option<File> {
        let folder = File::open(self.main_folder()).ok()?;
        folder.try_lock().is_ok().then_some(folder)
    }

    /// Removes groups beside this one whose names begin with `prefix`, which nobody has claimed and
    /// nothing runs in: engines that were killed and whose data folders are gone leave them.
    pub(super) fn remove_left_over(&self, prefix: &str) {
        let Some(around) = self.main_folder().parent() else { return };
        for folder in files::subfolders(around) {
            let Some(name) = folder.file_name().and_then(|name| name.to_str()) else { continue };
            let Some(beside) = self.beside(name).filter(|beside| beside != self) else { continue };
            // An engine that is just starting makes its group a moment before it claims it.
            let is_old = fs::metadata(&folder)
                .and_then(|metadata| metadata.modified())
                .is_ok_and(|at| at.elapsed().is_ok_and(|age| age > LEFT_OVER_AGE));
            if !name.starts_with(prefix) || !is_old || !beside.members().is_empty() {
                continue;
            }
            if let Some(_claim) = beside.claim() {
                match beside.remove() {
                    Ok(()) => tracing::info!(group = name, "removed a control group that nobody uses"),
                    Err(error) => tracing::debug!(group = name, %error, "a control group is left"),
                }
            }
        }
    }

    /// The group of this name beside this one.
    fn beside(&self, name: &str) -> Option<Self> {
        match self {
            Self::V1(group) => group.beside(name).map(Self::V1),
            Self::V2(group) => group.beside(name).map(Self::V2),
        }
    }

    /// Memory that is in use and is not file cache.
    fn unreclaimable(&self) -> io::Result<Bytes> {
        match self {
            Self::V1(group) => group.unreclaimable(),
            Self::V2(group) => group.unreclaimable(),
        }
    }

    /// The folder that tells of processes and subgroups.
    fn main_folder(&self) -> &std::path::Path {
        match self {
            Self::V1(group) => &group.memory,
            Self::V2(group) => &group.folder,
        }
    }
}

/// CPU bandwidth as the kernel takes it: run time per period, both in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bandwidth {
    quota: u64,
    period: u64,
}

/// The kernel's own default period.
const PERIOD_US: u64 = 100_000;
/// The longest period that the kernel takes.
const PERIOD_MAX_US: u64 = 1_000_000;
/// The shortest run time that the kernel takes.
const QUOTA_MIN_US: u64 = 1_000;

impl Bandwidth {
    /// The kernel's default period, or the longest one where the quota would be too short in it.
    fn of(limit: Millicores) -> Self {
        let quota_in = |period: u64| limit.get().saturating_mul(period) / 1_000;
        let period = if quota_in(PERIOD_US) < QUOTA_MIN_US { PERIOD_MAX_US } else { PERIOD_US };
        Self { quota: quota_in(period).max(QUOTA_MIN_US), period }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_cpu_limits_get_a_period_that_the_kernel_can_keep() {
        assert_eq!(Bandwidth::of(Millicores::new(200)), Bandwidth { quota: 20_000, period: 100_000 });
        assert_eq!(Bandwidth::of(Millicores::new(5)), Bandwidth { quota: 5_000, period: 1_000_000 });
        assert_eq!(Bandwidth::of(Millicores::ZERO), Bandwidth { quota: 1_000, period: 1_000_000 });
    }

    #[test]
    fn a_task_is_not_allowed_more_cpu_than_its_node_has() {
        let mut size = TaskSize::of(Resources::new(Millicores::new(100), Bytes::mib(10)));
        let node = Resources::new(Millicores::new(500), Bytes::mib(100));
        assert_eq!(Limits::of_task(&size, node).cpu_limit, None);
        size.cpu_limit = Some(Millicores::new(2_000));
        assert_eq!(Limits::of_task(&size, node).cpu_limit, Some(Millicores::new(500)));
    }
}
