//! The process that holds one task: it starts the task's program, keeps its output and its end on disk,
//! and ends it when it is told to. It is started by the engine and outlives it, so it is small, knows
//! nothing but its own task, and speaks with the engine through files and one signal.
//! Not here: when a task starts or stops; that is the scheduler's.
//!
//! It lives with the adapter and not with the loops because both are two ends of the same files and
//! groups.

mod exec;
mod inherited;
mod output;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitIdOptions};
use serde::{Deserialize, Serialize};

use crate::adapters::local::cgroup::Group;
use crate::adapters::local::launch::OpenFiles;
use crate::adapters::local::process::{self, ProcessIdentity};
use crate::adapters::local::record::{Claim, Started, TaskFolder};
use crate::domain::task::{ExitRecord, ExitStatus};
use crate::ports::clock::Clock;

pub(super) use exec::{Instructions, exec, find_user};
pub use output::LogLimits;

/// The hidden subcommand that holds a task.
pub(super) const SUPERVISE: &str = "supervise";
/// The hidden subcommand that becomes the task's program.
pub(super) const TASK_EXEC: &str = "task-exec";

/// The program must be running by then.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How often the group is looked at for kills by the kernel.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Between two rounds of killing what does not end.
const KILL_INTERVAL: Duration = Duration::from_millis(20);
/// Rounds of killing until what is left is given up: it hangs in the kernel.
const KILL_ROUNDS_MAX: u32 = 1_500;
/// How long output is still read once nothing is left that could write: something outside may hold it.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the record of the end is tried to be written, a second apart: a full disk may get space.
const RECORD_TRIES: u32 = 3_600;

/// Everything that a supervisor needs. It comes through a pipe: the environment may hold secrets.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Assignment {
    pub(super) folder: TaskFolder,
    pub(super) command: Vec<String>,
    pub(super) environment: BTreeMap<String, String>,
    /// The folder to start in; the task's own where absent.
    pub(super) working_dir: Option<PathBuf>,
    pub(super) user: Option<String>,
    /// The task's group.
    pub(super) group: Option<Group>,
    /// The group of all supervisors.
    pub(super) own_group: Option<Group>,
    /// Where no stop request says how long.
    pub(super) stop_grace: Duration,
    pub(super) logs: LogLimits,
    /// The process that starts the supervisor.
    pub(super) engine: u32,
    /// How many files the task may have open.
    pub(super) open_files: OpenFiles,
}

