//! Cron jobs and jobs on real processes: overlap policies, an engine that is down over planned times,
//! several tasks of one run, runs after others, more memory after a kill, other arguments.

use std::path::Path;

use jiff::Timestamp;
use loadline::api::dto::RunDto;
use loadline::app::{App, AppConfig};
use loadline::config::{EngineConfig, parse_specs};
use loadline::domain::intent::{Intent, RunOverrides, Submission};
use loadline::domain::rollout::Actor;
use loadline::domain::task::ExitRecord;
use loadline::domain::workload::{EnvValue, WorkloadName};
use loadline::domain::world::{RunKey, RunOutcome, World};

use crate::engine::harness::Engine;
use crate::machine::PATIENCE;

const POOL: &str = "
[pool.small]
cpu = 4
memory = \"2GiB\"
min = 1
max = 1
";

async fn runs(engine: &Engine, workload: &str) -> Vec<RunDto> {
    let path = format!("/v1/runs?workload={workload}&limit=1000");
    let mut runs: Vec<RunDto> = engine.client.get(&path).await.expect("runs");
    runs.reverse();
    runs
}

fn words(runs: &[RunDto]) -> Vec<&'static str> {
    runs.iter().map(|run| run.outcome.as_str()).collect()
}

/// When a process wrote its lines: `start 1234.5` and `end 1236.5`.
fn lines(folder: &Path, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Most processes that were between their start and their end at once.
fn at_once(lines: &[String]) -> i32 {
    let mut now = 0;
    let mut most = 0;
    for line in lines {
        // One that was told to end before it could say that it began says its end only.
        now = if line.starts_with("start") { now + 1 } else { (now - 1).max(0) };
        most = most.max(now);
    }
    most
}

#[tokio::test(flavor = "multi_thread")]
async fn each_overlap_policy_on_real_processes() {
    let notes = tempfile::tempdir().expect("a folder");
    let mut specs = POOL.to_owned();
    for overlap in ["forbid", "allow", "replace", "queue"] {
        let file = notes.path().join(overlap);
        let file = file.display();
        specs.extend([format!(
            "[cron.{overlap}]\nschedule = \"*/2 * * * * *\"\noverlap = \"{overlap}\"\ncpu = 0.1\n\
             memory = \"16MiB\"\nstop_grace = \"30s\"\nstart_deadline = \"20s\"\n\
             command = \"trap 'echo end >> {file}; exit 1' TERM; echo start >> {file}; sleep 3 & wait; \
             echo end >> {file}\"\n",
        )]);
    }
    let engine = Engine::start(&specs);
    let ended = |runs: &[RunDto], word: &str| words(runs).iter().filter(|end| **end == word).count();
    engine
        .wait("each policy shows", async || {
            let forbid = runs(&engine, "forbid").await;
            let replace = runs(&engine, "replace").await;
            ended(&forbid, "skipped") >= 2
                && ended(&forbid, "succeeded") >= 2
                && ended(&replace, "cancelled") >= 2
                && ended(&runs(&engine, "allow").await, "succeeded") >= 3
                && ended(&runs(&engine, "queue").await, "succeeded") >= 3
        })
        .await;
    for one_at_a_time in ["forbid", "replace", "queue"] {
        assert_eq!(at_once(&lines(notes.path(), one_at_a_time)), 1, "{one_at_a_time}");
    }
    assert!(at_once(&lines(notes.path(), "allow")) >= 2);
    for overlap in ["forbid", "allow", "replace", "queue"] {
        let all = runs(&engine, overlap).await;
        for pair in all.windows(2) {
            assert_eq!(pair[1].at.duration_since(pair[0].at).as_secs(), 2, "{overlap}: one each two seconds");
        }
    }
    let queued = runs(&engine, "queue").await;
    let first = queued.iter().position(|run| !run.outcome.is_final()).unwrap_or(queued.len());
    assert!(words(&queued[..first]).iter().all(|end| *end == "succeeded"), "in their order: {queued:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_catch_up_policy_with_the_engine_down_over_planned_times() {
    let notes = tempfile::tempdir().expect("a folder");
    let mut specs = POOL.to_owned();
    for (name, more) in [
        ("skip", ""),
        ("once", "catch_up = \"once\"\ncatch_up_deadline = \"5m\"\n"),
        ("all", "catch_up = \"all\"\ncatch_up_deadline = \"5m\"\ncatch_up_max = 3\n"),
    ] {
        let file = notes.path().join(name);
        specs.extend([format!(
            "[cron.{name}]\nschedule = \"*/4 * * * * *\"\ncpu = 0.1\nmemory = \"16MiB\"\n{more}\
             start_deadline = \"2s\"\ncommand = \"echo $LOADLINE_RUN >> {}\"\n",
            file.display()
        )]);
    }
    let mut engine = Engine::start(&specs);
    engine
        .wait("each has run", async || {
            let done = |runs: &[RunDto]| words(runs).contains(&"succeeded");
            done(&runs(&engine, "skip").await)
                && done(&runs(&engine, "once").await)
                && done(&runs(&engine, "all").await)
        })
        .await;
    engine.kill();
    let down = now();
    // Over at least five planned times, and back between two: later than any start deadline.
    tokio::time::sleep(std::time::Duration::from_secs(22)).await;
    while !(2900..3300).contains(&(now().as_millisecond() % 4000)) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let up = now();
    engine.restart();
    engine
        .wait("runs after the outage", async || {
            let all = runs(&engine, "all").await;
            all.iter().filter(|run| run.at > up && run.outcome.is_final()).count() >= 2
        })
        .await;
    let between = async |name: &str| -> Vec<&'static str> {
        let mut all = runs(&engine, name).await;
        all.retain(|run| run.at > down && run.at < up);
        words(&all)
    };
    let (skip, once, all) = (between("skip").await, between("once").await, between("all").await);
    assert!(
        skip.len() >= 5 && once.len() == skip.len() && all.len() == skip.len(),
        "{skip:?} {once:?} {all:?}"
    );
    // The engine may have come up so late that one more became due, and was in time.
    assert!(skip.iter().all(|end| *end == "missed"), "{skip:?}");
    let caught = |ends: &[&str]| ends.iter().filter(|end| **end == "succeeded").count();
    assert!(caught(&once) <= 1, "{once:?}");
    assert!((2..=3).contains(&caught(&all)), "{all:?}");
    assert!(all.ends_with(&["succeeded", "succeeded"]), "{all:?}");
    for name in ["skip", "once", "all"] {
        let mut at: Vec<Timestamp> = runs(&engine, name).await.iter().map(|run| run.at).collect();
        assert!(at.windows(2).all(|pair| pair[1].duration_since(pair[0]).as_secs() == 4), "{name}: {at:?}");
        at.dedup();
        let mut ran = lines(notes.path(), name);
        let before = ran.len();
        ran.sort();
        ran.dedup();
        assert_eq!(ran.len(), before, "{name}: an occurrence ran twice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_one_run_and_runs_after_others() {
    let notes = tempfile::tempdir().expect("a folder");
    let note = |name: &str| notes.path().join(name).display().to_string();
    let specs = format!(
        "{POOL}
[job.split]
command = \"echo start >> {at_once}; echo $LOADLINE_INDEX of $LOADLINE_COUNT $LOADLINE_ATTEMPT >> {index}; \
           test $LOADLINE_INDEX != 2 -o $LOADLINE_ATTEMPT != 0 || {{ echo end >> {at_once}; exit 1; }}; sleep 0.5; echo end >> {at_once}\"
cpu = 0.1
memory = \"16MiB\"
count = 5
max_parallel = 2
retries = 1
retry = {{ backoff = \"100ms\" }}
[job.merge]
command = \"cat {index} > {merged}\"
cpu = 0.1
memory = \"16MiB\"
after = [\"split\"]
",
        at_once = note("at-once"),
        index = note("index"),
        merged = note("merged"),
    );
    let engine = Engine::start(&specs);
    engine
        .wait("the merge after the split", async || words(&runs(&engine, "merge").await) == ["succeeded"])
        .await;
    let mut indices = lines(notes.path(), "index");
    indices.sort();
    assert_eq!(indices, ["0 of 5 0", "1 of 5 0", "2 of 5 0", "2 of 5 1", "3 of 5 0", "4 of 5 0"]);
    assert_eq!(lines(notes.path(), "merged").len(), 6, "all of it was there");
    assert!(at_once(&lines(notes.path(), "at-once")) <= 2);
    let split = runs(&engine, "split").await;
    assert_eq!((words(&split), split[0].tasks.len()), (vec!["succeeded"], 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_a_kill_for_memory_gets_more() {
    let engine = Engine::start(&format!(
        "{POOL}
[job.hog]
command = \"head -c 40M /dev/zero | tail > /dev/null\"
memory = \"24MiB\"
retries = 4
oom_factor = 2
oom_memory_max = \"96MiB\"
retry = {{ backoff = \"100ms\", backoff_max = \"1s\" }}
"
    ));
    let limitations = engine.status().await.engine.limitations;
    if !limitations.is_empty() {
        eprintln!("skipped: {}", limitations.join("; "));
        return;
    }
    engine.wait("it has ended", async || words(&runs(&engine, "hog").await) == ["succeeded"]).await;
    let tries = engine.ended("hog").await;
    assert!(tries.len() >= 2, "{tries:#?}");
    assert!(tries.last().expect("a try").exit.as_ref().is_some_and(ExitRecord::is_oom), "{tries:#?}");
    let last = &tries[0];
    assert!(last.size.memory_limit > 24 << 20, "{last:#?}");
}

#[expect(clippy::disallowed_methods, reason = "an outage is measured on the real clock")]
fn now() -> Timestamp {
    Timestamp::now()
}

fn name(text: &str) -> WorkloadName {
    WorkloadName::new(text).expect("a name")
}

async fn submit(app: &App, intent: Intent) {
    let by = Actor::User("ann".to_owned());
    app.control().submit(Submission::new(by, "test", intent)).await.expect("done");
}

async fn wait_world(app: &App, what: &str, holds: impl Fn(&World) -> bool) {
    let began = std::time::Instant::now();
    while !holds(&app.control().view().await.world) {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_with_other_arguments_is_shown_used_again_and_cancelled() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    let specs = format!(
        "{POOL}\n[job.load]\nrun_on_apply = false\nmemory = \"16MiB\"\nstop_grace = \"1s\"\n\
         command = \"echo $DAY $1 $2 >> {}; sleep ${{3:-0}}\"\n",
        out.display()
    );
    let mut engine = EngineConfig::default();
    engine.api.listen = "127.0.0.1:0".parse().expect("an address");
    let executable = env!("CARGO_BIN_EXE_loadline").into();
    let config = AppConfig { data_dir: folder.path().join("data"), executable, engine };
    let app = App::start(config).await.expect("an engine");
    let declared = parse_specs(&[("t.toml".to_owned(), specs)]).expect("valid specs");
    submit(&app, Intent::Apply(Box::new(declared))).await;
    let overrides = RunOverrides {
        args: Some(vec!["one".to_owned(), "two".to_owned()]),
        env: [("DAY".to_owned(), EnvValue::Plain("monday".to_owned()))].into(),
        size: None,
    };
    let ask =
        |overrides: RunOverrides| Intent::Run { workload: name("load"), overrides: Box::new(overrides) };
    submit(&app, ask(overrides.clone())).await;
    let succeeded =
        |world: &World| world.runs.values().filter(|run| run.outcome == RunOutcome::Succeeded).count();
    wait_world(&app, "a run", |world| succeeded(world) == 1).await;
    let kept = app.control().view().await.world.runs.values().next().expect("a run").order.overrides.clone();
    assert_eq!(kept, overrides);
    submit(&app, ask(kept)).await;
    wait_world(&app, "the same again", |world| succeeded(world) == 2).await;
    assert_eq!(lines(folder.path(), "out"), ["monday one two", "monday one two"]);

    let long = vec!["a".to_owned(), "b".to_owned(), "1000".to_owned()];
    submit(&app, ask(RunOverrides { args: Some(long), ..RunOverrides::default() })).await;
    wait_world(&app, "a task that runs", |world| {
        world.tasks.values().any(|task| task.started_at.is_some() && !task.state.is_terminal())
    })
    .await;
    let view = app.control().view().await;
    let open = view.world.runs.values().find(|run| !run.outcome.is_final()).expect("an open run");
    submit(&app, Intent::CancelRun(RunKey { workload: name("load"), at: open.key.at })).await;
    wait_world(&app, "nothing runs", |world| world.tasks.is_empty()).await;
    let view = app.control().view().await;
    let last = view.world.runs.values().last().expect("a run");
    assert_eq!(last.outcome.as_str(), "cancelled");
    app.shutdown(Some(PATIENCE)).await;
}
