//! Control groups of version 1: one folder in each of the hierarchies `cpu`, `cpuacct` and `memory`
//! (they may be mounted together). Files as the kernel's `Documentation/admin-guide/cgroup-v1` and
//! `Documentation/scheduler/sched-bwc.rst` describe them.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::adapters::local::cgroup::{Applied, Bandwidth, GroupUsage, Limits, files};
use crate::domain::quantity::{Bytes, Millicores};

/// `cpu.shares` of a whole core, and the least that the kernel takes.
const SHARES_PER_CORE: u64 = 1_024;
const SHARES_MIN: u64 = 2;

/// Limits from here on mean none: the kernel shows the largest multiple of a page.
const UNLIMITED: u64 = 1 << 62;

/// A group of version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::adapters::local) struct GroupV1 {
    pub(super) cpu: PathBuf,
    pub(super) cpuacct: PathBuf,
    pub(super) memory: PathBuf,
}

impl GroupV1 {
    pub(super) fn child(&self, name: &str) -> Self {
        Self { cpu: self.cpu.join(name), cpuacct: self.cpuacct.join(name), memory: self.memory.join(name) }
    }

    pub(super) fn beside(&self, name: &str) -> Option<Self> {
        let around = Self {
            cpu: self.cpu.parent()?.to_owned(),
            cpuacct: self.cpuacct.parent()?.to_owned(),
            memory: self.memory.parent()?.to_owned(),
        };
        Some(around.child(name))
    }

    fn folders(&self) -> [&PathBuf; 3] {
        [&self.memory, &self.cpuacct, &self.cpu]
    }

    pub(super) fn create(&self) -> io::Result<()> {
        self.folders().into_iter().try_for_each(|folder| files::create(folder))
    }

    /// Kernels before 5.11 hold groups within a group to its memory limit only where they are told to.
    pub(super) fn delegate(&self) -> io::Result<()> {
        match files::number(&self.memory, "memory.use_hierarchy") {
            Ok(0) => files::write(&self.memory, "memory.use_hierarchy", "1"),
            _ => Ok(()),
        }
    }

    pub(super) fn enter(&self, pid: u32) -> io::Result<()> {
        self.folders()
            .into_iter()
            .try_for_each(|folder| files::write(folder, "cgroup.procs", &pid.to_string()))
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        self.folders().into_iter().try_for_each(|folder| files::remove(folder))
    }

    /// Memory first: it alone can be refused.
    pub(super) fn limit(&self, limits: &Limits) -> io::Result<Applied> {
        if let Err(error) = self.limit_memory(limits.memory) {
            if error.kind() == io::ErrorKind::ResourceBusy {
                return Ok(Applied::Refused(format!(
                    "the kernel cannot bring its memory below {}",
                    limits.memory
                )));
            }
            return Err(error);
        }
        let shares = (limits.cpu_request.get() * SHARES_PER_CORE / 1_000).max(SHARES_MIN);
        files::write(&self.cpu, "cpu.shares", &shares.to_string())?;
        self.limit_cpu(limits.cpu_limit)?;
        Ok(Applied::Yes)
    }

    fn limit_cpu(&self, limit: Option<Millicores>) -> io::Result<()> {
        let Some(limit) = limit else { return files::write(&self.cpu, "cpu.cfs_quota_us", "-1") };
        let Bandwidth { quota, period } = Bandwidth::of(limit);
        if files::number(&self.cpu, "cpu.cfs_period_us")? != period {
            // Between the two writes the old quota would be read with the new period.
            files::write(&self.cpu, "cpu.cfs_quota_us", "-1")?;
            files::write(&self.cpu, "cpu.cfs_period_us", &period.to_string())?;
        }
        files::write(&self.cpu, "cpu.cfs_quota_us", &quota.to_string())
    }

    /// Memory and memory with swap get the same limit, so that a task cannot swap instead. The second
    /// may never be below the first, which gives the order.
    fn limit_memory(&self, limit: Bytes) -> io::Result<()> {
        let mut order = ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"];
        if files::number(&self.memory, order[0])? < limit.get() {
            order.reverse();
        }
        for file in order.into_iter().filter(|file| self.memory.join(file).exists()) {
            files::write(&self.memory, file, &limit.get().to_string())?;
        }
        Ok(())
    }

    pub(super) fn memory_limit(&self) -> io::Result<Option<Bytes>> {
        let limit = files::number(&self.memory, "memory.limit_in_bytes")?;
        Ok((limit < UNLIMITED).then_some(Bytes::new(limit)))
    }

    /// Whether swap is held to the limit too.
    pub(super) fn limits_swap(&self) -> bool {
        self.memory.join("memory.memsw.limit_in_bytes").exists()
    }

    pub(super) fn cpu_seconds(&self) -> io::Result<f64> {
        files::number(&self.cpuacct, "cpuacct.usage").map(|nanoseconds| nanoseconds as f64 / 1e9)
    }

    pub(super) fn unreclaimable(&self) -> io::Result<Bytes> {
        let stat = files::read(&self.memory, "memory.stat")?;
        let file_cache = ["total_inactive_file", "total_active_file"].map(|key| files::value_of(&stat, key));
        let used = files::number(&self.memory, "memory.usage_in_bytes")?;
        Ok(Bytes::new(used.saturating_sub(file_cache.into_iter().flatten().sum())))
    }

    pub(super) fn usage(&self) -> io::Result<GroupUsage> {
        let cpu = files::read(&self.cpu, "cpu.stat")?;
        let memory = files::read(&self.memory, "memory.stat")?;
        let used = files::number(&self.memory, "memory.usage_in_bytes")?;
        let inactive = files::value_of(&memory, "total_inactive_file").unwrap_or(0);
        // `cache` counts shared memory too, which the kernel cannot drop.
        let cache = files::value_of(&memory, "total_cache")
            .map(|cache| cache.saturating_sub(files::value_of(&memory, "total_shmem").unwrap_or(0)));
        Ok(GroupUsage {
            cpu_seconds: self.cpu_seconds()?,
            throttled_seconds: files::value_of(&cpu, "throttled_time")
                .map(|nanoseconds| nanoseconds as f64 / 1e9),
            periods: files::value_of(&cpu, "nr_periods"),
            throttled_periods: files::value_of(&cpu, "nr_throttled"),
            working_set: Bytes::new(used.saturating_sub(inactive)),
            page_cache: cache.map(Bytes::new),
            peak_memory: files::number(&self.memory, "memory.max_usage_in_bytes").ok().map(Bytes::new),
            // `memory.failcnt` counts tries that the kernel could satisfy by reclaiming, too.
            oom_kills: files::value_of(&files::read(&self.memory, "memory.oom_control")?, "oom_kill"),
        })
    }
}
