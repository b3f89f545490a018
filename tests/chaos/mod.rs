//! The random-kill test: engine, supervisors, tasks and nodes die, freeze, are deployed, scaled and
//! drained in an order drawn from a seed; at the end everything is as it was asked for, nothing is left
//! over, and every occurrence of every cron job is accounted for.
//!
//! `LOADLINE_CHAOS_SEED` repeats a run (as far as the machine lets it), `LOADLINE_CHAOS_SECONDS` sets its
//! length.

mod acts;
mod checks;
mod model;

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::chaos::acts::Chaos;
pub(crate) use crate::chaos::acts::engine_group;
use crate::chaos::checks::Faults;
use crate::chaos::model::{Model, effects};
use crate::harness::{Place, supervisors, variable};
use crate::machine::processes;

/// How long it goes on where nothing else is said.
const SECONDS_DEFAULT: u64 = 60;
/// Everything must have settled by then.
const CALM_MAX: Duration = Duration::from_secs(90);
/// The longest that a run of a cron job may take to end: its own time, and that of a slow machine.
const RUN_TIME_MAX: SignedDuration = SignedDuration::from_secs(15);

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")))
}

#[expect(clippy::disallowed_methods, reason = "the test works out by itself what is due in real time")]
fn now() -> Timestamp {
    Timestamp::now()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_random_kills_everything_is_as_asked_for() {
    let seed = number("LOADLINE_CHAOS_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000));
    let length = Duration::from_secs(number("LOADLINE_CHAOS_SECONDS").unwrap_or(SECONDS_DEFAULT));
    eprintln!("LOADLINE_CHAOS_SEED={seed} for {} s", length.as_secs());
    let place = Place::new();
    let file = place.folder.path().join("effects");
    let mark = format!("{seed}-{}", std::process::id());
    let engine = place.start();
    let model = Model { effects: &file, mark: &mark };
    engine.apply(&model.specs()).await.expect("valid specs");
    let declared = now();
    let mut chaos = Chaos::new(seed, &place, model, engine);
    while chaos.began.elapsed() < length {
        chaos.step().await;
    }
    chaos.calm().await;
    let mut faults = settle(&chaos).await;
    let to = chaos.began.elapsed();

    // What is due from here on may still run.
    let until = now() - RUN_TIME_MAX;
    let engine = chaos.engine();
    let done = effects(&file);
    checks::no_orphans(engine, &place.data, &mark, &mut faults).await;
    let counted = checks::occurrences(engine, &done, (declared, until), &mut faults).await;
    checks::tasks_once(engine, &file, &mut faults).await;
    let group = engine_group(&place.data);
    finish(&mut chaos, &place, &mark, &mut faults).await;
    if let Some(group) = group.filter(|group| group.exists()) {
        faults.0.push(format!("the control group {} is left", group.display()));
    }

    eprintln!(
        "{} acts, {counted} occurrences, {} tasks seen in {to:?} with seed {seed}",
        chaos.done.len(),
        done.len()
    );
    assert!(
        faults.0.is_empty(),
        "LOADLINE_CHAOS_SEED={seed}\n{}\n\nacts:\n{}\n\nlog:\n{}",
        faults.0.join("\n"),
        chaos.done.join("\n"),
        tail(&place.log())
    );
}

/// Waits until everything is well, and still is a moment later.
async fn settle(chaos: &Chaos<'_>) -> Faults {
    let began = Instant::now();
    let mut quiet = 0;
    loop {
        let left = checks::unsettled(chaos.engine()).await;
        quiet = if left.is_empty() { quiet + 1 } else { 0 };
        // Runs that were under way when it was over have ended by then, too.
        if quiet >= 5 && began.elapsed() > RUN_TIME_MAX.unsigned_abs() + Duration::from_secs(5) {
            return Faults::default();
        }
        if began.elapsed() > CALM_MAX {
            return Faults(left.iter().map(|line| format!("not settled: {line}")).collect());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Everything is deleted: then nothing may be left.
async fn finish(chaos: &mut Chaos<'_>, place: &Place, mark: &str, faults: &mut Faults) {
    let engine = chaos.engine();
    let all: Vec<loadline::api::dto::WorkloadDto> =
        engine.client.get("/v1/workloads").await.expect("workloads");
    for workload in all {
        let path = format!("/v1/workloads/{}", workload.name);
        let _: loadline::api::dto::Changed = engine.client.delete(&path).await.expect("a deletion");
    }
    let began = Instant::now();
    while !engine.all_tasks().await.is_empty() && began.elapsed() < CALM_MAX {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    chaos.engine.take().expect("an engine").end();
    for left in processes().into_iter().filter(|one| variable(*one, "CHAOS").as_deref() == Some(mark)) {
        faults.0.push(format!("left after everything was deleted: process {left}"));
    }
    for (left, task) in supervisors(&place.data) {
        faults.0.push(format!("left after everything was deleted: supervisor {left} of {task}"));
    }
    checks::store_is_sound(&place.data, faults);
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}