/// Holds a task until it ends. Returns once its end is on record.
pub(super) fn supervise(clock: &dyn Clock) -> ExitCode {
    inherited::close();
    match Supervision::begin(clock).and_then(|begun| begun.map_or(Ok(()), Supervision::run)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Goes to `supervisor.log`.
            let _ = writeln!(io::stderr(), "loadline supervise: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One task being held.
struct Supervision<'a> {
    clock: &'a dyn Clock,
    assignment: Assignment,
    events: Receiver<i32>,
    /// When a task that was told to stop is killed.
    deadline: Option<Instant>,
    asked_to_stop: bool,
    /// The start, until it is on disk.
    started: Option<Started>,
}

impl<'a> Supervision<'a> {
    /// Takes the task; none where someone else has it.
    fn begin(clock: &'a dyn Clock) -> io::Result<Option<Self>> {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line)?;
        let assignment: Assignment = serde_json::from_str(&line)?;
        // Away from the engine's terminal and its signals. It fails only where that is so already.
        let _ = nix::unistd::setsid();
        if let Some(group) = &assignment.own_group
            && let Err(error) = group.enter(std::process::id())
        {
            let _ = writeln!(io::stderr(), "loadline supervise: {error}");
        }
        // Processes whose parent ended come to this process, so that none is lost.
        nix::sys::prctl::set_child_subreaper(true)?;
        // Before the claim: whoever sees it may send the signal to stop.
        let events = listen()?;
        // A supervisor that was not quick enough to take its task before the engine died must not take it
        // later: the next engine may have started the task anew by then.
        nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
        if u32::try_from(nix::unistd::getppid().as_raw()) != Ok(assignment.engine) {
            return Ok(None);
        }
        let claimed = assignment.folder.put_claim(&Claim::Supervisor(ProcessIdentity::own()?))?;
        nix::sys::prctl::set_pdeathsig(None)?;
        let begun = Self { clock, assignment, events, deadline: None, asked_to_stop: false, started: None };
        Ok(claimed.then_some(begun))
    }

    fn run(mut self) -> io::Result<()> {
        let mut command = self.command();
        let (report, theirs) = UnixStream::pair()?;
        command.stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)));
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return self.record(None, Some(format!("did not start: {error}"))),
        };
        // The command holds the child's ends of what it was given.
        drop(command);
        let pid = child.id();
        let outputs = [
            child.stdout.take().map(|pipe| output::keep(pipe, self.output_file("stdout.log"))),
            child.stderr.take().map(|pipe| output::keep(pipe, self.output_file("stderr.log"))),
        ];
        let problem = self.instruct(&report).err().map(|error| format!("did not start: {error}"));
        if problem.is_none() {
            self.started = Some(Started { process: ProcessIdentity::of(pid)?, at: self.clock.now() });
            self.note_start();
            // A request that cannot be read comes again, with a signal.
            if matches!(self.assignment.folder.stop_request(), Ok(Some(_))) {
                self.begin_stop(pid);
            }
        } else {
            self.kill_all();
        }
        let status = self.wait_for(pid);
        let ended_at = self.clock.now();
        self.end_rest();
        let dropped: Vec<String> =
            outputs.into_iter().flatten().filter_map(|kept| kept.finish(OUTPUT_TIMEOUT)).collect();
        let dropped = (!dropped.is_empty()).then(|| dropped.join("; "));
        let status = if problem.is_some() { None } else { Some(status) };
        self.record_at(ended_at, status, problem.or(dropped))
    }

    /// The helper that becomes the task's program, with the task's environment.
    fn command(&self) -> Command {
        // By this name it is there even after the file was replaced by a newer Loadline.
        let mut command = Command::new("/proc/self/exe");
        command
            .arg(TASK_EXEC)
            .env_clear()
            .envs(&self.assignment.environment)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn output_file(&self, name: &str) -> output::RotatedFile {
        output::RotatedFile::new(self.assignment.folder.file(name), self.assignment.logs)
    }

    /// Tells the helper what to become and waits until it is. The helper's end of the line closes by
    /// itself when the program takes its place; words that come before that say why it could not.
    fn instruct(&self, mut line: &UnixStream) -> io::Result<()> {
        let instructions = Instructions {
            command: self.assignment.command.clone(),
            own_dir: self.assignment.folder.workdir(),
            working_dir: self.assignment.working_dir.clone(),
            user: self.assignment.user.clone(),
            group: self.assignment.group.clone(),
            supervisor: std::process::id(),
            open_files: self.assignment.open_files,
        };
        let mut text = serde_json::to_vec(&instructions)?;
        text.push(b'\n');
        line.write_all(&text)?;
        line.set_read_timeout(Some(START_TIMEOUT))?;
        let mut answer = String::new();
        match line.read_to_string(&mut answer) {
            Ok(_) if answer.is_empty() => Ok(()),
            Ok(_) => Err(io::Error::other(answer)),
            // Killed before it read everything, for example for want of memory: its end tells.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(io::Error::other(format!("not ready to run after {} s", START_TIMEOUT.as_secs())))
            }
            Err(error) => Err(error),
        }
    }

    /// Puts the start on disk, unless it is there. A full disk does not end the task: it is tried again
    /// later.
    fn note_start(&mut self) {
        if let Some(started) = &self.started
            && self.assignment.folder.put_started(started).is_ok()
        {
            self.started = None;
        }
    }

    /// Waits for the end of the task's main process, and ends it where that is asked for.
    fn wait_for(&mut self, pid: u32) -> ExitStatus {
        loop {
            let (ended, _) = reap();
            if let Some((_, status)) = ended.into_iter().find(|(ended, _)| *ended == pid) {
                return status;
            }
            let signal = self.next_signal();
            self.note_start();
            if signal == Some(signal_hook::consts::SIGTERM) {
                self.begin_stop(pid);
            }
            if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                self.kill_all();
                self.deadline = Some(Instant::now() + KILL_INTERVAL);
            } else if self.has_met_its_limit() {
                self.kill_all();
            }
        }
    }

    /// The next signal; none once the deadline has passed, or it is time to look at the group.
    fn next_signal(&self) -> Option<i32> {
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        self.events.recv_timeout(left.map_or(LOOK_INTERVAL, |left| left.min(LOOK_INTERVAL))).ok()
    }

    /// Whether the kernel has killed one of the task's processes for want of memory. Version 1 of
    /// control groups cannot be told to kill all of them, as version 2 is: half a task would live on.
    fn has_met_its_limit(&self) -> bool {
        self.assignment
            .group
            .as_ref()
            .is_some_and(|group| group.end().oom_kills.is_some_and(|kills| kills > 0))
    }

    /// Sends the polite signal, and sets the time of the kill. Being told again brings it nearer at
    /// most: who repeats a call does not mean to give more time.
    fn begin_stop(&mut self, pid: u32) {
        let grace = match self.assignment.folder.stop_request() {
            Ok(Some(request)) => Duration::from_millis(request.grace_ms),
            Ok(None) | Err(_) => self.assignment.stop_grace,
        };
        let deadline = Instant::now() + grace;
        self.deadline = Some(self.deadline.map_or(deadline, |before| before.min(deadline)));
        if !self.asked_to_stop {
            self.asked_to_stop = true;
            // The main process is not reaped yet, so its number and that of its group are its own.
            if let Some(group) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                let _ = rustix::process::kill_process_group(group, Signal::TERM);
            }
        }
    }

    /// Once the main process has ended: the rest of its processes. They have what is left of the grace
    /// where a stop was asked for, and none otherwise.
    fn end_rest(&mut self) {
        for _ in 0..KILL_ROUNDS_MAX {
            // Processes whose parent ended are children of this one: without children nothing is left,
            // unless something in the group came from elsewhere.
            let (_, has_children) = reap();
            let group = self.assignment.group.as_ref();
            if !has_children && group.is_none_or(|group| group.members().is_empty()) {
                return;
            }
            if self.deadline.is_none_or(|deadline| deadline <= Instant::now()) {
                self.kill_all();
            }
            thread::sleep(KILL_INTERVAL);
        }
    }

    /// Kills everything that belongs to the task: what is in its group, and what this process has below
    /// itself.
    fn kill_all(&self) {
        if let Some(group) = &self.assignment.group {
            group.kill();
        }
        // Fails only where `/proc` cannot be read; the group is what is left then.
        let _ = process::kill_descendants(std::process::id());
    }

    fn record(&self, status: Option<ExitStatus>, message: Option<String>) -> io::Result<()> {
        self.record_at(self.clock.now(), status, message)
    }

    /// Puts the end on disk, then removes the group: its counters are part of the record.
    fn record_at(
        &self,
        at: jiff::Timestamp,
        status: Option<ExitStatus>,
        message: Option<String>,
    ) -> io::Result<()> {
        let counted = self.assignment.group.as_ref().map(Group::end).unwrap_or_default();
        let exit = ExitRecord {
            status,
            at,
            oom_kills: counted.oom_kills,
            peak_memory: counted.peak_memory,
            memory_limit: counted.memory_limit,
            asked_to_stop: self.asked_to_stop,
            message,
        };
        let mut written = self.assignment.folder.put_exit(&exit);
        for _ in 0..RECORD_TRIES {
            // A folder that is gone does not come back: there is nobody left to tell.
            if !matches!(&written, Err(error) if error.kind() != io::ErrorKind::NotFound) {
                break;
            }
            thread::sleep(Duration::from_secs(1));
            written = self.assignment.folder.put_exit(&exit);
        }
        if let Some(group) = &self.assignment.group {
            group.destroy()?;
        }
        // Nothing went wrong: an empty log says no more than none.
        let log = self.assignment.folder.file("supervisor.log");
        if fs::metadata(&log).is_ok_and(|metadata| metadata.len() == 0) {
            fs::remove_file(log)?;
        }
        written
    }
}

