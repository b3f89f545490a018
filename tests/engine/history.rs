//! The history of what tasks had and used: a month that the store has pruned is reported as it was before, to the
//! last micro-cent, and a file that is damaged or missing is told by name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use loadline::accounting::bill::nodes::NodeBook;
use loadline::accounting::bill::report::BillReport;
use loadline::adapters::storage::SqliteStore;
use loadline::domain::change::{Change, RecordedChange};
use loadline::domain::history_book::day_of;
use loadline::domain::money::{MicroCents, Prices};
use loadline::domain::node::{NodeName, NodeState, PoolName, PoolSpec};
use loadline::domain::quantity::{Bytes, GIB, Millicores, Resources};
use loadline::domain::rollout::Actor;
use loadline::domain::task::{ExitRecord, ExitStatus, Task, TaskState};
use loadline::domain::usage::UsageSample;
use loadline::domain::world::{EntityKey, World};
use loadline::ports::history::History;
use loadline::ports::store::Store;

use crate::conformance::example;
use crate::harness::{Engine, Place};

/// So long an engine may take to write two days, or to prune them.
const PATIENCE: Duration = Duration::from_mins(1);

fn hour(day: Timestamp, hours: i64, seconds: i64) -> Timestamp {
    day + SignedDuration::from_secs(hours * 3600 + seconds)
}

fn task(number: u64, from: Timestamp, to: Timestamp) -> Task {
    let exit = ExitRecord {
        status: Some(ExitStatus::Code(0)),
        at: to,
        oom_kills: None,
        peak_memory: None,
        memory_limit: None,
        asked_to_stop: false,
        message: None,
    };
    Task {
        state_since: to,
        exit: Some(exit),
        ..example::task(&format!("web.{number}"), TaskState::Finished, from)
    }
}

/// Samples of a task at odd instants, with odd values, gaps, and a resize on the way.
fn samples(task: &Task) -> Vec<UsageSample> {
    let (mut at, end) = (task.started_at.expect("a start"), task.exit.as_ref().expect("an end").at);
    let (mut all, mut turn) = (Vec::new(), 0_i64);
    while at < end {
        turn += 1;
        let seconds = 47.3 + (turn % 7) as f64 / 3.0;
        at += SignedDuration::from_micros((seconds * 1e6) as i64);
        if turn % 23 < 3 {
            continue; // Nothing came.
        }
        let millicores = if turn < 300 { 250 } else { 333 };
        all.push(UsageSample {
            workload: task.id.workload().clone(),
            task: task.id.clone(),
            at,
            interval_seconds: Some(seconds + if turn % 11 == 0 { 5.0 } else { 0.0 }),
            cpu_cores: (turn % 31 != 0).then_some((turn % 97) as f64 / 271.0),
            throttled_share: None,
            memory: Bytes::new(30_000_001 + 987_654 * (turn % 60).unsigned_abs()),
            page_cache: None,
            request: Resources::new(Millicores::new(millicores), Bytes::new(64_000_001)),
            oom_kills: 0,
        });
    }
    all
}

/// The node, which was there all the time, at a price that no hour divides.
fn nodes(from: Timestamp) -> NodeBook {
    let mut book =
        NodeBook::new(Prices { core_hour: MicroCents::new(3_161_100), gib_hour: MicroCents::new(423_700) });
    let (pool, node) = (PoolName::new("small").expect("a name"), NodeName::new("small-1").expect("a name"));
    let size = Resources::new(Millicores::new(2000), Bytes::new(GIB));
    let spec = PoolSpec { price_per_hour: Some(MicroCents::new(360_000_007)), ..PoolSpec::one_node(size) };
    let state = NodeState::Ready;
    let changes = [
        Change::PoolApplied { pool: pool.clone(), spec },
        Change::NodeCreated { node: node.clone(), pool },
        Change::NodeMoved { node, state, reason: String::new(), remove_when_empty: false },
    ];
    for (number, change) in (1..).zip(changes) {
        let recorded =
            RecordedChange { at: from, by: Actor::Engine, reason: String::new(), request: None, change };
        book.note(number, &recorded);
    }
    book.after = 0;
    book
}

/// A store in which two tasks ran on two days.
fn prepare(data: &Path, day: Timestamp) {
    fs::create_dir_all(data).expect("a folder");
    let store = SqliteStore::open(&data.join("loadline.db")).expect("a store");
    let tasks = [
        task(1, hour(day, 6, 17), hour(day, 20, 1)),
        task(2, hour(day, 9, 3), hour(day, 33, 59)),
        task(3, hour(day, 20, 5), hour(day, 40, 0)),
    ];
    let world = World {
        tasks: tasks.iter().map(|task| (task.id.clone(), task.clone())).collect(),
        ..World::default()
    };
    let touched: Vec<EntityKey> = tasks.iter().map(|task| EntityKey::Task(task.id.clone())).collect();
    store.commit(&world, &touched, &[]).expect("a commit");
    store.commit(&World::default(), &touched, &[]).expect("a commit");
    for task in &tasks {
        store.append(&samples(task), &[]).expect("samples");
    }
    let book = serde_json::to_vec(&nodes(hour(day, -24, 0))).expect("JSON");
    store.put_document(NodeBook::DOCUMENT, &book).expect("a document");
}

