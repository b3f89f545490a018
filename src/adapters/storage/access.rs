//! `TokenStore`, `AuditLog` and `AnswerLog`: who may call, what was called, what was answered.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, params};

use super::SqliteStore;
use super::columns::{count, instant, read_count, read_instant, read_text};
use super::fault::Fault;
use crate::ports::access::{
    AnswerLog, AuditEntry, AuditLog, KeptAnswer, KeyedRequest, Known, NewToken, Role, Token, TokenStore,
};
use crate::ports::store::StoreError;

impl TokenStore for SqliteStore {
    fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        self.read("read tokens", |connection| {
            let query = "SELECT id, name, role, team, hash, created_by, created_at, expires_at,
                last_used_at, revoked_at FROM token ORDER BY id";
            let mut statement = connection.prepare_cached(query)?;
            let mut rows = statement.query([])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(read_token(row)?);
            }
            Ok(found)
        })
    }

    fn add_token(&self, token: &NewToken) -> Result<u64, StoreError> {
        self.write("keep a token", |transaction| {
            let statement = "INSERT INTO token (name, role, team, hash, created_by, created_at, expires_at)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
            let id = transaction.prepare_cached(statement)?.insert(params![
                token.name,
                token.role.as_str(),
                token.team,
                token.hash.as_slice(),
                token.created_by,
                instant(token.created_at),
                token.expires_at.map(instant),
            ])?;
            read_count(id)
        })
    }

    fn revoke_token(&self, id: u64, at: Timestamp) -> Result<bool, StoreError> {
        self.write("revoke a token", |transaction| {
            let statement = "UPDATE token SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL";
            let rows = transaction.prepare_cached(statement)?.execute(params![count(id), instant(at)])?;
            Ok(rows > 0)
        })
    }

    fn token_used(&self, id: u64, at: Timestamp) -> Result<(), StoreError> {
        self.write("note the use of a token", |transaction| {
            let statement = "UPDATE token SET last_used_at = ?2 WHERE id = ?1";
            transaction.prepare_cached(statement)?.execute(params![count(id), instant(at)])?;
            Ok(())
        })
    }
}

fn optional_instant(row: &Row<'_>, column: usize) -> Result<Option<Timestamp>, Fault> {
    row.get::<_, Option<String>>(column)?.map(|text| read_instant(&text)).transpose()
}

fn read_token(row: &Row<'_>) -> Result<Token, Fault> {
    let hash: Vec<u8> = row.get(4)?;
    Ok(Token {
        id: read_count(row.get(0)?)?,
        made: NewToken {
            name: row.get(1)?,
            role: read_text(&row.get::<_, String>(2)?)?,
            team: row.get(3)?,
            hash: hash.try_into().map_err(|_| Fault::Content("a token's hash is not 32 bytes".to_owned()))?,
            created_by: row.get(5)?,
            created_at: read_instant(&row.get::<_, String>(6)?)?,
            expires_at: optional_instant(row, 7)?,
        },
        last_used_at: optional_instant(row, 8)?,
        revoked_at: optional_instant(row, 9)?,
    })
}

impl AuditLog for SqliteStore {
    fn audit(&self, entry: &AuditEntry) -> Result<(), StoreError> {
        self.write("write the audit log", |transaction| {
            let statement = "INSERT INTO audit
                (at, actor, role, address, method, path, status, message, request_id)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
            transaction.prepare_cached(statement)?.execute(params![
                instant(entry.at),
                entry.by,
                entry.role.map(Role::as_str),
                entry.address,
                entry.method,
                entry.path,
                entry.status,
                entry.message,
                entry.request_id,
            ])?;
            Ok(())
        })
    }

    fn audited(&self, before: Option<u64>, limit: usize) -> Result<Vec<(u64, AuditEntry)>, StoreError> {
        self.read("read the audit log", |connection| {
            let query = "SELECT id, at, actor, role, address, method, path, status, message, request_id
                FROM audit WHERE id < ?1 ORDER BY id DESC LIMIT ?2";
            let mut statement = connection.prepare_cached(query)?;
            let before = before.map_or(i64::MAX, count);
            let mut rows = statement.query(params![before, count(limit as u64)])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(read_entry(row)?);
            }
            Ok(found)
        })
    }
}

