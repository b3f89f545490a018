//! The store on `SQLite`: the world and its record, decisions, samples and documents in one file that any
//! `SQLite` client can read while the engine runs. Calls block.
//! Why `SQLite`: `docs/decisions/002-store.md`. The tables: `migrations/`.

mod access;
mod archive;
mod columns;
mod decisions;
mod fault;
mod history;
mod record;
mod schema;
mod search;
mod state;
mod world;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::adapters::lock::lock_soon;
use crate::ports::store::StoreError;
use fault::Fault;

pub use state::Retention;

/// Connections that wait for the next read; more are opened when needed and closed after.
const IDLE_READERS_MAX: usize = 4;

/// A store in one `SQLite` file. One engine at a time has it; other programs may read it.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    shown: String,
    // The order of the fields is the order of closing: the writer goes after the readers, so that it
    // moves the log into the file, and the lock goes last.
    readers: Mutex<Vec<Connection>>,
    writer: Mutex<Connection>,
    _lock: File,
}

impl SqliteStore {
    /// Opens the store at `path`, or makes one where there is no file. The folder must exist. A file that
    /// is damaged, of another program or of a newer version is refused and stays as it is.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let shown = path.display().to_string();
        let failed = |fault: Fault| fault.during(&format!("open the store {shown}"), &shown);
        let path = real_path(path).map_err(failed)?;
        let lock = lock(&path, &shown)?;
        if path.exists() {
            schema::inspect(&path)?;
        } else if schema::beside(&path, "-wal").exists() {
            // SQLite would replay a log that belongs to another file into the new one.
            return Err(StoreError::Corrupt {
                path: shown,
                message: "the file is missing, its write-ahead log (-wal) is there".to_owned(),
            });
        } else {
            schema::create(&path).map_err(failed)?;
        }
        let writer = schema::open_writer(&path).map_err(failed)?;
        Ok(Self { path, shown, readers: Mutex::default(), writer: Mutex::new(writer), _lock: lock })
    }

    /// Copies the store as it is now to a new file, complete and on disk when it returns; reads and
    /// writes go on meanwhile. An existing file is refused.
    pub fn backup(&self, to: &Path) -> Result<(), StoreError> {
        let operation = format!("back up to {}", to.display());
        let unfinished = schema::beside(to, ".unfinished");
        let result = self.read(&operation, |connection| {
            if to.exists() {
                return Err(Fault::Absent(format!("{} exists already", to.display())));
            }
            if unfinished.exists() {
                fs::remove_file(&unfinished)?;
            }
            connection.execute("VACUUM INTO ?1", [unfinished.to_string_lossy()])?;
            // SQLite does not wait for the disk here.
            File::open(&unfinished)?.sync_all()?;
            fs::rename(&unfinished, to)?;
            schema::sync_folder_of(to)
        });
        if result.is_err() && unfinished.exists() {
            // The first error tells more than a failure to clean up after it.
            let _ = fs::remove_file(&unfinished);
        }
        result
    }

    /// Reads as of one instant, while writes go on.
    fn read<T>(
        &self,
        operation: &str,
        work: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let result = match idle {
            Some(reader) => Ok(reader),
            None => schema::open_reader(&self.path).map_err(Fault::from),
        }
        .and_then(|reader| {
            let result = work(&reader);
            let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
            if readers.len() < IDLE_READERS_MAX {
                readers.push(reader);
            }
            result
        });
        result.map_err(|fault| fault.during(operation, &self.shown))
    }

    /// Writes in one transaction: all of it is on disk when this returns, or nothing is.
    fn write<T>(
        &self,
        operation: &str,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        // A panic in an earlier call rolled its transaction back: the connection is sound.
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let run = || {
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let result = work(&transaction)?;
            transaction.commit()?;
            Ok(result)
        };
        run().map_err(|fault: Fault| fault.during(operation, &self.shown))
    }
}

/// The path without symbolic links, so that two names of one file meet the same lock.
fn real_path(path: &Path) -> Result<PathBuf, Fault> {
    if path.exists() {
        return Ok(fs::canonicalize(path)?);
    }
    let name = path.file_name().ok_or_else(|| Fault::Absent("the path names no file".to_owned()))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    Ok(fs::canonicalize(folder.unwrap_or(Path::new(".")))?.join(name))
}

/// Holds `PATH.lock` for as long as the file lives. The operating system frees it when the process ends
/// in whatever way; a lock on the store itself would keep other programs from reading it.
fn lock(path: &Path, shown: &str) -> Result<File, StoreError> {
    let lock_path = schema::beside(path, ".lock");
    let io =
        |error: std::io::Error| Fault::from(error).during(&format!("lock {}", lock_path.display()), shown);
    let file = File::options().create(true).truncate(false).write(true).open(&lock_path).map_err(io)?;
    match lock_soon(&file) {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: shown.to_owned() }),
        Err(TryLockError::Error(error)) => Err(io(error)),
    }
}
