//! Health checks on real sockets and processes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use jiff::{SignedDuration, Timestamp};
use loadline::adapters::local::CgroupMode;
use loadline::agent::prober::Prober;
use loadline::domain::observation::Health;
use loadline::domain::quantity::{Bytes, Millicores, Resources, TaskSize};
use loadline::domain::task::TaskId;
use loadline::domain::workload::{
    EnvValue, HealthCheck, HealthChecks, HttpMethod, HttpOptions, PlacementSpec, Probe, SecretRef,
    TaskTemplate, WorkloadName,
};
use loadline::ports::clock::Clock;
use loadline::ports::cluster::{ClusterError, TaskRunner};
use loadline::ports::exec::{ExecLimits, ExecOutput, ExecTarget, TaskExec};
use loadline::ports::health::{CheckKind, HealthSource, ProbeTarget};
use tokio::net::TcpListener;

use crate::local::{Rig, launch};
use crate::machine::{PATIENCE, eventually, is_alive};

struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

/// Where nothing is asked by a command.
struct NoCommands;

#[async_trait::async_trait]
impl TaskExec for NoCommands {
    async fn exec(
        &self,
        target: &ExecTarget,
        _: &[String],
        _: ExecLimits,
    ) -> Result<ExecOutput, ClusterError> {
        Err(ClusterError::NoSuchTask(target.task.clone()))
    }
}

fn prober() -> Prober {
    Prober::new(tokio::runtime::Handle::current(), Arc::new(StoppedClock), Arc::new(NoCommands))
}

/// A prober over a cluster in which `target` runs as the template says.
async fn prober_beside(target: &ProbeTarget) -> (Prober, Rig) {
    let rig = Rig::new(CgroupMode::Detect);
    rig.node("small-1").await;
    let mut launch = launch("web.1", "small-1", &["sleep", "1000"], target.template.size);
    launch.template.env.clone_from(&target.template.env);
    launch.template.user.clone_from(&target.template.user);
    launch.template.working_dir.clone_from(&target.template.working_dir);
    launch.ports = vec!["http-main".to_owned()];
    rig.cluster.launch(&launch).await.expect("a launch");
    let exec = Arc::new(rig.cluster.clone());
    (Prober::new(tokio::runtime::Handle::current(), Arc::new(StoppedClock), exec), rig)
}

fn task() -> TaskId {
    TaskId::new(WorkloadName::new("web").expect("a name"), 1)
}

fn check(probe: Probe, failures: u32, passes: u32) -> HealthCheck {
    let (interval, timeout) = (SignedDuration::from_millis(20), SignedDuration::from_secs(10));
    HealthCheck { probe, interval, timeout, failures, passes, delay: SignedDuration::ZERO }
}

fn http(path: &str) -> Probe {
    Probe::Http { path: path.to_owned(), port: None, options: HttpOptions::default() }
}

fn shell(script: &str) -> Probe {
    Probe::Exec { command: ["sh", "-c", script].map(str::to_owned).to_vec() }
}

fn target(port: u16, checks: HealthChecks) -> ProbeTarget {
    let some = Resources { cpu: Millicores::new(10), memory: Bytes::mib(10) };
    ProbeTarget {
        task: task(),
        checks,
        ports: BTreeMap::from([("http-main".to_owned(), port)]),
        first_port: Some("http-main".to_owned()),
        template: TaskTemplate {
            command: vec!["web".to_owned()],
            env: BTreeMap::new(),
            working_dir: None,
            user: None,
            size: TaskSize::of(some),
            stop_grace: SignedDuration::from_secs(1),
            placement: PlacementSpec::default(),
            priority: 0,
        },
    }
}

fn readiness(probe: Probe) -> HealthChecks {
    HealthChecks { readiness: Some(check(probe, 1, 1)), ..HealthChecks::default() }
}