fn read_entry(row: &Row<'_>) -> Result<(u64, AuditEntry), Fault> {
    let role: Option<String> = row.get(3)?;
    let entry = AuditEntry {
        at: read_instant(&row.get::<_, String>(1)?)?,
        by: row.get(2)?,
        role: role.map(|word| read_text(&word)).transpose()?,
        address: row.get(4)?,
        method: row.get(5)?,
        path: row.get(6)?,
        status: row.get(7)?,
        message: row.get(8)?,
        request_id: row.get(9)?,
    };
    Ok((read_count(row.get(0)?)?, entry))
}

impl AnswerLog for SqliteStore {
    fn begin(&self, request: &KeyedRequest, now: Timestamp, expired: Timestamp) -> Result<Known, StoreError> {
        self.write("note a request", |transaction| {
            let old = "DELETE FROM answer WHERE key = ?1 AND at < ?2";
            transaction.prepare_cached(old)?.execute(params![request.key, instant(expired)])?;
            let query = "SELECT fingerprint, at, status, content_type, body FROM answer WHERE key = ?1";
            let known = transaction
                .prepare_cached(query)?
                .query_row([&request.key], |row| Ok(read_known(row, request)))
                .optional()?;
            if let Some(known) = known {
                return known;
            }
            let statement = "INSERT INTO answer (key, fingerprint, at) VALUES (?1, ?2, ?3)";
            let values = params![request.key, request.fingerprint, instant(now)];
            transaction.prepare_cached(statement)?.execute(values)?;
            Ok(Known::Begun(now))
        })
    }

    fn answered(&self, request: &KeyedRequest, answer: &KeptAnswer) -> Result<(), StoreError> {
        self.write("keep an answer", |transaction| {
            let statement = "UPDATE answer SET status = ?2, content_type = ?3, body = ?4 WHERE key = ?1";
            let values = params![request.key, answer.status, answer.content_type, answer.body];
            transaction.prepare_cached(statement)?.execute(values)?;
            Ok(())
        })
    }

    fn abandon(&self, request: &KeyedRequest) -> Result<(), StoreError> {
        self.write("forget a request", |transaction| {
            let statement = "DELETE FROM answer WHERE key = ?1 AND status IS NULL";
            transaction.prepare_cached(statement)?.execute([&request.key])?;
            Ok(())
        })
    }

    fn prune_access(
        &self,
        audit_before: Timestamp,
        keep: usize,
        answers_before: Timestamp,
    ) -> Result<u64, StoreError> {
        self.write("prune the audit log", |transaction| {
            let old = "DELETE FROM audit WHERE at < ?1";
            let beyond = "DELETE FROM audit WHERE id <=
                (SELECT id FROM audit ORDER BY id DESC LIMIT 1 OFFSET ?1)";
            let answers = "DELETE FROM answer WHERE at < ?1";
            let deleted = transaction.execute(old, [instant(audit_before)])?
                + transaction.execute(beyond, [count(keep as u64)])?
                + transaction.execute(answers, [instant(answers_before)])?;
            Ok(deleted as u64)
        })
    }
}

fn read_known(row: &Row<'_>, request: &KeyedRequest) -> Result<Known, Fault> {
    if row.get::<_, String>(0)? != request.fingerprint {
        return Ok(Known::Other);
    }
    Ok(match row.get::<_, Option<u16>>(2)? {
        None => Known::Begun(read_instant(&row.get::<_, String>(1)?)?),
        Some(status) => Known::Answered(KeptAnswer {
            status,
            content_type: row.get::<_, Option<String>>(3)?.unwrap_or_default(),
            body: row.get::<_, Option<Vec<u8>>>(4)?.unwrap_or_default(),
        }),
    })
}
