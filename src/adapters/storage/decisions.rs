//! `DecisionLog`: every decision with what it was decided from and what became of it.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, params};

use super::SqliteStore;
use super::columns::{body, count, instant, read_body, read_count, read_instant, read_word};
use super::fault::Fault;
use crate::domain::decision::{Decision, DecisionId, DecisionKind, DecisionOutcome, Proposal};
use crate::domain::policy::PolicyMode;
use crate::ports::store::{DecisionLog, StoreError};

impl DecisionLog for SqliteStore {
    fn record(
        &self,
        at: Timestamp,
        mode: PolicyMode,
        outcome: &DecisionOutcome,
        proposal: &Proposal,
    ) -> Result<DecisionId, StoreError> {
        self.write("record a decision", |transaction| {
            let (outcome, outcome_reason) = outcome_columns(outcome);
            let statement = "INSERT INTO decision (at, mode, outcome, outcome_reason, kind, subject, summary,
                    rule, reason, price_before, price_after, body)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
            transaction.prepare_cached(statement)?.execute(params![
                instant(at),
                mode.as_str(),
                outcome,
                outcome_reason,
                kind(&proposal.kind),
                proposal.kind.subject(),
                proposal.kind.to_string(),
                proposal.rule,
                proposal.reason,
                proposal.price_before.get(),
                proposal.price_after.get(),
                body(proposal)?,
            ])?;
            Ok(DecisionId(read_count(transaction.last_insert_rowid())?))
        })
    }

    fn decisions_after(&self, after: DecisionId, limit: usize) -> Result<Vec<Decision>, StoreError> {
        self.read("read decisions", |connection| {
            let query = "SELECT id, at, mode, outcome, outcome_reason, body FROM decision
                WHERE id > ?1 ORDER BY id ASC LIMIT ?2";
            let mut statement = connection.prepare_cached(query)?;
            let mut rows = statement.query(params![count(after.0), count(limit as u64)])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(read_decision(row)?);
            }
            Ok(found)
        })
    }

    fn settle(&self, id: DecisionId, outcome: &DecisionOutcome) -> Result<(), StoreError> {
        self.write(&format!("settle decision {id}"), |transaction| {
            let (outcome, outcome_reason) = outcome_columns(outcome);
            let statement = "UPDATE decision SET outcome = ?2, outcome_reason = ?3 WHERE id = ?1";
            let rows = transaction.prepare_cached(statement)?.execute(params![
                count(id.0),
                outcome,
                outcome_reason
            ])?;
            if rows == 0 { Err(Fault::Absent(format!("there is no decision {id}"))) } else { Ok(()) }
        })
    }

    fn decision(&self, id: DecisionId) -> Result<Option<Decision>, StoreError> {
        self.read(&format!("read decision {id}"), |connection| {
            let query = "SELECT id, at, mode, outcome, outcome_reason, body FROM decision WHERE id = ?1";
            let mut statement = connection.prepare_cached(query)?;
            statement.query_row([count(id.0)], |row| Ok(read_decision(row))).optional()?.transpose()
        })
    }

    fn decisions(&self, subject: Option<&str>, limit: usize) -> Result<Vec<Decision>, StoreError> {
        self.read("read decisions", |connection| {
            let query = match subject {
                Some(_) => {
                    "SELECT id, at, mode, outcome, outcome_reason, body FROM decision
                    WHERE subject = ?1 ORDER BY id DESC LIMIT ?2"
                }
                None => {
                    "SELECT id, at, mode, outcome, outcome_reason, body FROM decision
                    WHERE ?1 IS NULL ORDER BY id DESC LIMIT ?2"
                }
            };
            let mut statement = connection.prepare_cached(query)?;
            let mut rows = statement.query(params![subject, count(limit as u64)])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(read_decision(row)?);
            }
            Ok(found)
        })
    }
}

fn kind(kind: &DecisionKind) -> &'static str {
    match kind {
        DecisionKind::Size { .. } => "size",
        DecisionKind::Count { .. } => "count",
        DecisionKind::Pool { .. } => "pool",
    }
}

/// An outcome as a word, and the words behind it where there are any.
fn outcome_columns(outcome: &DecisionOutcome) -> (&'static str, Option<&str>) {
    match outcome {
        DecisionOutcome::Observed => ("observed", None),
        DecisionOutcome::AwaitingApproval => ("awaiting_approval", None),
        DecisionOutcome::Applied => ("applied", None),
        DecisionOutcome::Superseded => ("superseded", None),
        DecisionOutcome::Frozen { reason } => ("frozen", Some(reason)),
        DecisionOutcome::Reverted { reason } => ("reverted", Some(reason)),
    }
}

pub(super) fn read_decision(row: &Row<'_>) -> Result<Decision, Fault> {
    let outcome = match (row.get::<_, String>(3)?, row.get::<_, Option<String>>(4)?) {
        (word, Some(reason)) if word == "reverted" => DecisionOutcome::Reverted { reason },
        (word, Some(reason)) if word == "frozen" => DecisionOutcome::Frozen { reason },
        (word, _) => read_word(word)?,
    };
    Ok(Decision {
        id: DecisionId(read_count(row.get(0)?)?),
        at: read_instant(&row.get::<_, String>(1)?)?,
        mode: read_word(row.get(2)?)?,
        outcome,
        proposal: read_body(&row.get::<_, String>(5)?)?,
    })
}
