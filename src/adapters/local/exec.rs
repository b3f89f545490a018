//! Runs a command in a task: the same helper that becomes a task's program becomes the command, in a
//! group of its own within the task's, so that it counts against the task's limits and can be ended
//! without it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::{Pid, Signal};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;

use crate::adapters::local::cgroup::Group;
use crate::adapters::local::supervisor::{Instructions, TASK_EXEC};
use crate::adapters::local::{Inner, LocalCluster, failed, launch, process};
use crate::domain::task::ExitStatus;
use crate::ports::cluster::ClusterError;
use crate::ports::exec::{ExecLimits, ExecOutput, ExecTarget, TaskExec};

/// How long output is awaited after the command has ended: a process that it left behind may hold the
/// pipe open.
const OUTPUT_WAIT: Duration = Duration::from_millis(100);

/// Everything that a command is started with.
struct Prepared {
    environment: BTreeMap<String, String>,
    instructions: Instructions,
}

#[async_trait]
impl TaskExec for LocalCluster {
    async fn exec(
        &self,
        target: &ExecTarget,
        command: &[String],
        limits: ExecLimits,
    ) -> Result<ExecOutput, ClusterError> {
        let (wanted, words) = (target.clone(), command.to_vec());
        let prepared =
            self.blocking("prepare a command", move |inner| inner.prepare_exec(&wanted, words)).await?;
        // Made before the process: it ends whatever there is, however this call ends.
        let mut remains =
            Remains { leader: None, group: prepared.instructions.group.clone(), runtime: Handle::current() };
        let failing = |error| failed(format!("run a command in {}", target.task), error);
        let time = limits.time.unsigned_abs();
        let began = tokio::time::Instant::now();
        let spawned = tokio::time::timeout(time, self.inner.spawn_exec(prepared, &mut remains)).await;
        let Ok(spawned) = spawned else { return Ok(ExecOutput { timed_out: true, ..ExecOutput::default() }) };
        let child = spawned.map_err(failing)?;
        attend(child, &mut remains, (began + time, limits.output)).await.map_err(failing)
    }
}

impl Inner {
    fn prepare_exec(&self, target: &ExecTarget, command: Vec<String>) -> Result<Prepared, ClusterError> {
        let task = &target.task;
        let folder = self.folder(task);
        let (record, number) = {
            let mut state = self.state();
            state.execs += 1;
            let number = state.execs;
            let entry = state
                .tasks
                .get(task)
                .filter(|entry| entry.is_live())
                .ok_or_else(|| ClusterError::NoSuchTask(task.clone()))?;
            (entry.record.clone(), number)
        };
        if !folder.file("started.json").exists() {
            return Err(ClusterError::Refused(format!("task {task} does not run yet")));
        }
        let environment = launch::environment(target, &record.node, &record.ports)?;
        // Another engine over the same folder may have left one of the same number.
        let name = format!("exec-{}-{number}", std::process::id());
        let group = record.group.as_ref().map(|group| group.child(&name));
        if let Some(group) = &group {
            group.create().map_err(|error| failed(format!("make a control group in {task}"), error))?;
        }
        let instructions = Instructions {
            command,
            own_dir: folder.workdir(),
            working_dir: target.template.working_dir.clone(),
            user: target.template.user.clone(),
            group,
            supervisor: std::process::id(),
            open_files: self.task_files,
        };
        Ok(Prepared { environment, instructions })
    }

    /// Starts the helper and waits until it has become the command.
    async fn spawn_exec(&self, prepared: Prepared, remains: &mut Remains) -> io::Result<Child> {
        let (line, theirs) = UnixStream::pair()?;
        line.set_nonblocking(true)?;
        let mut line = tokio::net::UnixStream::from_std(line)?;
        // Killed by `Remains`, which looks for its descent first. Not from a thread that ends by itself:
        // the helper is bound to the thread that starts it.
        let mut command = Command::new(&self.config.executable);
        command
            .arg(TASK_EXEC)
            .env_clear()
            .envs(prepared.environment)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command.spawn()?;
        // The command holds the child's end of the line, which is to close when the child's does.
        drop(command);
        remains.leader = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let mut text = serde_json::to_vec(&prepared.instructions)?;
        text.push(b'\n');
        // Told to a helper that has ended, or half read: its answer or its end tells.
        let _ = line.write_all(&text).await;
        let mut answer = String::new();
        match line.read_to_string(&mut answer).await {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(error),
            _ if answer.is_empty() => Ok(child),
            _ => Err(io::Error::other(answer)),
        }
    }
}

/// Waits for the end of a command, or of its time.
async fn attend(
    mut child: Child,
    remains: &mut Remains,
    (deadline, kept): (tokio::time::Instant, usize),
) -> io::Result<ExecOutput> {
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (mut said, mut complained) = (Kept::new(kept), Kept::new(kept));
    let (status, timed_out) = {
        let output = async { tokio::join!(said.read(out), complained.read(err)) };
        tokio::pin!(output);
        let mut read = false;
        let status = loop {
            tokio::select! {
                _ = &mut output, if !read => read = true,
                status = child.wait() => break Some(status?),
                () = tokio::time::sleep_until(deadline) => break None,
            }
        };
        if status.is_some() {
            // At once: its number is not given again while something is left in its process group.
            remains.kill();
            if !read {
                let _ = tokio::time::timeout(OUTPUT_WAIT, output).await;
            }
        }
        (status, status.is_none())
    };
    let status = status.and_then(|status| {
        status.code().map(ExitStatus::Code).or_else(|| status.signal().map(ExitStatus::Signal))
    });
    Ok(ExecOutput {
        status,
        truncated: said.more || complained.more,
        stdout: said.text(),
        stderr: complained.text(),
        timed_out,
    })
}

/// What is left of a command when nobody waits for it any more: it is ended.
struct Remains {
    /// The command's process, which leads a process group, until that is killed.
    leader: Option<Pid>,
    group: Option<Group>,
    runtime: Handle,
}

impl Remains {
    /// Kills the command's process group, and what left it but not its descent.
    fn kill(&mut self) {
        let Some(leader) = self.leader.take() else { return };
        if self.group.is_none() {
            // Fails only where `/proc` cannot be read; the process group is what is left then.
            let _ = process::kill_descendants(leader.as_raw_nonzero().get().unsigned_abs());
        }
        // It can have ended just now; then there is nothing to kill.
        let _ = rustix::process::kill_process_group(leader, Signal::KILL);
    }
}

impl Drop for Remains {
    fn drop(&mut self) {
        self.kill();
        if let Some(group) = self.group.take() {
            // Waits until everything in it has ended.
            self.runtime.spawn_blocking(move || {
                if let Err(error) = group.destroy() {
                    tracing::warn!(%error, "a command's control group is left");
                }
            });
        }
    }
}

/// The beginning of an output. The rest is read away, so that the command is not held up.
struct Kept {
    bytes: Vec<u8>,
    max: usize,
    more: bool,
}

impl Kept {
    fn new(max: usize) -> Self {
        Self { bytes: Vec::new(), max, more: false }
    }

    async fn read(&mut self, pipe: Option<impl AsyncRead + Unpin>) {
        let Some(mut pipe) = pipe else { return };
        let mut piece = [0; 4096];
        while let Ok(read @ 1..) = pipe.read(&mut piece).await {
            let room = self.max - self.bytes.len();
            self.more |= read > room;
            self.bytes.extend_from_slice(&piece[..read.min(room)]);
        }
    }

    fn text(self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}
