//! Who may call the engine, what was called, and what was answered: tokens, the audit log, and the
//! answers to requests that may be sent again.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use crate::ports::store::StoreError;

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Reads, and changes the workloads of one team.
    Developer,
    /// Everything.
    Operator,
    /// Reads, reports included.
    Finance,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Developer, Self::Operator, Self::Finance];

    /// The word in commands and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Developer => "developer",
            Self::Operator => "operator",
            Self::Finance => "finance",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| format!("`{text}` is none of viewer, developer, operator, finance"))
    }
}

/// The SHA-256 of a token's secret: what is kept of it.
pub type SecretHash = [u8; 32];

/// A token to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// Whose it is.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// The team whose workloads a developer may change.
    pub team: Option<String>,
    /// What is kept of its secret.
    pub hash: SecretHash,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is no longer valid.
    pub expires_at: Option<Timestamp>,
}

/// A token as it is kept. Revoked ones stay, so that it is known that tokens are in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its number, never given twice.
    pub id: u64,
    /// What it was made with.
    pub made: NewToken,
    /// When it was last used, roughly.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// Keeps tokens. Calls block; they are made off the executor's threads.
pub trait TokenStore: Send + Sync {
    /// All of them, revoked ones included.
    fn tokens(&self) -> Result<Vec<Token>, StoreError>;

    /// Keeps a token and tells its number.
    fn add_token(&self, token: &NewToken) -> Result<u64, StoreError>;

    /// Makes a token invalid from now on; tells whether there was one that was valid.
    fn revoke_token(&self, id: u64, at: Timestamp) -> Result<bool, StoreError>;

    /// Notes that a token was used.
    fn token_used(&self, id: u64, at: Timestamp) -> Result<(), StoreError>;
}

/// A write that was carried out or refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// When it was answered.
    pub at: Timestamp,
    /// Who; absent where nobody proved to be anybody.
    pub by: Option<String>,
    /// The role.
    pub role: Option<Role>,
    /// From where.
    pub address: String,
    /// The HTTP method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The status of the answer.
    pub status: u16,
    /// Why, in the caller's words.
    pub message: String,
    /// Names the call in answers and logs.
    pub request_id: String,
}

/// Keeps the record of writes. Calls block.
pub trait AuditLog: Send + Sync {
    /// Adds a write; on disk when it returns.
    fn audit(&self, entry: &AuditEntry) -> Result<(), StoreError>;

    /// Writes with a lower number than `before`, newest first, each with its number.
    fn audited(&self, before: Option<u64>, limit: usize) -> Result<Vec<(u64, AuditEntry)>, StoreError>;
}

/// A request that may be sent again: its key, and what it asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyedRequest {
    /// The caller's key, within what that caller sends.
    pub key: String,
    /// A hash of everything that the request asks for.
    pub fingerprint: String,
}

/// What was answered to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAnswer {
    /// The status.
    pub status: u16,
    /// The type of the body.
    pub content_type: String,
    /// The body.
    pub body: Vec<u8>,
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// It is new, or was begun by an engine that ended before it answered; with the instant at which it
    /// was first begun.
    Begun(Timestamp),
    /// It was answered.
    Answered(KeptAnswer),
    /// It was used for another request.
    Other,
}

/// Keeps the answers to requests that have a key. Calls block.
pub trait AnswerLog: Send + Sync {
    /// Notes a request; what was noted before `expired` does not count.
    fn begin(&self, request: &KeyedRequest, now: Timestamp, expired: Timestamp) -> Result<Known, StoreError>;

    /// Keeps the answer to a request.
    fn answered(&self, request: &KeyedRequest, answer: &KeptAnswer) -> Result<(), StoreError>;

    /// Forgets a request that was not carried out.
    fn abandon(&self, request: &KeyedRequest) -> Result<(), StoreError>;

    /// Deletes writes in the audit log from before `audit_before` and beyond the newest `keep`, and
    /// requests from before `answers_before`. Tells how many rows.
    fn prune_access(
        &self,
        audit_before: Timestamp,
        keep: usize,
        answers_before: Timestamp,
    ) -> Result<u64, StoreError>;
}
