//! The local cluster on real processes. What needs control groups says so and is skipped where there
//! are none.

mod adoption;
mod exec;
mod limits;
mod nodes;
mod tasks;
mod usage;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use loadline::adapters::local::{CgroupMode, LocalCluster, LocalConfig, LogLimits};
use loadline::adapters::system_clock::SystemClock;
use loadline::domain::node::{Node, NodeName, NodeState, PoolName};
use loadline::domain::observation::ProcessState;
use loadline::domain::quantity::{Bytes, Millicores, Resources, TaskSize};
use loadline::domain::task::{ExitRecord, Task, TaskId, TaskOrigin, TaskState};
use loadline::domain::workload::{PlacementSpec, TaskTemplate, WorkloadKind};
use loadline::ports::cluster::{ClusterObserver, Launch, TaskRunner};
use loadline::ports::logs::{LogPosition, LogSource, LogStream};
use loadline::ports::node_provider::NodeProvider;
use tempfile::TempDir;

use crate::machine::PATIENCE;

/// A cluster over a folder of its own. Whatever it started is killed when it goes.
pub(crate) struct Rig {
    pub(crate) cluster: LocalCluster,
    dir: Arc<TempDir>,
    config: LocalConfig,
    /// Whether tasks are killed when it goes.
    cleans_up: bool,
}

impl Rig {
    pub(crate) fn new(cgroups: CgroupMode) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = tempfile::tempdir().expect("a folder");
        let instance = format!("test-{}-{number}", std::process::id());
        let executable = PathBuf::from(env!("CARGO_BIN_EXE_loadline"));
        let mut config = LocalConfig::new(dir.path().join("data"), executable, instance);
        config.cgroups = cgroups;
        Self::over(Arc::new(dir), config)
    }

    fn over(dir: Arc<TempDir>, config: LocalConfig) -> Self {
        let cluster = LocalCluster::open(config.clone(), Arc::new(SystemClock)).expect("a cluster");
        Self { cluster, dir, config, cleans_up: true }
    }

    /// A cluster with control groups; none, with a word why, where the machine does not permit them.
    #[expect(clippy::print_stderr, reason = "a test that is skipped says why")]
    fn enforcing() -> Option<Self> {
        let rig = Self::new(CgroupMode::Detect);
        if rig.enforces() {
            return Some(rig);
        }
        eprintln!("skipped, no control groups: {:?}", rig.cluster.limitations());
        None
    }

    fn enforces(&self) -> bool {
        !self.cluster.limitations().iter().any(|text| text.starts_with("sizes are not enforced"))
    }

    /// Drops the cluster without a word to its tasks, as a kill does, and opens another one.
    fn reopened(self) -> Self {
        self.reopened_after(|_| ())
    }

    /// The same, with something happening in between.
    fn reopened_after(mut self, meanwhile: impl FnOnce(&Path)) -> Self {
        let (dir, config) = (Arc::clone(&self.dir), self.config.clone());
        self.cleans_up = false;
        drop(self);
        meanwhile(&config.data_dir);
        Self::over(dir, config)
    }

    fn folder(&self, task: &str) -> PathBuf {
        self.config.data_dir.join("tasks").join(task)
    }

    pub(crate) async fn node(&self, name: &str) -> NodeName {
        let node = node(name, Resources::new(Millicores::new(2_000), Bytes::mib(1_024)));
        self.cluster.create(&node).await.expect("a node");
        node.name
    }

    async fn run(&self, task: &str, command: &[&str]) -> TaskId {
        self.run_sized(task, command, size(100, 64)).await
    }

    async fn run_sized(&self, task: &str, command: &[&str], size: TaskSize) -> TaskId {
        let launch = launch(task, "small-1", command, size);
        self.cluster.launch(&launch).await.expect("a launch");
        launch.task.id
    }

    async fn process(&self, task: &TaskId) -> ProcessState {
        let observed = self.cluster.observe().await.expect("an observation");
        observed.tasks.get(task).expect("a known task").process.clone()
    }

    async fn pid(&self, task: &TaskId) -> u32 {
        match self.process(task).await {
            ProcessState::Running { pid, .. } => pid,
            other => panic!("{task} does not run: {other:?}"),
        }
    }

    /// Waits for the end of a task, as the loops do: until something changed, then looking.
    async fn exit(&self, task: &TaskId) -> ExitRecord {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let ProcessState::Exited(exit) = self.process(task).await {
                return exit;
            }
            tokio::time::timeout_at(deadline, self.cluster.changed()).await.expect("the end of the task");
        }
    }

    /// Everything that a task wrote to standard output.
    async fn output(&self, task: &TaskId) -> Vec<String> {
        let mut text = String::new();
        let mut from = LogPosition::Start;
        loop {
            let piece = LogSource::read(&self.cluster, task, LogStream::Stdout, from, 64 << 10);
            let piece = piece.await.expect("a piece");
            if piece.text.is_empty() {
                return text.lines().map(str::to_owned).collect();
            }
            text.push_str(&piece.text);
            from = LogPosition::After(piece.next);
        }
    }

    /// Waits until a task has written a line, and gives it.
    async fn first_line(&self, task: &TaskId) -> String {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let piece = LogSource::read(&self.cluster, task, LogStream::Stdout, LogPosition::Start, 1 << 10);
            if let Some((line, _)) = piece.await.expect("a piece").text.split_once('\n') {
                return line.to_owned();
            }
            assert!(tokio::time::Instant::now() < deadline, "no line in time");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if !self.cleans_up {
            return;
        }
        let cluster = self.cluster.clone();
        let cleaned = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            runtime.block_on(async {
                let observed = cluster.observe().await.expect("an observation");
                for node in observed.nodes.keys() {
                    cluster.fail(node).await.expect("an end");
                    cluster.remove(node).await.expect("a removal");
                }
            });
        });
        let cleaned = cleaned.join();
        assert!(std::thread::panicking() || cleaned.is_ok(), "tasks were left behind");
    }
}

