//! What is read agrees with what the kernel says elsewhere.

use std::fs;
use std::time::{Duration, Instant};

use loadline::adapters::local::CgroupMode;
use loadline::domain::task::TaskId;
use loadline::domain::usage::{AgentReading, TaskCounters};
use loadline::ports::cluster::TaskRunner;
use loadline::ports::usage_source::UsageSource;

use super::{Rig, both_modes, launch, size};
use crate::machine::{PATIENCE, until};

fn counters(reading: &AgentReading, task: &TaskId) -> TaskCounters {
    reading.tasks.iter().find(|one| one.task == *task).expect("a reading of the task").counters
}

/// CPU time of a process by its own record, in seconds.
fn process_cpu(pid: u32) -> f64 {
    cpu_in(&fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process"))
}

/// CPU time in a record of the kernel, in seconds; none in an empty one.
fn cpu_in(stat: &str) -> f64 {
    let fields = stat.rsplit(") ").next().expect("fields").split(' ');
    // Counted from the third field of the whole line: 14 and 15 there.
    let ticks: f64 = fields.skip(11).take(2).map(|field| field.parse::<f64>().expect("ticks")).sum();
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

        // The kernel is asked before and after each reading: on a busy machine time passes between.
        let read = async || {
            let before = process_cpu(pid);
            let reading = rig.cluster.read().await.expect("a reading");
            (before, reading, process_cpu(pid))
        };
        let (first_before, first, first_after) = read().await;
        // Enough for a record in hundredths of a second to be exact to half a per cent.
        until("two seconds of CPU", || process_cpu(pid) - first_after >= 2.0);
        let (last_before, reading, last_after) = read().await;
        let counted = counters(&reading, &task);
        let cpu = counted.cpu_seconds - counters(&first, &task).cpu_seconds;
        let (least, most) = ((last_before - first_after) * 0.98, (last_after - first_before) * 1.02);
        assert!(least <= cpu && cpu <= most, "CPU: read {cpu}, the kernel says {least} to {most}");

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
    // Two equal pieces of work, of which the shell has waited for one. The orphan is reaped a moment after it
    // has written its file.
    let began = Instant::now();
    loop {
        let counted = counters(&rig.cluster.read().await.expect("a reading"), &task).cpu_seconds;
        if counted > waited_for * 1.4 {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{counted} of twice {waited_for}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn a_hundred_tasks_are_read_in_a_fraction_of_the_interval() {
    // Threads of its own: what the tests beside this one do is not the reading's cost.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name(READERS)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async { tokio::spawn(read_a_hundred_tasks()).await.expect("no panic") });
}

const READERS: &str = "hundred-tasks";

/// CPU time that this process's threads of that name have used so far, in seconds.
fn cpu_of_readers() -> f64 {
    let threads = fs::read_dir("/proc/self/task").expect("threads").flatten();
    let is_reader = |thread: &std::path::PathBuf| {
        fs::read_to_string(thread.join("comm")).is_ok_and(|name| name.trim() == READERS)
    };
    let readers = threads.map(|entry| entry.path()).filter(is_reader);
    readers.map(|thread| cpu_in(&fs::read_to_string(thread.join("stat")).unwrap_or_default())).sum()
}

#[expect(clippy::print_stderr, reason = "whoever reads the test's output wants the figure")]
async fn read_a_hundred_tasks() {
    for mode in both_modes() {
        let rig = Rig::new(mode);
        rig.node("small-1").await;
        for number in 1..=100 {
            let wanted = launch(&format!("web.{number}"), "small-1", &["sleep", "1000"], size(1, 8));
            rig.cluster.launch(&wanted).await.expect("a launch");
        }
        let before = cpu_of_readers();
        for _ in 0..10 {
            assert_eq!(rig.cluster.read().await.expect("a reading").tasks.len(), 100);
        }
        let each = (cpu_of_readers() - before) / 10.0;
        eprintln!("100 tasks, control groups {}: {:.1} ms of CPU a reading", rig.enforces(), each * 1e3);
        assert!(each < 0.5, "a reading took {each} s of CPU");
    }
}
