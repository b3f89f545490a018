//! The historian over a real store and real files: what a crash leaves behind, at each step, counts once; what is
//! old goes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use loadline::adapters::prometheus::engine_metrics::EngineMetrics;
use loadline::adapters::storage::SqliteStore;
use loadline::analytics::task_time_files;
use loadline::controllers::historian::Historian;
use loadline::controllers::state::EngineState;
use loadline::domain::history_book::{HistoryBook, HistoryFile, HourFile};
use loadline::domain::quantity::{Bytes, Millicores, Resources};
use loadline::domain::task_time::{Measured, TaskTimes};
use loadline::domain::usage::UsageSample;
use loadline::ports::clock::Clock;
use loadline::ports::history::History;
use loadline::ports::store::{Store, StoreError};
use loadline::ports::task_times::{TaskTimeFiles, TaskTimesError};

fn at(minutes: i64) -> Timestamp {
    "2026-11-21T00:00:00Z".parse::<Timestamp>().expect("a time") + SignedDuration::from_mins(minutes)
}

struct Set(Mutex<Timestamp>);

impl Clock for Set {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("the time")
    }
}

/// Files whose calls of one kind do their work and never answer, from the `left`-th on, as if the engine were gone.
struct Cut {
    files: Arc<dyn TaskTimeFiles>,
    call: &'static str,
    left: AtomicUsize,
}

impl Cut {
    fn cut(&self, call: &str) -> Result<(), TaskTimesError> {
        let gone = || TaskTimesError::Failed {
            operation: "finish",
            file: call.to_owned(),
            source: std::io::Error::other("cut off").into(),
        };
        if call != self.call {
            return Ok(());
        }
        let less = |left: usize| left.checked_sub(1);
        self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).map(|_| ()).map_err(|_| gone())
    }
}

impl TaskTimeFiles for Cut {
    fn write(
        &self,
        from: Timestamp,
        until: Timestamp,
        times: &TaskTimes,
    ) -> Result<HistoryFile, TaskTimesError> {
        let file = self.files.write(from, until, times)?;
        self.cut("write").map(|()| file)
    }

    fn merge(&self, parts: &[HistoryFile]) -> Result<HistoryFile, TaskTimesError> {
        let file = self.files.merge(parts)?;
        self.cut("merge").map(|()| file)
    }

    fn sum_up(&self, file: &HistoryFile) -> Result<HourFile, TaskTimesError> {
        let hours = self.files.sum_up(file)?;
        self.cut("sum up").map(|()| hours)
    }

    fn lacks_hours(&self, file: &HistoryFile) -> bool {
        self.files.lacks_hours(file)
    }

    fn hours(
        &self,
        file: &HistoryFile,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<TaskTimes, TaskTimesError> {
        self.files.hours(file, from, until)
    }

    fn remove(&self, file: &HistoryFile) -> Result<(), TaskTimesError> {
        self.cut("remove")?;
        self.files.remove(file)
    }
}

/// A store with a day and a half of samples, and where its history is.
struct Given {
    folder: tempfile::TempDir,
    store: Arc<SqliteStore>,
    clock: Arc<Set>,
}

impl Given {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Arc::new(SqliteStore::open(&folder.path().join("loadline.db")).expect("a store"));
        let sample = |task: i64, minute: i64| UsageSample {
            workload: "web.1".parse::<loadline::domain::task::TaskId>().expect("an id").workload().clone(),
            task: format!("web.{task}").parse().expect("an id"),
            at: at(minute),
            interval_seconds: Some(60.0),
            cpu_cores: Some((minute % 13) as f64 / 17.0),
            throttled_share: None,
            memory: Bytes::new(7_777_777 * (minute % 9 + 1).unsigned_abs()),
            page_cache: None,
            request: Resources::new(Millicores::new(500), Bytes::mib(64)),
            oom_kills: 0,
        };
        let samples: Vec<UsageSample> =
            (600..2160).flat_map(|minute| [sample(1, minute), sample(2, minute)]).collect();
        store.append(&samples, &[]).expect("samples");
        Self { folder, store, clock: Arc::new(Set(Mutex::new(at(2200)))) }
    }

    fn history(&self) -> PathBuf {
        self.folder.path().join("history")
    }

    fn files(&self) -> Arc<dyn TaskTimeFiles> {
        task_time_files(self.history()).expect("analytics")
    }

    async fn pass(&self, files: Arc<dyn TaskTimeFiles>) -> Result<(), StoreError> {
        let telemetry = Arc::new(EngineMetrics::default());
        let state = EngineState::open(self.store.clone(), self.clock.clone(), telemetry).expect("a state");
        let historian = Historian {
            state: Arc::new(state),
            store: self.store.clone(),
            archive: self.store.clone(),
            samples: self.store.clone(),
            files,
            keep: SignedDuration::from_hours(400 * 24),
        };
        historian.pass().await
    }

    fn book(&self) -> HistoryBook {
        let kept = self.store.document(HistoryBook::DOCUMENT).expect("a store");
        kept.map_or_else(HistoryBook::default, |kept| serde_json::from_slice(&kept).expect("a book"))
    }

    /// What the history comes to: micro-seconds and CPU by task, hour and what was measured.
    fn told(&self) -> BTreeMap<(String, i64, Measured), (i64, i64, u128)> {
        let mut all = BTreeMap::new();
        for file in &self.book().files {
            let times = self.files().hours(file, file.from, file.until).expect("hours");
            for row in &times.rows {
                let task = times.series[row.series as usize].task.to_string();
                let sum: &mut (i64, i64, u128) = all.entry((task, row.start, row.measured)).or_default();
                *sum = (sum.0 + row.micros, sum.1 + row.cpu_within, sum.2 + row.memory_within);
            }
        }
        all
    }
}

