//! The store on `SQLite`: the conformance suite, and what only a file can show: crashes, damage, locks.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use loadline::adapters::storage::SqliteStore;
use loadline::domain::task::TaskState;
use loadline::domain::world::{EntityKey, World};
use loadline::ports::history::History;
use loadline::ports::store::{EventQuery, Store, StoreError};
use rusqlite::Connection;

use crate::conformance::example;
use crate::conformance::store as suite;

fn fresh() -> (tempfile::TempDir, PathBuf, SqliteStore) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("loadline.db");
    let store = SqliteStore::open(&path).expect("a store");
    (folder, path, store)
}

macro_rules! conforms {
    ($($check:ident,)*) => {
        $(
            #[test]
            fn $check() {
                let (_folder, _path, store) = fresh();
                suite::$check(&store);
            }
        )*
    };
}

conforms! {
    a_new_store_is_empty,
    a_committed_world_loads_as_it_was,
    only_touched_rows_are_written,
    rows_that_left_the_world_are_gone_but_tasks_and_runs_stay_as_history,
    an_end_in_the_same_commit_as_the_departure_is_kept,
    a_task_that_lived_within_one_commit_is_history,
    a_run_that_was_opened_and_closed_within_one_commit_is_history,
    runs_are_found_by_what_is_known_of_them,
    a_task_of_a_workload_declared_anew_does_not_take_the_place_of_its_namesake,
    events_come_newest_first_and_by_subject,
    decisions_are_numbered_settled_and_found,
    documents_are_replaced,
    samples_come_back_by_time_and_workload,
    usage_is_told_in_parts_of_a_span,
    pruning_by_age_keeps_what_the_world_holds,
    pruning_by_count_keeps_the_newest,
    any_commits_load_as_the_last_world,
}

fn all_events(store: &SqliteStore) -> Vec<u64> {
    let query = EventQuery { limit: usize::MAX, ..EventQuery::default() };
    store.events(&query).expect("events").into_iter().map(|event| event.number).collect()
}

#[test]
fn a_store_opened_again_has_everything() {
    let (_folder, path, store) = fresh();
    let world = example::world();
    store.commit(&world, &suite::all_keys(&world), &[]).expect("a commit");
    drop(store);
    let store = SqliteStore::open(&path).expect("the store");
    assert_eq!(Store::load(&store).expect("a world"), world);
}

/// The variable that turns `writer_process` from an empty test into a process that writes until killed.
const WRITER_VARIABLE: &str = "LOADLINE_TEST_WRITES_TO";

#[test]
fn writer_process() {
    let Ok(path) = std::env::var(WRITER_VARIABLE) else { return };
    let store = SqliteStore::open(Path::new(&path)).expect("a store");
    let mut world = Store::load(&store).expect("a world");
    for number in world.tasks.len() as u64.. {
        let id = format!("web.{number}");
        let task = example::task(&id, TaskState::Running, example::at(0));
        let key = EntityKey::Task(task.id.clone());
        world.tasks.insert(task.id.clone(), task);
        let change = suite::moved(0, &id, TaskState::Running);
        store.commit(&world, &[key], &[change]).expect("a commit");
        println!("\nacknowledged {number}");
    }
}

/// A writer that does not outlive its test, whatever becomes of the test.
struct Writer(Child);

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.kill().expect("killed");
        self.0.wait().expect("ended");
    }
}

fn start_writer(path: &Path) -> Writer {
    let writer = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "storage::writer_process", "--nocapture"])
        .env(WRITER_VARIABLE, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a writer");
    Writer(writer)
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("loadline.db");
    let mut acknowledged = 0;
    // Each writer goes on where the one before it was killed; the delays differ within a commit's time.
    for delay in [0, 1, 3, 7] {
        let mut writer = start_writer(&path);
        let mut lines = BufReader::new(writer.0.stdout.take().expect("its output")).lines();
        let number =
            |line: std::io::Result<String>| line.ok()?.strip_prefix("acknowledged ")?.parse::<usize>().ok();
        let first = lines.by_ref().find_map(number).expect("a first commit");
        assert!(matches!(SqliteStore::open(&path), Err(StoreError::InUse { .. })), "it is in use");
        let some = lines.by_ref().find_map(|line| number(line).filter(|n| *n >= first + 10));
        some.expect("more commits");
        std::thread::sleep(Duration::from_millis(delay));
        drop(writer);
        acknowledged = lines.filter_map(number).last().unwrap_or(first + 10) + 1;

        let store = SqliteStore::open(&path).expect("a sound store");
        let (events, world) = (all_events(&store).len(), Store::load(&store).expect("a world"));
        assert_eq!(world.tasks.len(), events, "a commit is whole or absent");
        // One commit can be on disk without its acknowledgement having been printed.
        assert!(events == acknowledged || events == acknowledged + 1, "{events} of {acknowledged}");
    }
    assert!(acknowledged > 40);
}