pub(crate) fn size(millicores: u64, mib: u64) -> TaskSize {
    TaskSize::of(Resources::new(Millicores::new(millicores), Bytes::mib(mib)))
}

pub(crate) fn node(name: &str, size: Resources) -> Node {
    Node {
        name: NodeName::new(name).expect("a name"),
        pool: PoolName::new("small").expect("a name"),
        size,
        attributes: BTreeMap::new(),
        state: NodeState::Joining,
        reason: String::new(),
        remove_when_empty: false,
        created_at: Timestamp::UNIX_EPOCH,
        state_since: Timestamp::UNIX_EPOCH,
        underused_since: None,
        made_for: String::new(),
    }
}

pub(crate) fn launch(task: &str, node: &str, command: &[&str], size: TaskSize) -> Launch {
    let task = Task {
        id: task.parse().expect("an id"),
        kind: WorkloadKind::Service,
        revision: 1,
        origin: TaskOrigin::Instance,
        size,
        state: TaskState::Launching,
        reason: String::new(),
        node: Some(NodeName::new(node).expect("a name")),
        ports: BTreeMap::new(),
        created_at: Timestamp::UNIX_EPOCH,
        not_before: Timestamp::UNIX_EPOCH,
        started_at: None,
        ready_at: None,
        state_since: Timestamp::UNIX_EPOCH,
        exit: None,
        preempted_for: None,
    };
    let template = TaskTemplate {
        command: command.iter().map(ToString::to_string).collect(),
        env: BTreeMap::new(),
        working_dir: None,
        user: None,
        size,
        stop_grace: SignedDuration::from_secs(10),
        placement: PlacementSpec::default(),
        priority: 0,
    };
    Launch { task, template, ports: Vec::new() }
}

/// Both ways to run: as the machine permits, and without control groups.
pub(crate) fn both_modes() -> [CgroupMode; 2] {
    [CgroupMode::Detect, CgroupMode::ForcedOff]
}
