//! The machine's clock is set by a day, forwards and back, under an engine that runs real tasks: nothing
//! is started, stopped, scaled or run twice for it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use loadline::app::{App, AppConfig};
use loadline::config::{EngineConfig, parse_engine_config, parse_specs};
use loadline::domain::change::Change;
use loadline::domain::intent::{Intent, Submission};
use loadline::domain::rollout::{Actor, RolloutState};
use loadline::domain::task::TaskState;
use loadline::domain::world::RunOutcome;
use loadline::ports::clock::Clock;
use loadline::ports::control::View;

use crate::machine::PATIENCE;

/// The machine's clock, set off by so much.
#[derive(Default)]
struct OffClock(Mutex<SignedDuration>);

impl OffClock {
    fn set(&self, off: SignedDuration) {
        *self.0.lock().expect("a lock") = off;
    }
}

impl Clock for OffClock {
    #[expect(clippy::disallowed_methods, reason = "a clock for this test")]
    fn now(&self) -> Timestamp {
        Timestamp::now() + *self.0.lock().expect("a lock")
    }
}

const DAY: SignedDuration = SignedDuration::from_hours(24);

fn settings() -> EngineConfig {
    let text = "[api]\nlisten = \"127.0.0.1:0\"\n[agent]\nsample_interval = \"1s\"\n[scrape]\ninterval = \"1s\"\n\
                [autoscaler]\ninterval = \"1s\"\n[recommender]\ninterval = \"1s\"\n";
    parse_engine_config("engine.toml", text).expect("settings")
}

fn specs(effects: &std::path::Path) -> String {
    format!(
        r#"
[pool.p]
cpu = 2
memory = "1GiB"
min = 1
max = 3
# Idle: only the window of five minutes keeps its count.
[service.scaled]
command = ["sleep", "100000"]
memory = "32MiB"
instances = 3
scale = {{ min = 1, max = 4, cpu = 0.5 }}
[service.steady]
command = ["sleep", "100000"]
memory = "32MiB"
instances = 2
[service.crashing]
command = "sleep 0.2; exit 3"
memory = "32MiB"
restart = {{ backoff = "3s", backoff_max = "3s", jitter = 0.0 }}
[service.slow]
command = ["sleep", "100000"]
memory = "32MiB"
readiness = {{ exec = ["false"], interval = "500ms" }}
rollout = {{ deadline = "10m" }}
[job.long]
command = "sleep 100000"
memory = "32MiB"
time_limit = "2h"
[cron.often]
schedule = "*/2 * * * * *"
command = "echo $LOADLINE_TASK >> {}"
start_deadline = "1s"
memory = "32MiB"
"#,
        effects.display()
    )
}

struct Rig {
    app: App,
    clock: Arc<OffClock>,
    folder: tempfile::TempDir,
}

