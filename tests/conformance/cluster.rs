//! What holds for every cluster whose nodes Loadline makes. Runs on: local, with control groups and
//! without; simulated.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use loadline::adapters::simulated::{SimulatedCluster, SimulatedConfig};
use loadline::adapters::system_clock::SystemClock;
use loadline::domain::node::NodeName;
use loadline::domain::observation::{Health, NodeObservation, ProcessState};
use loadline::domain::quantity::{Bytes, Millicores, Resources};
use loadline::domain::task::{ExitStatus, TaskId};
use loadline::ports::cluster::{ClusterError, ClusterObserver, Resized, TaskRunner};
use loadline::ports::node_provider::NodeProvider;

use crate::local::{Rig, both_modes, launch, node, size};
use crate::machine::PATIENCE;

/// A cluster, by its ports alone, and commands that its tasks understand.
struct Subject {
    runner: Arc<dyn TaskRunner>,
    observer: Arc<dyn ClusterObserver>,
    nodes: Arc<dyn NodeProvider>,
    /// Runs until it is told to stop.
    runs: &'static [&'static str],
    /// Ends at once with status 5.
    ends_with_5: &'static [&'static str],
    /// What keeps the cluster alive, and cleans up after it.
    _owner: Box<dyn std::any::Any>,
}

fn simulated() -> Subject {
    let config = SimulatedConfig { boot: SignedDuration::from_millis(100), ..SimulatedConfig::default() };
    let cluster = Arc::new(SimulatedCluster::new(config, Arc::new(SystemClock)));
    Subject {
        runner: Arc::clone(&cluster) as _,
        observer: Arc::clone(&cluster) as _,
        nodes: cluster,
        runs: &["serve"],
        ends_with_5: &["exit", "5"],
        _owner: Box::new(()),
    }
}

fn subjects() -> Vec<Subject> {
    let local = both_modes().into_iter().map(|mode| {
        let rig = Rig::new(mode);
        let cluster = Arc::new(rig.cluster.clone());
        Subject {
            runner: Arc::clone(&cluster) as _,
            observer: Arc::clone(&cluster) as _,
            nodes: cluster,
            runs: &["sleep", "1000"],
            ends_with_5: &["sh", "-c", "exit 5"],
            _owner: Box::new(rig),
        }
    });
    local.chain([simulated()]).collect()
}

impl Subject {
    async fn node(&self, name: &str) -> NodeName {
        let node = node(name, Resources::new(Millicores::new(1_000), Bytes::mib(512)));
        self.nodes.create(&node).await.expect("a node");
        self.nodes.create(&node).await.expect("the call may be repeated");
        let joining = async {
            while self.observer.observe().await.expect("an observation").nodes.get(&node.name)
                != Some(&NodeObservation::Ready)
            {
                self.observer.changed().await;
            }
        };
        tokio::time::timeout(PATIENCE, joining).await.expect("it joins");
        node.name
    }

    async fn launch(&self, task: &str, command: &[&str]) -> TaskId {
        let wanted = launch(task, "small-1", command, size(100, 64));
        self.runner.launch(&wanted).await.expect("a launch");
        wanted.task.id
    }