/// The names of the files under a folder.
fn names(folder: &Path) -> BTreeSet<String> {
    let days = std::fs::read_dir(folder).into_iter().flatten().map(|day| day.expect("an entry").path());
    days.flat_map(|day| std::fs::read_dir(day).expect("a folder"))
        .map(|file| {
            let path = file.expect("an entry").path();
            path.strip_prefix(folder).expect("within").to_string_lossy().into_owned()
        })
        .collect()
}

fn in_book(book: &HistoryBook) -> BTreeSet<String> {
    let hours = book.files.iter().filter_map(|file| file.hours.as_ref()).map(|hours| hours.name.clone());
    book.files.iter().map(|file| file.name.clone()).chain(hours).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_cut_off_counts_once() {
    let straight = Given::new();
    straight.pass(straight.files()).await.expect("a pass");
    let expected = straight.told();
    // 1,560 minutes of two tasks, to the last of them.
    let total: i64 = expected.values().map(|(micros, ..)| micros).sum();
    assert_eq!(total, 2 * 1560 * 60_000_000);
    let found = in_book(&straight.book());
    assert!(found.contains("day=2026-11-21/day.parquet"), "{found:?}");
    assert!(found.contains("day=2026-11-21/hours.parquet"), "{found:?}");
    assert_eq!(names(&straight.history()), found);
    straight.pass(straight.files()).await.expect("a pass");
    assert_eq!((straight.told(), in_book(&straight.book())), (expected.clone(), found.clone()));

    for (call, left) in
        [("write", 0), ("write", 1), ("write", 20), ("merge", 0), ("sum up", 0), ("remove", 0), ("remove", 5)]
    {
        let given = Given::new();
        let cut = Cut { files: given.files(), call, left: AtomicUsize::new(left) };
        given.pass(Arc::new(cut)).await.expect_err("it is cut off");
        // What can be read in between is right as far as it goes.
        let between = given.told();
        assert!(between.iter().all(|(key, sums)| sums.0 <= expected[key].0), "{call} {left}");
        given.pass(given.files()).await.expect("a pass");
        assert_eq!(given.told(), expected, "{call} {left}");
        assert_eq!(names(&given.history()), found, "{call} {left}: nothing is left lying about");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_part_is_not_merged_away_and_the_rest_goes_on() {
    let given = Given::new();
    *given.clock.0.lock().expect("the time") = at(1200);
    given.pass(given.files()).await.expect("a pass");
    let part = given.history().join("day=2026-11-21/part-1200.parquet");
    std::fs::write(&part, "PAR1").expect("a file");
    *given.clock.0.lock().expect("the time") = at(2200);
    let error = given.pass(given.files()).await.expect_err("it cannot be merged");
    let why = std::error::Error::source(&error).expect("a cause").to_string();
    assert!(why.starts_with("day=2026-11-21/part-1200.parquet is damaged"), "{why}");
    assert_eq!(given.book().until, Some(at(2185)), "what came later is written");
    assert!(in_book(&given.book()).contains("day=2026-11-21/part-1300.parquet"), "and nothing is lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn hours_that_are_gone_or_were_never_written_are_made_from_the_day() {
    let given = Given::new();
    given.pass(given.files()).await.expect("a pass");
    let (expected, hours) = (given.told(), given.history().join("day=2026-11-21/hours.parquet"));
    let content = std::fs::read(&hours).expect("the hours of a day");
    let book = given.book();
    let (day, summed) = (&book.files[0], book.files[0].hours.as_ref().expect("hours"));
    assert!(summed.rows < day.rows / 10, "{summed:?} of {} rows", day.rows);
    std::fs::remove_file(&hours).expect("gone");
    assert_eq!(given.told(), expected, "from the day");
    given.pass(given.files()).await.expect("a pass");
    assert_eq!(
        (std::fs::read(&hours).expect("made anew"), given.told()),
        (content.clone(), expected.clone())
    );

    // As an earlier version left it: the book knows of no hours.
    let mut book = given.book();
    std::fs::remove_file(&hours).expect("gone");
    for file in &mut book.files {
        file.hours = None;
    }
    let kept = serde_json::to_string(&book).expect("JSON").replace(",\"hours\":null", "");
    given.store.put_document(HistoryBook::DOCUMENT, kept.as_bytes()).expect("a document");
    assert_eq!(given.told(), expected);
    given.pass(given.files()).await.expect("a pass");
    assert_eq!((std::fs::read(&hours).expect("made"), given.told()), (content, expected));

    // Nothing tells of a day that is gone with its hours; that is no reason to write nothing more.
    std::fs::remove_dir_all(given.history().join("day=2026-11-21")).expect("gone");
    given.pass(given.files()).await.expect("a pass");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_goes() {
    let given = Given::new();
    given.pass(given.files()).await.expect("a pass");
    // 400 days later: the first of the two days is older than that.
    *given.clock.0.lock().expect("the time") = at(400 * 1440 + 1440 + 60);
    for _ in 0..3 {
        given.pass(given.files()).await.expect("a pass");
    }
    let left = names(&given.history());
    assert!(left.iter().all(|name| name.starts_with("day=2026-11-22/")) && !left.is_empty(), "{left:?}");
    assert_eq!(given.book().from, Some(at(1440)));
}
