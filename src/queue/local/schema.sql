-- The job store of ringback, to be looked into with the sqlite3 program.
-- Times are microseconds since 1970 (UTC) by the queue's own clock, which began with the system's and which no
-- setting of that moves: select datetime(created_at / 1000000, 'unixepoch') from jobs;

-- The clock: what it and the machine's clocks said at one moment. One row.
CREATE TABLE clock (
    id              INTEGER PRIMARY KEY CHECK (id = 1),
    time            INTEGER NOT NULL,             -- the queue's
    wall            INTEGER NOT NULL,             -- the system's
    up              INTEGER NOT NULL,             -- microseconds since the machine was started
    boot            TEXT                          -- names that start of the machine; NULL: unknown
) STRICT;

CREATE TABLE jobs (
    seq             INTEGER PRIMARY KEY,          -- the order of acceptance
    id              TEXT    NOT NULL UNIQUE,      -- a UUID version 7: ids sort by age
    client          TEXT    NOT NULL,             -- whose request it is; empty without API keys
    task            TEXT    NOT NULL,
    parameters      TEXT    NOT NULL,             -- JSON: {"name": ["value", ...], ...}
    state           TEXT    NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'canceled')),
    attempt         INTEGER NOT NULL DEFAULT 0,   -- attempts begun
    fence           INTEGER NOT NULL DEFAULT 0,   -- grows with every claim; an older lease is stale
    ready_at        INTEGER,                      -- queued, but not to be claimed before this time
    created_at      INTEGER NOT NULL,
    started_at      INTEGER,
    finished_at     INTEGER,
    expires_at      INTEGER,
    input_name      TEXT,
    input_type      TEXT,
    input_bytes     INTEGER NOT NULL,
    input_sha256    BLOB    NOT NULL,
    input_in_file   INTEGER NOT NULL,             -- 1: spool/inputs/ID; 0: the table inputs
    duration_s      REAL,
    error_code      TEXT,
    error_message   TEXT,
    callback_url    TEXT,
    fingerprint     BLOB    NOT NULL,             -- SHA-256 over task, parameters, input and callback
    sender          TEXT    NOT NULL DEFAULT '',  -- whose share of the queue it takes: client, or else an address
    crashes         INTEGER NOT NULL DEFAULT 0,   -- times the process died during one of its attempts
    alone           INTEGER NOT NULL DEFAULT 0,   -- 1: no other attempt runs beside its running one
    warnings        TEXT,                         -- of its output, JSON: [{"code", "message", "at_s"}, ...]; NULL: none
    held            INTEGER NOT NULL DEFAULT 0    -- 1: finished, and kept beyond expires_at while its delivery is pending
) STRICT;

-- Claiming takes the first of these. The planner would rather sort what
-- jobs_by_state finds: queries name the index they are to use.
CREATE INDEX jobs_ready ON jobs (seq) WHERE state = 'queued' AND ready_at IS NULL;
CREATE INDEX jobs_waiting ON jobs (ready_at) WHERE state = 'queued' AND ready_at IS NOT NULL;
-- What a repeated request is recognised by.
CREATE INDEX jobs_unfinished ON jobs (fingerprint, client) WHERE state IN ('queued', 'running');
-- A sweep passes by the jobs whose delivery is pending: there may be many, and each would be looked at again and again.
CREATE INDEX jobs_expiring ON jobs (held, expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX jobs_by_state ON jobs (state, id);

-- Inputs too small for a file of their own, until their job has finished.
CREATE TABLE inputs (
    job             INTEGER PRIMARY KEY REFERENCES jobs (seq) ON DELETE CASCADE,
    body            BLOB    NOT NULL
) STRICT;

-- What succeeded jobs gave.
CREATE TABLE outputs (
    job             INTEGER PRIMARY KEY REFERENCES jobs (seq) ON DELETE CASCADE,
    kind            TEXT    NOT NULL CHECK (kind IN ('text', 'json', 'file')),
    body            TEXT,                         -- the text, or the JSON
    file            TEXT,                         -- its name in spool/outputs/
    file_name       TEXT,                         -- its name for whoever asks for it
    file_type       TEXT,
    file_bytes      INTEGER,
    formats         TEXT    NOT NULL              -- JSON: [{"name", "content_type", "body"}, ...]
) STRICT;

-- Keys that clients gave to requests, so that a repeated request finds its job.
CREATE TABLE idempotency_keys (
    client          TEXT    NOT NULL,
    key             TEXT    NOT NULL,
    job             INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    PRIMARY KEY (client, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_by_job ON idempotency_keys (job);

-- The sending of outcomes to callbacks. A row comes into being when its job finishes.
CREATE TABLE deliveries (
    job             INTEGER PRIMARY KEY REFERENCES jobs (seq) ON DELETE CASCADE,
    id              TEXT    NOT NULL UNIQUE,      -- the webhook-id
    url             TEXT    NOT NULL,
    host            TEXT    NOT NULL,
    state           TEXT    NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
    attempts        INTEGER NOT NULL DEFAULT 0,   -- POSTs made
    due_at          INTEGER CHECK ((due_at IS NULL) = (state <> 'pending')),
    last_error      TEXT,
    sender          TEXT    NOT NULL DEFAULT ''   -- the job's
) STRICT;
CREATE INDEX deliveries_pending ON deliveries (host, sender, due_at) WHERE state = 'pending';
-- Which is next, whatever its host.
CREATE INDEX deliveries_by_time ON deliveries (due_at) WHERE state = 'pending';

-- The ledger: one row for every POST to a callback.
CREATE TABLE delivery_attempts (
    job             INTEGER NOT NULL REFERENCES deliveries (job) ON DELETE CASCADE,
    attempt         INTEGER NOT NULL,             -- from 1
    at              INTEGER NOT NULL,
    status          INTEGER,                      -- of the receiver's reply, if there was one
    latency_ms      INTEGER NOT NULL,
    error           TEXT,
    next_attempt_at INTEGER,
    PRIMARY KEY (job, attempt)
) STRICT, WITHOUT ROWID;
