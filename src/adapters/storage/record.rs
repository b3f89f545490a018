//! `Store`: the world, the record of changes, and named documents.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::SqliteStore;
use super::columns::{body, count, instant, read_body, read_count, read_instant};
use super::fault::Fault;
use super::world;
use crate::domain::change::RecordedChange;
use crate::domain::rollout::Actor;
use crate::domain::workload::WorkloadName;
use crate::domain::world::{EntityKey, World};
use crate::ports::store::{EventQuery, NumberedChange, Store, StoreError};

impl Store for SqliteStore {
    fn load(&self) -> Result<World, StoreError> {
        self.read("load the world", |connection| {
            // One transaction: the tables are read as of one commit.
            let snapshot = connection.unchecked_transaction()?;
            world::load(&snapshot)
        })
    }

    fn commit(
        &self,
        world: &World,
        touched: &[EntityKey],
        changes: &[RecordedChange],
    ) -> Result<u64, StoreError> {
        if touched.is_empty() && changes.is_empty() {
            return Ok(0);
        }
        self.write("commit", |transaction| {
            let mut first = 0;
            for (at, change) in changes.iter().enumerate() {
                let number = append(transaction, change)?;
                if at == 0 {
                    first = number;
                }
            }
            for key in touched {
                world::write(transaction, world, key, changes)?;
            }
            Ok(first)
        })
    }

    fn events(&self, query: &EventQuery) -> Result<Vec<NumberedChange>, StoreError> {
        self.read("read events", |connection| events(connection, query))
    }

    fn document(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(&format!("read document {name}"), |connection| {
            let mut statement = connection.prepare_cached("SELECT content FROM document WHERE name = ?1")?;
            Ok(statement.query_row([name], |row| row.get(0)).optional()?)
        })
    }

    fn put_document(&self, name: &str, content: &[u8]) -> Result<(), StoreError> {
        self.write(&format!("put document {name}"), |transaction| {
            let statement = "INSERT OR REPLACE INTO document (name, content) VALUES (?1, ?2)";
            transaction.prepare_cached(statement)?.execute(params![name, content])?;
            Ok(())
        })
    }
}

/// Appends a change and tells its number.
fn append(transaction: &Transaction<'_>, recorded: &RecordedChange) -> Result<u64, Fault> {
    let change = serde_json::to_value(&recorded.change).map_err(|error| Fault::Content(error.to_string()))?;
    let (workload, task) = world::subject(&recorded.change);
    let statement = "INSERT INTO event (at, actor, reason, change, workload, task, request, body)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let number = transaction.prepare_cached(statement)?.insert(params![
        instant(recorded.at),
        actor(&recorded.by),
        recorded.reason,
        change["change"].as_str(),
        workload.as_ref().map(WorkloadName::as_str),
        task.as_ref().map(ToString::to_string),
        recorded.request,
        body(&recorded.change)?,
    ])?;
    read_count(number)
}

fn events(connection: &Connection, query: &EventQuery) -> Result<Vec<NumberedChange>, Fault> {
    let mut select = "SELECT id, at, actor, reason, request, body FROM event WHERE true".to_owned();
    let mut filters: Vec<Value> = Vec::new();
    // A task's name contains its workload's, so its index is the narrower one.
    if let Some(task) = &query.task {
        filters.push(Value::Text(task.to_string()));
        select.push_str(" AND task = ?");
    }
    if let Some(workload) = &query.workload {
        filters.push(Value::Text(workload.to_string()));
        select.push_str(if query.task.is_some() { " AND +workload = ?" } else { " AND workload = ?" });
    }
    if let Some(request) = &query.request {
        filters.push(Value::Text(request.clone()));
        select.push_str(" AND request = ?");
    }
    for (bound, filter) in [(query.before, " AND id < ?"), (query.after, " AND id > ?")] {
        if let Some(number) = bound {
            filters.push(Value::Integer(count(number)));
            select.push_str(filter);
        }
    }
    select.push_str(if query.after.is_some() {
        " ORDER BY id ASC LIMIT ?"
    } else {
        " ORDER BY id DESC LIMIT ?"
    });
    filters.push(Value::Integer(count(query.limit as u64)));
    let mut statement = connection.prepare_cached(&select)?;
    let mut rows = statement.query(rusqlite::params_from_iter(&filters))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read_event(row)?);
    }
    Ok(found)
}

fn read_event(row: &Row<'_>) -> Result<NumberedChange, Fault> {
    let text = |column: usize| row.get::<_, String>(column);
    let recorded = RecordedChange {
        at: read_instant(&text(1)?)?,
        by: read_actor(&text(2)?)?,
        reason: text(3)?,
        request: row.get(4)?,
        change: read_body(&text(5)?)?,
    };
    Ok(NumberedChange { number: read_count(row.get(0)?)?, recorded })
}

fn actor(actor: &Actor) -> String {
    match actor {
        Actor::User(name) => format!("user {name}"),
        Actor::Engine => "engine".to_owned(),
    }
}

fn read_actor(text: &str) -> Result<Actor, Fault> {
    match text.strip_prefix("user ") {
        Some(name) => Ok(Actor::User(name.to_owned())),
        None if text == "engine" => Ok(Actor::Engine),
        None => Err(Fault::Content(format!("`{text}` where an actor is expected"))),
    }
}