async fn report(engine: &Engine, day: Timestamp) -> BillReport {
    let query = [
        ("from", Some(day.to_string())),
        ("to", Some(hour(day, 48, 0).to_string())),
        ("by", Some("task".to_owned())),
    ];
    let report = engine.client.cost_report(&query).await.expect("a report");
    assert_eq!(report.totals.cost, report.charged, "{report:?}");
    report
}

fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "{what} takes too long");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Everything under a folder with its content.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for day in fs::read_dir(folder).into_iter().flatten() {
        let day = day.expect("an entry").path();
        for file in fs::read_dir(&day).into_iter().flatten() {
            let file = file.expect("an entry").path();
            let name = file.strip_prefix(folder).expect("within").to_string_lossy().into_owned();
            found.insert(name, fs::read(&file).unwrap_or_default());
        }
    }
    found
}

/// Changes a bit in the first of two files, and deletes the second.
fn spoil(folder: &Path, names: &[String; 2]) {
    let damaged = folder.join(&names[0]);
    let mut content = fs::read(&damaged).expect("a file");
    let middle = content.len() / 2;
    content[middle] ^= 1;
    fs::write(&damaged, content).expect("written");
    fs::remove_file(folder.join(&names[1])).expect("gone");
}

#[expect(clippy::disallowed_methods, reason = "the engine goes by the clock of the machine")]
fn today() -> Timestamp {
    day_of(Timestamp::now()).0
}

fn samples_left(data: &Path) -> i64 {
    let store = rusqlite::Connection::open(data.join("loadline.db")).expect("the store");
    store.query_row("SELECT count(*) FROM usage", [], |row| row.get(0)).unwrap_or(i64::MAX)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_that_the_store_has_pruned_is_reported_as_before() {
    let mut place = Place::new();
    let today = today();
    let day = hour(today, -72, 0);
    prepare(&place.data, day);
    let history = place.data.join("history");
    let name = |at: Timestamp| format!("day={}/day.parquet", &at.to_string()[..10]);
    let days = [name(day), name(hour(day, 24, 0))];
    let hours = days.clone().map(|day| day.replace("day.parquet", "hours.parquet"));
    let all: BTreeSet<&String> = days.iter().chain(&hours).collect();

    let mut engine = place.start();
    wait("writing two days and their hours", || files(&history).keys().eq(all.iter().copied()));
    let written = report(&engine, day).await;
    assert!(written.warnings.is_empty(), "{:?}", written.warnings);
    let from = written.sampled_from.expect("samples");
    assert!(from >= hour(day, 5, 0) && from < hour(day, 6, 0), "{from}");
    let parts = written.totals.parts;
    assert!(parts.used.get() > 0 && parts.idle.get() > 0 && parts.unsampled.get() > 0, "{parts:?}");
    assert_eq!(written.rows.len(), 4, "three tasks and the cluster");

    // Without the files, the samples that the store still has tell the same.
    let away = place.data.join("away");
    fs::rename(&history, &away).expect("moved");
    let sampled = report(&engine, day).await;
    let told = sampled.warnings.join("\n");
    assert!(days.iter().all(|day| told.contains(&format!("history/{day} is missing"))), "{told}");
    assert!(told.contains(" 0.00 are not known at all"), "{told}");
    assert_eq!(BillReport { warnings: Vec::new(), ..sampled }, written, "to the micro-cent");
    fs::rename(&away, &history).expect("moved back");
    let before = files(&history);

    // The store prunes its samples; the history does not change, and neither does the report.
    engine.kill_in_place();
    place.set("\n[store]\nkeep_samples = \"1h\"\n");
    engine = place.start();
    wait("pruning", || samples_left(&place.data) == 0);
    assert_eq!(report(&engine, day).await, written, "to the micro-cent");
    assert_eq!(files(&history), before, "nothing is written twice");

    // Hours that are damaged and hours that are gone: the days have them. The other way about, too.
    spoil(&history, &hours);
    assert_eq!(report(&engine, day).await, written, "from the days");
    for (name, content) in &before {
        fs::write(history.join(name), content).expect("put back");
    }
    spoil(&history, &days);
    assert_eq!(report(&engine, day).await, written, "from the hours");

    // Both damaged, or gone: told by name, with what they knew; the bill still adds up.
    spoil(&history, &hours);
    let spoilt = report(&engine, day).await;
    let told = spoilt.warnings.join("\n");
    assert!(told.contains(&format!("history/{} is damaged", days[0])), "{told}");
    assert!(told.contains(&format!("history/{} is missing", days[1])), "{told}");
    assert_eq!((spoilt.charged, spoilt.totals.cost), (written.charged, written.charged));
    assert_eq!(spoilt.totals.parts.used.get(), 0, "nothing is made up");
    assert!(spoilt.totals.parts.unsampled > written.totals.parts.unsampled);
    let shown = std::process::Command::new(env!("CARGO_BIN_EXE_loadline"))
        .args(["report", "--by", "task", "--from", &day.to_string(), "--to", &hour(day, 48, 0).to_string()])
        .env("LOADLINE_SERVER", engine.client.address())
        .output()
        .expect("the binary");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("is damaged") && shown.contains("Use is known from "), "{shown}");
    place.stops_tasks = false;
}
