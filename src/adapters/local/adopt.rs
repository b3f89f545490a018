//! Opens the cluster over a data folder: takes over what an earlier engine left, and cleans up what
//! nobody will miss.

use std::collections::BTreeSet;
use std::fs::{self, TryLockError};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::adapters::local::cgroup::{self, Found};
use crate::adapters::local::record::{self, Claim, NodeRecord, TaskFolder};
use crate::adapters::local::{Inner, LocalConfig, NodeEntry, SUPERVISORS, State, TaskEntry, failed, launch};
use crate::adapters::lock::lock_soon;
use crate::domain::task::TaskId;
use crate::ports::clock::Clock;
use crate::ports::cluster::ClusterError;

/// What the names of all engines' groups begin with.
const GROUP_PREFIX: &str = "loadline-";

/// Opens the data folder of `config`.
pub(super) fn open(mut config: LocalConfig, clock: Arc<dyn Clock>) -> Result<Inner, ClusterError> {
    let task_files = launch::raise_open_files();
    let shown = config.data_dir.display().to_string();
    let failing = |error| failed(format!("open {shown}"), error);
    for folder in [record::tasks_dir(&config.data_dir), record::nodes_dir(&config.data_dir)] {
        record::make_private_dir(&folder).map_err(failing)?;
    }
    // Supervisors do not share this process's current folder.
    config.data_dir = config.data_dir.canonicalize().map_err(failing)?;
    let lock = record::private_file()
        .create(true)
        .truncate(false)
        .write(true)
        .open(config.data_dir.join("local.lock"))
        .map_err(failing)?;
    lock_soon(&lock).map_err(|error| match error {
        TryLockError::WouldBlock => ClusterError::Refused(format!("{shown} is in use by another engine")),
        TryLockError::Error(error) => failing(error),
    })?;
    let support = cgroup::detect(&config.cgroups, &format!("{GROUP_PREFIX}{}", config.instance));
    let claim = if let Found::Usable { root, .. } = &support {
        let claim = root.claim();
        root.remove_left_over(GROUP_PREFIX);
        claim
    } else {
        None
    };
    let inner = Inner {
        config,
        clock,
        support,
        state: Mutex::new(State { next_port: launch::first_port(), ..State::default() }),
        changes: Arc::new(Notify::new()),
        runtime: Handle::current(),
        task_files,
        _lock: lock,
        _claim: claim,
    };
    inner.adopt_nodes().map_err(failing)?;
    inner.adopt_tasks().map_err(failing)?;
    inner.fail_again();
    inner.remove_stale_groups();
    inner.prune_logs();
    Ok(inner)
}

