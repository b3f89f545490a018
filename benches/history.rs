//! How long the bill of a month takes from the history, and what the engine holds at most while it makes it: a
//! whole engine, asked by HTTP, with a history of last month that was written as the engine writes it (a part an
//! hour, merged by day and added up). Every task has a row each five minutes of the month.
//!
//! Small by itself; `LOADLINE_HISTORY_TASKS=1000,3000,10000` makes the sizes that docs/reports.md tells of. 10,000
//! tasks are 90 million rows and take about 2 GB of the temporary folder.
#![expect(clippy::print_stdout, reason = "a bench reports")]
#![expect(clippy::disallowed_methods, reason = "the engine under test goes by the clock of the machine")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use loadline::accounting::bill::nodes::NodeBook;
use loadline::adapters::storage::SqliteStore;
use loadline::analytics::task_time_files;
use loadline::api::client::Client;
use loadline::app::{App, AppConfig};
use loadline::config::parse_engine_config;
use loadline::domain::change::{Change, RecordedChange};
use loadline::domain::history_book::{HistoryBook, HistoryFile, day_of};
use loadline::domain::money::{MicroCents, Prices};
use loadline::domain::node::{NodeName, NodeState, PoolName, PoolSpec};
use loadline::domain::quantity::{Bytes, GIB, Millicores, Resources};
use loadline::domain::rollout::Actor;
use loadline::domain::task::TaskId;
use loadline::domain::task_time::{Measured, STEP, TaskSeries, TaskTime, TaskTimes};
use loadline::domain::workload::{Owner, WorkloadKind, WorkloadName};
use loadline::ports::store::Store;
use loadline::ports::task_times::TaskTimeFiles;

const SIZES: [u32; 2] = [300, 1_000];
const TASKS_PER_NODE: u32 = 10;
const TURNS: usize = 3;
/// What 10,000 tasks are to keep.
const BOUND: Duration = Duration::from_secs(15);
const BOUND_MIB: u64 = 2048;

fn last_month() -> (Timestamp, Timestamp) {
    let first = Timestamp::now().to_zoned(TimeZone::UTC).date().first_of_month();
    let start = |date: jiff::civil::Date| date.to_zoned(TimeZone::UTC).expect("a time").timestamp();
    (start(first.checked_sub(1.month()).expect("a month")), start(first))
}

fn node(number: u32) -> NodeName {
    NodeName::new(&format!("big-{number}")).expect("a name")
}

/// The nodes, which were there before the month, and the owners.
fn nodes(count: u32, before: Timestamp) -> NodeBook {
    let mut book =
        NodeBook::new(Prices { core_hour: MicroCents::new(3_161_100), gib_hour: MicroCents::new(423_700) });
    let pool = PoolName::new("big").expect("a name");
    let size = Resources::new(Millicores::new(16_000), Bytes::new(64 * GIB));
    let spec = PoolSpec { price_per_hour: Some(MicroCents::new(80_000_001)), ..PoolSpec::one_node(size) };
    let mut changes = vec![Change::PoolApplied { pool: pool.clone(), spec }];
    for number in 0..count {
        changes.push(Change::NodeCreated { node: node(number), pool: pool.clone() });
        let state = NodeState::Ready;
        changes.push(Change::NodeMoved {
            node: node(number),
            state,
            reason: String::new(),
            remove_when_empty: false,
        });
    }
    for (number, change) in (1..).zip(changes) {
        let recorded =
            RecordedChange { at: before, by: Actor::Engine, reason: String::new(), request: None, change };
        book.note(number, &recorded);
    }
    // The record of this engine is empty: what it has later is not to be passed over.
    book.after = 0;
    book
}

fn series(task: u32) -> TaskSeries {
    let workload = WorkloadName::new(&format!("service-{}", task / 10)).expect("a name");
    let owner = Owner {
        team: Some(format!("team-{}", task / 10 % 40)),
        cost_centre: Some(format!("{}", 4000 + task / 10 % 15)),
    };
    let request = Resources::new(Millicores::new(1000 + u64::from(task % 7) * 50), Bytes::mib(4096));
    TaskSeries {
        task: TaskId::new(workload, u64::from(task % 10 + 1)),
        node: Some(node(task / TASKS_PER_NODE)),
        kind: Some(WorkloadKind::Service),
        owner,
        request,
    }
}

/// Rows of an hour. What was used differs in every row, as it does in life: nothing packs well by chance.
fn hour(known: &[TaskSeries], from: Timestamp, random: &mut fastrand::Rng) -> TaskTimes {
    let micros = 300_000_000;
    let mut rows = Vec::with_capacity(known.len() * 12);
    for (number, series) in (0..).zip(known) {
        for step in 0..12 {
            let cpu = i64::try_from(series.request.cpu.get()).expect("few") * micros;
            let memory = u128::from(random.u64(200_000..900_000) * 4096) * micros as u128;
            rows.push(TaskTime {
                series: number,
                start: from.as_second() + step * STEP.as_secs(),
                measured: Measured::Both,
                micros,
                cpu_within: random.i64(0..cpu),
                cpu_over: 0,
                memory_within: memory,
                memory_over: 0,
            });
        }
    }
    TaskTimes { series: known.to_vec(), rows }
}

