//! Tells people by way of a command of the owner's choice: the notice as JSON on its standard input, the
//! gist of it in its environment.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::{Pid, Signal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use crate::ports::notifier::{NotTold, Notice, Notifier};

/// What is kept of what a command says of its failure, in bytes.
const COMPLAINT_MAX: u64 = 1_000;

/// A command that is run for each notice.
#[derive(Debug, Clone)]
pub struct CommandHook {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Where it starts.
    pub folder: PathBuf,
    /// After this it is killed.
    pub time: Duration,
}

#[async_trait]
impl Notifier for CommandHook {
    async fn tell(&self, notice: &Notice) -> Result<(), NotTold> {
        let body = serde_json::to_vec(&notice.body).map_err(|error| NotTold(error.to_string()))?;
        let (program, arguments) =
            self.command.split_first().ok_or_else(|| NotTold("the command is empty".to_owned()))?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().current_dir(&self.folder);
        let inherited = ["PATH", "HOME", "LANG"];
        command.envs(inherited.into_iter().filter_map(|name| Some((name, std::env::var(name).ok()?))));
        command.env("LOADLINE_KIND", notice.kind.as_str()).env("LOADLINE_EVENT", &notice.event);
        if let Some(workload) = &notice.workload {
            command.env("LOADLINE_WORKLOAD", workload.as_str());
        }
        if let Some(team) = &notice.team {
            command.env("LOADLINE_TEAM", team);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        let mut child =
            command.spawn().map_err(|error| NotTold(format!("cannot start `{program}`: {error}")))?;
        let mut group = Group(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw));
        let ended = tokio::time::timeout(self.time, attend(&mut child, &body)).await;
        let Ok(ended) = ended else {
            return Err(NotTold(format!("it did not end within {} s", self.time.as_secs_f64())));
        };
        // What it left in the background may go on.
        group.0 = None;
        ended
    }
}

/// Hands the notice over and waits for the end.
async fn attend(child: &mut Child, body: &[u8]) -> Result<(), NotTold> {
    let (input, errors) = (child.stdin.take(), child.stderr.take());
    let hand_over = async {
        if let Some(mut input) = input {
            // A command that does not read it has ended, and its status tells.
            let _ = input.write_all(body).await;
        }
    };
    let listen = async {
        let mut said = Vec::new();
        if let Some(errors) = errors {
            // What cannot be read is not needed.
            let _ = errors.take(COMPLAINT_MAX).read_to_end(&mut said).await;
        }
        String::from_utf8_lossy(&said).trim().to_owned()
    };
    let ((), said, status) = tokio::join!(hand_over, listen, child.wait());
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) if said.is_empty() => Err(NotTold(status.to_string())),
        Ok(status) => Err(NotTold(format!("{status}: {said}"))),
        Err(error) => Err(NotTold(format!("cannot wait for it: {error}"))),
    }
}

/// Kills a process group when it is dropped before the command has ended.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Its leader is not reaped yet, so the number is its own.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }
}
