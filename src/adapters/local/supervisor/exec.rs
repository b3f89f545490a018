//! Becomes a task's program: a helper process joins the task's group, gives up what it may do beyond
//! the task's user, and then runs the program in its own place, so that the number of the process stays.

use std::ffi::CString;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use nix::sys::signal::Signal;
use nix::unistd::{Pid, Uid, User};
use serde::{Deserialize, Serialize};

use crate::adapters::local::cgroup::Group;
use crate::adapters::local::launch::OpenFiles;

/// The exit status that shells use for a program that is not there, and for one that cannot be run.
const NOT_FOUND: u8 = 127;
const NOT_RUNNABLE: u8 = 126;

/// What the helper is to become.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::adapters::local) struct Instructions {
    /// Program and arguments.
    pub(in crate::adapters::local) command: Vec<String>,
    /// The task's own folder.
    pub(in crate::adapters::local) own_dir: PathBuf,
    /// The folder to start in, where it is not the own one.
    pub(in crate::adapters::local) working_dir: Option<PathBuf>,
    pub(in crate::adapters::local) user: Option<String>,
    pub(in crate::adapters::local) group: Option<Group>,
    /// The process that is to be the parent: the task's supervisor, or the engine.
    pub(in crate::adapters::local) supervisor: u32,
    /// How many files the program may have open.
    pub(in crate::adapters::local) open_files: OpenFiles,
}

/// Reads instructions from standard input and becomes what they say. Returns only where that fails;
/// the reason goes back on the same line.
pub(in crate::adapters::local) fn exec() -> ExitCode {
    // A copy that closes when the program takes over; the program's own input is empty.
    let Ok(line) = io::stdin().as_fd().try_clone_to_owned() else { return ExitCode::from(NOT_RUNNABLE) };
    let mut line = UnixStream::from(line);
    let (code, reason) = become_program(&line);
    // Nobody is left to tell where this fails.
    let _ = line.write_all(reason.as_bytes());
    ExitCode::from(code)
}

/// Every way out of this is a failure, with the exit status for it.
fn become_program(line: &UnixStream) -> (u8, String) {
    let mut text = String::new();
    let read = BufReader::new(line).read_line(&mut text).and_then(|_| Ok(serde_json::from_str(&text)?));
    let instructions: Instructions = match read {
        Ok(instructions) => instructions,
        Err(error) => return (NOT_RUNNABLE, format!("no instructions: {error}")),
    };
    let Some((program, arguments)) = instructions.command.split_first() else {
        return (NOT_RUNNABLE, "the command is empty".to_owned());
    };
    if let Err(reason) = prepare(&instructions) {
        return (NOT_RUNNABLE, reason);
    }
    let error = Command::new(program).args(arguments).stdin(Stdio::null()).exec();
    let path = std::env::var("PATH").unwrap_or_default();
    // A folder of PATH that this user may not look into makes the kernel say "permission denied" of a
    // program that is nowhere.
    let is_nowhere =
        !program.contains('/') && !std::env::split_paths(&path).any(|dir| dir.join(program).exists());
    if error.kind() == io::ErrorKind::NotFound || is_nowhere {
        return (NOT_FOUND, format!("program `{program}` was not found (PATH is {path})"));
    }
    (NOT_RUNNABLE, format!("cannot run `{program}`: {error}"))
}

/// Everything that must hold before the program runs.
fn prepare(instructions: &Instructions) -> Result<(), String> {
    if let Some(group) = &instructions.group {
        group
            .enter(std::process::id())
            .map_err(|error| format!("cannot enter its control group: {error}"))?;
    }
    instructions.open_files.restore();
    // A group of its own, for the signal that asks all of it to end.
    nix::unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0))
        .map_err(|error| format!("cannot lead a process group: {error}"))?;
    // The own folder may lie where the task's user has no access, so it is entered before.
    std::env::set_current_dir(&instructions.own_dir)
        .map_err(|error| format!("working folder {}: {error}", instructions.own_dir.display()))?;
    if let Some(name) = &instructions.user {
        become_user(name)?;
    }
    if let Some(folder) = &instructions.working_dir {
        std::env::set_current_dir(folder)
            .map_err(|error| format!("working folder {}: {error}", folder.display()))?;
    }
    // A task must not outlive the one that holds it: nobody would know how it ended. After the change
    // of user, which clears this wish.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)
        .map_err(|error| format!("cannot be bound to its supervisor: {error}"))?;
    if u32::try_from(nix::unistd::getppid().as_raw()) != Ok(instructions.supervisor) {
        return Err("its supervisor is gone".to_owned());
    }
    Ok(())
}

/// The user of this name or number.
pub(in crate::adapters::local) fn find_user(name: &str) -> Result<User, String> {
    let found = match name.parse() {
        Ok(number) => User::from_uid(Uid::from_raw(number)),
        Err(_) => User::from_name(name),
    };
    match found {
        Ok(Some(user)) => Ok(user),
        Ok(None) => Err(format!("there is no user `{name}`")),
        Err(error) => Err(format!("user `{name}` cannot be looked up: {error}")),
    }
}

/// Becomes a user with its groups. A process that is this user already keeps the groups that it has.
fn become_user(name: &str) -> Result<(), String> {
    let user = find_user(name)?;
    if user.uid == Uid::effective() {
        return Ok(());
    }
    let refused = |error| format!("cannot become user `{name}`: {error}");
    let login = CString::new(user.name.as_str()).map_err(|_| format!("user name `{name}` is not valid"))?;
    nix::unistd::initgroups(&login, user.gid).map_err(refused)?;
    nix::unistd::setgid(user.gid).map_err(refused)?;
    nix::unistd::setuid(user.uid).map_err(refused)
}