/// Receives signals from now on. The ones of a terminal are received too, so that they do nothing.
fn listen() -> io::Result<Receiver<i32>> {
    use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM])?;
    let (send, events) = mpsc::channel();
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            if send.send(signal).is_err() {
                return;
            }
        }
    })?;
    Ok(events)
}

/// Reaps every child that has ended, and tells whether there are others.
fn reap() -> (Vec<(u32, ExitStatus)>, bool) {
    let mut ended = Vec::new();
    let options = rustix::process::WaitOptions::NOHANG;
    loop {
        match rustix::process::wait(options) {
            Ok(Some((pid, status))) => {
                let status = std::process::ExitStatus::from_raw(status.as_raw());
                let status = status
                    .code()
                    .map(ExitStatus::Code)
                    .or_else(|| status.signal().map(ExitStatus::Signal))
                    .unwrap_or(ExitStatus::Code(-1));
                ended.push((pid.as_raw_nonzero().get().unsigned_abs(), status));
            }
            Ok(None) => return (ended, true),
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return (ended, false),
        }
    }
}

/// Reaps a supervisor that has ended, if it is a child of this process; an adopted one is not.
pub(super) fn reap_supervisor(handle: std::os::fd::BorrowedFd<'_>) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let _ = rustix::process::waitid(rustix::process::WaitId::PidFd(handle), options);
}