/// Waits until the health is as wanted, woken by the prober alone.
async fn health_becomes(prober: &Prober, wanted: impl Fn(&Health) -> bool) -> Health {
    let wait = async {
        loop {
            let health = prober.health()[&task()].clone();
            if wanted(&health) {
                return health;
            }
            prober.changed().await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    waited.unwrap_or_else(|_| panic!("health stays {:?}", prober.health()))
}

fn message(prober: &Prober, kind: CheckKind) -> String {
    let results = prober.results(&task());
    results.iter().rfind(|result| result.check == kind).expect("an answer").message.clone()
}

/// A server whose `/` answers with the status that is set, and the number of times it was asked.
async fn server() -> (u16, Arc<AtomicU16>, Arc<AtomicUsize>) {
    let status = Arc::new(AtomicU16::new(503));
    let asked = Arc::new(AtomicUsize::new(0));
    let (own_status, own_asked) = (Arc::clone(&status), Arc::clone(&asked));
    let answer = get(move || {
        own_asked.fetch_add(1, Ordering::SeqCst);
        let status = StatusCode::from_u16(own_status.load(Ordering::SeqCst)).expect("a status");
        async move { (status, "x".repeat(5000)) }
    });
    let app = Router::new()
        .route("/", answer)
        .route("/hangs", get(|| async { tokio::time::sleep(PATIENCE).await }));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("its address").port();
    tokio::spawn(async move { axum::serve(listener, app).await });
    (port, status, asked)
}

#[tokio::test]
async fn a_task_starts_is_ready_is_not_ready_for_a_while_and_is_ready_again() {
    let (port, status, _) = server().await;
    let prober = prober();
    let checks = HealthChecks {
        startup: Some(check(http("/"), 1000, 1)),
        readiness: Some(check(http("/"), 2, 2)),
        liveness: None,
    };
    prober.watch(vec![target(port, checks)]);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(prober.health()[&task()], Health::Starting);
    status.store(200, Ordering::SeqCst);
    health_becomes(&prober, |health| *health == Health::Ready).await;
    status.store(500, Ordering::SeqCst);
    let unready = health_becomes(&prober, |health| *health != Health::Ready).await;
    let Health::Unready { message } = unready else { panic!("{unready:?}") };
    assert!(message.starts_with("status 500: xxx") && message.len() <= 220, "{message}");
    let failed = prober.results(&task()).into_iter().rfind(|result| !result.passed).expect("a failure");
    assert_eq!((failed.message, failed.body.len()), (message, 5000));
    // A redirect passes, and is not followed.
    status.store(302, Ordering::SeqCst);
    health_becomes(&prober, |health| *health == Health::Ready).await;
}

#[tokio::test]
async fn a_start_up_check_that_never_passes_fails_the_task() {
    let (port, _, asked) = server().await;
    let prober = prober();
    let startup = Some(check(http("/"), 3, 1));
    prober.watch(vec![target(port, HealthChecks { startup, ..HealthChecks::default() })]);
    let failed = health_becomes(&prober, |health| *health != Health::Starting).await;
    let Health::Failed { message } = failed else { panic!("{failed:?}") };
    assert!(message.starts_with("start-up check failed 3 times: status 503"), "{message}");
    // It is not asked any more.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn liveness_over_tcp_fails_when_nobody_listens_any_more() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let prober = prober();
    let liveness = Some(check(Probe::Tcp { port: Some("http-main".to_owned()) }, 2, 1));
    prober.watch(vec![target(port, HealthChecks { liveness, ..HealthChecks::default() })]);
    health_becomes(&prober, |health| *health == Health::Ready).await;
    drop(listener);
    let failed = health_becomes(&prober, |health| *health != Health::Ready).await;
    let Health::Failed { message } = failed else { panic!("{failed:?}") };
    assert!(message.starts_with("liveness check failed 2 times: cannot connect to port"), "{message}");
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_a_failure() {
    let (port, _, _) = server().await;
    let prober = prober();
    let mut slow = check(http("/hangs"), 1, 1);
    slow.timeout = SignedDuration::from_millis(100);
    prober.watch(vec![target(port, HealthChecks { readiness: Some(slow), ..HealthChecks::default() })]);
    let unready = health_becomes(&prober, |health| *health != Health::Starting).await;
    assert_eq!(unready, Health::Unready { message: "no answer within 0.1 s".to_owned() });
}

#[tokio::test]
async fn a_command_sees_the_tasks_environment_and_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("token"), "hunter2\n").expect("written");
    let script = r#"test "$PORT" = "$PORT_HTTP_MAIN" && test "$PORT" -gt 19999 && test "$GREETING" = hello &&
        test "$TOKEN" = hunter2 && test -z "$CARGO" && pwd"#;
    let mut target = target(81, readiness(shell(script)));
    target.template.working_dir = Some(folder.path().to_owned());
    let secret = SecretRef::File(folder.path().join("token"));
    target.template.env = BTreeMap::from([
        ("GREETING".to_owned(), EnvValue::Plain("hello".to_owned())),
        ("TOKEN".to_owned(), EnvValue::Secret(secret)),
    ]);
    let (prober, _rig) = prober_beside(&target).await;
    prober.watch(vec![target.clone()]);
    health_becomes(&prober, |health| *health == Health::Ready).await;
    let results = prober.results(&task());
    assert_eq!(Path::new(&results[0].body), folder.path());
    assert_eq!(results[0].message, format!("exit status 0: {}", folder.path().display()));

    // What cannot be read is named, and the check fails.
    std::fs::remove_file(folder.path().join("token")).expect("removed");
    let unready = health_becomes(&prober, |health| *health != Health::Ready).await;
    let Health::Unready { message } = unready else { panic!("{unready:?}") };
    assert!(message.starts_with("secret for TOKEN: file"), "{message}");
}

#[tokio::test]
async fn a_command_that_fails_says_how() {
    let failing = target(81, readiness(shell("echo no database >&2; exit 3")));
    let (prober, _rig) = prober_beside(&failing).await;
    prober.watch(vec![failing]);
    let unready = health_becomes(&prober, |health| *health != Health::Starting).await;
    assert_eq!(unready, Health::Unready { message: "exit status 3: no database".to_owned() });

    let absent = Probe::Exec { command: vec!["/no/such/program".to_owned()] };
    prober.watch(vec![target(81, readiness(absent))]);
    let unready = health_becomes(&prober, |health| *health != Health::Starting).await;
    let Health::Unready { message } = unready else { panic!("{unready:?}") };
    assert!(message.contains("program `/no/such/program` was not found"), "{message}");
}

#[tokio::test]
async fn the_answers_are_kept_in_order_and_for_a_while_after_the_end() {
    let (port, status, _) = server().await;
    status.store(500, Ordering::SeqCst);
    let prober = prober();
    prober.watch(vec![target(port, readiness(http("/")))]);
    eventually("twenty answers", || prober.results(&task()).len() >= 20).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    prober.watch(vec![]);
    let results = prober.results(&task());
    assert_eq!(results.len(), 20, "a bounded number");
    assert!(results.iter().all(|result| !result.passed && !result.body.is_empty()));
    assert!(prober.health().is_empty());
}

#[tokio::test]
async fn a_check_over_http_asks_and_judges_as_it_is_told_to() {
    let app = Router::new().route(
        "/",
        post(|headers: HeaderMap| async move {
            let host = headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
            (if host == "shop.example" { StatusCode::IM_A_TEAPOT } else { StatusCode::BAD_GATEWAY }, host)
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("its address").port();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let options = HttpOptions {
        method: HttpMethod::Post,
        headers: BTreeMap::from([("Host".to_owned(), "shop.example".to_owned())]),
        statuses: vec![418],
        fatal_statuses: vec![502],
    };
    let probe = |options: HttpOptions| Probe::Http { path: "/".to_owned(), port: None, options };
    let prober = prober();
    let liveness =
        |options| HealthChecks { liveness: Some(check(probe(options), 50, 1)), ..HealthChecks::default() };
    prober.watch(vec![target(port, liveness(options.clone()))]);
    health_becomes(&prober, |health| *health == Health::Ready).await;
    // Without the host it is a 502, which is enough once.
    let bare = HttpOptions { headers: BTreeMap::new(), ..options };
    prober.watch(vec![target(port, liveness(bare))]);
    let failed = health_becomes(&prober, |health| *health != Health::Starting).await;
    let Health::Failed { message } = failed else { panic!("{failed:?}") };
    assert_eq!(message, format!("liveness check failed once: status 502: 127.0.0.1:{port}"));
}

#[tokio::test]
async fn the_first_question_waits_for_its_delay() {
    let (port, status, asked) = server().await;
    status.store(200, Ordering::SeqCst);
    let mut delayed = check(http("/"), 1, 1);
    delayed.delay = SignedDuration::from_millis(600);
    let prober = prober();
    let began = Instant::now();
    prober.watch(vec![target(port, HealthChecks { readiness: Some(delayed), ..HealthChecks::default() })]);
    eventually("the first question", || asked.load(Ordering::SeqCst) > 0).await;
    assert!(began.elapsed() >= Duration::from_millis(600), "asked after {:?}", began.elapsed());
    health_becomes(&prober, |health| *health == Health::Ready).await;
}

/// The process id that a script has written, once it has.
async fn pid_in(file: &Path) -> u32 {
    let start = Instant::now();
    loop {
        if let Some(pid) = std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()) {
            return pid;
        }
        assert!(start.elapsed() < PATIENCE, "no process id in {}", file.display());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until a process is gone, or a zombie that its adopter has not reaped yet.
async fn ends(pid: u32) {
    eventually(&format!("process {pid} ends"), || !is_alive(pid)).await;
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_killed_with_its_children() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pid");
    let script = format!("sleep 600 & echo $! > {}; wait", file.display());
    let mut slow = check(shell(&script), 1, 1);
    slow.timeout = SignedDuration::from_millis(500);
    // Asked again and again: on a busy machine a shell may need longer than that to write its number.
    slow.interval = SignedDuration::from_millis(100);
    let slow = target(81, HealthChecks { readiness: Some(slow), ..HealthChecks::default() });
    let (prober, _rig) = prober_beside(&slow).await;
    prober.watch(vec![slow]);
    let child = pid_in(&file).await;
    health_becomes(&prober, |health| *health != Health::Starting).await;
    ends(child).await;
    assert_eq!(message(&prober, CheckKind::Readiness), "no answer within 0.5 s");
}

#[tokio::test]
async fn what_is_not_watched_any_more_is_not_asked_and_its_command_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pid");
    let script = format!("sleep 600 & echo $! > {}; wait", file.display());
    let asked = target(81, readiness(shell(&script)));
    let (prober, _rig) = prober_beside(&asked).await;
    prober.watch(vec![asked]);
    let child = pid_in(&file).await;
    prober.watch(vec![]);
    ends(child).await;
    assert!(prober.health().is_empty() && prober.results(&task()).is_empty());
}

#[tokio::test]
async fn what_a_command_leaves_behind_is_ended_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pid");
    let mut target = target(81, readiness(shell(&format!("sleep 600 & echo $! > {}", file.display()))));
    target.checks.readiness.as_mut().expect("a check").interval = SignedDuration::from_secs(600);
    let (prober, _rig) = prober_beside(&target).await;
    prober.watch(vec![target]);
    health_becomes(&prober, |health| *health == Health::Ready).await;
    ends(pid_in(&file).await).await;
}

#[tokio::test]
async fn watching_the_same_again_changes_nothing_and_tasks_without_checks_are_left_out() {
    let (port, status, asked) = server().await;
    status.store(200, Ordering::SeqCst);
    let prober = prober();
    let mut once = check(http("/"), 1, 1);
    once.interval = SignedDuration::from_secs(600);
    let watched = target(port, HealthChecks { readiness: Some(once), ..HealthChecks::default() });
    let mut other = target(port, HealthChecks::default());
    other.task = TaskId::new(WorkloadName::new("web").expect("a name"), 2);
    prober.watch(vec![watched.clone(), other.clone()]);
    health_becomes(&prober, |health| *health == Health::Ready).await;
    prober.watch(vec![other, watched]);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(prober.health(), BTreeMap::from([(task(), Health::Ready)]));
}
