//! Control groups of version 2: one folder in the one hierarchy. Files as the kernel's
//! `Documentation/admin-guide/cgroup-v2.rst` describes them.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::adapters::local::cgroup::{Applied, Bandwidth, GroupUsage, Limits, files};
use crate::domain::quantity::Bytes;

/// `cpu.weight` of a whole core, and the range that the kernel takes. Only the ratio between siblings
/// counts, and siblings are ours.
const WEIGHT_PER_CORE: u64 = 100;
const WEIGHT_MIN: u64 = 1;
const WEIGHT_MAX: u64 = 10_000;

/// A group of version 2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::adapters::local) struct GroupV2 {
    pub(super) folder: PathBuf,
}

impl GroupV2 {
    pub(super) fn child(&self, name: &str) -> Self {
        Self { folder: self.folder.join(name) }
    }

    pub(super) fn beside(&self, name: &str) -> Option<Self> {
        Some(Self { folder: self.folder.parent()?.join(name) })
    }

    pub(super) fn create(&self) -> io::Result<()> {
        files::create(&self.folder)
    }

    pub(super) fn delegate(&self) -> io::Result<()> {
        files::write(&self.folder, "cgroup.subtree_control", "+cpu +memory")
    }

    pub(super) fn enter(&self, pid: u32) -> io::Result<()> {
        files::write(&self.folder, "cgroup.procs", &pid.to_string())
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        files::remove(&self.folder)
    }

    /// Ends everything in the group in one step, where the kernel can (since 5.14).
    pub(super) fn kill(&self) {
        if self.folder.join("cgroup.kill").exists() {
            // Where it fails, the caller's kill by process number is left.
            let _ = files::write(&self.folder, "cgroup.kill", "1");
        }
    }

    pub(super) fn limit(&self, limits: &Limits) -> io::Result<Applied> {
        files::write(&self.folder, "memory.max", &limits.memory.get().to_string())?;
        if self.folder.join("memory.swap.max").exists() {
            files::write(&self.folder, "memory.swap.max", "0")?;
        }
        files::write(&self.folder, "memory.oom.group", if limits.kills_all { "1" } else { "0" })?;
        let weight = (limits.cpu_request.get() * WEIGHT_PER_CORE / 1_000).clamp(WEIGHT_MIN, WEIGHT_MAX);
        files::write(&self.folder, "cpu.weight", &weight.to_string())?;
        let bandwidth = limits
            .cpu_limit
            .map(Bandwidth::of)
            .map_or_else(|| "max".to_owned(), |Bandwidth { quota, period }| format!("{quota} {period}"));
        files::write(&self.folder, "cpu.max", &bandwidth)?;
        Ok(Applied::Yes)
    }

    pub(super) fn memory_limit(&self) -> io::Result<Option<Bytes>> {
        let text = files::read(&self.folder, "memory.max")?;
        match text.trim() {
            "max" => Ok(None),
            number => number
                .parse()
                .map(|limit| Some(Bytes::new(limit)))
                .map_err(|_| files::malformed(&self.folder, "memory.max", &text)),
        }
    }

    pub(super) fn cpu_seconds(&self) -> io::Result<f64> {
        let stat = files::read(&self.folder, "cpu.stat")?;
        files::value_of(&stat, "usage_usec")
            .map(|microseconds| microseconds as f64 / 1e6)
            .ok_or_else(|| files::malformed(&self.folder, "cpu.stat", &stat))
    }

    pub(super) fn unreclaimable(&self) -> io::Result<Bytes> {
        let stat = files::read(&self.folder, "memory.stat")?;
        let file_cache = ["inactive_file", "active_file"].map(|key| files::value_of(&stat, key));
        let used = files::number(&self.folder, "memory.current")?;
        Ok(Bytes::new(used.saturating_sub(file_cache.into_iter().flatten().sum())))
    }

    pub(super) fn usage(&self) -> io::Result<GroupUsage> {
        let cpu = files::read(&self.folder, "cpu.stat")?;
        let memory = files::read(&self.folder, "memory.stat")?;
        let used = files::number(&self.folder, "memory.current")?;
        let inactive = files::value_of(&memory, "inactive_file").unwrap_or(0);
        // `file` counts shared memory too, which the kernel cannot drop.
        let cache = files::value_of(&memory, "file")
            .map(|cache| cache.saturating_sub(files::value_of(&memory, "shmem").unwrap_or(0)));
        Ok(GroupUsage {
            cpu_seconds: self.cpu_seconds()?,
            throttled_seconds: files::value_of(&cpu, "throttled_usec")
                .map(|microseconds| microseconds as f64 / 1e6),
            periods: files::value_of(&cpu, "nr_periods"),
            throttled_periods: files::value_of(&cpu, "nr_throttled"),
            working_set: Bytes::new(used.saturating_sub(inactive)),
            page_cache: cache.map(Bytes::new),
            // Since kernel 5.19.
            peak_memory: files::number(&self.folder, "memory.peak").ok().map(Bytes::new),
            oom_kills: files::value_of(&files::read(&self.folder, "memory.events")?, "oom_kill"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    use crate::adapters::local::cgroup::Group;

    /// Membership, the kill and the removal need no controller, so the kernel's own hierarchy shows
    /// them even where version 1 has the controllers.
    #[test]
    fn on_a_real_hierarchy_processes_enter_and_the_kill_takes_all_of_them() {
        let mounts = procfs::process::Process::myself().and_then(|own| own.mountinfo()).expect("mounts");
        let Some(mount) = mounts.into_iter().find(|mount| mount.fs_type == "cgroup2") else {
            println!("skipped: version 2 is not mounted here");
            return;
        };
        let group =
            GroupV2 { folder: mount.mount_point }.child(&format!("loadline-unit-{}", std::process::id()));
        if let Err(error) = group.create() {
            println!("skipped: {error}");
            return;
        }
        let mut child = Command::new("sh").args(["-c", "sleep 60 & wait"]).spawn().expect("a process");
        let entered = group.enter(child.id());
        let group = Group::V2(group);
        let members = group.members();
        let destroyed = std::thread::spawn({
            let group = group.clone();
            move || group.destroy()
        });
        // Also where it could not enter, so that it does not stay.
        if entered.is_err() {
            child.kill().expect("an end");
        }
        child.wait().expect("an end");
        entered.expect("to enter");
        assert!(members.contains(&child.id()));
        destroyed.join().expect("no panic").expect("to be removed");
        assert!(group.members().is_empty());
    }
}