#[test]
fn a_second_engine_is_refused_and_readers_are_not() {
    let (folder, path, store) = fresh();
    store.put_document("a", b"1").expect("put");
    assert!(matches!(SqliteStore::open(&path), Err(StoreError::InUse { .. })));
    let other_name = folder.path().join("link.db");
    std::os::unix::fs::symlink(&path, &other_name).expect("a link");
    assert!(matches!(SqliteStore::open(&other_name), Err(StoreError::InUse { .. })), "by another name");

    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let reader = Connection::open_with_flags(&path, flags).expect("another program");
    let documents = || -> u32 {
        reader.query_row("SELECT count(*) FROM document", [], |row| row.get(0)).expect("a count")
    };
    assert_eq!(documents(), 1);
    store.put_document("b", b"2").expect("put while it reads");
    assert_eq!(documents(), 2);
    drop(store);
    SqliteStore::open(&path).expect("free again");
}

/// Asserts that `path` is refused and that not a byte of it changes.
fn refused(path: &Path) -> StoreError {
    let before = fs::read(path).expect("bytes");
    let error = SqliteStore::open(path).expect_err("it opened");
    assert_eq!(fs::read(path).expect("bytes"), before, "the file was changed");
    error
}

#[test]
fn what_is_not_a_store_is_refused_and_unchanged() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("loadline.db");
    fs::write(&path, b"").expect("written");
    assert!(matches!(refused(&path), StoreError::Corrupt { .. }), "an empty file");
    fs::write(&path, b"[service.web]\ncommand = [\"web\"]\n".repeat(99)).expect("written");
    assert!(matches!(refused(&path), StoreError::Corrupt { .. }), "a text");
    fs::remove_file(&path).expect("removed");
    let other = Connection::open(&path).expect("a file");
    other.execute_batch("CREATE TABLE photo (x); PRAGMA user_version = 1").expect("a table");
    drop(other);
    let error = refused(&path);
    assert!(error.to_string().contains("another program"), "{error}");
}

#[test]
fn a_damaged_store_is_refused_and_unchanged() {
    let (_folder, path, store) = fresh();
    let world = example::world();
    store.commit(&world, &suite::all_keys(&world), &[]).expect("a commit");
    drop(store);
    let sound = fs::read(&path).expect("bytes");

    // Every page but the first is overwritten: the header alone still looks right.
    let mut torn = sound.clone();
    torn[4096..].fill(0xA5);
    fs::write(&path, &torn).expect("written");
    assert!(matches!(refused(&path), StoreError::Corrupt { .. }));

    fs::write(&path, &sound[..sound.len() / 2]).expect("written");
    assert!(matches!(refused(&path), StoreError::Corrupt { .. }), "cut off in the middle");

    fs::write(&path, &sound).expect("written");
    SqliteStore::open(&path).expect("the sound bytes open");
}

#[test]
fn a_row_that_cannot_be_read_is_damage_not_absence() {
    let (_folder, path, store) = fresh();
    let world = example::world();
    store.commit(&world, &suite::all_keys(&world), &[]).expect("a commit");
    let other = Connection::open(&path).expect("another program");
    other.execute("UPDATE task SET body = '{}' WHERE id = 'web.1'", []).expect("a change");
    assert!(matches!(Store::load(&store), Err(StoreError::Corrupt { .. })));
}

#[test]
fn a_log_without_its_file_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("loadline.db");
    fs::write(folder.path().join("loadline.db-wal"), b"frames").expect("written");
    assert!(matches!(SqliteStore::open(&path), Err(StoreError::Corrupt { .. })));
    assert!(!path.exists());
}

