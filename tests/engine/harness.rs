//! Starts, kills and restarts `loadline up`, and cleans up whatever it leaves.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use loadline::api::client::Client;
use loadline::api::dto::{ApplyRequest, Changed, NodeDto, SpecFile, StatusDto, TaskDto, WorkloadDto};
use loadline::domain::task::TaskState;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// An engine that takes this long for something is broken, however loaded the machine is.
pub(super) const PATIENCE: Duration = Duration::from_secs(40);
/// Engine settings in which minutes are seconds.
const SETTINGS: &str = r#"
[agent]
sample_interval = "1s"
[scrape]
interval = "1s"
[autoscaler]
interval = "1s"
[estimator]
min_memory = "16MiB"
min_samples = 5
[recommender]
interval = "2s"
"#;

/// An engine, its folder and its client.
pub(super) struct Engine {
    child: Child,
    pub(super) client: Client,
    pub(super) folder: TempDir,
}

impl Engine {
    /// An engine over an empty folder, with the given specs.
    pub(super) fn start(specs: &str) -> Self {
        Self::start_with(specs, |_| String::new())
    }

    /// The same, with more settings, which may name files in the engine's folder.
    pub(super) fn start_with(specs: &str, more: impl FnOnce(&Path) -> String) -> Self {
        let folder = tempfile::Builder::new().prefix("loadline-test-").tempdir().expect("a folder");
        std::fs::write(folder.path().join("specs.toml"), specs).expect("specs");
        let settings = format!("{SETTINGS}{}", more(folder.path()));
        std::fs::write(folder.path().join("engine.toml"), settings).expect("settings");
        let (child, client) = spawn(folder.path(), true, 0);
        Self { child, client, folder }
    }

    /// What `kill -9` does.
    pub(super) fn kill(&mut self) {
        self.child.kill().expect("a running engine");
        self.child.wait().expect("an end");
    }

    /// The engine again, over the same folder and without specs: it must know them.
    pub(super) fn restart(&mut self) {
        self.restart_at(0);
    }

    /// The engine again, with its API on a given port.
    pub(super) fn restart_at(&mut self, port: u16) {
        let (child, client) = spawn(self.folder.path(), false, port);
        self.child = child;
        self.client = client;
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(super) async fn apply(&self, text: &str) -> Vec<String> {
        let files = vec![SpecFile { name: "more.toml".to_owned(), text: text.to_owned() }];
        let request = ApplyRequest { files, message: "test".to_owned(), dry_run: false };
        let changed: Changed = self.client.post("/v1/apply", &request).await.expect("valid specs");
        changed.changes
    }

    pub(super) async fn status(&self) -> StatusDto {
        self.client.get("/v1/status").await.expect("a status")
    }

    pub(super) async fn workload(&self, name: &str) -> WorkloadDto {
        self.client.get(&format!("/v1/workloads/{name}")).await.expect("a workload")
    }

    pub(super) async fn nodes(&self) -> Vec<NodeDto> {
        self.client.get("/v1/nodes").await.expect("nodes")
    }

    /// Tasks that live.
    pub(super) async fn tasks(&self, workload: &str) -> Vec<TaskDto> {
        self.client.get(&format!("/v1/tasks?workload={workload}")).await.expect("tasks")
    }

    /// Tasks that ended, newest first.
    pub(super) async fn ended(&self, workload: &str) -> Vec<TaskDto> {
        let path = format!("/v1/tasks?workload={workload}&ended=true&limit=1000");
        let mut all: Vec<TaskDto> = self.client.get(&path).await.expect("tasks");
        all.retain(|task| task.state.is_terminal());
        all
    }

    /// Tasks that are ready.
    pub(super) async fn running(&self, workload: &str) -> Vec<TaskDto> {
        let mut tasks = self.tasks(workload).await;
        tasks.retain(|task| task.state == TaskState::Running && task.pid.is_some());
        tasks
    }

    /// Waits until so many instances of a service are ready.
    pub(super) async fn wait_ready(&self, workload: &str, count: u32) {
        self.wait(&format!("{count} ready instances of {workload}"), async || {
            let found = self.workload(workload).await;
            found.ready == count && found.tasks == count
        })
        .await;
    }

    /// Waits until `holds`, and tells how long it took.
    pub(super) async fn wait(&self, what: &str, holds: impl AsyncFn() -> bool) -> Duration {
        let began = Instant::now();
        loop {
            if holds().await {
                return began.elapsed();
            }
            if began.elapsed() > PATIENCE {
                let status = self.status().await;
                panic!("not within {PATIENCE:?}: {what}\n{status:#?}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Engine {
    /// Ends the engine politely, and whatever is left of its tasks by force.
    fn drop(&mut self) {
        let _ = kill(pid(self.child.id()), Signal::SIGTERM);
        let began = Instant::now();
        while began.elapsed() < PATIENCE && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        for left in processes_of(self.folder.path()) {
            let _ = kill(left, Signal::SIGKILL);
        }
    }
}

pub(super) fn pid(number: u32) -> Pid {
    Pid::from_raw(i32::try_from(number).expect("a process id"))
}

/// Processes whose working folder lies in `folder`: tasks start in folders of their own there.
pub(super) fn processes_of(folder: &Path) -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|number| {
            std::fs::read_link(format!("/proc/{number}/cwd")).is_ok_and(|cwd| cwd.starts_with(folder))
        })
        .map(Pid::from_raw)
        .collect()
}

pub(super) fn is_alive(number: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().and_then(|rest| rest.trim().chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

fn spawn(folder: &Path, with_specs: bool, port: u16) -> (Child, Client) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadline"));
    command
        .args(["up", "--stop-tasks", "--listen", &format!("127.0.0.1:{port}"), "--data-dir"])
        .arg(folder.join("data"))
        .arg("--config")
        .arg(folder.join("engine.toml"))
        .env("LOADLINE_LOG", std::env::var("LOADLINE_LOG").unwrap_or_else(|_| "warn".to_owned()))
        .current_dir("/")
        .stdout(Stdio::piped())
        .stderr(
            std::fs::File::options()
                .create(true)
                .append(true)
                .open(folder.join("engine.log"))
                .expect("a log"),
        );
    if with_specs {
        command.arg(folder.join("specs.toml"));
    }
    let mut child = command.spawn().expect("the binary");
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().expect("standard output"));
    output.read_line(&mut line).expect("a line");
    let address = line.split("API at ").nth(1).and_then(|rest| rest.split(',').next());
    let Some(address) = address else {
        let _ = child.wait();
        let log = std::fs::read_to_string(folder.join("engine.log")).unwrap_or_default();
        panic!("the engine did not come up: {line}\n{log}");
    };
    let client = Client::new(address, "test");
    (child, client)
}

impl Engine {
    /// Waits for the engine's own end.
    pub(super) fn wait_end(&mut self) {
        let began = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            assert!(began.elapsed() < PATIENCE, "the engine does not end");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
