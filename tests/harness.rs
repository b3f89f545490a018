//! `loadline up` as a process of its own that a test may treat badly: how it is started, asked and killed, and
//! ways to look at everything that it leaves on the machine.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use loadline::api::client::{Client, ClientError};
use loadline::api::dto::{ApplyRequest, Changed, NodeDto, SpecFile, StatusDto, TaskDto, WorkloadDto};
use loadline::domain::task::TaskState;
use nix::sys::signal::Signal;

use crate::machine::{PATIENCE, processes, processes_in, signal};

/// Engine settings in which minutes are seconds.
const SETTINGS: &str = r#"
[agent]
sample_interval = "1s"
[scrape]
interval = "1s"
[autoscaler]
interval = "1s"
[estimator]
policy = "vpa"
min_memory = "16MiB"
min_samples = 5
[recommender]
interval = "2s"
"#;

/// The binary that is tested: the one that was built with the test, or the one that `LOADLINE_TEST_BINARY`
/// names, so that a long run does not mind a new build.
pub(crate) fn binary() -> String {
    std::env::var("LOADLINE_TEST_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_loadline").to_owned())
}

/// Where an engine lives, and how it is started.
pub(crate) struct Place {
    /// Settings and the engine's own log.
    pub(crate) folder: tempfile::TempDir,
    pub(crate) data: PathBuf,
    /// Said to the shell before the engine takes its place, for example a limit.
    pub(crate) before: String,
    /// The address of its API.
    pub(crate) listen: String,
    /// Declared at the next start.
    pub(crate) specs: Option<PathBuf>,
    /// Whether its tasks end with it, as far as it is ended politely.
    pub(crate) stops_tasks: bool,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("loadline-hostile-").tempdir().expect("a folder");
        fs::write(folder.path().join("engine.toml"), SETTINGS).expect("settings");
        let data = folder.path().join("data");
        let listen = "127.0.0.1:0".to_owned();
        Self { folder, data, before: String::new(), listen, specs: None, stops_tasks: false }
    }

    /// Adds to the engine's settings.
    pub(crate) fn set(&self, more: &str) {
        let file = self.folder.path().join("engine.toml");
        fs::write(&file, fs::read_to_string(&file).expect("settings") + more).expect("settings");
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("engine.log")).unwrap_or_default()
    }

    fn command(&self) -> Command {
        let mut command = Command::new("sh");
        let script = format!("{}exec \"$0\" \"$@\"", self.before);
        command
            .args(["-c", &script, &binary(), "up", "--listen", &self.listen])
            .arg("--config")
            .arg(self.folder.path().join("engine.toml"))
            .arg("--data-dir")
            .arg(&self.data)
            .env("LOADLINE_LOG", std::env::var("LOADLINE_LOG").unwrap_or_else(|_| "warn".to_owned()))
            .env_remove("LOADLINE_DATA_DIR")
            .args(self.stops_tasks.then_some("--stop-tasks"))
            .args(&self.specs)
            .current_dir("/");
        command
    }

    /// Starts an engine that is expected not to come up, and gives what it said.
    pub(crate) fn refusal(&self) -> Output {
        let mut child =
            self.command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary");
        let began = Instant::now();
        while matches!(child.try_wait(), Ok(None)) {
            if began.elapsed() > PATIENCE {
                child.kill().expect("an engine");
                panic!("the engine came up, or hangs");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        child.wait_with_output().expect("its output")
    }

    /// Tries to start an engine, and gives what it said where it did not come up.
    pub(crate) fn try_start(&self) -> Result<Engine, String> {
        let mut child =
            self.command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary");
        let mut output = BufReader::new(child.stdout.take().expect("standard output"));
        if let Ok(client) = first_line(&mut output) {
            return Ok(Engine { client, child });
        }
        let said = child.wait_with_output().expect("its output");
        Err(String::from_utf8_lossy(&said.stderr).into_owned())
    }

    /// Starts an engine.
    pub(crate) fn start(&self) -> Engine {
        let log = fs::File::options().create(true).append(true).open(self.folder.path().join("engine.log"));
        let mut child =
            self.command().stdout(Stdio::piped()).stderr(log.expect("a log")).spawn().expect("the binary");
        let mut output = BufReader::new(child.stdout.take().expect("standard output"));
        match first_line(&mut output) {
            Ok(client) => Engine { client, child },
            Err(mut said) => {
                let _ = output.read_to_string(&mut said);
                let _ = child.wait();
                panic!("the engine did not come up: {said}\n{}", self.log());
            }
        }
    }
}

/// A client of the engine whose first line of output says where it is; else that line.
fn first_line(output: &mut impl BufRead) -> Result<Client, String> {
    let mut line = String::new();
    output.read_line(&mut line).expect("a line");
    let address = line.split("API at ").nth(1).and_then(|rest| rest.split(',').next());
    address.map(|address| Client::new(address, "test")).ok_or(line.clone())
}

impl Drop for Place {
    /// Whatever lives by this place ends with it.
    fn drop(&mut self) {
        for _ in 0..50 {
            let left: Vec<u32> =
                supervisors(&self.data).into_keys().chain(processes_in(&self.data)).collect();
            if left.is_empty() {
                return;
            }
            for number in left {
                signal(number, Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// An engine that runs.
pub(crate) struct Engine {
    pub(crate) client: Client,
    child: Child,
}

impl Engine {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.kill_in_place();
    }

    /// The same, where another one takes its place.
    pub(crate) fn kill_in_place(&mut self) {
        self.child.kill().expect("a running engine");
        self.child.wait().expect("an end");
    }

    /// Ends it as Ctrl-C does.
    pub(crate) fn end(mut self) {
        assert!(self.ends_politely(), "the engine does not end");
    }

    /// Whether it ends when told to.
    pub(crate) fn ends_politely(&mut self) -> bool {
        let began = Instant::now();
        if !self.has_ended() {
            signal(self.pid(), Signal::SIGTERM);
        }
        while !self.has_ended() && began.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.has_ended()
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    pub(crate) async fn apply(&self, text: &str) -> Result<Changed, ClientError> {
        let files = vec![SpecFile { name: "specs.toml".to_owned(), text: text.to_owned() }];
        self.client
            .post("/v1/apply", &ApplyRequest { files, message: "test".to_owned(), dry_run: false })
            .await
    }

    pub(crate) async fn status(&self) -> StatusDto {
        self.client.get("/v1/status").await.expect("a status")
    }

    pub(crate) async fn workload(&self, name: &str) -> WorkloadDto {
        self.client.get(&format!("/v1/workloads/{name}")).await.expect("a workload")
    }

    pub(crate) async fn nodes(&self) -> Vec<NodeDto> {
        self.client.get("/v1/nodes").await.expect("nodes")
    }

    /// Tasks that live, of all workloads.
    pub(crate) async fn all_tasks(&self) -> Vec<TaskDto> {
        self.client.get("/v1/tasks").await.expect("tasks")
    }

    /// Tasks of a workload that live.
    pub(crate) async fn tasks(&self, workload: &str) -> Vec<TaskDto> {
        self.client.get(&format!("/v1/tasks?workload={workload}")).await.expect("tasks")
    }

    /// Tasks of a workload that are ready.
    pub(crate) async fn running(&self, workload: &str) -> Vec<TaskDto> {
        let mut tasks = self.tasks(workload).await;
        tasks.retain(|task| task.state == TaskState::Running && task.pid.is_some());
        tasks
    }

    /// Tasks that ended, newest first.
    pub(crate) async fn ended(&self, workload: &str) -> Vec<TaskDto> {
        let path = format!("/v1/tasks?workload={workload}&ended=true&limit=1000");
        let mut all: Vec<TaskDto> = self.client.get(&path).await.expect("tasks");
        all.retain(|task| task.state.is_terminal());
        all
    }

    /// Process ids of the tasks that run, by task.
    pub(crate) async fn pids(&self, workload: &str) -> BTreeMap<String, u32> {
        self.running(workload).await.into_iter().filter_map(|task| Some((task.id, task.pid?))).collect()
    }

    /// Waits until so many instances of a service are ready.
    pub(crate) async fn wait_ready(&self, workload: &str, count: u32) {
        self.wait(&format!("{count} ready instances of {workload}"), async || {
            let found = self.workload(workload).await;
            found.ready == count && found.tasks == count
        })
        .await;
    }

    /// Waits until `holds`, and tells how long it took.
    pub(crate) async fn wait(&self, what: &str, holds: impl AsyncFn() -> bool) -> Duration {
        let began = Instant::now();
        while !holds().await {
            if began.elapsed() > PATIENCE {
                let status = self.status().await;
                panic!("not within {PATIENCE:?}: {what}\n{status:#?}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        began.elapsed()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A variable of the environment that a process was started with.
pub(crate) fn variable(number: u32, name: &str) -> Option<String> {
    let environment = fs::read(format!("/proc/{number}/environ")).ok()?;
    let prefix = format!("{name}=");
    environment
        .split(|byte| *byte == 0)
        .find_map(|entry| Some(String::from_utf8_lossy(entry).strip_prefix(&prefix)?.to_owned()))
}

/// Supervisors whose log lies in `data`, each with the task that it holds.
pub(crate) fn supervisors(data: &Path) -> BTreeMap<u32, String> {
    let is_ours =
        |number: u32| fs::read_link(format!("/proc/{number}/fd/2")).is_ok_and(|path| path.starts_with(data));
    let task = |number: u32| {
        let line = fs::read(format!("/proc/{number}/cmdline")).ok()?;
        let words: Vec<_> = line.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        (words.get(1)? == "supervise").then(|| words.get(2).map(ToString::to_string)).flatten()
    };
    let found = processes().into_iter().filter(|number| is_ours(*number));
    found.filter_map(|number| Some((number, task(number)?))).collect()
}
