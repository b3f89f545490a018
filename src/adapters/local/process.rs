//! Processes of this machine: who one is beyond its number, whom it started, and signals that cannot
//! reach another process that was given the same number later.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use procfs::process::{Process, Stat};
use rustix::process::{Pid, PidfdFlags, Signal};
use serde::{Deserialize, Serialize};

/// Who a process is. A number alone is given again; number, start and boot together are not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessIdentity {
    /// The process id.
    pub(super) pid: u32,
    /// When it started, in clock ticks since the machine started (`/proc/PID/stat`, field 22).
    pub(super) start_ticks: u64,
    /// Which start of the machine the ticks count from.
    pub(super) boot_id: String,
}

impl ProcessIdentity {
    /// The process that now has this number.
    pub(super) fn of(pid: u32) -> io::Result<Self> {
        Ok(Self { pid, start_ticks: stat(pid)?.starttime, boot_id: boot_id().to_owned() })
    }

    /// This process.
    pub(super) fn own() -> io::Result<Self> {
        Self::of(std::process::id())
    }

    /// Whether the process still runs. One that ended and was not yet reaped does not; one that cannot be
    /// looked at, because this process has no room to look, may.
    pub(super) fn is_alive(&self) -> bool {
        self.boot_id == boot_id()
            && match stat(self.pid) {
                Ok(stat) => stat.starttime == self.start_ticks && !matches!(stat.state, 'Z' | 'X'),
                Err(error) => is_shortage(&error),
            }
    }

    /// Whether the number now belongs to another process.
    pub(super) fn is_recycled(&self) -> bool {
        self.boot_id != boot_id() || stat(self.pid).is_ok_and(|stat| stat.starttime != self.start_ticks)
    }

    /// A handle that stays with this very process, one that ended and is not yet reaped included; none
    /// where it is gone.
    pub(super) fn handle(&self) -> Option<OwnedFd> {
        let handle = open_handle(self.pid)?;
        // Asked after the handle was opened: if the number still means this process now, it meant it
        // then.
        let is_it = self.boot_id == boot_id() && stat(self.pid).ok()?.starttime == self.start_ticks;
        is_it.then_some(handle)
    }

    /// Sends a signal to this very process; false where it is gone.
    pub(super) fn signal(&self, signal: Signal) -> bool {
        self.handle().is_some_and(|handle| rustix::process::pidfd_send_signal(&handle, signal).is_ok())
    }
}

/// A handle of the process that now has this number.
fn open_handle(pid: u32) -> Option<OwnedFd> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
    rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()
}

/// Kills each of these processes that `still_ours` confirms once a handle of it is held.
pub(super) fn kill_if(pids: &[u32], still_ours: impl Fn(u32) -> bool) {
    for pid in pids {
        let Some(handle) = open_handle(*pid) else { continue };
        if still_ours(*pid) {
            // A process that ended meanwhile is what was wanted.
            let _ = rustix::process::pidfd_send_signal(&handle, Signal::KILL);
        }
    }
}

/// The start of the machine that this process lives in.
fn boot_id() -> &'static str {
    static BOOT: OnceLock<String> = OnceLock::new();
    BOOT.get_or_init(|| {
        let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        text.trim().to_owned()
    })
}

/// Whether an operation failed for want of open files or memory in this process or machine: it tells
/// nothing about what was looked at, and works again later.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOMEM];
    error.raw_os_error().is_some_and(|code| shortages.iter().any(|errno| errno.raw_os_error() == code))
}

/// What the kernel tells of a process in one line.
fn stat(pid: u32) -> io::Result<Stat> {
    let pid = i32::try_from(pid).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    Process::new(pid).and_then(|process| process.stat()).map_err(into_io)
}

/// An error of the procfs crate as one of the standard library.
pub(super) fn into_io(error: procfs::ProcError) -> io::Error {
    match error {
        procfs::ProcError::NotFound(_) => io::ErrorKind::NotFound.into(),
        procfs::ProcError::PermissionDenied(_) => io::ErrorKind::PermissionDenied.into(),
        procfs::ProcError::Io(error, _) => error,
        other => io::Error::other(other.to_string()),
    }
}

/// All processes of the machine at one instant.
#[derive(Debug, Default)]
pub(super) struct ProcessTable {
    processes: HashMap<u32, Stat>,
    children: HashMap<u32, Vec<u32>>,
}

impl ProcessTable {
    /// Reads `/proc`. Processes that end meanwhile are left out.
    pub(super) fn read() -> io::Result<Self> {
        let mut table = Self::default();
        for process in procfs::process::all_processes().map_err(into_io)? {
            let Ok(stat) = process.and_then(|process| process.stat()) else { continue };
            let (Ok(pid), Ok(parent)) = (u32::try_from(stat.pid), u32::try_from(stat.ppid)) else { continue };
            table.children.entry(parent).or_default().push(pid);
            table.processes.insert(pid, stat);
        }
        Ok(table)
    }