    /// Waits, as the loops do, until a task's process is as it should be.
    async fn until(&self, holds: impl Fn(Option<&ProcessState>) -> bool, task: &TaskId) {
        let waiting = async {
            loop {
                let observed = self.observer.observe().await.expect("an observation");
                if holds(observed.tasks.get(task).map(|one| &one.process)) {
                    return;
                }
                // It may return too often, never too seldom; a start is no change that it must tell.
                let _ = tokio::time::timeout(Duration::from_millis(200), self.observer.changed()).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("it came so");
    }

    async fn until_running(&self, task: &TaskId) {
        self.until(|process| matches!(process, Some(ProcessState::Running { .. })), task).await;
    }
}

#[tokio::test]
async fn a_task_is_observed_from_its_start_to_its_end_and_then_forgotten() {
    for subject in subjects() {
        subject.node("small-1").await;
        let task = subject.launch("web.1", subject.runs).await;
        subject.until_running(&task).await;
        let observed = subject.observer.observe().await.expect("an observation");
        let seen = &observed.tasks[&task];
        assert_eq!((&seen.health, seen.in_flight), (&Health::Starting, 0), "not the cluster's to know");
        assert_eq!(seen.size, observed.can_resize.then_some(size(100, 64)));

        let refused = subject.runner.forget(&task).await;
        assert!(matches!(refused, Err(ClusterError::Refused(_))), "a task that runs was forgotten");
        subject.runner.stop(&task, SignedDuration::from_secs(10)).await.expect("a stop");
        subject.until(|process| matches!(process, Some(ProcessState::Exited(_))), &task).await;
        let observed = subject.observer.observe().await.expect("an observation");
        let ProcessState::Exited(exit) = &observed.tasks[&task].process else { panic!("it changed again") };
        assert!(exit.asked_to_stop);

        subject.runner.forget(&task).await.expect("it ended");
        subject.runner.forget(&task).await.expect("the call may be repeated");
        subject.until(|process| process.is_none(), &task).await;
    }
}

#[tokio::test]
async fn an_end_that_nobody_asked_for_is_observed_with_its_status() {
    for subject in subjects() {
        subject.node("small-1").await;
        let task = subject.launch("job.1", subject.ends_with_5).await;
        subject.until(|process| matches!(process, Some(ProcessState::Exited(_))), &task).await;
        let observed = subject.observer.observe().await.expect("an observation");
        let ProcessState::Exited(exit) = &observed.tasks[&task].process else { panic!("it changed again") };
        assert_eq!((exit.status, exit.asked_to_stop), (Some(ExitStatus::Code(5)), false));
    }
}

#[tokio::test]
async fn calls_about_what_is_not_there_say_so_or_do_nothing() {
    for subject in subjects() {
        let nowhere = launch("web.1", "small-1", subject.runs, size(100, 64));
        assert!(matches!(subject.runner.launch(&nowhere).await, Err(ClusterError::NoSuchNode(_))));
        let task = &nowhere.task.id;
        subject.runner.stop(task, SignedDuration::ZERO).await.expect("nothing to stop");
        subject.runner.forget(task).await.expect("nothing to forget");
        let resized = subject.runner.resize(task, &size(1, 1)).await;
        assert!(matches!(resized, Err(ClusterError::NoSuchTask(_))));
        let name = NodeName::new("small-1").expect("a name");
        subject.nodes.remove(&name).await.expect("nothing to remove");
        assert!(matches!(subject.nodes.fail(&name).await, Err(ClusterError::NoSuchNode(_))));
        assert!(subject.observer.observe().await.expect("an observation").tasks.is_empty());
    }
}

#[tokio::test]
async fn each_task_gets_ports_of_its_own_and_keeps_them() {
    for subject in subjects() {
        subject.node("small-1").await;
        let mut given = std::collections::BTreeSet::new();
        for number in 1..=3 {
            let mut wanted = launch(&format!("web.{number}"), "small-1", subject.runs, size(100, 64));
            wanted.ports = vec!["http".to_owned(), "admin".to_owned()];
            let ports = subject.runner.launch(&wanted).await.expect("a launch");
            assert_eq!(ports.keys().map(String::as_str).collect::<Vec<_>>(), ["admin", "http"]);
            assert_eq!(subject.runner.launch(&wanted).await.expect("a launch"), ports);
            given.extend(ports.into_values());
        }
        assert_eq!(given.len(), 6);
    }
}

#[tokio::test]
async fn a_size_changes_in_place_exactly_where_the_cluster_says_that_it_can() {
    for subject in subjects() {
        subject.node("small-1").await;
        let task = subject.launch("web.1", subject.runs).await;
        let can = subject.observer.observe().await.expect("an observation").can_resize;
        let resized = subject.runner.resize(&task, &size(200, 128)).await.expect("an answer");
        assert_eq!(resized == Resized::InForce, can);
        let observed = subject.observer.observe().await.expect("an observation");
        assert_eq!(observed.tasks[&task].size, can.then_some(size(200, 128)));
        assert_eq!(can, !subject.observer.limitations().iter().any(|text| text.contains("in place")));
    }
}

#[tokio::test]
async fn a_node_with_tasks_is_not_removed_and_a_failed_one_takes_its_tasks_along() {
    for subject in subjects() {
        let name = subject.node("small-1").await;
        let task = subject.launch("web.1", subject.runs).await;
        subject.until_running(&task).await;
        assert!(matches!(subject.nodes.remove(&name).await, Err(ClusterError::Refused(_))));

        subject.nodes.fail(&name).await.expect("a failure");
        subject.nodes.fail(&name).await.expect("the call may be repeated");
        let observed = subject.observer.observe().await.expect("an observation");
        assert_eq!(observed.nodes[&name], NodeObservation::Lost);
        assert_eq!(observed.tasks[&task].process, ProcessState::Lost);

        subject.runner.forget(&task).await.expect("it is gone");
        subject.nodes.remove(&name).await.expect("a removal");
        subject.nodes.remove(&name).await.expect("the call may be repeated");
        let observed = subject.observer.observe().await.expect("an observation");
        assert!(observed.nodes.is_empty() && observed.tasks.is_empty());
    }
}
