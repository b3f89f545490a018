//! Starts, stops and resizes tasks on this machine.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::SignedDuration;
use rustix::process::Signal;

use crate::adapters::local::cgroup::{Applied, Group, Limits};
use crate::adapters::local::observer::LostTask;
use crate::adapters::local::process::ProcessIdentity;
use crate::adapters::local::record::{self, Claim, StopRequest, TaskFolder, TaskRecord};
use crate::adapters::local::supervisor::{self, Assignment};
use crate::adapters::local::{Inner, LocalCluster, SUPERVISORS, TaskEntry, failed, launch};
use crate::domain::node::NodeName;
use crate::domain::quantity::{Resources, TaskSize};
use crate::domain::task::TaskId;
use crate::ports::cluster::{ClusterError, Launch, Resized, TaskRunner};
use crate::ports::exec::ExecTarget;

/// A launch returns when the program runs or could not be started, and after this long in any case: the
/// observation tells the rest.
const LAUNCH_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a launch looks.
const LAUNCH_POLL: Duration = Duration::from_millis(2);

#[async_trait]
impl TaskRunner for LocalCluster {
    async fn launch(&self, launch: &Launch) -> Result<BTreeMap<String, u16>, ClusterError> {
        let launch = launch.clone();
        self.blocking("launch a task", move |inner| inner.launch(&launch)).await
    }

    async fn stop(&self, task: &TaskId, grace: SignedDuration) -> Result<(), ClusterError> {
        let task = task.clone();
        self.blocking("stop a task", move |inner| inner.stop(&task, grace)).await
    }

    async fn resize(&self, task: &TaskId, size: &TaskSize) -> Result<Resized, ClusterError> {
        let (task, size) = (task.clone(), *size);
        self.blocking("resize a task", move |inner| inner.resize(&task, &size)).await
    }

    async fn forget(&self, task: &TaskId) -> Result<(), ClusterError> {
        let task = task.clone();
        self.blocking("forget a task", move |inner| inner.forget(&task)).await
    }
}

impl Inner {
    fn launch(&self, launch: &Launch) -> Result<BTreeMap<String, u16>, ClusterError> {
        let task = &launch.task.id;
        let record = match self.reserve(launch)? {
            Reserved::Known(ports) => return Ok(ports),
            Reserved::New(record) => record,
        };
        let ports = record.ports.clone();
        let started = self.start(launch, &record);
        let supervisor = match started {
            Ok(supervisor) => supervisor,
            Err(error) => {
                self.state().tasks.remove(task);
                // As if it had never been asked for, so that the call can be repeated.
                if let Some(group) = &record.group {
                    let _ = group.destroy();
                }
                let _ = self.folder(task).clear();
                return Err(error);
            }
        };
        self.watch(&supervisor);
        let lost = self.hold(task, &supervisor);
        if lost.is_empty() {
            self.await_start(task);
        } else {
            // Its node failed meanwhile, which did not reach what was not there yet.
            supervisor.signal(Signal::KILL);
            self.clean_up(&lost);
        }
        self.changes.notify_one();
        Ok(ports)
    }

    /// Notes who holds a task. Tells of the task if it was lost before that.
    fn hold(&self, task: &TaskId, supervisor: &ProcessIdentity) -> Vec<LostTask> {
        let mut state = self.state();
        let Some(entry) = state.tasks.get_mut(task) else { return Vec::new() };
        entry.supervisor = Some(supervisor.clone());
        entry.launching = false;
        if entry.is_live() { Vec::new() } else { vec![LostTask::of(task, entry)] }
    }

