//! The embedded cluster: real processes on this machine, in control groups where that is permitted. Its
//! nodes are slices of the machine.
//!
//! Each task is held by a supervisor process that outlives the engine (`supervisor`). Between the two
//! there are only files (`record`), one signal and the process itself; so an engine that starts finds
//! everything that an earlier one left (`open`).

mod adopt;
mod cgroup;
mod exec;
mod launch;
mod log_source;
mod nodes;
mod observer;
mod process;
mod record;
mod runner;
mod supervisor;
mod usage;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::adapters::local::cgroup::{Found, Group};
use crate::adapters::local::process::ProcessIdentity;
use crate::adapters::local::record::{NodeRecord, Started, TaskFolder, TaskRecord};
use crate::domain::node::NodeName;
use crate::domain::quantity::{Bytes, Millicores, Resources};
use crate::domain::task::{ExitRecord, TaskId};
use crate::ports::clock::Clock;
use crate::ports::cluster::ClusterError;

pub use cgroup::CgroupMode;
pub use supervisor::LogLimits;

/// The group of all supervisors, within the engine's group. No node has this name.
const SUPERVISORS: &str = "_supervisors";

/// How often an engine that ends tries to remove its group, `LEAVE_WAIT` apart.
const LEAVE_TRIES: u32 = 10;
const LEAVE_WAIT: Duration = Duration::from_millis(10);

/// Folders of forgotten tasks that are kept for their logs, where nothing else is said.
pub const KEPT_LOGS_DEFAULT: usize = 500;

/// What the local cluster needs to know.
#[derive(Debug, Clone)]
pub struct LocalConfig {
    /// Where everything is kept on disk.
    pub data_dir: PathBuf,
    /// This program's own file: supervisors are started from it.
    pub executable: PathBuf,
    /// Tells this engine's control groups from those of other engines on the machine; the same at each
    /// start over the same data folder.
    pub instance: String,
    /// Which control groups are used.
    pub cgroups: CgroupMode,
    /// How much output is kept of each task.
    pub logs: LogLimits,
    /// How many tasks that are gone have their logs kept.
    pub kept_logs: usize,
}

impl LocalConfig {
    /// The defaults, over the folder `data_dir`.
    pub fn new(data_dir: PathBuf, executable: PathBuf, instance: String) -> Self {
        Self {
            data_dir,
            executable,
            instance,
            cgroups: CgroupMode::Detect,
            logs: LogLimits::default(),
            kept_logs: KEPT_LOGS_DEFAULT,
        }
    }
}

/// The embedded cluster.
#[derive(Clone)]
pub struct LocalCluster {
    inner: Arc<Inner>,
}

/// What all parts of it share.
struct Inner {
    config: LocalConfig,
    clock: Arc<dyn Clock>,
    /// The group of everything that this engine runs, or why there is none.
    support: Found,
    state: Mutex<State>,
    changes: Arc<Notify>,
    runtime: Handle,
    /// How many files a task may have open.
    task_files: launch::OpenFiles,
    /// Held for as long as this cluster is open, so that no second engine opens it.
    _lock: File,
    /// Held on the group, so that no other engine takes it for one that is left over.
    _claim: Option<File>,
}

/// What is known of tasks and nodes.
#[derive(Default)]
struct State {
    tasks: BTreeMap<TaskId, TaskEntry>,
    nodes: BTreeMap<NodeName, NodeEntry>,
    /// The port that is tried next.
    next_port: u16,
    /// Counts commands that were run in tasks.
    execs: u64,
}

/// What is known of a task.
struct TaskEntry {
    record: TaskRecord,
    /// Whether a call of this process is about to start it.
    launching: bool,
    supervisor: Option<ProcessIdentity>,
    started: Option<Started>,
    end: Option<End>,
    resize_refused: Option<String>,
    /// It is lost, and some of its processes may still be there.
    left_over: bool,
    /// The highest counters that were read without a control group: the sums lose what a process
    /// that ended took with it.
    floor: usage::Floor,
}

/// How a task ended.
enum End {
    /// With a record.
    Recorded(ExitRecord),
    /// Without one.
    Lost,
}

/// What is known of a node.
struct NodeEntry {
    record: NodeRecord,
    /// CPU time of its tasks that are gone, in seconds; counted only where no control group does.
    past_cpu_seconds: f64,
}

