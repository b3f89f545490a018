//! Commands as child processes in process groups of their own, with a time limit.

use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, User, geteuid};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use crate::ports::commands::{CommandEnd, CommandRun, Commands};

/// Bytes of output that are kept for people.
const OUTPUT_KEPT: usize = 2048;

/// How long output is awaited after the command has ended: a process that it left behind may hold the
/// pipes open for ever.
const OUTPUT_WAIT: Duration = Duration::from_millis(200);

/// Starts commands on this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalCommands;

/// Kills a process group when it is dropped before the command has ended.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Its leader has not been reaped, so the number belongs to no other group.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

#[async_trait]
impl Commands for LocalCommands {
    async fn run(&self, run: CommandRun) -> CommandEnd {
        let limit = run.time_limit;
        match tokio::time::timeout(limit.unsigned_abs(), to_its_end(&run)).await {
            Ok(Ok(end)) => end,
            Ok(Err(message)) => CommandEnd { succeeded: false, message },
            Err(_) => CommandEnd { succeeded: false, message: format!("it took longer than {limit:#}") },
        }
    }
}

async fn to_its_end(run: &CommandRun) -> Result<CommandEnd, String> {
    let (program, arguments) = run.command.split_first().ok_or("the command is empty")?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(&run.env);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command.current_dir(run.working_dir.as_deref().unwrap_or(std::path::Path::new("/")));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    if let Some(name) = &run.user {
        run_as(&mut command, name)?;
    }
    let mut child = command.spawn().map_err(|error| format!("cannot start `{program}`: {error}"))?;
    let mut group = Group(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let (pipe_out, pipe_err) = (child.stdout.take(), child.stderr.take());
    let status = {
        let output = async { tokio::join!(beginning(pipe_out, &mut out), beginning(pipe_err, &mut err)) };
        tokio::pin!(output);
        let (status, read) = tokio::select! {
            _ = &mut output => (child.wait().await, true),
            status = child.wait() => (status, false),
        };
        // Reaped: the number may be given to another group from now on.
        group.0 = None;
        if !read {
            let _ = tokio::time::timeout(OUTPUT_WAIT, output).await;
        }
        status
    };
    let status = status.map_err(|error| format!("cannot wait for `{program}`: {error}"))?;
    let said = String::from_utf8_lossy(&[out, err].concat()).trim().to_owned();
    let message = if said.is_empty() { status.to_string() } else { format!("{status}: {said}") };
    Ok(CommandEnd { succeeded: status.success(), message })
}

fn run_as(command: &mut Command, name: &str) -> Result<(), String> {
    let user = User::from_name(name)
        .map_err(|error| format!("cannot look up user `{name}`: {error}"))?
        .ok_or_else(|| format!("there is no user `{name}`"))?;
    if user.uid == geteuid() {
        return Ok(());
    }
    if !geteuid().is_root() {
        return Err(format!("only root can run a command as user `{name}`"));
    }
    command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    Ok(())
}

/// Keeps the beginning and reads the rest away, so that the command is not held up by a full pipe.
async fn beginning(pipe: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut pipe) = pipe else { return };
    let mut piece = [0; OUTPUT_KEPT];
    while let Ok(read @ 1..) = pipe.read(&mut piece).await {
        let room = OUTPUT_KEPT - kept.len();
        kept.extend_from_slice(&piece[..read.min(room)]);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Instant;

    use jiff::SignedDuration;

    use super::*;

    async fn run(script: &str) -> CommandEnd {
        let run = CommandRun {
            command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            env: BTreeMap::from([("WHO".to_owned(), "ann".to_owned())]),
            working_dir: None,
            user: None,
            time_limit: SignedDuration::from_secs(2),
        };
        LocalCommands.run(run).await
    }

    #[tokio::test]
    async fn the_exit_status_decides_and_the_output_is_told() {
        let end = run("echo hello $WHO").await;
        assert_eq!((end.succeeded, end.message.as_str()), (true, "exit status: 0: hello ann"));
        let end = run("echo no >&2; exit 3").await;
        assert_eq!((end.succeeded, end.message.as_str()), (false, "exit status: 3: no"));
    }

    #[tokio::test]
    async fn one_that_takes_too_long_is_killed_with_its_children() {
        let began = Instant::now();
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("child");
        let end = run(&format!("sleep 600 & echo $! > {}; wait", file.display())).await;
        assert_eq!((end.succeeded, end.message.as_str()), (false, "it took longer than 2s"));
        let child = std::fs::read_to_string(file).expect("its number");
        let runs = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
            stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
        };
        while runs() {
            assert!(began.elapsed().as_secs() < 60, "its child goes on");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn one_that_cannot_start_says_so() {
        let run = CommandRun {
            command: vec!["/nowhere/at/all".to_owned()],
            env: BTreeMap::new(),
            working_dir: None,
            user: None,
            time_limit: SignedDuration::from_secs(2),
        };
        let end = LocalCommands.run(run).await;
        assert!(!end.succeeded && end.message.starts_with("cannot start `/nowhere/at/all`"), "{end:?}");
    }
}
