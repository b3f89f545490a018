//! Finds out which control groups this process may use, by trying. It never asks and never fails: the
//! answer is a group to work in, or the reason why there is none.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use procfs::process::{MountInfo, Process};

use crate::adapters::local::cgroup::v1::GroupV1;
use crate::adapters::local::cgroup::v2::GroupV2;
use crate::adapters::local::cgroup::{Applied, Group, Limits, files};
use crate::adapters::local::process::into_io;
use crate::domain::quantity::{Bytes, Millicores};

/// A group that is made and removed to see whether limits can be set. No task or node has this name.
const PROBE: &str = "_probe";

/// Which control groups are to be used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CgroupMode {
    /// Whatever this machine permits.
    #[default]
    Detect,
    /// None, as on a machine that permits none.
    ForcedOff,
    /// The tree at this folder, in place of the machine's own.
    Root(PathBuf),
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::adapters::local) enum Found {
    /// A group to work in, and what even so is not enforced.
    Usable { root: Group, limitations: Vec<String> },
    /// None, and why.
    Nothing { reason: String },
}

/// Finds or makes the group `name` for all nodes of an engine.
pub(in crate::adapters::local) fn detect(mode: &CgroupMode, name: &str) -> Found {
    let places = match mode {
        CgroupMode::ForcedOff => return Found::Nothing { reason: "control groups are switched off".into() },
        CgroupMode::Root(path) => vec![tree_at(path)],
        CgroupMode::Detect => match places_of_machine() {
            Ok(places) => places,
            Err(error) => return Found::Nothing { reason: format!("/proc cannot be read: {error}") },
        },
    };
    let mut reasons = Vec::new();
    for place in &places {
        match prepare(place, name) {
            Ok(root) => {
                let limitations = limitations_of(&root);
                return Found::Usable { root, limitations };
            }
            Err(error) => reasons.push(error.to_string()),
        }
    }
    if reasons.is_empty() {
        reasons.push("no control groups for CPU and memory are mounted".to_owned());
    }
    Found::Nothing { reason: reasons.join("; ") }
}

/// A tree that is given instead of the machine's.
fn tree_at(path: &Path) -> Group {
    if path.join("cgroup.controllers").exists() {
        Group::V2(GroupV2 { folder: path.to_owned() })
    } else {
        Group::V1(GroupV1 {
            cpu: path.join("cpu"),
            cpuacct: path.join("cpuacct"),
            memory: path.join("memory"),
        })
    }
}

/// Groups that ours could be made in, best first: the top of what is mounted, then the group that this
/// process is in. At the top, because tasks outlive the engine, and what ends the engine's own group
/// (a service manager, a login session) would end them too. In a container the top is the container's.
fn places_of_machine() -> io::Result<Vec<Group>> {
    let process = Process::myself().map_err(into_io)?;
    let mounts: Vec<MountInfo> = process.mountinfo().map_err(into_io)?.into_iter().collect();
    let own: HashMap<String, String> = process
        .cgroups()
        .map_err(into_io)?
        .into_iter()
        .flat_map(|group| {
            let controllers =
                if group.controllers.is_empty() { vec![String::new()] } else { group.controllers };
            controllers.into_iter().map(move |controller| (controller, group.pathname.clone()))
        })
        .collect();
    let mut places = Vec::new();
    let unified = mounts.iter().find(|mount| mount.fs_type == "cgroup2");
    // Where version 1 has taken CPU and memory, version 2 is mounted without them and of no use.
    if let Some(mount) = unified
        && has_controllers(&mount.mount_point)
    {
        places.push(Group::V2(GroupV2 { folder: mount.mount_point.clone() }));
        if let Some(folder) = own.get("").and_then(|path| below(mount, path)) {
            places.push(Group::V2(GroupV2 { folder }));
        }
    }
    let hierarchy = |controller: &str| {
        mounts.iter().find(|mount| mount.fs_type == "cgroup" && mount.super_options.contains_key(controller))
    };
    if let (Some(cpu), Some(cpuacct), Some(memory)) =
        (hierarchy("cpu"), hierarchy("cpuacct"), hierarchy("memory"))
    {
        places.push(Group::V1(GroupV1 {
            cpu: cpu.mount_point.clone(),
            cpuacct: cpuacct.mount_point.clone(),
            memory: memory.mount_point.clone(),
        }));
        let own_in = |controller: &str, mount| own.get(controller).and_then(|path| below(mount, path));
        if let (Some(cpu), Some(cpuacct), Some(memory)) =
            (own_in("cpu", cpu), own_in("cpuacct", cpuacct), own_in("memory", memory))
        {
            places.push(Group::V1(GroupV1 { cpu, cpuacct, memory }));
        }
    }
    places.dedup();
    Ok(places)
}