impl TaskEntry {
    fn new(record: TaskRecord) -> Self {
        Self {
            record,
            launching: false,
            supervisor: None,
            started: None,
            end: None,
            resize_refused: None,
            left_over: false,
            floor: usage::Floor::default(),
        }
    }

    /// Whether it runs or is about to.
    fn is_live(&self) -> bool {
        self.end.is_none()
    }
}

impl LocalCluster {
    /// Opens the cluster over its data folder and takes over what is there: nodes, running tasks, tasks
    /// that ended meanwhile. To be called within a tokio runtime.
    pub fn open(config: LocalConfig, clock: Arc<dyn Clock>) -> Result<Self, ClusterError> {
        let inner = adopt::open(config, clock)?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Runs a call that blocks, off the executor's threads.
    async fn blocking<T: Send + 'static>(
        &self,
        operation: &str,
        call: impl FnOnce(&Inner) -> Result<T, ClusterError> + Send + 'static,
    ) -> Result<T, ClusterError> {
        let inner = Arc::clone(&self.inner);
        let done = self.inner.runtime.spawn_blocking(move || call(&inner)).await;
        done.map_err(|error| failed(operation, io::Error::other(error)))?
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state is one assignment; a panic elsewhere leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn data_dir(&self) -> &Path {
        &self.config.data_dir
    }

    fn folder(&self, task: &TaskId) -> TaskFolder {
        TaskFolder::of(self.data_dir(), task)
    }

    /// The group of everything that this engine runs.
    fn root(&self) -> Option<&Group> {
        match &self.support {
            Found::Usable { root, .. } => Some(root),
            Found::Nothing { .. } => None,
        }
    }

    /// Wakes `changed` when a supervisor ends, and reaps it.
    fn watch(&self, supervisor: &ProcessIdentity) {
        let changes = Arc::downgrade(&self.changes);
        let Some(handle) = supervisor.handle() else {
            // It ended before it could be watched: that is a change already.
            self.changes.notify_one();
            return;
        };
        self.runtime.spawn(async move {
            #[expect(
                deprecated,
                reason = "its safe successor needs `unsafe`; an owned handle that nothing replaces is what it asks for"
            )]
            let registered = AsyncFd::new(handle);
            if let Ok(handle) = registered {
                // The handle becomes readable when the process ends.
                let _ = handle.readable().await;
                supervisor::reap_supervisor(std::os::fd::AsFd::as_fd(handle.get_ref()));
            }
            if let Some(changes) = Weak::upgrade(&changes) {
                changes.notify_one();
            }
        });
    }
}

impl Drop for Inner {
    /// An engine without tasks leaves no empty groups behind; those of nodes are made again at the next
    /// start. A group that still has a process in it cannot be removed, so nothing that runs is lost.
    fn drop(&mut self) {
        if self.state().tasks.values().any(TaskEntry::is_live) {
            return;
        }
        let Some(root) = self.root() else { return };
        for _ in 0..LEAVE_TRIES {
            if root.remove().is_ok() {
                return;
            }
            // A supervisor that has just ended takes a moment to leave.
            std::thread::sleep(LEAVE_WAIT);
        }
        tracing::debug!("the engine's control group is left, something is in it");
    }
}

/// An operation on the machine that failed.
fn failed(operation: impl Into<String>, source: io::Error) -> ClusterError {
    ClusterError::Io { operation: operation.into(), source }
}

/// What this machine can offer to tasks: its processors, and nine tenths of its memory, since the system
/// and the engine need some.
pub fn machine_size() -> io::Result<Resources> {
    let processors = std::thread::available_parallelism()?.get() as u64;
    let memory =
        <procfs::Meminfo as procfs::Current>::current().map_err(io::Error::other)?.mem_total / 10 * 9;
    Ok(Resources::new(Millicores::new(processors * 1000), Bytes::new(memory)))
}

/// Runs this process as a supervisor or as the helper that becomes a task's program, where its first
/// argument says so; none where it does not, and this is a command for people.
pub fn hidden_command(mut arguments: impl Iterator<Item = OsString>, clock: &dyn Clock) -> Option<ExitCode> {
    // The program's own name comes first.
    match arguments.nth(1)?.to_str()? {
        supervisor::SUPERVISE => Some(supervisor::supervise(clock)),
        supervisor::TASK_EXEC => Some(supervisor::exec()),
        _ => None,
    }
}