    /// Enters a new task among those that are known, in one step, so that no second call starts it.
    fn reserve(&self, launch: &Launch) -> Result<Reserved, ClusterError> {
        let task = &launch.task.id;
        let mut state = self.state();
        if let Some(entry) = state.tasks.get(task) {
            return Ok(Reserved::Known(entry.record.ports.clone()));
        }
        let node = launch
            .task
            .node
            .as_ref()
            .ok_or_else(|| ClusterError::Refused(format!("task {task} has no node")))?;
        let node = state
            .nodes
            .get(node)
            .filter(|entry| !entry.record.failed)
            .ok_or_else(|| ClusterError::NoSuchNode(node.clone()))?;
        let group = node.record.group.as_ref().map(|group| group.child(&task.to_string()));
        let node = node.record.name.clone();
        let taken = state.tasks.values().flat_map(|entry| entry.record.ports.values().copied()).collect();
        let ports = launch::free_ports(&launch.ports, &taken, &mut state.next_port)
            .map_err(|error| failed(format!("find ports for {task}"), error))?;
        let record = TaskRecord { task: task.clone(), node, size: launch.task.size, ports, group };
        let mut entry = TaskEntry::new(record.clone());
        entry.launching = true;
        state.tasks.insert(task.clone(), entry);
        Ok(Reserved::New(record))
    }

    /// Makes everything that the task needs and hands it to a supervisor.
    fn start(&self, launch: &Launch, record: &TaskRecord) -> Result<ProcessIdentity, ClusterError> {
        let task = &record.task;
        let folder = self.folder(task);
        let target = ExecTarget {
            task: task.clone(),
            template: launch.template.clone(),
            first_port: launch.ports.first().cloned(),
        };
        let environment = launch::environment(&target, &record.node, &record.ports)?;
        let failing = |what: &str| {
            let operation = format!("{what} {task}");
            move |error| failed(operation, error)
        };
        make_folder(&folder, launch.template.user.as_deref()).map_err(failing("make the folder of"))?;
        folder.put_record(record).map_err(failing("write the record of"))?;
        if let Some(group) = &record.group {
            self.make_group(group, record).map_err(failing("make the control group of"))?;
        }
        let assignment = Assignment {
            folder: folder.clone(),
            command: launch.template.command.clone(),
            environment,
            working_dir: launch.template.working_dir.clone(),
            user: launch.template.user.clone(),
            group: record.group.clone(),
            own_group: self.root().map(|root| root.child(SUPERVISORS)),
            stop_grace: launch.template.stop_grace.try_into().unwrap_or_default(),
            logs: self.config.logs,
            engine: std::process::id(),
            open_files: self.task_files,
        };
        self.spawn(&assignment, task).map_err(failing("start the supervisor of"))
    }

    fn make_group(&self, group: &Group, record: &TaskRecord) -> io::Result<()> {
        group.create()?;
        match group.limit(&Limits::of_task(&record.size, self.node_size(&record.node)))? {
            Applied::Yes => Ok(()),
            Applied::Refused(reason) => Err(io::Error::other(reason)),
        }
    }

    fn node_size(&self, node: &NodeName) -> Resources {
        self.state().nodes.get(node).map_or(Resources::ZERO, |entry| entry.record.size)
    }

    /// Starts a supervisor and waits until it has taken the task.
    fn spawn(&self, assignment: &Assignment, task: &TaskId) -> io::Result<ProcessIdentity> {
        let folder = &assignment.folder;
        let log = record::private_file().create(true).append(true).open(folder.file("supervisor.log"))?;
        let mut child = Command::new(&self.config.executable)
            .arg(supervisor::SUPERVISE)
            // For people who look at a list of processes.
            .arg(task.to_string())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        if let Some(mut line) = child.stdin.take() {
            let mut text = serde_json::to_vec(assignment)?;
            text.push(b'\n');
            // A supervisor that did not read it has ended, and its log says why.
            let _ = line.write_all(&text);
        }
        let taken = await_claim(folder, &mut child);
        if taken.is_err() {
            // Whatever went wrong, a launch that is reported as failed leaves nothing that could go on.
            let _ = child.kill();
            child.wait()?;
        }
        taken
    }

    /// Waits until the task's program runs or could not be started.
    fn await_start(&self, task: &TaskId) {
        let folder = self.folder(task);
        let deadline = Instant::now() + LAUNCH_TIMEOUT;
        while Instant::now() < deadline {
            if folder.file("started.json").exists() || folder.file("exit.json").exists() {
                return;
            }
            thread::sleep(LAUNCH_POLL);
        }
    }

