//! The parts of the demo: its programs as real processes, its load on a real socket.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use clap::Parser;
use loadline::cli::demo::load_generator::{LoadGenerator, LoadStats};
use loadline::cli::demo::load_profile::LoadProfile;
use loadline::cli::demo::workloads::{DemoTask, run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::machine::{PATIENCE, free_port};

/// What the child below runs, arguments separated by blanks.
const ARGUMENTS: &str = "DEMO_TASK_ARGUMENTS";

#[derive(Parser)]
struct DemoCommand {
    #[command(subcommand)]
    task: DemoTask,
}

/// Not a test: the child that the tests below start, this same binary.
#[test]
#[ignore = "started by the other tests"]
fn the_program_itself() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else { return };
    let command = DemoCommand::parse_from(std::iter::once("demo-task").chain(arguments.split(' ')));
    run(&command.task).expect("a good end");
}

/// A program of the demo; it ends with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Program {
    fn start(arguments: &str) -> Self {
        let child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", "demo_parts::the_program_itself", "--ignored", "--nocapture"])
            .env(ARGUMENTS, arguments)
            .stdout(Stdio::null())
            .spawn();
        Self(child.expect("started"))
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.0.id())).expect("a running process")
    }

    /// CPU time used so far, in seconds.
    fn cpu_seconds(&self) -> f64 {
        let stat = self.proc("stat");
        let fields: Vec<&str> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
        let ticks: f64 = fields[11..13].iter().map(|field| field.parse::<f64>().expect("ticks")).sum();
        ticks / sysconf(SysconfVar::CLK_TCK).expect("known").expect("set") as f64
    }

    /// Memory of its own, without the pages of the program file, which grow with the program.
    fn own_mib(&self) -> f64 {
        let status = self.proc("status");
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap_or("RssAnon: 0 kB");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).expect("KiB") / 1024.0
    }

    fn eventually(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            assert!(start.elapsed() < PATIENCE, "not in time: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn terminate(&self) {
        let pid = i32::try_from(self.0.id()).expect("a process id");
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("told");
    }

    fn ends_well(&mut self) {
        let start = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().expect("waited") {
                assert!(status.success(), "{status}");
                return;
            }
            assert!(start.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[tokio::test]
async fn the_web_program_starts_works_counts_and_finishes_what_it_has() {
    let port = free_port();
    let mut web = Program::start(&format!("web --port {port} --startup 3s --memory 8MiB"));
    let client = crate::http::client().timeout(PATIENCE).build().expect("a client");
    let url = |path: &str| format!("http://127.0.0.1:{port}{path}");

    let start = Instant::now();
    let mut seen = Vec::new();
    while seen.last() != Some(&StatusCode::OK) {
        assert!(start.elapsed() < PATIENCE, "not ready: {seen:?}");
        if let Ok(answer) = client.get(url("/healthz")).send().await {
            seen.push(answer.status());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(seen[0], StatusCode::SERVICE_UNAVAILABLE);

    let before = web.cpu_seconds();
    for _ in 0..50 {
        assert_eq!(client.get(url("/work?ms=10")).send().await.expect("an answer").status(), StatusCode::OK);
    }
    let used = web.cpu_seconds() - before;
    assert!((0.48..0.75).contains(&used), "50 requests of 10 ms used {used} s");
    assert!(web.own_mib() < 40.0, "{} MiB", web.own_mib());
    let metrics = async || {
        let answer = client.get(url("/metrics")).send().await.expect("an answer");
        answer.text().await.expect("a text")
    };
    let counted = metrics().await;
    assert!(counted.contains("demo_requests_total 50\n"), "{counted}");
    assert!(counted.contains("demo_in_flight 0\n"), "{counted}");

    // Told to end, it answers what it is busy with.
    let running = tokio::spawn(client.get(url("/work?ms=2000")).send());
    let asked = Instant::now();
    while !metrics().await.contains("demo_in_flight 1\n") {
        assert!(asked.elapsed() < PATIENCE, "it does not begin");
    }
    assert!(!running.is_finished());
    web.terminate();
    assert_eq!(running.await.expect("no panic").expect("an answer").status(), StatusCode::OK);
    tokio::task::spawn_blocking(move || web.ends_well()).await.expect("it ended");
}

#[test]
fn the_worker_uses_what_it_says_until_it_is_told_to_end() {
    let mut worker = Program::start("worker --cpu 0.2 --memory 30MiB");
    worker.eventually("its memory is there", |worker| worker.own_mib() > 30.0);
    // A machine that is busy with something else may withhold its share for a while.
    let mut seen = Vec::new();
    while !seen.last().is_some_and(|cores| (0.12..0.3).contains(cores)) {
        assert!(seen.len() < 10, "{seen:?} cores");
        let (before, start) = (worker.cpu_seconds(), Instant::now());
        std::thread::sleep(Duration::from_secs(2));
        seen.push((worker.cpu_seconds() - before) / start.elapsed().as_secs_f64());
    }
    assert!(worker.own_mib() < 50.0, "{} MiB", worker.own_mib());
    worker.terminate();
    worker.ends_well();
}

#[test]
fn the_cron_program_works_and_ends() {
    let start = Instant::now();
    let mut cron = Program::start("cron --duration 1s --cpu 0.2 --memory 16MiB");
    cron.eventually("its memory is there", |cron| cron.own_mib() > 16.0);
    cron.ends_well();
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[test]
fn the_leaky_program_grows_to_what_it_needs_and_no_further() {
    let mut leaky = Program::start("leaky --rate 100MiB --total 60MiB");
    leaky.eventually("it has grown", |leaky| leaky.own_mib() > 60.0);
    std::thread::sleep(Duration::from_millis(500));
    assert!(leaky.own_mib() < 75.0, "{} MiB", leaky.own_mib());
    leaky.terminate();
    leaky.ends_well();
}

/// A server that answers after `delay`; every fifth answer is an error.
async fn server(delay: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let answer = get(move || {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        async move {
            tokio::time::sleep(delay).await;
            if number % 5 == 4 { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK }
        }
    });
    let app = Router::new().route("/work", answer);
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

fn generator(target: SocketAddr, requests_per_second: f64, day: Duration) -> LoadGenerator {
    let (night, noon) = (requests_per_second, requests_per_second);
    let profile = LoadProfile { night, noon, noise: 0.0, crowd: None, seed: 3 };
    LoadGenerator { target, path: "/work".to_owned(), days: vec![profile], day }
}

#[tokio::test]
async fn every_request_of_the_day_is_sent_and_counted() {
    let generator = generator(server(Duration::from_millis(20)).await, 200.0, Duration::from_secs(1));
    let stats = Arc::new(LoadStats::default());
    generator.run(Arc::clone(&stats), CancellationToken::new()).await.expect("a target");
    let planned = generator.arrivals().count() as u64;
    let summary = stats.summary();
    assert_eq!((summary.sent, summary.shed, summary.ended.in_flight), (planned, 0, 0));
    assert_eq!((summary.ok() + summary.failed(), summary.failed()), (planned, planned / 5));
    assert_eq!(summary.ended.latency.iter().sum::<u64>(), planned);
    assert!(summary.ended.latency_quantile(0.5).expect("answers") >= 0.01);
}

#[tokio::test]
async fn slow_answers_do_not_slow_the_load_and_what_is_too_much_is_shed() {
    let generator = generator(server(PATIENCE).await, 2000.0, Duration::from_secs(1));
    let stats = Arc::new(LoadStats::default());
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (stats, stop) = (Arc::clone(&stats), stop.clone());
        async move { generator.run(stats, stop).await }
    });
    let start = Instant::now();
    while stats.summary().shed < 100 {
        assert!(start.elapsed() < PATIENCE, "{:?}", stats.summary());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(stats.summary().sent, 512);
    // Told to stop, it does not wait for answers.
    stop.cancel();
    tokio::time::timeout(PATIENCE / 2, running).await.expect("in time").expect("no panic").expect("a target");
}
