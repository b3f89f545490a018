//! Rollouts by groups and by a switch, and what people do by hand, on real processes under load.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use loadline::app::{App, AppConfig};
use loadline::config::{parse_engine_config, parse_specs};
use loadline::domain::action::ActionKey;
use loadline::domain::intent::{Intent, Submission};
use loadline::domain::rollout::{Actor, Rollout, RolloutState};
use loadline::domain::task::{Task, TaskState};
use loadline::domain::workload::WorkloadName;
use tempfile::TempDir;

use crate::engine::harness::Engine;
use crate::engine::load::Load;
use crate::engine::shop::{front_door, shop, wait_rollout};
use crate::machine::PATIENCE;

/// A shop that takes so long to answer.
fn answering_in(milliseconds: u32, rollout: &str) -> String {
    let program = env!("CARGO_BIN_EXE_loadline");
    let options = r#""--startup", "200ms", "--threads", "8", "--wait-ms""#;
    let command = format!(r#"["{program}", "demo-task", "web", {options}, "{milliseconds}"]"#);
    shop(&command, "1", rollout)
}

const BY_METRIC: &str = r#"strategy = "canary"
       groups = [1]
       wait = "4s"
       accept = "metric""#;

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_is_three_times_slower_is_taken_back_without_a_failed_request() {
    let engine = Engine::start(&answering_in(30, BY_METRIC));
    engine.wait_ready("web", 3).await;
    let load = Load::start(front_door(&engine).await);
    load.reaches(200).await;

    engine.apply(&answering_in(90, BY_METRIC)).await;
    let rolled_back = |rollout: &Rollout| matches!(rollout.state, RolloutState::RolledBack { .. });
    let rollout = wait_rollout(&engine, "the canary is taken back", rolled_back).await;
    let RolloutState::RolledBack { reason } = &rollout.state else { panic!("{rollout:?}") };
    assert!(reason.starts_with("group 1 of 1 was refused: p95 latency"), "{reason}");
    println!("{reason}");
    engine.wait_ready("web", 3).await;
    let tasks = engine.running("web").await;
    assert!(tasks.iter().all(|task| task.revision == 1), "{tasks:?}");
    assert_eq!(tasks.iter().filter(|task| ["web.1", "web.2"].contains(&task.id.as_str())).count(), 2);
    load.reaches(200).await;
    let (sent, failures) = load.end().await;
    assert_eq!(failures, Vec::<String>::new(), "of {sent} requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_is_as_fast_is_accepted() {
    let engine = Engine::start(&answering_in(30, BY_METRIC));
    engine.wait_ready("web", 3).await;
    let load = Load::start(front_door(&engine).await);
    engine.apply(&answering_in(31, BY_METRIC)).await;
    let rollout = wait_rollout(&engine, "the canary is done", |r| !r.state.is_open()).await;
    assert_eq!(rollout.state, RolloutState::Done);
    println!("{:?}", rollout.stage);
    let (sent, failures) = load.end().await;
    assert_eq!(failures, Vec::<String>::new(), "of {sent} requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn blue_green_with_a_command_switches_at_once_without_a_failed_request() {
    let smoke = r#"
        strategy = "blue-green"
        hold = "8s"
        accept = { command = 'test -n "$LOADLINE_INSTANCES" && echo $LOADLINE_INSTANCES && exit STATUS', time_limit = "5s" }"#;
    let (good, bad) = (smoke.replace("STATUS", "0"), smoke.replace("STATUS", "1"));
    let engine = Engine::start(&answering_in(1, &bad));
    engine.wait_ready("web", 3).await;
    let load = Load::start(front_door(&engine).await);

    engine.apply(&answering_in(2, &bad)).await;
    let rollout = wait_rollout(&engine, "the switch is refused", |r| !r.state.is_open()).await;
    let RolloutState::RolledBack { reason } = &rollout.state else { panic!("{rollout:?}") };
    assert!(reason.contains("exit status: 1: 127.0.0.1:"), "{reason}");
    engine.wait_ready("web", 3).await;

    engine.apply(&answering_in(3, &good)).await;
    let held = |rollout: &Rollout| rollout.takes_traffic(3) && !rollout.takes_traffic(1);
    wait_rollout(&engine, "the front door switches", held).await;
    let there = |tasks: Vec<loadline::api::dto::TaskDto>, revision| {
        tasks.iter().filter(|task| task.revision == revision).count()
    };
    assert_eq!(there(engine.running("web").await, 1), 3, "the old ones are held");
    let rollout = wait_rollout(&engine, "the rollout is done", |r| !r.state.is_open()).await;
    assert_eq!(rollout.state, RolloutState::Done);
    engine.wait_ready("web", 3).await;
    assert_eq!(there(engine.running("web").await, 3), 3);
    load.reaches(200).await;
    let (sent, failures) = load.end().await;
    assert_eq!(failures, Vec::<String>::new(), "of {sent} requests");
}

/// An engine within this process: it is asked for things by its port.
struct Inside {
    app: App,
    _folder: TempDir,
}

impl Inside {
    async fn start(specs: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("loadline-test-").tempdir().expect("a folder");
        let engine =
            parse_engine_config("engine.toml", "[api]\nlisten = \"127.0.0.1:0\"\n").expect("settings");
        let executable = PathBuf::from(env!("CARGO_BIN_EXE_loadline"));
        let config = AppConfig { data_dir: folder.path().join("data"), executable, engine };
        let app = App::start(config).await.expect("an engine");
        let declared = parse_specs(&[("specs.toml".to_owned(), specs.to_owned())]).expect("valid specs");
        let inside = Self { app, _folder: folder };
        inside.ask(Intent::Apply(Box::new(declared))).await;
        inside
    }

    async fn ask(&self, intent: Intent) -> Vec<String> {
        let by = Actor::User("ann".to_owned());
        self.app.control().submit(Submission::new(by, "a test", intent)).await.expect("an answer")
    }

    /// Instances that the front door sends to.
    async fn ready(&self) -> Vec<Task> {
        let view = self.app.control().view().await;
        let name = web();
        let ready = view.world.tasks_of(&name).filter(|task| {
            let seen = view.observed.tasks.get(&task.id);
            let health = seen.map(|seen| &seen.health);
            task.state == TaskState::Running && health == Some(&loadline::domain::observation::Health::Ready)
        });
        ready.cloned().collect()
    }

    async fn wait(&self, what: &str, holds: impl Fn(&[Task]) -> bool) {
        let began = Instant::now();
        loop {
            let ready = self.ready().await;
            if holds(&ready) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}; {ready:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn acting(&self, key: &str) -> bool {
        let key: ActionKey = key.parse().expect("a key");
        self.app.control().view().await.world.actions.contains_key(&key)
    }
}

fn web() -> WorkloadName {
    WorkloadName::new("web").expect("a name")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounce_of_all_fails_no_request_and_a_pause_ends_by_itself() {
    let engine = Inside::start(&answering_in(1, "max_surge = 2")).await;
    engine.wait("3 ready", |ready| ready.len() == 3).await;
    let view = engine.app.control().view().await;
    let load = Load::start(view.front_doors[&web()]["http"]);

    engine.ask(Intent::Bounce { workload: web(), task: None }).await;
    engine
        .wait("all are others", |ready| {
            assert!(ready.len() >= 3, "under the declared capacity: {ready:?}");
            ready.len() >= 3 && ready.iter().all(|task| task.id.number() > 3)
        })
        .await;
    load.reaches(50).await;
    let (sent, failures) = load.end().await;
    assert_eq!(failures, Vec::<String>::new(), "of {sent} requests");
    assert!(!engine.acting("bounce/web").await);

    let lasting = Some(SignedDuration::from_secs(8));
    let began = Instant::now();
    engine.ask(Intent::Pause { workload: web(), lasting }).await;
    engine.wait("none is ready", <[Task]>::is_empty).await;
    assert!(engine.acting("pause/web").await);
    engine.wait("3 are back", |ready| ready.len() == 3).await;
    assert!(began.elapsed() >= Duration::from_secs(8), "{:?}", began.elapsed());
    assert!(!engine.acting("pause/web").await);
    assert_eq!(engine.app.shutdown(Some(PATIENCE)).await, 0);
}
