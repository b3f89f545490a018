//! A small disk of its own, to be filled.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::machine::until;

/// A file system in memory.
pub(super) struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// One of so many MiB; none, with a word why, where this user may not mount.
    #[expect(clippy::print_stderr, reason = "a test that is skipped says why")]
    pub(super) fn new(mib: u32) -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("loadline-disk-").tempdir().expect("a folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "none"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self { folder });
        }
        eprintln!("skipped: this user may not mount a disk to fill");
        None
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn filler(&self) -> PathBuf {
        self.folder.path().join("filler")
    }

    /// Takes all the room that is left.
    pub(super) fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.filler()).expect("a file");
        for size in [64 << 10, 4 << 10, 512, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    /// Gives the room back.
    pub(super) fn free(&self) {
        std::fs::remove_file(self.filler()).expect("the filler");
    }

    /// Lets nobody write, or lets everybody again.
    pub(super) fn set_read_only(&self, read_only: bool) {
        let how = if read_only { "remount,ro" } else { "remount,rw" };
        // A process that has just been told to end, or was begun beside it, may still hold a file open.
        until(&format!("the disk to be made {how}"), || {
            let mount = Command::new("mount").args(["-o", how]).arg(self.folder.path()).output();
            mount.expect("mount").status.success()
        });
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
    }
}