/// The folder of a group that `/proc/PID/cgroup` names; none where it is outside of what is mounted.
fn below(mount: &MountInfo, path: &str) -> Option<PathBuf> {
    let inside = Path::new(path).strip_prefix(&mount.root).ok()?;
    let is_inside = inside.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    is_inside.then(|| mount.mount_point.join(inside))
}

/// Whether a group of version 2 can hand out both CPU and memory.
fn has_controllers(folder: &Path) -> bool {
    files::read(folder, "cgroup.controllers").is_ok_and(|text| {
        ["cpu", "memory"].iter().all(|wanted| text.split_whitespace().any(|one| one == *wanted))
    })
}

/// Makes our group in `place` and sees whether limits hold in it.
fn prepare(place: &Group, name: &str) -> io::Result<Group> {
    if let Group::V2(group) = place {
        if !has_controllers(&group.folder) {
            return Err(io::Error::other(format!(
                "{}: the controllers for CPU and memory are not available",
                group.folder.display()
            )));
        }
        if group.delegate().is_err() {
            leave(group, name)?;
            group.delegate()?;
        }
    }
    let root = place.child(name);
    root.create()?;
    root.delegate()?;
    let probe = root.child(PROBE);
    probe.create()?;
    let limits = Limits {
        cpu_request: Millicores::new(100),
        cpu_limit: Some(Millicores::new(100)),
        memory: Bytes::mib(16),
        kills_all: true,
    };
    let tried = probe.limit(&limits);
    // A tree that is not the kernel's keeps its files; the probe in it does no harm.
    let _ = probe.remove();
    match tried? {
        Applied::Yes => Ok(root),
        Applied::Refused(reason) => Err(io::Error::other(reason)),
    }
}

/// Moves this process out of a group that is to hand out controllers: version 2 allows processes in
/// leaves only. Other processes in it are not ours to move.
fn leave(group: &GroupV2, name: &str) -> io::Result<()> {
    if !files::members(&group.folder).contains(&std::process::id()) {
        return Ok(());
    }
    let leaf = group.child(&format!("{name}-engine"));
    leaf.create()?;
    leaf.enter(std::process::id())
}

