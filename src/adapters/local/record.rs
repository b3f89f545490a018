//! What lies on disk for each task and node. Every file has one writer, so none needs a lock:
//!
//! | file | writer | what |
//! | --- | --- | --- |
//! | `task.json` | engine | what the task is, where it runs, its size and ports |
//! | `supervisor.json` | supervisor | who holds the task; made once, never changed |
//! | `started.json` | supervisor | the process, once its program runs |
//! | `stop.json` | engine | how long the task has to end |
//! | `exit.json` | supervisor | how it ended |
//! | `stdout.log`, `stderr.log` | supervisor | what it wrote, older parts in `.1`, `.2` |
//! | `supervisor.log` | supervisor | what went wrong in the supervisor itself |
//!
//! Not here: the environment of a task. It may hold secrets and is never written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::adapters::local::cgroup::Group;
use crate::adapters::local::process::ProcessIdentity;
use crate::domain::node::NodeName;
use crate::domain::quantity::{Resources, TaskSize};
use crate::domain::task::{ExitRecord, TaskId};

/// What the engine knows of a task when it launches it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct TaskRecord {
    pub(super) task: TaskId,
    pub(super) node: NodeName,
    /// The size in force.
    pub(super) size: TaskSize,
    pub(super) ports: std::collections::BTreeMap<String, u16>,
    /// Its cgroup; absent where none is used.
    pub(super) group: Option<Group>,
}

/// Who holds a task. Whoever makes the file first decides whether the task starts at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Claim {
    /// A supervisor.
    Supervisor(ProcessIdentity),
    /// An engine that found no supervisor: one that still comes must not start the task.
    Abandoned,
}

/// The task's process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Started {
    pub(super) process: ProcessIdentity,
    pub(super) at: Timestamp,
}

/// How long a task that is told to stop has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StopRequest {
    pub(super) grace_ms: u64,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NodeRecord {
    pub(super) name: NodeName,
    pub(super) size: Resources,
    /// Its cgroup; absent where none is used.
    pub(super) group: Option<Group>,
    /// Whether it was failed with everything on it.
    pub(super) failed: bool,
}

/// What a document must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Survives {
    /// The end of the process that wrote it.
    Process,
    /// A crash of the machine as well. It costs a wait for the disk; what tells of running processes
    /// does not need it, since these do not survive either.
    Machine,
}

/// The folder of one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct TaskFolder(PathBuf);

impl TaskFolder {
    /// The folder of `task` below the engine's data folder.
    pub(super) fn of(data_dir: &Path, task: &TaskId) -> Self {
        Self(tasks_dir(data_dir).join(task.to_string()))
    }

    /// A folder that was found.
    pub(super) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(super) fn workdir(&self) -> PathBuf {
        self.file("workdir")
    }

    pub(super) fn record(&self) -> io::Result<Option<TaskRecord>> {
        read(&self.file("task.json"))
    }

    pub(super) fn put_record(&self, record: &TaskRecord) -> io::Result<()> {
        write(&self.file("task.json"), record, Survives::Machine)
    }

    pub(super) fn has_record(&self) -> bool {
        self.file("task.json").exists()
    }

    pub(super) fn claim(&self) -> io::Result<Option<Claim>> {
        read(&self.file("supervisor.json"))
    }

    /// Makes the claim unless there is one; false where there is.
    pub(super) fn put_claim(&self, claim: &Claim) -> io::Result<bool> {
        write_new(&self.file("supervisor.json"), claim)
    }

    pub(super) fn started(&self) -> io::Result<Option<Started>> {
        read(&self.file("started.json"))
    }

    pub(super) fn put_started(&self, started: &Started) -> io::Result<()> {
        write(&self.file("started.json"), started, Survives::Process)
    }

    pub(super) fn stop_request(&self) -> io::Result<Option<StopRequest>> {
        read(&self.file("stop.json"))
    }

    pub(super) fn put_stop_request(&self, request: StopRequest) -> io::Result<()> {
        write(&self.file("stop.json"), &request, Survives::Process)
    }

    pub(super) fn exit(&self) -> io::Result<Option<ExitRecord>> {
        read(&self.file("exit.json"))
    }

    pub(super) fn put_exit(&self, exit: &ExitRecord) -> io::Result<()> {
        write(&self.file("exit.json"), exit, Survives::Machine)
    }

    /// Removes everything but the logs of the task. The record goes first: what is left of a folder
    /// without one is nobody's.
    pub(super) fn clear(&self) -> io::Result<()> {
        for name in
            ["task.json", "started.json", "stop.json", "exit.json", "supervisor.json", "supervisor.log"]
        {
            absent_is_fine(fs::remove_file(self.file(name)))?;
        }
        absent_is_fine(fs::remove_dir_all(self.workdir()))
    }
}

/// Where the folders of tasks are.
pub(super) fn tasks_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("tasks")
}

/// Where the records of nodes are.
pub(super) fn nodes_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("nodes")
}

/// Where the record of a node is.
pub(super) fn node_file(data_dir: &Path, node: &NodeName) -> PathBuf {
    nodes_dir(data_dir).join(format!("{node}.json"))
}

/// Makes a folder that only this user can look into; one that is there stays as it is.
pub(super) fn make_private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Reads a document; none where the file is not there.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces a document: readers see the old one or the new one.
pub(super) fn write<T: Serialize>(path: &Path, document: &T, survives: Survives) -> io::Result<()> {
    let complete = write_aside(path, document, survives)?;
    fs::rename(&complete, path)?;
    // A new name in a folder is safe only once the folder is.
    match (survives, path.parent()) {
        (Survives::Machine, Some(folder)) => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

/// Makes a document whole or not at all; false where the file is there already.
fn write_new<T: Serialize>(path: &Path, document: &T) -> io::Result<bool> {
    let complete = write_aside(path, document, Survives::Process)?;
    let made = fs::hard_link(&complete, path);
    absent_is_fine(fs::remove_file(&complete))?;
    match made {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes a document beside its place, under a name that no other process uses.
fn write_aside<T: Serialize>(path: &Path, document: &T, survives: Survives) -> io::Result<PathBuf> {
    let aside = path.with_extension(format!("{}.part", std::process::id()));
    let mut file = private_file().create(true).write(true).truncate(true).open(&aside)?;
    file.write_all(&serde_json::to_vec(document)?)?;
    if survives == Survives::Machine {
        file.sync_all()?;
    }
    Ok(aside)
}

/// Whether a document was read and is not what it should be, as opposed to one that cannot be read now.
pub(super) fn is_malformed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

/// Options for files that only this user can read.
pub(super) fn private_file() -> OpenOptions {
    let mut options = File::options();
    options.mode(0o600);
    options
}

/// What was to be removed and is not there, is removed.
pub(super) fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_claim_counts() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = TaskFolder::at(dir.path().to_owned());
        let own = Claim::Supervisor(ProcessIdentity::own().expect("an identity"));

        assert!(folder.put_claim(&own).expect("a write"));
        assert!(!folder.put_claim(&Claim::Abandoned).expect("a write"));
        assert_eq!(folder.claim().expect("a read"), Some(own));
        assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 1, "parts were left behind");
    }
}