    /// A process.
    pub(super) fn get(&self, pid: u32) -> Option<&Stat> {
        self.processes.get(&pid)
    }

    /// Who a process was when the table was read.
    pub(super) fn identity(&self, pid: u32) -> Option<ProcessIdentity> {
        let start_ticks = self.get(pid)?.starttime;
        Some(ProcessIdentity { pid, start_ticks, boot_id: boot_id().to_owned() })
    }

    /// Everything that `ancestor` started, and they in turn, those that ended and are not reaped
    /// excepted.
    pub(super) fn descendants(&self, ancestor: u32) -> Vec<u32> {
        let mut found = Vec::new();
        let mut open = vec![ancestor];
        while let Some(parent) = open.pop() {
            for child in self.children.get(&parent).into_iter().flatten() {
                open.push(*child);
                if self.processes.get(child).is_some_and(|stat| !matches!(stat.state, 'Z' | 'X')) {
                    found.push(*child);
                }
            }
        }
        found
    }

    /// The processes of a session.
    pub(super) fn session(&self, session: u32) -> Vec<u32> {
        self.processes
            .iter()
            .filter(|(_, stat)| u32::try_from(stat.session).is_ok_and(|of| of == session))
            .map(|(pid, _)| *pid)
            .collect()
    }
}

/// Kills everything that `ancestor` started, again and again while it keeps starting more. True once
/// nothing is left.
pub(super) fn kill_descendants(ancestor: u32) -> io::Result<bool> {
    let left = ProcessTable::read()?.descendants(ancestor);
    kill_if(&left, |pid| is_descendant(pid, ancestor));
    Ok(left.is_empty())
}

/// Follows the parents of a process up to `ancestor`.
fn is_descendant(mut pid: u32, ancestor: u32) -> bool {
    while pid > 1 {
        let Some(parent) = stat(pid).ok().and_then(|stat| u32::try_from(stat.ppid).ok()) else {
            return false;
        };
        if parent == ancestor {
            return true;
        }
        pid = parent;
    }
    false
}

/// Kills what is left of a task whose supervisor is gone, where no cgroup tells what belongs to it: the
/// members of the supervisor's session that carry the task's mark in their environment. True once
/// nothing is left. Processes that left the session or wiped their environment are not found.
pub(super) fn kill_session(supervisor: &ProcessIdentity, mark: &str) -> io::Result<bool> {
    // The kernel does not give a number again while it still names a session. So a number that was
    // given again has no members of the old session left.
    if supervisor.is_recycled() {
        return Ok(true);
    }
    let ours = |pid: u32| {
        stat(pid).is_ok_and(|stat| {
            stat.starttime >= supervisor.start_ticks
                && u32::try_from(stat.session).is_ok_and(|session| session == supervisor.pid)
                && !matches!(stat.state, 'Z' | 'X')
        }) && has_mark(pid, mark)
    };
    let left: Vec<u32> =
        ProcessTable::read()?.session(supervisor.pid).into_iter().filter(|pid| ours(*pid)).collect();
    kill_if(&left, ours);
    Ok(left.is_empty())
}

/// Whether the environment that a process started with has this entry.
fn has_mark(pid: u32, mark: &str) -> bool {
    fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_is_known_by_its_start_not_by_its_number() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("a process");
        let identity = ProcessIdentity::of(child.id()).expect("its identity");
        let forged = ProcessIdentity { start_ticks: identity.start_ticks + 1, ..identity.clone() };
        let earlier_boot = ProcessIdentity { boot_id: "another".to_owned(), ..identity.clone() };

        assert!(identity.is_alive() && !identity.is_recycled());
        for other in [&forged, &earlier_boot] {
            assert!(!other.is_alive() && other.is_recycled());
            assert!(!other.signal(Signal::KILL), "a signal went to a process of another identity");
        }
        assert!(child.try_wait().expect("a state").is_none(), "the process was killed");

        assert!(identity.signal(Signal::KILL));
        child.wait().expect("its end");
        assert!(!identity.is_alive());
    }

    #[test]
    fn a_process_that_waits_to_be_reaped_is_not_alive() {
        let mut child = Command::new("true").spawn().expect("a process");
        let identity = ProcessIdentity::of(child.id()).expect("its identity");
        while identity.is_alive() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert!(ProcessIdentity::of(child.id()).is_ok(), "it was reaped too early for this test");
        child.wait().expect("its end");
    }
}