    fn stop(&self, task: &TaskId, grace: SignedDuration) -> Result<(), ClusterError> {
        if !self.state().tasks.get(task).is_some_and(TaskEntry::is_live) {
            return Ok(());
        }
        let folder = self.folder(task);
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(0);
        let failing = |error| failed(format!("stop {task}"), error);
        folder.put_stop_request(StopRequest { grace_ms }).map_err(failing)?;
        // A supervisor that has not taken the task yet finds the request when it has started it.
        if let Some(Claim::Supervisor(supervisor)) = folder.claim().map_err(failing)? {
            supervisor.signal(Signal::TERM);
        }
        Ok(())
    }

    fn resize(&self, task: &TaskId, size: &TaskSize) -> Result<Resized, ClusterError> {
        let mut state = self.state();
        let entry = state
            .tasks
            .get(task)
            .filter(|entry| entry.is_live())
            .ok_or_else(|| ClusterError::NoSuchTask(task.clone()))?;
        let Some(group) = entry.record.group.clone() else {
            return Ok(Resized::Refused(
                "sizes are not enforced here, so they do not change in place".into(),
            ));
        };
        let node = state.nodes.get(&entry.record.node).map_or(Resources::ZERO, |node| node.record.size);
        let operation = || format!("resize {task}");
        let applied =
            group.limit(&Limits::of_task(size, node)).map_err(|error| failed(operation(), error))?;
        let Some(entry) = state.tasks.get_mut(task) else {
            return Err(ClusterError::NoSuchTask(task.clone()));
        };
        match applied {
            Applied::Yes => {
                entry.record.size = *size;
                entry.resize_refused = None;
                self.folder(task).put_record(&entry.record).map_err(|error| failed(operation(), error))?;
                Ok(Resized::InForce)
            }
            Applied::Refused(reason) => {
                entry.resize_refused = Some(reason.clone());
                Ok(Resized::Refused(reason))
            }
        }
    }

    fn forget(&self, task: &TaskId) -> Result<(), ClusterError> {
        let lost = self.refresh();
        self.clean_up(&lost);
        let mut state = self.state();
        let Some(entry) = state.tasks.get(task) else { return Ok(()) };
        if entry.is_live() {
            return Err(ClusterError::Refused(format!("task {task} still runs")));
        }
        if entry.left_over {
            return Err(ClusterError::Refused(format!("processes of task {task} do not end")));
        }
        self.folder(task).clear().map_err(|error| failed(format!("forget {task}"), error))?;
        state.tasks.remove(task);
        drop(state);
        self.prune_logs();
        Ok(())
    }
}

/// Waits until a supervisor has taken the task, or is known not to.
fn await_claim(folder: &TaskFolder, child: &mut Child) -> io::Result<ProcessIdentity> {
    let deadline = Instant::now() + LAUNCH_TIMEOUT;
    loop {
        if let Some(Claim::Supervisor(identity)) = folder.claim()? {
            return Ok(identity);
        }
        let ended = child.try_wait()?.is_some();
        // A claim that came in between counts. Where none can be written, the supervisor could not
        // either, and it is not waited for.
        if (ended || Instant::now() > deadline) && folder.put_claim(&Claim::Abandoned).unwrap_or(true) {
            let said = fs::read_to_string(folder.file("supervisor.log")).unwrap_or_default();
            return Err(io::Error::other(format!("it did not take the task: {}", said.trim())));
        }
        thread::sleep(LAUNCH_POLL);
    }
}

/// A task that is to be launched.
enum Reserved {
    /// It is known already, with these ports.
    Known(BTreeMap<String, u16>),
    /// It is entered now.
    New(TaskRecord),
}

/// Makes the folder of a task, empty but for logs of an earlier one of the same name.
fn make_folder(folder: &TaskFolder, user: Option<&str>) -> io::Result<()> {
    record::make_private_dir(folder.path())?;
    folder.clear()?;
    record::make_private_dir(&folder.workdir())?;
    // A user of its own must reach its working folder; the files beside it are for the engine alone.
    // A user that does not exist is reported by the supervisor, with the task.
    if let Some(user) = user.and_then(|name| supervisor::find_user(name).ok())
        && user.uid != nix::unistd::Uid::effective()
    {
        nix::unistd::chown(&folder.workdir(), Some(user.uid), Some(user.gid))?;
        for path in folder.path().ancestors().take(2) {
            fs::set_permissions(path, fs::Permissions::from_mode(0o711))?;
        }
    }
    Ok(())
}