/// What is not enforced although groups are used.
fn limitations_of(root: &Group) -> Vec<String> {
    let limits_swap = match root {
        Group::V1(group) => group.limits_swap(),
        Group::V2(group) => group.folder.join("memory.swap.max").exists(),
    };
    // The file has a heading, then a line for each swap area.
    let has_swap = std::fs::read_to_string("/proc/swaps").is_ok_and(|text| text.lines().count() > 1);
    if has_swap && !limits_swap {
        vec![
            "swap is not limited: this kernel does not count it per control group, so a task at its memory \
             limit is swapped out before it is killed"
                .to_owned(),
        ]
    } else {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn mount(root: &str) -> MountInfo {
        let line = format!("41 31 0:38 {root} /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw");
        MountInfo::from_line(&line).expect("a mount")
    }

    #[test]
    fn the_own_group_is_found_below_what_is_mounted() {
        let at = |root, path| below(&mount(root), path).map(|path| path.display().to_string());
        assert_eq!(at("/", "/a/b").as_deref(), Some("/sys/fs/cgroup/unified/a/b"));
        assert_eq!(at("/docker/x", "/docker/x/y").as_deref(), Some("/sys/fs/cgroup/unified/y"));
        assert_eq!(at("/docker/x", "/other"), None);
        assert_eq!(at("/", "/../outside"), None);
    }

    #[test]
    fn a_tree_without_the_controllers_is_not_used_and_says_why() {
        let tree = tempfile::tempdir().expect("a folder");
        fs::write(tree.path().join("cgroup.controllers"), "hugetlb pids\n").expect("a write");
        let Found::Nothing { reason } = detect(&CgroupMode::Root(tree.path().to_owned()), "loadline-t")
        else {
            panic!("a tree without controllers was used");
        };
        assert!(reason.contains("CPU and memory are not available"), "{reason}");
    }

    #[test]
    fn in_version_2_limits_are_written_as_the_kernel_takes_them() {
        let tree = tempfile::tempdir().expect("a folder");
        fs::write(tree.path().join("cgroup.controllers"), "cpu io memory pids\n").expect("a write");
        let Found::Usable { root, .. } = detect(&CgroupMode::Root(tree.path().to_owned()), "loadline-t")
        else {
            panic!("a tree with controllers was not used");
        };
        let task = root.child("small-1").child("web.1");
        root.child("small-1").create().expect("a node");
        root.child("small-1").delegate().expect("a node that can hold limits");
        task.create().expect("a task");
        let limits = Limits {
            cpu_request: Millicores::new(250),
            cpu_limit: Some(Millicores::new(500)),
            memory: Bytes::mib(64),
            kills_all: true,
        };
        assert_eq!(task.limit(&limits).expect("limits"), Applied::Yes);

        let written = |path: &str| fs::read_to_string(tree.path().join("loadline-t").join(path)).expect(path);
        assert_eq!(written("cgroup.subtree_control"), "+cpu +memory");
        assert_eq!(written("small-1/cgroup.subtree_control"), "+cpu +memory");
        assert_eq!(written("small-1/web.1/memory.max"), "67108864");
        assert_eq!(written("small-1/web.1/memory.oom.group"), "1");
        assert_eq!(written("small-1/web.1/cpu.weight"), "25");
        assert_eq!(written("small-1/web.1/cpu.max"), "50000 100000");

        let uncapped = Limits { cpu_limit: None, cpu_request: Millicores::new(1), ..limits };
        task.limit(&uncapped).expect("limits");
        assert_eq!(written("small-1/web.1/cpu.max"), "max");
        assert_eq!(written("small-1/web.1/cpu.weight"), "1");
    }

    #[test]
    fn in_version_2_usage_is_read_and_memory_in_use_is_not_taken_away() {
        let tree = tempfile::tempdir().expect("a folder");
        let files = [
            (
                "cpu.stat",
                "usage_usec 2500000\nuser_usec 1\nsystem_usec 2\nnr_periods 40\nnr_throttled 10\n\
                 throttled_usec 750000\n",
            ),
            ("memory.current", "104857600\n"),
            (
                "memory.stat",
                "anon 62914560\nfile 41943040\nshmem 1048576\ninactive_file 31457280\nactive_file 9437184\n",
            ),
            ("memory.peak", "125829120\n"),
            ("memory.events", "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n"),
            ("memory.max", "134217728\n"),
        ];
        for (name, content) in files {
            fs::write(tree.path().join(name), content).expect("a write");
        }
        let task = Group::V2(GroupV2 { folder: tree.path().to_owned() });

        let usage = task.usage().expect("usage");
        assert!((usage.cpu_seconds - 2.5).abs() < 1e-9);
        assert_eq!(usage.throttled_seconds, Some(0.75));
        assert_eq!((usage.periods, usage.throttled_periods), (Some(40), Some(10)));
        assert_eq!(usage.working_set, Bytes::mib(70));
        assert_eq!(usage.page_cache, Some(Bytes::mib(39)));
        assert_eq!(usage.oom_kills, Some(2));
        let end = task.end();
        assert_eq!((end.peak_memory, end.memory_limit), (Some(Bytes::mib(120)), Some(Bytes::mib(128))));

        let limits =
            |memory| Limits { cpu_request: Millicores::new(100), cpu_limit: None, memory, kills_all: true };
        let refused = task.limit(&limits(Bytes::mib(60))).expect("an answer");
        assert_eq!(
            refused,
            Applied::Refused("a memory limit of 60.0 MiB is less than the 61.0 MiB in use".to_owned())
        );
        assert_eq!(
            task.memory_limit().expect("a limit"),
            Some(Bytes::mib(128)),
            "it was written all the same"
        );
        assert_eq!(task.limit(&limits(Bytes::mib(62))).expect("an answer"), Applied::Yes);
    }
}