impl Rig {
    async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("loadline-clock-").tempdir().expect("a folder");
        let clock = Arc::new(OffClock::default());
        let config = AppConfig {
            data_dir: folder.path().join("data"),
            executable: PathBuf::from(crate::harness::binary()),
            engine: settings(),
        };
        let app = App::start_with(config, clock.clone()).await.expect("an engine");
        let text = specs(&folder.path().join("effects"));
        let declared = parse_specs(&[("specs.toml".to_owned(), text)]).expect("valid specs");
        let intent = Intent::Apply(Box::new(declared));
        let by = Actor::User("test".to_owned());
        app.control().submit(Submission::new(by, "", intent)).await.expect("a change");
        Self { app, clock, folder }
    }

    async fn wait(&self, what: &str, holds: impl Fn(&View) -> bool) {
        let began = Instant::now();
        while !holds(&self.app.control().view().await) {
            assert!(began.elapsed() < PATIENCE, "in vain: {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Tasks that run and are meant to stay, with their processes.
    async fn lasting(&self) -> BTreeMap<String, TaskState> {
        let world = self.app.control().view().await.world;
        let lasting = world
            .tasks
            .values()
            .filter(|task| matches!(task.workload().as_str(), "scaled" | "steady" | "slow" | "long"));
        lasting.map(|task| (task.id.to_string(), task.state)).collect()
    }

    /// Lets some passes of every loop go by.
    async fn look_around(&self, seconds: u64) {
        let until = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < until {
            let view = self.app.control().view().await;
            for sample in view.usage.values() {
                assert!(sample.cpu_cores.is_none_or(|cores| (0.0..64.0).contains(&cores)), "{sample:?}");
                assert!(sample.interval_seconds.is_none_or(|seconds| seconds > 0.0), "{sample:?}");
            }
            let steady = |name: &str| {
                view.world.workloads.iter().find(|(each, _)| each.as_str() == name).expect("it").1.count
            };
            assert_eq!((steady("scaled"), steady("steady")), (3, 2), "counts were changed");
            assert_eq!(view.world.pools.values().next().expect("a pool").target, 1, "the pool was changed");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn effects(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.path().join("effects")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    async fn changes(&self) -> Vec<(u64, Change)> {
        let all = self.app.control().changes_after(0, 100_000).await.expect("changes");
        all.into_iter().map(|change| (change.number, change.recorded.change)).collect()
    }
}

fn crashes(view: &View) -> u64 {
    let found = view.world.workloads.values().find(|each| each.name.as_str() == "crashing");
    found.map_or(0, |workload| workload.next_task)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_by_a_day_changes_nothing() {
    let rig = Rig::start().await;
    rig.wait("everything runs", |view| {
        let are = |name: &str, state: TaskState| {
            let of = view.world.tasks.values().filter(|task| task.workload().as_str() == name);
            of.filter(|task| task.state == state).count()
        };
        let running = |name: &str| are(name, TaskState::Running);
        let settled = running("scaled") == 3 && running("steady") == 2 && running("long") == 1;
        settled && are("slow", TaskState::Starting) == 1
    })
    .await;
    rig.wait("it crashes", |view| crashes(view) >= 2).await;
    rig.look_around(6).await;
    let before = rig.lasting().await;
    assert_eq!(before.len(), 7);

    for (what, off) in [("forwards", DAY), ("back again", SignedDuration::ZERO), ("back", -DAY)] {
        let crashed = crashes(&rig.app.control().view().await);
        let began = Instant::now();
        rig.clock.set(off);
        rig.wait("the jump is noticed", |view| {
            view.engine
                .scheduled_at
                .is_some_and(|at| at.duration_since(rig.clock.now()).abs() < SignedDuration::from_secs(30))
        })
        .await;
        rig.look_around(8).await;
        assert_eq!(rig.lasting().await, before, "{what}: tasks were touched");
        rig.wait("a backoff of 3 s ends", |view| crashes(view) > crashed).await;
        let view = rig.app.control().view().await;
        let slow = view.world.workloads.values().find(|each| each.name.as_str() == "slow").expect("it");
        let rollout = slow.rollout.as_ref().expect("a rollout");
        assert_eq!(rollout.state, RolloutState::InProgress, "{what}: its deadline was 10 minutes");
        let most = crashed + 3 + began.elapsed().as_secs() / 3;
        assert!(crashes(&view) <= most, "{what}: a backoff of 3 s is not kept");
    }
    let problems = rig.app.control().view().await.engine.problems;
    assert!(problems.iter().any(|text| text.contains("the clock was set back")), "{problems:?}");

    check_cron(&rig).await;
    let numbers: Vec<u64> = rig.changes().await.into_iter().map(|(number, _)| number).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "numbers of changes are not steady");
    let Rig { app, folder, .. } = rig;
    let left = app.shutdown(Some(Duration::from_secs(30))).await;
    assert_eq!(left, 0);
    drop(folder);
}

/// No occurrence was begun twice, none ran twice, and each that was planned has one end.
async fn check_cron(rig: &Rig) {
    let effects = rig.effects();
    let distinct: BTreeSet<&String> = effects.iter().collect();
    assert_eq!(distinct.len(), effects.len(), "a task ran twice");
    let (mut opened, mut closed) = (BTreeSet::new(), BTreeMap::new());
    let mut tries = BTreeMap::new();
    for (_, change) in rig.changes().await {
        match change {
            Change::RunOpened { run, .. } if run.workload.as_str() == "often" => {
                assert!(opened.insert(run.at), "{} was opened twice", run.at);
            }
            Change::RunClosed { run, outcome } if run.workload.as_str() == "often" => {
                assert!(closed.insert(run.at, outcome).is_none(), "{} was closed twice", run.at);
            }
            Change::TaskCreated { task } if task.workload().as_str() == "often" => {
                *tries.entry(task.run().expect("a run").at).or_insert(0) += 1;
            }
            _ => {}
        }
    }
    assert!(tries.values().all(|count| *count == 1), "an occurrence was tried twice: {tries:?}");
    let succeeded = closed.values().filter(|outcome| **outcome == RunOutcome::Succeeded).count();
    assert!(succeeded >= 3, "hardly anything ran: {closed:?}");
    assert!(effects.len() >= succeeded, "{succeeded} runs succeeded, {} did something", effects.len());
    assert!(opened.len() <= closed.len() + 1, "runs without an end");
}