#[test]
fn a_newer_store_is_refused_and_unchanged() {
    let (_folder, path, store) = fresh();
    drop(store);
    let newer = Connection::open(&path).expect("a newer engine");
    newer.pragma_update(None, "user_version", 99).expect("a version");
    drop(newer);
    let error = refused(&path);
    assert!(matches!(error, StoreError::Newer { found: 99, known: 2.., .. }), "{error}");
}

#[test]
fn half_a_creation_is_no_obstacle() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("loadline.db");
    fs::write(folder.path().join("loadline.db.new"), b"half").expect("written");
    let store = SqliteStore::open(&path).expect("a store");
    assert_eq!(Store::load(&store).expect("a world"), World::default());
    assert!(!folder.path().join("loadline.db.new").exists());
}

#[test]
fn a_backup_taken_while_writing_is_a_whole_store() {
    let (folder, _path, store) = fresh();
    let world = example::world();
    store.commit(&world, &suite::all_keys(&world), &[]).expect("a commit");
    let copy = folder.path().join("copy.db");
    let writing = std::sync::atomic::AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut second = 0;
            while writing.load(std::sync::atomic::Ordering::Relaxed) {
                store.append(&[suite::usage("web.1", second)], &[]).expect("appended");
                second += 1;
            }
        });
        store.backup(&copy).expect("a backup");
        writing.store(false, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(store.backup(&copy).is_err(), "an existing file is not overwritten");
    let restored = SqliteStore::open(&copy).expect("the copy is a store");
    assert_eq!(Store::load(&restored).expect("a world"), world);
}

#[test]
fn finance_reads_hours_owners_and_prices_in_sql() {
    let (_folder, path, store) = fresh();
    let world = example::world();
    store.commit(&world, &suite::all_keys(&world), &[]).expect("a commit");
    // 720 samples of 5.000001 s: one hour of 0.3 cores, from 10:00:00.123456 to 10:59:55.
    let samples: Vec<_> = (1..=719).map(|n| suite::usage("web.1", n * 5)).collect();
    store.append(&samples, &[]).expect("appended");
    let sql = Connection::open(&path).expect("another program");
    let (hour, used, requested, memory, kills): (String, f64, f64, f64, u32) = sql
        .query_row(
            "SELECT hour, used_core_hours, requested_core_hours, used_gib_hours, oom_kills
            FROM usage_hourly WHERE workload = 'web'",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)),
        )
        .expect("one row");
    let hours = 719.0 * 5.000_001 / 3600.0;
    assert_eq!((hour.as_str(), kills), ("2026-11-22T10:00:00Z", 1));
    for (found, expected) in [(used, 0.3), (requested, 0.25), (memory, 123_456_789.0 / 1_073_741_824.0)] {
        assert!((found / hours - expected).abs() < 1e-9, "{found} for {expected}");
    }
    let team: String = sql
        .query_row("SELECT team FROM workload_owner WHERE workload = 'cron'", [], |row| row.get(0))
        .expect("an owner");
    assert_eq!(team, "shop");
    for view in ["load_hourly", "decision_price"] {
        sql.execute_batch(&format!("SELECT * FROM {view}")).expect("a view that can be read");
    }
}

#[test]
fn a_usage_sample_costs_less_than_100_bytes() {
    let (_folder, path, store) = fresh();
    for second in (0..5000).step_by(5) {
        let samples: Vec<_> =
            (1..=20).map(|task| suite::usage(&format!("checkout.{task}"), second)).collect();
        store.append(&samples, &[]).expect("appended");
    }
    drop(store);
    let bytes = fs::metadata(&path).expect("a file").len() as f64 / 20_000.0;
    println!("{bytes:.1} bytes a sample");
    assert!(bytes < 100.0, "{bytes}");
}

#[test]
fn readers_do_not_wait_for_a_long_write() {
    let (_folder, path, store) = fresh();
    store.put_document("a", b"1").expect("put");
    let other = Connection::open(&path).expect("another program");
    other.execute_batch("BEGIN IMMEDIATE; DELETE FROM document").expect("a write that is not over");
    // The write is not over before this test is: who waited for it would get no answer.
    assert_eq!(store.document("a").expect("an answer"), Some(b"1".to_vec()));
    let kept = store.usage(None, example::at(0), example::at(1)).expect("samples");
    assert!(kept.is_empty());
}
