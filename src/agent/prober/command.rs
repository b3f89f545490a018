//! Asks one question by running a command as the task itself would run it: its folder, its user, its
//! environment. Values of secrets are handed to the command and appear nowhere else.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Gid, Pid, Uid, User, geteuid};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::task::spawn_blocking;

use crate::agent::prober::probe::{Answer, KEPT_MAX, kept};
use crate::domain::workload::{EnvValue, SecretRef};
use crate::ports::health::ProbeTarget;

/// How long output is awaited after the command has ended: a process that it left behind may hold the
/// pipe open for ever.
const OUTPUT_WAIT: Duration = Duration::from_millis(100);

/// Everything that a command is started with.
struct Prepared {
    env: BTreeMap<String, String>,
    user: Option<(Uid, Gid)>,
}

/// Kills a process group when it is dropped before the command has ended: after a time limit, or when
/// nobody wants the answer any more.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It can have ended just now; then there is nothing to kill. Its leader has not been reaped
            // yet, so the number cannot belong to another group.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// Whether the command ends with exit status 0.
pub(super) async fn run(
    command: &[String],
    target: &ProbeTarget,
    base_env: &BTreeMap<String, String>,
    folder: PathBuf,
) -> Answer {
    let Some((program, arguments)) = command.split_first() else {
        return Answer::no("the command is empty");
    };
    // User data bases and files of secrets can be slow.
    let (target, base_env) = (target.clone(), base_env.clone());
    let prepared = match spawn_blocking(move || prepare(&target, &base_env)).await {
        Ok(Ok(prepared)) => prepared,
        Ok(Err(message)) => return Answer::no(message),
        Err(error) => return Answer::no(format!("cannot prepare the command: {error}")),
    };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(prepared.env).current_dir(folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    if let Some((uid, gid)) = prepared.user {
        command.uid(uid.as_raw()).gid(gid.as_raw());
    }
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Answer::no(format!("cannot start `{program}`: {error}")),
    };
    let mut group = Group(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw));
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (mut said_out, mut said_err) = (Vec::new(), Vec::new());
    let status = {
        let output =
            async { tokio::join!(read_beginning(out, &mut said_out), read_beginning(err, &mut said_err)) };
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
    let said = kept(&[said_out, said_err].concat());
    match status {
        Ok(status) if status.success() => Answer::yes(said),
        Ok(status) if said.is_empty() => Answer::no(status.to_string()),
        Ok(status) => Answer::no(format!("{status}: {said}")),
        Err(error) => Answer::no(format!("cannot wait for `{program}`: {error}")),
    }
}

/// Keeps the beginning and reads the rest away, so that the command is not held up by a full pipe.
async fn read_beginning(pipe: Option<impl AsyncRead + Unpin>, beginning: &mut Vec<u8>) {
    let Some(mut pipe) = pipe else { return };
    let mut piece = [0; KEPT_MAX];
    while let Ok(read @ 1..) = pipe.read(&mut piece).await {
        let room = KEPT_MAX - beginning.len();
        beginning.extend_from_slice(&piece[..read.min(room)]);
    }
}

fn prepare(target: &ProbeTarget, base_env: &BTreeMap<String, String>) -> Result<Prepared, String> {
    let mut env = base_env.clone();
    let user = target.template.user.as_deref().map(find_user).transpose()?;
    if let Some(user) = &user {
        env.insert("HOME".to_owned(), user.dir.display().to_string());
    }
    for (name, number) in &target.ports {
        let name = name.to_uppercase().replace('-', "_");
        env.insert(format!("PORT_{name}"), number.to_string());
    }
    if let Some(first) = target.first_port.as_ref().and_then(|name| target.ports.get(name)) {
        env.insert("PORT".to_owned(), first.to_string());
    }
    for (name, value) in &target.template.env {
        let value = match value {
            EnvValue::Plain(text) => text.clone(),
            EnvValue::Secret(secret) => {
                read_secret(secret).map_err(|message| format!("secret for {name}: {message}"))?
            }
        };
        env.insert(name.clone(), value);
    }
    Ok(Prepared { env, user: user.map(|user| ids(&user)).transpose()?.flatten() })
}

fn find_user(name: &str) -> Result<User, String> {
    User::from_name(name)
        .map_err(|error| format!("cannot look up user `{name}`: {error}"))?
        .ok_or_else(|| format!("there is no user `{name}`"))
}

/// The ids to run under; absent where this process runs under them already.
fn ids(user: &User) -> Result<Option<(Uid, Gid)>, String> {
    let own = geteuid();
    if user.uid == own {
        Ok(None)
    } else if own.is_root() {
        Ok(Some((user.uid, user.gid)))
    } else {
        Err(format!("only root can run a command as user `{}`", user.name))
    }
}

/// Reads a secret. Errors name the reference, never a value.
fn read_secret(secret: &SecretRef) -> Result<String, String> {
    match secret {
        SecretRef::Env(name) => {
            std::env::var(name).map_err(|_| format!("the engine has no text in its variable {name}"))
        }
        SecretRef::File(path) => {
            let text = fs::read_to_string(path)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            let line = text.strip_suffix('\n').unwrap_or(&text);
            Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
        }
    }
}
