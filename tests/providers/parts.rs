//! Commands that stand for clouds, servers on loopback, and Python with what tests need from `PyPI`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use loadline::adapters::exec_provider::{ExecProvider, ExecProviderConfig};
use loadline::adapters::external_grpc::{GrpcProvider, GrpcProviderConfig, serve};
use loadline::domain::workload::EnvValue;
use loadline::ports::machines::MachineProvider;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Long enough for a script on a loaded machine.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// The script that is shipped, keeping its machines in `folder`.
pub(crate) fn shipped(folder: &Path, env: &[(&str, &str)]) -> ExecProviderConfig {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples/machines.py");
    let file = folder.join("machines.json").display().to_string();
    let env = env.iter().copied().chain([("MACHINES_FILE", file.as_str())]);
    ExecProviderConfig {
        command: vec!["python3".to_owned(), script.display().to_string()],
        working_dir: None,
        env: env.map(|(name, value)| (name.to_owned(), EnvValue::Plain(value.to_owned()))).collect(),
        timeout: TIMEOUT,
    }
}

/// A shell script.
pub(crate) fn shell(script: &str, timeout: Duration) -> ExecProvider {
    ExecProvider::new(ExecProviderConfig {
        command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        working_dir: None,
        env: BTreeMap::new(),
        timeout,
    })
}

/// A provider served on loopback, until this is dropped.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    _end: oneshot::Sender<()>,
}

impl Served {
    pub(crate) async fn new(provider: Arc<dyn MachineProvider>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let (end, ended) = oneshot::channel();
        tokio::spawn(async move {
            let ended = async { drop(ended.await) };
            serve(provider, listener, None, ended).await.expect("serving");
        });
        Self { address, _end: end }
    }

    pub(crate) fn client(&self) -> GrpcProvider {
        client(&format!("http://{}", self.address))
    }
}

pub(crate) fn client(address: &str) -> GrpcProvider {
    let config = GrpcProviderConfig { address: address.to_owned(), timeout: TIMEOUT, tls: None };
    GrpcProvider::new(&config).expect("an address")
}

/// Programs of a venv beside the build, with packages from `PyPI`; none where that cannot be had.
pub(crate) fn venv(name: &str, packages: &[&str]) -> Option<PathBuf> {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().expect("a turn");
    let venv = Path::new(env!("CARGO_BIN_EXE_loadline")).parent()?.join(name);
    let programs = venv.join("bin");
    let done = venv.join(format!("done-{}", packages.join("-").replace('/', "_")));
    if !done.exists() {
        let made = Command::new("python3").args(["-m", "venv"]).arg(&venv).output().ok()?;
        let quiet = ["install", "--quiet", "--disable-pip-version-check"];
        let install = || Command::new(programs.join("pip")).args(quiet).args(packages).output().ok();
        if !made.status.success() || !install()?.status.success() {
            return None;
        }
        std::fs::write(&done, "").ok()?;
    }
    Some(programs)
}

/// Whether there is a Python; the shipped script needs one.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
pub(crate) fn python() -> bool {
    let there = Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success());
    if !there {
        eprintln!("SKIPPED: the shipped script needs python3, which is not here");
    }
    there
}
