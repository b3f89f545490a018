//! The tables, and how a file of an older version becomes one of this version.
//!
//! Two marks in the file's header tell what it is: `application_id` (a Loadline store) and
//! `user_version` (the number of migrations that it has been through).

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::fault::Fault;
use crate::ports::store::StoreError;

/// The mark of a Loadline store in the file's header: "LOAD" in ASCII.
pub(super) const APPLICATION_ID: i32 = 0x4C4F_4144;

/// Migrations in order; a file of version N has been through the first N. One that was released never
/// changes: a new one is added.
const MIGRATIONS: [&str; 4] = [
    include_str!("migrations/001_tables.sql"),
    include_str!("migrations/002_finance_views.sql"),
    include_str!("migrations/003_actions_and_requests.sql"),
    include_str!("migrations/004_access.sql"),
];

/// The newest version known.
pub(super) const VERSION: u32 = MIGRATIONS.len() as u32;

/// The check of a large file at start stops after this long: it has then read the tables that plans are
/// made from, which stand first in the file, and a start must not wait for years of samples.
const CHECK_TIME_MAX: Duration = Duration::from_secs(3);

/// A statement that meets another program's write lock waits this long.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes a new store at `path` at once or not at all: it is built beside and then renamed, so that a
/// crash never leaves half a store.
pub(super) fn create(path: &Path) -> Result<(), Fault> {
    let unfinished = beside(path, ".new");
    for leftover in [unfinished.clone(), beside(&unfinished, "-wal"), beside(&unfinished, "-shm")] {
        if leftover.exists() {
            fs::remove_file(&leftover)?;
        }
    }
    let mut connection = Connection::open(&unfinished)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    prepare_writer(&connection)?;
    migrate(&mut connection, VERSION)?;
    // Closing moves the log into the file: what is renamed is complete by itself.
    connection.close().map_err(|(_, error)| error)?;
    File::open(&unfinished)?.sync_all()?;
    fs::rename(&unfinished, path)?;
    sync_folder_of(path)
}

/// Puts the entry of `path` in its folder on disk.
pub(super) fn sync_folder_of(path: &Path) -> Result<(), Fault> {
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// `path` with `suffix` added to its name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Refuses a file that is not a sound store of a known version. The file is opened for reading only, and
/// nothing is left beside one that is refused.
pub(super) fn inspect(path: &Path) -> Result<(), StoreError> {
    let (log, index) = (beside(path, "-wal"), beside(path, "-shm"));
    let had_log = log.exists();
    let inspected = inspect_file(path);
    if inspected.is_err() && !had_log && fs::metadata(&log).is_ok_and(|log| log.len() == 0) {
        // Where this fails, an empty log stays: it says nothing.
        let _ = fs::remove_file(log);
        let _ = fs::remove_file(index);
    }
    inspected
}

fn inspect_file(path: &Path) -> Result<(), StoreError> {
    let shown = path.display().to_string();
    let corrupt = |message: &str| StoreError::Corrupt { path: shown.clone(), message: message.to_owned() };
    let failed = |fault: Fault| fault.during(&format!("open the store {shown}"), &shown);
    if fs::metadata(path).map_err(|error| failed(error.into()))?.len() == 0 {
        // A store is never made in place, so an empty file is one that lost its content.
        return Err(corrupt("the file is empty"));
    }
    let connection = open_reader(path).map_err(|error| failed(error.into()))?;
    let header = |name: &str| {
        connection.pragma_query_value(None, name, |row| row.get(0)).map_err(|error| failed(error.into()))
    };
    let application: i64 = header("application_id")?;
    if application != i64::from(APPLICATION_ID) {
        return Err(corrupt("it is an SQLite file of another program"));
    }
    let found: i64 = header("user_version")?;
    match u32::try_from(found) {
        Ok(found) if found > VERSION => return Err(StoreError::Newer { path: shown, found, known: VERSION }),
        Ok(found) if found > 0 => {}
        _ => return Err(corrupt(&format!("its schema version is {found}"))),
    }
    match check(&connection).map_err(failed)? {
        Some(message) => Err(corrupt(&message)),
        None => Ok(()),
    }
}

/// `SQLite`'s own check of the file, bounded in time; what it found, or nothing.
fn check(connection: &Connection) -> Result<Option<String>, Fault> {
    let interrupt = connection.get_interrupt_handle();
    let (done, told) = mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        if told.recv_timeout(CHECK_TIME_MAX) == Err(mpsc::RecvTimeoutError::Timeout) {
            interrupt.interrupt();
        }
    });
    let answer = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    drop(done);
    // The watch only waits and interrupts: it cannot panic.
    let _ = watch.join();
    match answer {
        Ok(answer) if answer == "ok" => Ok(None),
        Ok(answer) => Ok(Some(answer.replace('\n', " "))),
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted) => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// A connection that reads.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// The connection that writes, on a file that `inspect` found sound, brought to the newest version.
pub(super) fn open_writer(path: &Path) -> Result<Connection, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    prepare_writer(&connection)?;
    migrate(&mut connection, VERSION)?;
    Ok(connection)
}

