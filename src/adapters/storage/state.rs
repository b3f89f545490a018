//! How large the store is, and from when to when it goes. Every question is answered from an index: on a large
//! store as fast as on a small one.

use std::fs;

use jiff::SignedDuration;
use rusqlite::types::FromSql;
use rusqlite::{Connection, OptionalExtension};

use super::SqliteStore;
use super::columns::{read_instant, read_microseconds};
use super::fault::Fault;
use super::schema::beside;
use crate::ports::own_state::{RecordKind, StoreState};
use crate::ports::store::StoreError;

/// Kinds of records: the table, when its rows were, and what they are in the order of.
const RECORDS: [(&str, &str, &str); 5] = [
    ("event", "at", "id"),
    ("decision", "at", "id"),
    ("task", "created_at", "created_at"),
    ("run", "at", "at"),
    ("audit", "at", "id"),
];

/// How long what is kept.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Usage and load samples.
    pub samples: SignedDuration,
    /// Everything else that happened.
    pub records: SignedDuration,
    /// Rows of a kind.
    pub rows: usize,
}

impl SqliteStore {
    /// How the store is; `keep` is what its owner wants kept.
    pub fn state(&self, keep: &Retention) -> Result<StoreState, StoreError> {
        let size = |suffix| fs::metadata(beside(&self.path, suffix)).map_or(0, |file| file.len());
        let disk_free = rustix::fs::statvfs(&self.path).ok().map(|disk| disk.f_bavail * disk.f_frsize);
        self.read("tell how the store is", |connection| {
            let number =
                |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, u32>(0));
            let free = u64::from(number("freelist_count")?) * u64::from(number("page_size")?);
            let mut records = Vec::new();
            for (name, kept) in [("usage", keep.samples), ("load", keep.samples)] {
                let [oldest, newest] = ends(name, "at_us", "at_us")
                    .map(|query| end::<i64>(connection, &query)?.map(read_microseconds).transpose());
                records.push(RecordKind { name, oldest: oldest?, newest: newest?, kept });
            }
            for (name, at, by) in RECORDS {
                let [oldest, newest] = ends(name, at, by)
                    .map(|query| end::<String>(connection, &query)?.as_deref().map(read_instant).transpose());
                records.push(RecordKind { name, oldest: oldest?, newest: newest?, kept: keep.records });
            }
            let schema = number("user_version")?;
            Ok(StoreState {
                bytes: size("") + size("-wal"),
                free,
                disk_free,
                schema,
                rows_max: keep.rows,
                records,
            })
        })
    }
}

/// Asks for the oldest and for the newest row of a table.
fn ends(table: &str, at: &str, by: &str) -> [String; 2] {
    ["ASC", "DESC"].map(|order| format!("SELECT {at} FROM {table} ORDER BY {by} {order} LIMIT 1"))
}

/// The first row of a query, if there is one.
fn end<T: FromSql>(connection: &Connection, query: &str) -> Result<Option<T>, Fault> {
    Ok(connection.query_row(query, [], |row| row.get(0)).optional()?)
}
