//! Machines made by a command of the owner's: JSON on its standard input, JSON on its standard output.
//! `docs/providers.md` has the contract. Not here: what is asked for, and when.
//!
//! Calls of one provider never overlap, so that a script need not guard itself. A command that takes too long
//! is killed with everything that it started.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use crate::domain::workload::{EnvValue, SecretRef};
use crate::ports::machines::{
    FailureKind, Group, GroupState, Machine, MachineProvider, MachineState, ProviderError,
};

/// The version of the contract.
pub const VERSION: u32 = 1;
/// An answer longer than this is none.
const ANSWER_MAX: usize = 8 * 1024 * 1024;
/// Of what it says on its standard error this much is told.
const WORDS_MAX: usize = 1_024;
/// Calls for one thing, where the command says that another try is of use.
const TRIES: u32 = 3;
/// The wait before the second try; it doubles.
const PAUSE: Duration = Duration::from_millis(200);
/// How long its output is awaited once it has ended: what it left behind may hold the pipes open for ever.
const OUTPUT_WAIT: Duration = Duration::from_millis(500);

/// A command, and how it is run.
#[derive(Debug, Clone)]
pub struct ExecProviderConfig {
    /// Program and arguments; never empty.
    pub command: Vec<String>,
    /// The folder that it starts in; the root folder where absent.
    pub working_dir: Option<PathBuf>,
    /// Its environment, besides the path to programs. Secrets are read anew for each call.
    pub env: BTreeMap<String, EnvValue>,
    /// It is killed when it takes longer.
    pub timeout: Duration,
}

/// A provider behind a command.
#[derive(Debug)]
pub struct ExecProvider {
    config: ExecProviderConfig,
    turn: Mutex<()>,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(tag = "operation", rename_all = "snake_case")]
enum Request<'a> {
    List,
    Create { group: &'a str, size: u32 },
    Cancel { group: &'a str, size: u32 },
    Remove { group: &'a str, machine: &'a str },
}

#[derive(Debug, Serialize)]
struct Envelope<'a> {
    version: u32,
    #[serde(flatten)]
    request: Request<'a>,
}

#[derive(Debug, Deserialize)]
struct Answer {
    version: u32,
    #[serde(default)]
    error: Option<Failure>,
    #[serde(default)]
    groups: Vec<ListedGroup>,
}

#[derive(Debug, Deserialize)]
struct Failure {
    kind: Kind,
    message: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Capacity,
    Quota,
    Refused,
    Unavailable,
}

#[derive(Debug, Deserialize)]
struct ListedGroup {
    name: String,
    #[serde(default)]
    min: u32,
    max: u32,
    /// As many as there are live machines, where absent.
    #[serde(default)]
    size: Option<u32>,
    #[serde(default)]
    machines: Vec<ListedMachine>,
    #[serde(default)]
    error: Option<Failure>,
}

#[derive(Debug, Deserialize)]
struct ListedMachine {
    id: String,
    #[serde(default)]
    state: State,
    #[serde(default)]
    error: Option<Failure>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Creating,
    Running,
    Removing,
    #[default]
    Unknown,
}

impl From<Failure> for ProviderError {
    fn from(failure: Failure) -> Self {
        let kind = match failure.kind {
            Kind::Capacity => FailureKind::Capacity,
            Kind::Quota => FailureKind::Quota,
            Kind::Refused => FailureKind::Refused,
            Kind::Unavailable => FailureKind::Unavailable,
        };
        Self { kind, message: failure.message }
    }
}

impl ListedGroup {
    fn state(self) -> GroupState {
        let machine = |one: ListedMachine| Machine {
            id: one.id,
            state: match one.state {
                State::Creating => MachineState::Creating,
                State::Running => MachineState::Running,
                State::Removing => MachineState::Deleting,
                State::Unknown => MachineState::Unknown,
            },
            failure: one.error.map(ProviderError::from),
        };
        let machines = self.machines.into_iter().map(machine).collect();
        let state = GroupState { target: 0, machines, failure: self.error.map(ProviderError::from) };
        GroupState { target: self.size.unwrap_or_else(|| state.live()), ..state }
    }
}

impl ExecProvider {
    /// A provider behind a command, which is not run yet.
    pub fn new(config: ExecProviderConfig) -> Self {
        Self { config, turn: Mutex::default() }
    }

