//! What a task is given at its start: its environment with secrets filled in, and free ports.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

use crate::adapters::local::supervisor::find_user;
use crate::domain::node::NodeName;
use crate::domain::task::TaskId;
use crate::domain::workload::{EnvValue, SecretRef};
use crate::ports::cluster::ClusterError;
use crate::ports::exec::ExecTarget;

/// Ports are given from here on, up to where the kernel begins to give them to outgoing connections: one
/// of those could take a port between the moment it is chosen and the moment the task listens.
const FIRST_PORT: u16 = 20_000;
/// Where the kernel's own range begins unless the machine says otherwise.
const EPHEMERAL_DEFAULT: u16 = 32_768;
/// Where programs are looked for if the engine itself has no `PATH`.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// An engine with less room than this for open files serves few tasks; it says so.
pub(super) const OPEN_FILES_WANTED: u64 = 1_024;

/// How many files a process may have open: what it begins with, and what it may raise that to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OpenFiles {
    begin: u64,
    pub(super) most: u64,
}

/// Lets this process have as many files open as it may: each task and each connection takes one. Tells
/// what it was before, which is what tasks get.
pub(super) fn raise_open_files() -> OpenFiles {
    let (begin, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((OPEN_FILES_WANTED, OPEN_FILES_WANTED));
    if begin < most
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, most, most)
    {
        tracing::warn!(%error, "the limit of open files stays at {begin}");
    }
    OpenFiles { begin, most }
}

impl OpenFiles {
    /// Gives a task what it would have without an engine that needs more: old programs break when their
    /// numbers of files become large.
    pub(super) fn restore(self) {
        // The limit that it has will do.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, self.begin, self.most);
    }
}

/// The name of the variable that marks all processes of a task.
const MARK: &str = "LOADLINE_TASK";

/// The entry in the environment that marks all processes of a task.
pub(super) fn mark(task: &TaskId) -> String {
    format!("{MARK}={task}")
}

/// The environment of a task: a clean base, its ports, what its owner wrote, secrets read now.
pub(super) fn environment(
    target: &ExecTarget,
    node: &NodeName,
    ports: &BTreeMap<String, u16>,
) -> Result<BTreeMap<String, String>, ClusterError> {
    let own = |name: &str| std::env::var(name).ok();
    let mut environment = BTreeMap::new();
    let home = match &target.template.user {
        Some(name) => find_user(name).ok().map(|user| user.dir.display().to_string()),
        None => own("HOME"),
    };
    environment.insert("PATH".to_owned(), own("PATH").unwrap_or_else(|| PATH_DEFAULT.to_owned()));
    environment.insert("HOME".to_owned(), home.unwrap_or_else(|| "/".to_owned()));
    environment.insert("LANG".to_owned(), own("LANG").unwrap_or_else(|| "C.UTF-8".to_owned()));
    environment.insert("LOADLINE_NODE".to_owned(), node.to_string());
    for (name, number) in ports {
        environment.insert(format!("PORT_{}", name.to_uppercase().replace('-', "_")), number.to_string());
    }
    if let Some(first) = target.first_port.as_ref().and_then(|name| ports.get(name)) {
        environment.insert("PORT".to_owned(), first.to_string());
    }
    for (variable, value) in &target.template.env {
        let value = match value {
            EnvValue::Plain(text) => text.clone(),
            EnvValue::Secret(reference) => read_secret(reference)
                .map_err(|message| ClusterError::Secret { variable: variable.clone(), message })?,
        };
        environment.insert(variable.clone(), value);
    }
    // Last: what is left of a task is found by this mark.
    environment.insert(MARK.to_owned(), target.task.to_string());
    Ok(environment)
}

/// The value of a secret, or words that name where it was looked for.
fn read_secret(reference: &SecretRef) -> Result<String, String> {
    match reference {
        SecretRef::File(path) => {
            let text = fs::read_to_string(path)
                .map_err(|error| format!("file {} cannot be read: {error}", path.display()))?;
            let line = text.strip_suffix('\n').unwrap_or(&text);
            Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
        }
        SecretRef::Env(name) => std::env::var(name).map_err(|error| match error {
            std::env::VarError::NotPresent => format!("the engine has no variable {name} in its environment"),
            std::env::VarError::NotUnicode(_) => format!("the engine's variable {name} is not valid text"),
        }),
    }
}

/// Where the search for ports begins: somewhere, so that two engines on one machine rarely meet.
pub(super) fn first_port() -> u16 {
    fastrand::u16(FIRST_PORT..EPHEMERAL_DEFAULT)
}

/// Free ports on loopback for these names. `next` is where the search begins, and where the next one
/// shall; ports in `taken` belong to tasks, even where nothing listens yet.
pub(super) fn free_ports(
    names: &[String],
    taken: &BTreeSet<u16>,
    next: &mut u16,
) -> io::Result<BTreeMap<String, u16>> {
    let end = ephemeral_start();
    let mut found = BTreeMap::new();
    for name in names {
        let mut free = None;
        for _ in FIRST_PORT..end {
            let port = (*next).clamp(FIRST_PORT, end - 1);
            *next = if port + 1 < end { port + 1 } else { FIRST_PORT };
            if !taken.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
                free = Some(port);
                break;
            }
        }
        let port = free.ok_or_else(|| {
            io::Error::new(io::ErrorKind::AddrInUse, format!("no port is free from {FIRST_PORT} to {end}"))
        })?;
        found.insert(name.clone(), port);
    }
    Ok(found)
}

/// Where the kernel's range for outgoing connections begins; its usual place where that would leave
/// too few ports below.
fn ephemeral_start() -> u16 {
    fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .filter(|start| *start > FIRST_PORT + 1_000)
        .unwrap_or(EPHEMERAL_DEFAULT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_in_use_or_promised_are_not_given() {
        let mut next = first_port();
        let listening = loop {
            if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, next)) {
                break listener;
            }
            next = FIRST_PORT.max(next + 1);
        };
        let in_use = listening.local_addr().expect("an address").port();
        let promised = in_use + 1;
        let names = ["http".to_owned(), "admin".to_owned()];
        let given = free_ports(&names, &BTreeSet::from([promised]), &mut next).expect("ports");
        assert_eq!(given.len(), 2);
        assert_ne!(given["http"], given["admin"]);
        assert!(given.values().all(|port| *port != in_use && *port != promised), "{given:?}");
    }

    #[test]
    fn a_secret_file_loses_one_line_break() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), "hush\n\n").expect("a write");
        assert_eq!(read_secret(&SecretRef::File(file.path().to_owned())).as_deref(), Ok("hush\n"));
        let missing = read_secret(&SecretRef::Env("LOADLINE_NO_SUCH_VARIABLE".to_owned()));
        assert!(missing.expect_err("no value").contains("LOADLINE_NO_SUCH_VARIABLE"));
    }
}
