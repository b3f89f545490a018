//! Shows what runs on this machine.

use std::io;
use std::thread;
use std::time::Duration;

use async_trait::async_trait;

use crate::adapters::local::cgroup::{Found, Group};
use crate::adapters::local::process::{self, ProcessIdentity};
use crate::adapters::local::record::Claim;
use crate::adapters::local::{End, Inner, LocalCluster, TaskEntry, launch};
use crate::domain::node::NodeName;
use crate::domain::observation::{Health, NodeObservation, ProcessState, TaskObservation};
use crate::domain::task::TaskId;
use crate::ports::cluster::{ClusterError, ClusterObservation, ClusterObserver};

/// How often what a lost task left is killed where no control group is used, `KILL_WAIT` apart.
const KILL_TRIES: u32 = 50;
const KILL_WAIT: Duration = Duration::from_millis(10);

#[async_trait]
impl ClusterObserver for LocalCluster {
    async fn observe(&self) -> Result<ClusterObservation, ClusterError> {
        self.blocking("observe tasks", |inner| Ok(inner.observe())).await
    }

    async fn changed(&self) {
        self.inner.changes.notified().await;
    }

    fn limitations(&self) -> Vec<String> {
        let most = self.inner.task_files.most;
        let few = (most < launch::OPEN_FILES_WANTED).then(|| {
            format!(
                "at most {most} files can be open at a time, one for each task and each connection: raise the \
                 limit (`ulimit -n 4096`) before the engine starts"
            )
        });
        let mut limitations = match &self.inner.support {
            Found::Usable { limitations, .. } => limitations.clone(),
            Found::Nothing { reason } => vec![
                format!(
                    "sizes are not enforced: a task may use more CPU and memory than its limits, and nodes \
                     hold their tasks to nothing ({reason})"
                ),
                "usage is read from /proc: throttling, page cache, peak memory and kills for want of memory \
                 are not known"
                    .to_owned(),
                "sizes do not change in place: a new size means a new task".to_owned(),
            ],
        };
        limitations.extend(few);
        limitations
    }
}

/// A task whose supervisor is gone without a record, and what may be left of it.
pub(super) struct LostTask {
    pub(super) task: TaskId,
    pub(super) supervisor: Option<ProcessIdentity>,
    pub(super) group: Option<Group>,
}

impl Inner {
    fn observe(&self) -> ClusterObservation {
        // Before it is said that a task is lost, its processes are gone.
        let lost = self.refresh();
        self.clean_up(&lost);
        let state = self.state();
        ClusterObservation {
            tasks: state.tasks.iter().map(|(task, entry)| (task.clone(), entry.observation())).collect(),
            nodes: state
                .nodes
                .iter()
                .map(|(name, entry)| {
                    let node =
                        if entry.record.failed { NodeObservation::Lost } else { NodeObservation::Ready };
                    (name.clone(), node)
                })
                .collect(),
            can_resize: self.root().is_some(),
        }
    }

    /// Reads what supervisors have put on disk since the last call. Tells which tasks were lost.
    pub(super) fn refresh(&self) -> Vec<LostTask> {
        let mut state = self.state();
        let mut lost = Vec::new();
        let mut past: Vec<(NodeName, f64)> = Vec::new();
        for (task, entry) in &mut state.tasks {
            if entry.left_over {
                lost.push(LostTask::of(task, entry));
            }
            if !entry.is_live() || entry.launching {
                continue;
            }
            if let Err(error) = self.refresh_entry(task, entry) {
                // Whether it lives is not known: it is not given up for that.
                tracing::warn!(%task, %error, "it cannot be looked at");
            }
            if entry.end.is_some() {
                past.push((entry.record.node.clone(), entry.floor.cpu_seconds));
            }
            if matches!(entry.end, Some(End::Lost)) {
                tracing::warn!(%task, "its supervisor is gone without a record");
                entry.left_over = true;
                lost.push(LostTask::of(task, entry));
            }
        }
        for (node, cpu_seconds) in past {
            if let Some(entry) = state.nodes.get_mut(&node) {
                entry.past_cpu_seconds += cpu_seconds;
            }
        }
        lost
    }

    /// Ends what is left of lost tasks. The main process dies with its supervisor, by the kernel; what
    /// it had started does not. What does not end now is tried again with the next observation.
    pub(super) fn clean_up(&self, lost: &[LostTask]) {
        for LostTask { task, supervisor, group } in lost {
            let done = match (group, supervisor) {
                (Some(group), _) => group.destroy().is_ok(),
                (None, Some(supervisor)) => kill_rest(supervisor, &launch::mark(task)),
                (None, None) => true,
            };
            if !done {
                tracing::error!(%task, "processes of a lost task cannot be ended so far");
            } else if let Some(entry) = self.state().tasks.get_mut(task) {
                entry.left_over = false;
            }
        }
    }

    fn refresh_entry(&self, task: &TaskId, entry: &mut TaskEntry) -> io::Result<()> {
        let folder = self.folder(task);
        if entry.supervisor.is_none() {
            match folder.claim() {
                Ok(Some(Claim::Supervisor(supervisor))) => entry.supervisor = Some(supervisor),
                Err(error) if process::is_shortage(&error) => return Err(error),
                Ok(None | Some(Claim::Abandoned)) | Err(_) => {}
            }
        }
        if entry.started.is_none() {
            entry.started = folder.started().ok().flatten();
        }
        // Asked before the record is read: a supervisor that is gone now has written it by now.
        let is_held = entry.supervisor.as_ref().is_some_and(ProcessIdentity::is_alive);
        entry.end = match folder.exit() {
            Ok(Some(exit)) => Some(End::Recorded(exit)),
            Ok(None) | Err(_) if is_held => None,
            Ok(None) => Some(End::Lost),
            Err(error) if process::is_shortage(&error) => return Err(error),
            Err(error) => {
                tracing::error!(%task, %error, "its exit record is unreadable");
                Some(End::Lost)
            }
        };
        Ok(())
    }
}

/// Kills what a task left where no control group tells what belongs to it.
fn kill_rest(supervisor: &ProcessIdentity, mark: &str) -> bool {
    for _ in 0..KILL_TRIES {
        if process::kill_session(supervisor, mark).unwrap_or(false) {
            return true;
        }
        thread::sleep(KILL_WAIT);
    }
    false
}

impl LostTask {
    pub(super) fn of(task: &TaskId, entry: &TaskEntry) -> Self {
        Self { task: task.clone(), supervisor: entry.supervisor.clone(), group: entry.record.group.clone() }
    }
}

impl TaskEntry {
    fn observation(&self) -> TaskObservation {
        let process = match (&self.end, &self.started) {
            (Some(End::Recorded(exit)), _) => ProcessState::Exited(exit.clone()),
            (Some(End::Lost), _) => ProcessState::Lost,
            (None, Some(started)) => {
                ProcessState::Running { pid: started.process.pid, started_at: started.at }
            }
            (None, None) => ProcessState::Starting,
        };
        TaskObservation {
            process,
            health: Health::Starting,
            in_flight: 0,
            size: self.record.group.as_ref().map(|_| self.record.size),
            resize_refused: self.resize_refused.clone(),
        }
    }
}