    /// Asks, and again where that may help.
    async fn ask(&self, request: Request<'_>) -> Result<Answer, ProviderError> {
        let _turn = self.turn.lock().await;
        let text = serde_json::to_vec(&Envelope { version: VERSION, request })
            .map_err(|error| ProviderError::new(FailureKind::Refused, error.to_string()))?;
        let mut pause = PAUSE;
        for _ in 1..TRIES {
            match self.ask_once(&text).await {
                Err(error) if error.kind == FailureKind::Unavailable => {
                    tracing::debug!(command = self.config.command[0], %error, "asked again");
                }
                answer => return answer,
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        self.ask_once(&text).await
    }

    async fn ask_once(&self, request: &[u8]) -> Result<Answer, ProviderError> {
        let limit = self.config.timeout;
        match tokio::time::timeout(limit, Box::pin(self.run(request))).await {
            Ok(answer) => answer,
            Err(_) => Err(self.unavailable(&format!("took longer than {limit:?} and was killed"))),
        }
    }

    fn unavailable(&self, what: &str) -> ProviderError {
        ProviderError::new(FailureKind::Unavailable, format!("`{}` {what}", self.config.command[0]))
    }

    fn command(&self) -> Result<Command, ProviderError> {
        let mut command = Command::new(&self.config.command[0]);
        command.args(&self.config.command[1..]).env_clear();
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        for (name, value) in &self.config.env {
            command.env(name, resolve(name, value)?);
        }
        command.current_dir(self.config.working_dir.as_deref().unwrap_or(std::path::Path::new("/")));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        Ok(command)
    }

    async fn run(&self, request: &[u8]) -> Result<Answer, ProviderError> {
        let started = self.command()?.spawn();
        let mut child = started.map_err(|error| {
            let message = format!("cannot start `{}`: {error}", self.config.command[0]);
            ProviderError::new(FailureKind::Refused, message)
        })?;
        let mut group = ProcessGroup::of(&child);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let (pipe_out, pipe_err) = (child.stdout.take(), child.stderr.take());
        let mut pipe_in = child.stdin.take();
        let write = async {
            if let Some(pipe) = &mut pipe_in {
                // A command that does not read what it is asked has its reasons: its answer counts.
                let _ = pipe.write_all(request).await;
            }
            pipe_in = None;
        };
        let status = {
            let output = async {
                tokio::join!(write, keep(pipe_out, &mut out, ANSWER_MAX), keep(pipe_err, &mut err, WORDS_MAX))
            };
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
        let status = status.map_err(|error| self.unavailable(&format!("cannot be waited for: {error}")))?;
        self.answer(&out, status.success(), &format!("{status}: {}", String::from_utf8_lossy(&err).trim()))
    }

    /// What an ended command has said. An error in words of the contract counts whatever its status is.
    fn answer(&self, out: &[u8], succeeded: bool, words: &str) -> Result<Answer, ProviderError> {
        if out.len() > ANSWER_MAX {
            return Err(self.unavailable(&format!("answered with more than {ANSWER_MAX} bytes")));
        }
        let answer: Result<Answer, _> = serde_json::from_slice(out);
        match answer {
            Ok(Answer { version, .. }) if version != VERSION => {
                let message = format!(
                    "`{}` answered in version {version} of the contract; this is version {VERSION}",
                    self.config.command[0]
                );
                Err(ProviderError::new(FailureKind::Refused, message))
            }
            Ok(Answer { error: Some(failure), .. }) => Err(failure.into()),
            _ if !succeeded => Err(self.unavailable(&format!("failed with {words}"))),
            Ok(answer) => Ok(answer),
            Err(error) => {
                let message =
                    format!("`{}` did not answer in JSON of the contract: {error}", self.config.command[0]);
                Err(ProviderError::new(FailureKind::Refused, message))
            }
        }
    }

    async fn list(&self) -> Result<Vec<ListedGroup>, ProviderError> {
        Ok(self.ask(Request::List).await?.groups)
    }
}

#[async_trait]
impl MachineProvider for ExecProvider {
    async fn groups(&self) -> Result<Vec<Group>, ProviderError> {
        let listed = self.list().await?;
        Ok(listed.into_iter().map(|one| Group { id: one.name, min: one.min, max: one.max }).collect())
    }

    async fn look(&self, group: &str) -> Result<GroupState, ProviderError> {
        Ok(self.listed(group).await?.state())
    }

    async fn grow(&self, group: &str, to: u32) -> Result<(), ProviderError> {
        let listed = self.listed(group).await?;
        let max = listed.max;
        if listed.state().target >= to {
            return Ok(());
        }
        if to > max {
            let message = format!("group {group} has at most {max} machines, {to} are wanted");
            return Err(ProviderError::new(FailureKind::Quota, message));
        }
        self.ask(Request::Create { group, size: to }).await.map(drop)
    }

    async fn withdraw(&self, group: &str, to: u32) -> Result<(), ProviderError> {
        let state = self.listed(group).await?.state();
        let to = to.max(state.live());
        if to >= state.target {
            return Ok(());
        }
        self.ask(Request::Cancel { group, size: to }).await.map(drop)
    }

    async fn terminate(&self, group: &str, machine: &str) -> Result<(), ProviderError> {
        let state = self.listed(group).await?.state();
        match state.machine(machine) {
            Some(found) if found.state != MachineState::Deleting => {
                self.ask(Request::Remove { group, machine }).await.map(drop)
            }
            _ => Ok(()),
        }
    }
}

impl ExecProvider {
    async fn listed(&self, group: &str) -> Result<ListedGroup, ProviderError> {
        let found = self.list().await?.into_iter().find(|one| one.name == group);
        found.ok_or_else(|| {
            let message = format!("`{}` has no group {group}", self.config.command[0]);
            ProviderError::new(FailureKind::Refused, message)
        })
    }
}

/// Kills a process group when it is dropped before the command has ended.
struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Its leader has not been reaped, so the number belongs to no other group.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// A value of the environment; of a secret the reference is told, never the value.
fn resolve(name: &str, value: &EnvValue) -> Result<String, ProviderError> {
    let refused = |message| ProviderError::new(FailureKind::Refused, message);
    match value {
        EnvValue::Plain(text) => Ok(text.clone()),
        EnvValue::Secret(SecretRef::File(path)) => {
            let text = std::fs::read_to_string(path);
            let text =
                text.map_err(|error| refused(format!("{name}: cannot read {}: {error}", path.display())))?;
            Ok(text.trim_end_matches(['\r', '\n']).to_owned())
        }
        EnvValue::Secret(SecretRef::Env(variable)) => std::env::var(variable)
            .map_err(|_| refused(format!("{name}: the engine's environment has no {variable}"))),
    }
}

/// Keeps the beginning, one byte more than it may be so that excess shows, and reads the rest away.
async fn keep(pipe: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>, most: usize) {
    let Some(mut pipe) = pipe else { return };
    let mut piece = [0; 8_192];
    while let Ok(read @ 1..) = pipe.read(&mut piece).await {
        let room = (most + 1).saturating_sub(kept.len());
        kept.extend_from_slice(&piece[..read.min(room)]);
    }
}