/// Readers never wait for the writer (WAL), and a commit returns when it is on disk (FULL).
fn prepare_writer(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN),
            Some(format!("the file system does not allow a write-ahead log (journal mode {mode})")),
        ));
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    // After a burst the log shrinks back to this many bytes.
    connection.pragma_update(None, "journal_size_limit", 64 << 20)
}

/// Brings a file to version `to`, one transaction a step, so that a crash leaves a whole version.
fn migrate(connection: &mut Connection, to: u32) -> Result<(), Fault> {
    let from: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for (version, migration) in (1..=to).zip(MIGRATIONS).skip(from as usize) {
        let step = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        step.execute_batch(migration)?;
        step.pragma_update(None, "user_version", version)?;
        step.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_wait_for_the_disk_and_readers_wait_for_nobody() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("loadline.db");
        create(&path).expect("a store");
        let writer = open_writer(&path).expect("a writer");
        let synchronous: u32 =
            writer.pragma_query_value(None, "synchronous", |row| row.get(0)).expect("a level");
        let mode: String = writer.pragma_query_value(None, "journal_mode", |row| row.get(0)).expect("a mode");
        assert_eq!((synchronous, mode.as_str()), (2, "wal"), "2 is FULL");
    }

    #[test]
    fn a_file_of_version_1_keeps_its_rows_and_gets_what_came_later() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("loadline.db");
        let mut old = Connection::open(&path).expect("a file");
        old.pragma_update(None, "application_id", APPLICATION_ID).expect("a mark");
        migrate(&mut old, 1).expect("version 1");
        old.execute("INSERT INTO document (name, content) VALUES ('kept', x'01')", []).expect("a row");
        assert!(old.prepare("SELECT * FROM usage_hourly").is_err(), "version 1 has no views");
        drop(old);

        inspect(&path).expect("a sound store");
        let new = open_writer(&path).expect("a store");
        let version: u32 = new.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a version");
        assert_eq!(version, VERSION);
        let content: Vec<u8> =
            new.query_row("SELECT content FROM document", [], |row| row.get(0)).expect("the row");
        assert_eq!(content, [1]);
        new.prepare("SELECT * FROM usage_hourly").expect("the views");
    }

    #[test]
    fn a_migration_that_fails_leaves_the_version_before_it() {
        let mut file = Connection::open_in_memory().expect("a file");
        // A table in the way of the first migration's last step.
        file.execute_batch("CREATE TABLE document (x)").expect("a table");
        assert!(migrate(&mut file, VERSION).is_err());
        let version: u32 =
            file.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a version");
        let tables: u32 = file
            .query_row("SELECT count(*) FROM sqlite_schema WHERE type = 'table'", [], |row| row.get(0))
            .expect("a count");
        assert_eq!((version, tables), (0, 1));
    }
}
