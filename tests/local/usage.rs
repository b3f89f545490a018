//! What is read agrees with what the kernel says elsewhere.

use std::fs;
use std::time::{Duration, Instant};

use loadline::adapters::local::CgroupMode;
use loadline::domain::task::TaskId;
use loadline::domain::usage::{AgentReading, TaskCounters};
use loadline::ports::cluster::TaskRunner;
use loadline::ports::usage_source::UsageSource;

use super::{Rig, both_modes, launch, size, until};

fn counters(reading: &AgentReading, task: &TaskId) -> TaskCounters {
    reading.tasks.iter().find(|one| one.task == *task).expect("a reading of the task").counters
}

/// CPU time of a process by its own record, in seconds.
fn process_cpu(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let fields: Vec<&str> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
    // Counted from the third field of the whole line: 14 and 15 there.
    let ticks: f64 = fields[11].parse::<f64>().expect("ticks") + fields[12].parse::<f64>().expect("ticks");
    ticks / 100.0
}

/// A file of a process's control group, found through the kernel alone; the first name that is there.
pub(super) fn group_file(pid: u32, controller: &str, names: &[&str]) -> String {
    let own = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("its groups");
    let path = |controller: &str| {
        own.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            parts.next()?.split(',').any(|one| one == controller).then(|| parts.next())?
        })
    };
    let places =
        [(format!("/sys/fs/cgroup/{controller}"), path(controller)), ("/sys/fs/cgroup".to_owned(), path(""))];
    places
        .iter()
        .filter_map(|(mount, path)| path.map(|path| format!("{mount}{path}")))
        .find_map(|folder| names.iter().find_map(|name| fs::read_to_string(format!("{folder}/{name}")).ok()))
        .expect("a file of the group")
}

fn assert_close(what: &str, read: f64, kernel: f64, share: f64) {
    assert!((read - kernel).abs() <= kernel * share, "{what}: read {read}, the kernel says {kernel}");
}

#[tokio::test]
async fn usage_agrees_with_the_kernels_own_counters() {
    for mode in both_modes() {
        let rig = Rig::new(mode);
        rig.node("small-1").await;
        let script = "x=$(head -c 40000000 /dev/zero | tr '\\0' x); echo full; while :; do :; done";
        let task = rig.run_sized("busy.1", &["sh", "-c", script], size(500, 300)).await;
        let pid = rig.pid(&task).await;
        assert_eq!(rig.first_line(&task).await, "full");

        let from = (process_cpu(pid), counters(&rig.cluster.read().await.expect("a reading"), &task));
        // Enough for a record in hundredths of a second to be exact to half a per cent.
        until("two seconds of CPU", || process_cpu(pid) - from.0 >= 2.0);
        let reading = rig.cluster.read().await.expect("a reading");
        let to = (process_cpu(pid), counters(&reading, &task));
        assert_close("CPU", to.1.cpu_seconds - from.1.cpu_seconds, to.0 - from.0, 0.02);

        let counted = to.1;
        if rig.enforces() {
            let used: f64 = group_file(pid, "memory", &["memory.usage_in_bytes", "memory.current"])
                .trim()
                .parse()
                .expect("a number");
            let stat = group_file(pid, "memory", &["memory.stat"]);
            let inactive: f64 = ["total_inactive_file ", "inactive_file "]
                .iter()
                .find_map(|key| stat.lines().find_map(|line| line.strip_prefix(key)))
                .expect("a line")
                .parse()
                .expect("a number");
            assert_close("memory", counted.working_set.as_f64(), used - inactive, 0.02);
            assert!(counted.peak_memory.expect("a peak") >= counted.working_set);
            assert_eq!(counted.oom_kills, Some(0));
        } else {
            assert_eq!((counted.oom_kills, counted.throttled_seconds), (None, None), "absent, not zero");
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
        let anonymous: f64 = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB"))
            .expect("a line")
            .parse()
            .expect("a number");
        // The group counts the kernel's own memory for the task too.
        assert_close("memory of the process", counted.working_set.as_f64(), anonymous * 1024.0, 0.05);
        assert_eq!((counted.threads, counted.open_files.is_some()), (Some(1), true));

        let node = &reading.nodes[0];
        assert_eq!((node.tasks, node.working_set), (1, counted.working_set));
        assert!(node.cpu_seconds >= counted.cpu_seconds);
    }
}

#[tokio::test]
async fn cpu_of_processes_that_have_ended_stays_counted_without_control_groups() {
    let rig = Rig::new(CgroupMode::ForcedOff);
    rig.node("small-1").await;
    // Half a second of work in children that are gone, one of them without a parent.
    let work = "i=0; while test $i -lt 200000; do i=$((i+1)); done";
    let script = format!(
        "sh -c '{work}'; (setsid sh -c '{work}; touch done' &); while ! test -e done; do sleep 0.01; done; times; sleep 1000"
    );
    let task = rig.run("batch.1", &["sh", "-c", &script]).await;
    let log = rig.folder("batch.1").join("stdout.log");
    until("two lines", || fs::read_to_string(&log).is_ok_and(|text| text.lines().count() == 2));
    // The orphan is reaped a moment after it has written its file.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let first = counters(&rig.cluster.read().await.expect("a reading"), &task);
    let log = fs::read_to_string(log).expect("a log");
    // The second line of `times` is of the children that were waited for: user, then system.
    let waited_for: f64 = log
        .lines()
        .nth(1)
        .expect("children")
        .split_whitespace()
        .map(|time| {
            time.trim_end_matches('s').split_once('m').expect("a time").1.parse::<f64>().expect("seconds")
        })
        .sum();
    assert!(waited_for > 0.05, "too little work for this test: {waited_for}");
    // Two equal pieces of work, of which the shell has waited for one.
    assert!(first.cpu_seconds > waited_for * 1.4, "{} of twice {waited_for}", first.cpu_seconds);
}

#[tokio::test]
async fn a_hundred_tasks_are_read_in_a_fraction_of_the_interval() {
    for mode in both_modes() {
        let rig = Rig::new(mode);
        rig.node("small-1").await;
        let begun = Instant::now();
        for number in 1..=100 {
            let wanted = launch(&format!("web.{number}"), "small-1", &["sleep", "1000"], size(1, 8));
            rig.cluster.launch(&wanted).await.expect("a launch");
        }
        let launched = begun.elapsed();
        let begun = Instant::now();
        let reading = rig.cluster.read().await.expect("a reading");
        let elapsed = begun.elapsed();
        println!(
            "100 tasks, control groups {}: launched in {launched:?}, read in {elapsed:?}",
            rig.enforces()
        );
        assert_eq!(reading.tasks.len(), 100);
        assert!(elapsed < Duration::from_secs(1), "a reading took {elapsed:?}");
    }
}
