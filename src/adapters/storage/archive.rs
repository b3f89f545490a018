//! `Archive`: what is no longer in the world, and when it is deleted for good.

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use serde::de::DeserializeOwned;

use super::SqliteStore;
use super::columns::{count, instant, microseconds, read_body};
use super::fault::Fault;
use crate::domain::task::Task;
use crate::domain::workload::WorkloadName;
use crate::domain::world::Run;
use crate::ports::store::{Archive, Horizon, RunQuery, StoreError};

/// Rows deleted in one transaction: between two of them, other writers get their turn.
const PRUNE_BATCH: usize = 1000;

/// A kind of record that is pruned.
struct Kind {
    table: &'static str,
    /// The columns that identify a row and order rows from oldest to newest.
    key: &'static [&'static str],
    /// What a record's age is counted from.
    age: Age,
    /// What must hold of a row that may go.
    may_go: &'static str,
}

/// A column of instants, in one of the two ways that they are kept.
enum Age {
    Text(&'static str),
    Microseconds(&'static str),
}

/// Tasks and runs age from their end: the record of one that ran for a year is kept after it.
const KINDS: [Kind; 6] = [
    Kind {
        table: "task",
        key: &["created_at", "id"],
        age: Age::Text("coalesce(ended_at, created_at)"),
        may_go: "in_world = 0",
    },
    Kind {
        table: "run",
        key: &["at", "workload"],
        age: Age::Text("coalesce(ended_at, at)"),
        may_go: "in_world = 0",
    },
    Kind { table: "event", key: &["id"], age: Age::Text("at"), may_go: "true" },
    // A decision that waits for someone, or whose size is in force, is still part of the world.
    Kind {
        table: "decision",
        key: &["id"],
        age: Age::Text("at"),
        may_go: "outcome <> 'awaiting_approval' AND id NOT IN
            (SELECT json_extract(body, '$.size.decision') FROM workload
            WHERE json_extract(body, '$.size.decision') IS NOT NULL)",
    },
    Kind {
        table: "usage",
        key: &["at_us", "workload", "task_number"],
        age: Age::Microseconds("at_us"),
        may_go: "true",
    },
    Kind { table: "load", key: &["at_us", "workload"], age: Age::Microseconds("at_us"), may_go: "true" },
];

impl Archive for SqliteStore {
    fn tasks(&self, workload: Option<&WorkloadName>, limit: usize) -> Result<Vec<Task>, StoreError> {
        let query = match workload {
            Some(_) => "SELECT body FROM task WHERE workload = ?1 ORDER BY created_at DESC, id DESC LIMIT ?2",
            None => "SELECT body FROM task WHERE ?1 IS NULL ORDER BY created_at DESC, id DESC LIMIT ?2",
        };
        self.read("read tasks", |connection| newest(connection, query, workload, limit))
    }

    fn tasks_ended_since(&self, from: Timestamp) -> Result<Vec<Task>, StoreError> {
        self.read("read tasks that ended", |connection| {
            let query = "SELECT body FROM task WHERE in_world = 0 AND coalesce(ended_at, created_at) >= ?1";
            let mut statement = connection.prepare_cached(query)?;
            let mut rows = statement.query([instant(from)])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(read_body(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?);
            }
            Ok(found)
        })
    }

    fn runs(&self, query: &RunQuery) -> Result<Vec<Run>, StoreError> {
        self.read("read runs", |connection| runs(connection, query))
    }

    fn prune(&self, horizon: &Horizon) -> Result<u64, StoreError> {
        let mut deleted = 0;
        for kind in &KINDS {
            let (column, before) = match kind.age {
                Age::Text(column) => (column, Value::Text(instant(horizon.records_before))),
                Age::Microseconds(column) => (column, Value::Integer(microseconds(horizon.samples_before))),
            };
            deleted += self.delete_in_batches(kind, &format!("{column} < ?"), &[before])?;
            let beyond = self.read("prune", |connection| first_beyond(connection, kind, horizon.keep))?;
            if let Some(newest) = beyond {
                let key = kind.key.join(", ");
                let marks = vec!["?"; kind.key.len()].join(", ");
                deleted += self.delete_in_batches(kind, &format!("({key}) <= ({marks})"), &newest)?;
            }
        }
        Ok(deleted)
    }
}

impl SqliteStore {
    fn delete_in_batches(&self, kind: &Kind, old: &str, values: &[Value]) -> Result<u64, StoreError> {
        let Kind { table, may_go, .. } = kind;
        let key = kind.key.join(", ");
        let statement = format!(
            "DELETE FROM {table} WHERE ({key}) IN
                (SELECT {key} FROM {table} WHERE {may_go} AND {old} LIMIT {PRUNE_BATCH})"
        );
        let mut deleted = 0;
        loop {
            let batch = self.write("prune", |transaction| {
                Ok(transaction.prepare_cached(&statement)?.execute(params_from_iter(values))?)
            })?;
            deleted += batch as u64;
            if batch < PRUNE_BATCH {
                return Ok(deleted);
            }
        }
    }
}

/// The newest row beyond the `keep` newest of its kind, by its key.
fn first_beyond(connection: &Connection, kind: &Kind, keep: usize) -> Result<Option<Vec<Value>>, Fault> {
    let key = kind.key.join(", ");
    let newest_first = kind.key.join(" DESC, ");
    let query = format!("SELECT {key} FROM {} ORDER BY {newest_first} DESC LIMIT 1 OFFSET ?1", kind.table);
    let mut statement = connection.prepare_cached(&query)?;
    let row = statement
        .query_row([count(keep as u64)], |row| (0..kind.key.len()).map(|column| row.get(column)).collect())
        .optional()?;
    Ok(row)
}

/// Where the reason of an outcome stands in a run's body.
const REASON: &str = "coalesce(json_extract(body, '$.outcome.failed.reason'),
    json_extract(body, '$.outcome.missed.reason'), json_extract(body, '$.outcome.skipped.reason'),
    json_extract(body, '$.outcome.cancelled.reason'), '')";

fn runs(connection: &Connection, query: &RunQuery) -> Result<Vec<Run>, Fault> {
    let mut select = "SELECT body FROM run WHERE true".to_owned();
    let mut filters: Vec<Value> = Vec::new();
    let mut filter = |condition: &str, values: Vec<Value>| {
        select.push_str(" AND ");
        select.push_str(condition);
        filters.extend(values);
    };
    let text = |text: &str| Value::Text(text.to_owned());
    if let Some(workload) = &query.workload {
        filter("workload = ?", vec![text(workload.as_str())]);
    }
    if !query.outcomes.is_empty() {
        let marks = vec!["?"; query.outcomes.len()].join(", ");
        filter(&format!("outcome IN ({marks})"), query.outcomes.iter().map(|word| text(word)).collect());
    }
    if let Some(from) = query.from {
        filter("at >= ?", vec![Value::Text(instant(from))]);
    }
    if let Some(to) = query.to {
        filter("at < ?", vec![Value::Text(instant(to))]);
    }
    if let Some(manual) = query.manual {
        filter("manual = ?", vec![Value::Integer(i64::from(manual))]);
    }
    if let Some(part) = &query.text {
        let found = format!("(instr(workload, lower(?)) > 0 OR instr(lower({REASON}), lower(?)) > 0)");
        filter(&found, vec![text(part), text(part)]);
    }
    if let Some(before) = &query.before {
        filter(
            "(at, workload) < (?, ?)",
            vec![Value::Text(instant(before.at)), text(before.workload.as_str())],
        );
    }
    select.push_str(" ORDER BY at DESC, workload DESC LIMIT ?");
    filters.push(Value::Integer(count(query.limit as u64)));
    let mut statement = connection.prepare_cached(&select)?;
    let mut rows = statement.query(params_from_iter(&filters))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read_body(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?);
    }
    Ok(found)
}

fn newest<T: DeserializeOwned>(
    connection: &Connection,
    query: &str,
    workload: Option<&WorkloadName>,
    limit: usize,
) -> Result<Vec<T>, Fault> {
    let mut statement = connection.prepare_cached(query)?;
    let mut rows = statement.query(params![workload.map(WorkloadName::as_str), count(limit as u64)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read_body(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?);
    }
    Ok(found)
}
