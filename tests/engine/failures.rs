//! Tasks, nodes and the engine itself die; everything comes back, nothing twice.

use std::collections::BTreeMap;
use std::time::Duration;

use loadline::api::dto::{Changed, MessageRequest};
use loadline::domain::task::{ExitStatus, TaskState};
use nix::sys::signal::Signal;

use crate::engine::harness::Engine;
use crate::machine::{is_alive, processes_in, signal};

const FIFTY: &str = r#"
[pool.wide]
cpu = 2
memory = "4GiB"
max = 1
[service.many]
command = ["sleep", "100000"]
instances = 50
cpu = 0.01
memory = "16MiB"
[service.ends]
command = "while [ ! -e go ]; do sleep 0.1; done; exit 7"
cpu = 0.01
memory = "16MiB"
restart = { backoff = "60s" }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn fifty_tasks_survive_the_engines_death() {
    let mut engine = Engine::start(FIFTY);
    engine.wait_ready("many", 50).await;
    engine.wait("the task that ends runs", async || engine.running("ends").await.len() == 1).await;
    let pids = |tasks: Vec<loadline::api::dto::TaskDto>| -> BTreeMap<String, u32> {
        tasks.into_iter().map(|task| (task.id, task.pid.expect("a process id"))).collect()
    };
    let before = pids(engine.running("many").await);
    assert_eq!(before.len(), 50);

    engine.kill();
    assert!(before.values().all(|number| is_alive(*number)), "tasks died with the engine");
    // One more task ends by itself, one is killed, while nobody watches.
    let (killed, killed_pid) = before.iter().next().map(|(id, pid)| (id.clone(), *pid)).expect("a task");
    signal(killed_pid, Signal::SIGKILL);
    std::fs::write(engine.data().join("tasks/ends.1/workdir/go"), "").expect("its folder");
    tokio::time::sleep(Duration::from_secs(2)).await;
    engine.restart();

    engine.wait_ready("many", 50).await;
    let after = pids(engine.running("many").await);
    let kept = before.iter().filter(|(id, number)| after.get(*id) == Some(number)).count();
    assert_eq!(kept, 49, "adopted with the same process ids");
    assert_eq!(after.len(), 50);
    let sleeping = processes_in(engine.folder())
        .into_iter()
        .filter(|number| {
            let command = std::fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
            command.starts_with(b"sleep\x00100000")
        })
        .count();
    assert_eq!(sleeping, 50, "none was started twice");

    let ended = engine.ended("many").await;
    let exit = ended.iter().find(|task| task.id == killed).and_then(|task| task.exit.clone());
    assert_eq!(exit.and_then(|exit| exit.status), Some(ExitStatus::Signal(9)));
    engine.wait("the other end is known", async || !engine.ended("ends").await.is_empty()).await;
    let ended = engine.ended("ends").await;
    assert_eq!(ended.len(), 1);
    let exit = ended[0].exit.clone().expect("its end");
    assert_eq!(exit.status, Some(ExitStatus::Code(7)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_task_is_replaced_within_two_seconds_and_its_backoff() {
    let one = |name: &str| {
        format!(
            "[service.{name}]\ncommand = [\"sleep\", \"100000\"]\nrestart = {{ backoff = \"1s\", jitter = 0.0 }}\n"
        )
    };
    let names = ["one", "two", "three"];
    let engine = Engine::start(&names.map(one).concat());
    let mut took = Vec::new();
    for name in names {
        engine.wait_ready(name, 1).await;
        let first = engine.running(name).await.remove(0);
        signal(first.pid.expect("a process id"), Signal::SIGKILL);
        let another = async || engine.running(name).await.iter().any(|task| task.id != first.id);
        took.push(engine.wait("another task runs", another).await);
        let ended = engine.ended(name).await;
        assert!(ended[0].reason.contains("signal 9"), "{}", ended[0].reason);
        if is_quick(&took, Duration::from_secs(3)) {
            break;
        }
    }
    assert!(is_quick(&took, Duration::from_secs(3)), "took {took:?}, with a backoff of 1 s");
    let soonest = took.iter().min().expect("a time");
    assert!(*soonest > Duration::from_millis(900), "took {took:?}, less than the backoff of 1 s");
}

/// Whether it was done in time at least once: a machine that is busy with something else may be late.
fn is_quick(took: &[Duration], limit: Duration) -> bool {
    took.iter().any(|took| *took < limit)
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_a_lost_node_run_elsewhere_within_five_seconds() {
    let engine = Engine::start(
        r#"
        [pool.p]
        cpu = 1
        memory = "512MiB"
        min = 2
        max = 3
        [service.s]
        command = ["sleep", "100000"]
        instances = 6
        cpu = 0.25
        memory = "32MiB"
        "#,
    );
    let mut took = Vec::new();
    while took.len() < 3 && !is_quick(&took, Duration::from_secs(5)) {
        engine.wait_ready("s", 6).await;
        took.push(lose_a_node(&engine).await);
    }
    assert!(is_quick(&took, Duration::from_secs(5)), "took {took:?}");
}

/// Fails a node of the service `s`, and tells how long it took until all its tasks ran elsewhere.
async fn lose_a_node(engine: &Engine) -> Duration {
    let node = engine.running("s").await[0].node.clone().expect("a node");
    let (there, elsewhere): (Vec<_>, Vec<_>) =
        engine.running("s").await.into_iter().partition(|task| task.node.as_ref() == Some(&node));
    let _: Changed = engine
        .client
        .post(&format!("/v1/nodes/{node}/fail"), &MessageRequest::default())
        .await
        .expect("a node to fail");
    assert!(
        there.iter().all(|task| !is_alive(task.pid.expect("a pid"))),
        "a lost node takes its tasks along"
    );
    let took = engine.wait("six tasks run elsewhere", async || {
        let running = engine.running("s").await;
        running.len() == 6 && running.iter().all(|task| task.node.as_ref() != Some(&node))
    });
    let took = took.await;
    let now = engine.running("s").await;
    assert!(
        elsewhere.iter().all(|task| now.iter().any(|other| other.pid == task.pid)),
        "others were left alone"
    );
    let ended = engine.ended("s").await;
    let is_lost = |id: &String| ended.iter().any(|task| task.id == *id && task.state == TaskState::Lost);
    assert!(there.iter().all(|task| is_lost(&task.id)), "{ended:#?}");
    took
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_is_emptied_without_going_under_the_count() {
    let engine = Engine::start(
        r#"
        [pool.p]
        cpu = 1
        memory = "512MiB"
        min = 2
        max = 2
        [service.s]
        command = ["sleep", "100000"]
        instances = 3
        cpu = 0.25
        memory = "32MiB"
        "#,
    );
    engine.wait_ready("s", 3).await;
    let node = engine.running("s").await[0].node.clone().expect("a node");
    let _: Changed = engine
        .client
        .post(&format!("/v1/nodes/{node}/drain"), &MessageRequest::default())
        .await
        .expect("a node to drain");
    engine
        .wait("the node is empty", async || {
            assert!(engine.workload("s").await.ready >= 3, "under the declared count");
            engine.nodes().await.iter().any(|each| each.name == node && each.tasks == 0)
        })
        .await;
    engine.wait_ready("s", 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_after_a_polite_end() {
    let mut engine = Engine::start(
        r#"
        [service.family]
        command = "sleep 100000 & sleep 100000 & wait"
        instances = 3
        stop_grace = "1s"
        "#,
    );
    engine.wait_ready("family", 3).await;
    // A service without checks counts as ready before its shell has started its children.
    engine.wait("all of the families", async || processes_in(engine.folder()).len() >= 9).await;
    engine.end();
    assert_eq!(processes_in(engine.folder()), Vec::<u32>::new());
}
