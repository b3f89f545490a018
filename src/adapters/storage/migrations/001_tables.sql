-- The record of everything that Loadline was told and everything that happened.
-- Instants are ISO 8601 text in UTC with nanoseconds; those of samples are microseconds since 1970 UTC
-- (columns that end in _us). Sizes: millicores and bytes. Prices: micro-cents (1e-8 currency units) per
-- hour. `body` is the whole value as JSON; the other columns repeat what people ask for.

CREATE TABLE workload (
    name     TEXT PRIMARY KEY,
    kind     TEXT NOT NULL,      -- service, cron, job
    revision INTEGER NOT NULL,   -- in force
    count    INTEGER NOT NULL,   -- instances wanted
    deleted  INTEGER NOT NULL,   -- 1: goes once its tasks are gone
    body     TEXT NOT NULL
) STRICT;

-- A workload that is deleted and declared again begins with task number 1 again: the creation time
-- keeps the records apart.
CREATE TABLE task (
    id         TEXT NOT NULL,    -- WORKLOAD.NUMBER
    created_at TEXT NOT NULL,
    workload   TEXT NOT NULL,
    state      TEXT NOT NULL,
    reason     TEXT NOT NULL,
    node       TEXT,
    started_at TEXT,
    ended_at   TEXT,
    in_world   INTEGER NOT NULL, -- 1: still part of the plans, 0: history
    body       TEXT NOT NULL,
    PRIMARY KEY (created_at, id)
) STRICT;
CREATE INDEX task_in_world ON task (id) WHERE in_world = 1;
CREATE INDEX task_by_workload ON task (workload, created_at, id);
CREATE INDEX task_by_age ON task (coalesce(ended_at, created_at)) WHERE in_world = 0;

CREATE TABLE run (
    at         TEXT NOT NULL,    -- the planned instant, or the instant of the request
    workload   TEXT NOT NULL,
    manual     INTEGER NOT NULL,
    outcome    TEXT NOT NULL,
    started_at TEXT,
    ended_at   TEXT,
    in_world   INTEGER NOT NULL,
    body       TEXT NOT NULL,
    PRIMARY KEY (at, workload)
) STRICT;
CREATE INDEX run_in_world ON run (workload) WHERE in_world = 1;
CREATE INDEX run_by_workload ON run (workload, at);
CREATE INDEX run_by_age ON run (coalesce(ended_at, at)) WHERE in_world = 0;

CREATE TABLE node (
    name       TEXT PRIMARY KEY,
    pool       TEXT NOT NULL,
    state      TEXT NOT NULL,
    reason     TEXT NOT NULL,
    created_at TEXT NOT NULL,
    body       TEXT NOT NULL
) STRICT;

CREATE TABLE pool (
    name    TEXT PRIMARY KEY,
    target  INTEGER NOT NULL,    -- nodes wanted
    minimum INTEGER NOT NULL,
    maximum INTEGER NOT NULL,
    body    TEXT NOT NULL
) STRICT;

CREATE TABLE policy (
    name       TEXT PRIMARY KEY,
    size_mode  TEXT NOT NULL,    -- off, observe, approve, auto
    count_mode TEXT NOT NULL,
    body       TEXT NOT NULL
) STRICT;

-- Numbers are never given twice, not even after pruning.
CREATE TABLE event (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    at       TEXT NOT NULL,
    actor    TEXT NOT NULL,      -- `engine`, or `user NAME`
    reason   TEXT NOT NULL,
    change   TEXT NOT NULL,      -- for example task_moved
    workload TEXT,
    task     TEXT,
    body     TEXT NOT NULL
) STRICT;
CREATE INDEX event_by_workload ON event (workload, id) WHERE workload IS NOT NULL;
CREATE INDEX event_by_task ON event (task, id) WHERE task IS NOT NULL;
CREATE INDEX event_by_time ON event (at);

CREATE TABLE decision (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    at             TEXT NOT NULL,
    mode           TEXT NOT NULL, -- off, observe, approve, auto
    outcome        TEXT NOT NULL, -- observed, awaiting_approval, applied, superseded, reverted
    outcome_reason TEXT,          -- why it was reverted
    kind           TEXT NOT NULL, -- size, count, pool
    subject        TEXT NOT NULL, -- the workload's or the pool's name
    summary        TEXT NOT NULL, -- for example `instances 2 -> 4`
    rule           TEXT NOT NULL,
    reason         TEXT NOT NULL,
    price_before   INTEGER NOT NULL,
    price_after    INTEGER NOT NULL,
    body           TEXT NOT NULL
) STRICT;
CREATE INDEX decision_by_subject ON decision (subject, id);
CREATE INDEX decision_by_time ON decision (at);

-- Samples come in the order of time and are kept in it: an append touches one page, not one for each
-- workload.
CREATE TABLE usage (
    at_us            INTEGER NOT NULL, -- the end of the interval
    workload         TEXT NOT NULL,
    task_number      INTEGER NOT NULL, -- the task is WORKLOAD.NUMBER
    interval_seconds REAL,
    cpu_cores        REAL,             -- mean over the interval
    throttled_share  REAL,
    memory           INTEGER NOT NULL, -- working set, bytes
    page_cache       INTEGER,          -- bytes
    cpu_request      INTEGER NOT NULL, -- millicores
    memory_request   INTEGER NOT NULL, -- bytes
    oom_kills        INTEGER NOT NULL,
    PRIMARY KEY (at_us, workload, task_number)
) STRICT, WITHOUT ROWID;

CREATE TABLE load (
    at_us               INTEGER NOT NULL,
    workload            TEXT NOT NULL,
    requests_per_second REAL NOT NULL,
    errors_per_second   REAL NOT NULL,
    latency_p50         REAL,          -- seconds
    latency_p95         REAL,          -- seconds
    ready               INTEGER NOT NULL,
    PRIMARY KEY (at_us, workload)
) STRICT, WITHOUT ROWID;

CREATE TABLE document (
    name    TEXT PRIMARY KEY,
    content BLOB NOT NULL
) STRICT;
