//! Nodes come and go, and are lost with everything on them.

use std::fs;

use loadline::domain::observation::{NodeObservation, ProcessState};
use loadline::ports::cluster::{ClusterError, ClusterObserver, TaskRunner};
use loadline::ports::node_provider::NodeProvider;

use super::{Rig, both_modes, launch, size};
use crate::machine::{is_alive, until};

#[tokio::test]
async fn a_node_is_lost_with_everything_on_it_and_its_logs_remain() {
    for mode in both_modes() {
        let rig = Rig::new(mode);
        let lost = rig.node("small-1").await;
        rig.node("small-2").await;
        let script = "setsid sleep 1000 & echo $!; wait";
        let task = rig.run("web.1", &["sh", "-c", script]).await;
        let elsewhere = launch("web.2", "small-2", &["sleep", "1000"], size(100, 64));
        rig.cluster.launch(&elsewhere).await.expect("a launch");
        let pids = [rig.first_line(&task).await.parse().expect("a process"), rig.pid(&task).await];

        assert!(matches!(rig.cluster.remove(&lost).await, Err(ClusterError::Refused(_))));
        rig.cluster.fail(&lost).await.expect("a failure");
        for pid in pids {
            until("its processes are gone", || !is_alive(pid));
        }
        let rig = rig.reopened();
        let observed = rig.cluster.observe().await.expect("an observation");
        assert_eq!(observed.nodes[&lost], NodeObservation::Lost);
        assert_eq!(observed.tasks[&task].process, ProcessState::Lost);
        assert!(!rig.folder("web.1").join("exit.json").exists(), "a lost machine leaves no record");
        rig.pid(&elsewhere.task.id).await;
        assert_eq!(
            fs::read_to_string(rig.folder("web.1").join("stdout.log")).expect("a log").lines().count(),
            1
        );

        let more = launch("web.3", "small-1", &["sleep", "1000"], size(100, 64));
        assert!(matches!(rig.cluster.launch(&more).await, Err(ClusterError::NoSuchNode(_))));
        rig.cluster.remove(&lost).await.expect("a removal");
        let observed = rig.cluster.observe().await.expect("an observation");
        assert!(!observed.nodes.contains_key(&lost));
    }
}
