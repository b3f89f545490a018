//! `Search`: filters and pages over the record.

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};
use serde::de::DeserializeOwned;

use super::SqliteStore;
use super::columns::{count, instant, read_body};
use super::decisions::read_decision;
use super::fault::Fault;
use crate::domain::decision::Decision;
use crate::domain::task::Task;
use crate::ports::search::{DecisionQuery, EndedQuery, Search};
use crate::ports::store::StoreError;

/// A query that grows by its filters.
struct Select {
    text: String,
    values: Vec<Value>,
}

impl Select {
    fn from(text: &str) -> Self {
        Self { text: format!("{text} WHERE true"), values: Vec::new() }
    }

    fn filter(&mut self, filter: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.text.push_str(" AND ");
            self.text.push_str(filter);
            self.values.push(value.into());
        }
    }

    fn rows<T>(
        mut self,
        connection: &Connection,
        (order, limit): (&str, usize),
        read: impl Fn(&Row<'_>) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Fault> {
        self.text.push_str(" ORDER BY ");
        self.text.push_str(order);
        self.text.push_str(" LIMIT ?");
        self.values.push(Value::Integer(count(limit as u64)));
        let mut statement = connection.prepare_cached(&self.text)?;
        let mut rows = statement.query(params_from_iter(&self.values))?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(read(row)?);
        }
        Ok(found)
    }
}

fn first_column<T: DeserializeOwned>(row: &Row<'_>) -> Result<T, Fault> {
    read_body(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)
}

impl Search for SqliteStore {
    fn find_ended(&self, query: &EndedQuery) -> Result<Vec<Task>, StoreError> {
        self.read("find tasks", |connection| {
            let mut select = Select::from("SELECT body FROM task");
            select.text.push_str(" AND state IN ('finished', 'failed', 'stopped', 'lost')");
            select.filter("workload = ?", query.workload.as_ref().map(ToString::to_string));
            select.filter("id = ?", query.task.as_ref().map(ToString::to_string));
            if let Some((at, id)) = &query.before {
                select.text.push_str(" AND (created_at, id) < (?, ?)");
                select.values.push(Value::Text(instant(*at)));
                select.values.push(Value::Text(id.to_string()));
            }
            select.rows(connection, ("created_at DESC, id DESC", query.limit), first_column)
        })
    }

    fn find_decisions(&self, query: &DecisionQuery) -> Result<Vec<Decision>, StoreError> {
        self.read("find decisions", |connection| {
            let columns = "SELECT id, at, mode, outcome, outcome_reason, body FROM decision";
            let mut select = Select::from(columns);
            select.filter("subject = ?", query.subject.clone());
            select.filter("id < ?", query.before.map(|id| count(id.0)));
            select.rows(connection, ("id DESC", query.limit), read_decision)
        })
    }
}
