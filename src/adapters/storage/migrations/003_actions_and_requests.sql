-- What is in force by hand, quotas, and the idempotency keys of requests.
-- (Times and bodies as in 001.)

CREATE TABLE action (
    key  TEXT PRIMARY KEY,       -- for example pause/web
    body TEXT NOT NULL
) STRICT;

CREATE TABLE quota (
    team TEXT PRIMARY KEY,
    body TEXT NOT NULL
) STRICT;

ALTER TABLE event ADD COLUMN request TEXT;
CREATE INDEX event_by_request ON event (request) WHERE request IS NOT NULL;
