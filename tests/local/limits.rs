//! What the kernel holds tasks to.

use std::time::{Duration, Instant};

use loadline::domain::quantity::{Bytes, Millicores, Resources, TaskSize};
use loadline::domain::task::ExitStatus;
use loadline::ports::cluster::{ClusterObserver, Resized, TaskRunner};
use loadline::ports::node_provider::NodeProvider;
use loadline::ports::usage_source::UsageSource;

use super::{Rig, launch, node, size};

#[tokio::test]
async fn a_hog_dies_in_its_group_and_its_neighbour_lives() {
    let Some(rig) = Rig::enforcing() else { return };
    rig.node("small-1").await;
    let neighbour = rig.run("web.1", &["sleep", "1000"]).await;
    let before = rig.pid(&neighbour).await;
    let hogs = [
        ("hog.1", vec!["tail", "/dev/zero"], ExitStatus::Signal(9)),
        ("hog.2", vec!["sh", "-c", "tail /dev/zero; exit $?"], ExitStatus::Code(137)),
    ];
    for (name, command, status) in hogs {
        let hog = rig.run_sized(name, &command, size(500, 32)).await;
        let exit = rig.exit(&hog).await;
        assert!(exit.is_oom(), "{exit:?}");
        assert_eq!(exit.status, Some(status));
        assert!(exit.oom_kills >= Some(1));
        let said = exit.describe();
        assert!(
            said.starts_with("OOM: killed by the kernel at its memory limit of 32.0 MiB, peak 3"),
            "{said}"
        );
    }
    assert_eq!(rig.pid(&neighbour).await, before);
}

#[tokio::test]
async fn a_busy_loop_gets_its_cpu_limit_and_the_throttling_shows() {
    let Some(rig) = Rig::enforcing() else { return };
    rig.node("small-1").await;
    let limited = TaskSize { cpu_limit: Some(Millicores::new(200)), ..size(200, 64) };
    let task = rig.run_sized("busy.1", &["sh", "-c", "while :; do :; done"], limited).await;
    let counters = async || {
        let reading = rig.cluster.read().await.expect("a reading");
        let at = Instant::now();
        (at, reading.tasks.iter().find(|one| one.task == task).expect("the task").counters)
    };
    let (from, first) = counters().await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (to, last) = counters().await;
    let cores = (last.cpu_seconds - first.cpu_seconds) / (to - from).as_secs_f64();
    assert!((cores - 0.2).abs() <= 0.03, "{cores} cores in use");
    let periods = last.periods.expect("periods") - first.periods.expect("periods");
    let throttled = last.throttled_periods.expect("periods") - first.throttled_periods.expect("periods");
    assert!(periods > 50 && throttled * 10 > periods * 8, "{throttled} of {periods} periods throttled");
    assert!(last.throttled_seconds > first.throttled_seconds);
}

#[tokio::test]
async fn a_size_changes_in_place_up_and_down() {
    let Some(rig) = Rig::enforcing() else { return };
    rig.node("small-1").await;
    // Holds about 40 MiB.
    let script = "x=$(head -c 40000000 /dev/zero | tr '\\0' x); echo full; while :; do sleep 1; done";
    let task = rig.run_sized("web.1", &["sh", "-c", script], size(200, 256)).await;
    let pid = rig.pid(&task).await;
    assert_eq!(rig.first_line(&task).await, "full");
    let in_force = async || rig.cluster.observe().await.expect("an observation").tasks[&task].clone();

    for wanted in [
        TaskSize { cpu_limit: Some(Millicores::new(500)), ..size(400, 512) },
        TaskSize { cpu_limit: Some(Millicores::new(5)), ..size(5, 200) },
        size(300, 150),
    ] {
        assert_eq!(rig.cluster.resize(&task, &wanted).await.expect("an answer"), Resized::InForce);
        assert_eq!(in_force().await.size, Some(wanted));
        let kernel = memory_limit(pid);
        assert_eq!(kernel, wanted.memory_limit.get());
    }

    let Resized::Refused(reason) = rig.cluster.resize(&task, &size(300, 8)).await.expect("an answer") else {
        panic!("memory in use was taken away")
    };
    assert!(reason.starts_with("a memory limit of 8.0 MiB is less than the "), "{reason}");
    let after = in_force().await;
    assert_eq!((after.size, after.resize_refused), (Some(size(300, 150)), Some(reason)));
    assert_eq!(memory_limit(pid), Bytes::mib(150).get());
    assert_eq!(rig.pid(&task).await, pid, "it was restarted");

    // A new engine knows the size that is in force.
    let rig = rig.reopened();
    let observed = rig.cluster.observe().await.expect("an observation");
    assert_eq!(observed.tasks[&task].size, Some(size(300, 150)));
}

#[tokio::test]
async fn all_tasks_of_a_node_together_get_no_more_than_the_node_has() {
    let Some(rig) = Rig::enforcing() else { return };
    let small = node("small-1", Resources::new(Millicores::new(300), Bytes::mib(128)));
    rig.cluster.create(&small).await.expect("a node");
    for number in 1..=2 {
        // Above the node's own size: the node's holds.
        let wanted = TaskSize { cpu_limit: Some(Millicores::new(4_000)), ..size(150, 32) };
        let busy = launch(&format!("busy.{number}"), "small-1", &["sh", "-c", "while :; do :; done"], wanted);
        rig.cluster.launch(&busy).await.expect("a launch");
    }
    let cpu = async || (Instant::now(), rig.cluster.read().await.expect("a reading").nodes[0].cpu_seconds);
    let (from, first) = cpu().await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let (to, last) = cpu().await;
    let cores = (last - first) / (to - from).as_secs_f64();
    assert!((cores - 0.3).abs() < 0.06, "{cores} cores in use");
}

#[tokio::test]
async fn on_a_real_version_2_hierarchy_limits_hold() {
    let root = std::path::Path::new("/sys/fs/cgroup");
    let mounted = [root.to_owned(), root.join("unified")].into_iter().find(|path| {
        std::fs::read_to_string(path.join("cgroup.controllers"))
            .is_ok_and(|text| text.contains("cpu") && text.contains("memory"))
    });
    let Some(mounted) = mounted else {
        eprintln!("skipped: version 2 is not mounted here with controllers for CPU and memory");
        return;
    };
    let rig = Rig::new(super::CgroupMode::Root(mounted));
    if !rig.enforces() {
        eprintln!("skipped: {:?}", rig.cluster.limitations());
        return;
    }
    rig.node("small-1").await;
    let hog = rig.run_sized("hog.1", &["sh", "-c", "tail /dev/zero; exit $?"], size(500, 32)).await;
    // The whole group is killed, so the shell does not live to tell.
    let exit = rig.exit(&hog).await;
    assert_eq!((exit.status, exit.is_oom()), (Some(ExitStatus::Signal(9)), true));
}

/// The memory limit of a process's group, found without asking Loadline.
fn memory_limit(pid: u32) -> u64 {
    let text = super::usage::group_file(pid, "memory", &["memory.limit_in_bytes", "memory.max"]);
    text.trim().parse().expect("a number")
}
