-- Tokens, the audit log, and the answers to requests that have an idempotency key.
-- (Times as in 001.)

CREATE TABLE token (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    name         TEXT NOT NULL,
    role         TEXT NOT NULL,  -- viewer, developer, operator, finance
    team         TEXT,           -- developers: whose workloads they may change
    hash         BLOB NOT NULL,  -- SHA-256 of the secret; the secret is kept nowhere
    created_by   TEXT NOT NULL,
    created_at   TEXT NOT NULL,
    expires_at   TEXT,
    last_used_at TEXT,           -- to within ten minutes
    revoked_at   TEXT
) STRICT;

CREATE TABLE audit (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         TEXT NOT NULL,
    actor      TEXT,             -- absent where nobody proved to be anybody
    role       TEXT,
    address    TEXT NOT NULL,
    method     TEXT NOT NULL,
    path       TEXT NOT NULL,
    status     INTEGER NOT NULL, -- of the answer
    message    TEXT NOT NULL,
    request_id TEXT NOT NULL
) STRICT;
CREATE INDEX audit_by_time ON audit (at);

CREATE TABLE answer (
    key          TEXT PRIMARY KEY, -- of the request, within what its caller sends
    fingerprint  TEXT NOT NULL,
    at           TEXT NOT NULL,    -- when the request was begun
    status       INTEGER,          -- absent until it is answered
    content_type TEXT,
    body         BLOB
) STRICT;
CREATE INDEX answer_by_time ON answer (at);