fn written(folder: &Path, tasks: u32) -> HistoryBook {
    let files: Arc<dyn TaskTimeFiles> = task_time_files(folder.join("history")).expect("analytics");
    let known: Vec<TaskSeries> = (0..tasks).map(series).collect();
    let mut random = fastrand::Rng::with_seed(7);
    let (mut at, end) = last_month();
    let mut book = HistoryBook::default();
    while at < end {
        let (_, midnight) = day_of(at);
        let mut parts = Vec::new();
        while at < midnight {
            let until = at + SignedDuration::from_hours(1);
            parts.push(files.write(at, until, &hour(&known, at, &mut random)).expect("written"));
            at = until;
        }
        let whole = files.merge(&parts).expect("merged");
        for part in &parts {
            files.remove(part).expect("gone");
        }
        let hours = files.sum_up(&whole).expect("added up");
        let whole = HistoryFile { hours: Some(hours), ..whole };
        book.add(whole.from, whole.until, Some(whole));
    }
    book
}

/// A field of this process's status in MiB.
fn mib(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find(|line| line.starts_with(name)).expect("a field");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") / 1024
}

async fn measure(folder: &Path, tasks: u32) {
    let began = Instant::now();
    let book = written(folder, tasks);
    let (rows, bytes) = book.files.iter().fold((0, 0), |sum, file| (sum.0 + file.rows, sum.1 + file.bytes));
    let hours: u64 = book.files.iter().filter_map(|file| file.hours.as_ref()).map(|hours| hours.bytes).sum();
    let made = began.elapsed();
    let (from, _) = last_month();
    {
        let store = SqliteStore::open(&folder.join("loadline.db")).expect("a store");
        let nodes = nodes(tasks / TASKS_PER_NODE, from - SignedDuration::from_hours(48));
        for (name, content) in [
            (HistoryBook::DOCUMENT, serde_json::to_vec(&book).expect("JSON")),
            (NodeBook::DOCUMENT, serde_json::to_vec(&nodes).expect("JSON")),
        ] {
            store.put_document(name, &content).expect("a document");
        }
    }
    let settings = "[api]\nlisten = \"127.0.0.1:0\"\n[engine]\ncluster = \"simulated\"\n";
    let settings = parse_engine_config("bench.toml", settings).expect("settings");
    let config = AppConfig::new(folder.to_owned(), settings).expect("a configuration");
    let app = App::start(config).await.expect("an engine");
    let client = Client::new(&format!("http://{}", app.address()), "bench");
    let month = from.to_zoned(TimeZone::UTC).strftime("%Y-%m").to_string();
    // What was held while the files were made does not count.
    fs::write("/proc/self/clear_refs", "5").expect("procfs");
    let before = mib("VmRSS:");
    let mut times = Vec::new();
    for by in ["team", "workload", "cost-centre"].into_iter().cycle().take(TURNS) {
        let began = Instant::now();
        let query = [("month", Some(month.clone())), ("by", Some(by.to_owned()))];
        let report = client.cost_report(&query).await.expect("a report");
        times.push(began.elapsed());
        assert_eq!(report.totals.cost, report.charged, "it adds up");
        assert!(report.charged.get() > 0 && report.warnings.is_empty(), "{:?}", report.warnings);
        assert_eq!(report.totals.parts.unsampled.get(), 0);
        assert_eq!(
            report.totals.time.get(),
            book.files.iter().map(|file| file.task_microseconds).sum::<i64>()
        );
    }
    let peak = mib("VmHWM:");
    app.shutdown(None).await;
    times.sort();
    let median = times[TURNS / 2];
    println!(
        "{tasks} tasks, {rows} rows, {} MiB of days and {} MiB of hours (made in {made:.0?}): \
         a report in {median:.2?} (from {:.2?} to {:.2?}), {peak} MiB resident at most, {before} MiB before",
        bytes >> 20,
        hours >> 20,
        times[0],
        times[TURNS - 1]
    );
    assert!(median < BOUND, "{median:?}, where {BOUND:?} is the bound");
    assert!(peak < BOUND_MIB, "{peak} MiB, where {BOUND_MIB} MiB is the bound");
}

fn main() {
    let sizes = std::env::var("LOADLINE_HISTORY_TASKS").ok();
    let sizes: Vec<u32> = match &sizes {
        Some(sizes) => sizes.split(',').map(|size| size.trim().parse().expect("a number of tasks")).collect(),
        None => SIZES.to_vec(),
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for tasks in sizes {
        let folder = tempfile::Builder::new().prefix("loadline-history-").tempdir().expect("a folder");
        runtime.block_on(measure(folder.path(), tasks));
    }
}