impl Inner {
    /// Nodes are there again with their groups, which a restart of the machine has taken away.
    fn adopt_nodes(&self) -> io::Result<()> {
        if let Some(root) = self.root() {
            root.child(SUPERVISORS).create()?;
        }
        for entry in fs::read_dir(record::nodes_dir(self.data_dir()))?.flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match record::read::<NodeRecord>(&path) {
                Ok(Some(mut record)) => {
                    if !record.failed {
                        record.group = self.prepare_group(&record)?;
                    }
                    let entry = NodeEntry { record, past_cpu_seconds: 0.0 };
                    self.state().nodes.insert(entry.record.name.clone(), entry);
                }
                Ok(None) => {}
                Err(error) if !record::is_malformed(&error) => return Err(error),
                // Its tasks are still known by their own records; the scheduler makes a new node.
                Err(error) => tracing::error!(path = %path.display(), %error, "node record is unreadable"),
            }
        }
        Ok(())
    }

    /// Running tasks are watched again, those that ended have their records read.
    fn adopt_tasks(&self) -> io::Result<()> {
        for entry in fs::read_dir(record::tasks_dir(self.data_dir()))?.flatten() {
            let Ok(task) = entry.file_name().to_string_lossy().parse::<TaskId>() else { continue };
            let folder = TaskFolder::at(entry.path());
            let record = match folder.record() {
                Ok(Some(record)) if record.task == task => record,
                Ok(None) => continue,
                Err(error) if !record::is_malformed(&error) => return Err(error),
                Ok(Some(_)) | Err(_) => {
                    tracing::error!(%task, "its record is damaged: it is ended, a new task takes its place");
                    end_unknown(&folder);
                    continue;
                }
            };
            // Where the engine was killed between its record and the supervisor's claim, this decides
            // that the task never ran: a supervisor that still comes finds the claim and goes.
            let never_claimed = matches!(folder.claim(), Ok(None)) && folder.put_claim(&Claim::Abandoned)?;
            if never_claimed {
                tracing::info!(%task, "its launch was broken off before it started");
                if let Some(group) = &record.group {
                    let _ = group.destroy();
                }
                folder.clear()?;
                continue;
            }
            let entry = TaskEntry::new(record);
            self.state().tasks.insert(task, entry);
        }
        let watched: Vec<_> = {
            let lost = self.refresh();
            self.clean_up(&lost);
            let state = self.state();
            state
                .tasks
                .values()
                .filter(|entry| entry.is_live())
                .filter_map(|entry| entry.supervisor.clone())
                .collect()
        };
        for supervisor in &watched {
            self.watch(supervisor);
        }
        Ok(())
    }

    /// Removes groups of tasks and nodes that are no more, with whatever still runs in them: this engine
    /// alone puts tasks there, and nobody would ever end one that it does not know.
    fn remove_stale_groups(&self) {
        let Found::Usable { root, .. } = &self.support else { return };
        let state = self.state();
        for node in root.children() {
            let group = root.child(&node);
            for task in group.children() {
                let is_live =
                    task.parse().is_ok_and(|task| state.tasks.get(&task).is_some_and(TaskEntry::is_live));
                if !is_live && let Err(error) = group.child(&task).destroy() {
                    tracing::warn!(%node, %task, %error, "a control group is left");
                }
            }
            let is_known = node == SUPERVISORS
                || state.tasks.values().any(|task| task.is_live() && task.record.node.as_str() == node)
                || state
                    .nodes
                    .values()
                    .any(|entry| entry.record.name.as_str() == node && !entry.record.failed);
            if !is_known && let Err(error) = group.destroy() {
                tracing::warn!(%node, %error, "a control group is left");
            }
        }
    }

    /// Removes the oldest folders of tasks that are gone, beyond those that are kept for their logs.
    pub(super) fn prune_logs(&self) {
        let known: BTreeSet<String> = self.state().tasks.keys().map(ToString::to_string).collect();
        let Ok(entries) = fs::read_dir(record::tasks_dir(self.data_dir())) else { return };
        let mut gone: Vec<(std::time::SystemTime, PathBuf)> = entries
            .flatten()
            .filter(|entry| !known.contains(entry.file_name().to_string_lossy().as_ref()))
            .map(|entry| TaskFolder::at(entry.path()))
            .filter(|folder| !folder.has_record())
            .filter_map(|folder| {
                Some((fs::metadata(folder.path()).ok()?.modified().ok()?, folder.path().to_owned()))
            })
            .collect();
        gone.sort();
        let surplus = gone.len().saturating_sub(self.config.kept_logs);
        for (_, path) in gone.into_iter().take(surplus) {
            // Two tasks that are forgotten at a time look at the same folders.
            if let Err(error) = record::absent_is_fine(fs::remove_dir_all(&path)) {
                tracing::warn!(path = %path.display(), %error, "old logs are left");
            }
        }
    }
}

/// Ends a task of which no more can be read than who holds it. Its main process ends with the
/// supervisor; the rest of it ends with its group, which is nobody's.
fn end_unknown(folder: &TaskFolder) {
    if let Ok(Some(Claim::Supervisor(supervisor))) = folder.claim() {
        supervisor.signal(rustix::process::Signal::KILL);
    }
}
