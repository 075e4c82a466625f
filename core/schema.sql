-- The engine's own tables. Everything else in the file is the app's.
--
-- No release has written a file yet, so there are no migrations: the first release freezes this text, and each later
-- change of it becomes a migration.

-- Facts about the file, by name: client_id, epoch, cursor, subject, manifest, ...
CREATE TABLE rejoin_meta (
    key   TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- Synced tables. A number is never used twice, so that a recorded effect can name its table by it. A table that the server
-- has removed keeps its number and its name; a later one of the same name gets a number of its own.
CREATE TABLE rejoin_table (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    name   TEXT NOT NULL COLLATE NOCASE
);

-- The identity of each column that a table has or had: `id` is this file's, `identity` the server's, if it has one.
-- Removed columns are kept, so that no identity is used twice.
CREATE TABLE rejoin_column (
    table_number    INTEGER NOT NULL,
    id              INTEGER NOT NULL,
    name            TEXT NOT NULL COLLATE NOCASE,
    identity        INTEGER,
    kind            TEXT NOT NULL,
    gone            INTEGER NOT NULL DEFAULT 0,
    removed_default,             -- the default of a removed column: an insert with this value has not named the column
    PRIMARY KEY (table_number, id)
) WITHOUT ROWID;

-- The queue: one row per mutation. A write touches no other row: the indexes by row and by id are in memory, and the last
-- numbers are in rejoin_meta (last_given), written only when a mutation leaves the queue.
CREATE TABLE rejoin_mutation (
    seq        INTEGER PRIMARY KEY, -- rises, never used twice
    id         BLOB NOT NULL,       -- 16 bytes, random
    time_ms    INTEGER NOT NULL,    -- when it was written
    counter    INTEGER NOT NULL,    -- orders mutations of one millisecond
    action     TEXT,                -- NULL for plain SQL
    version    INTEGER,             -- of the action
    args       TEXT,                -- of the action, as JSON
    state      INTEGER NOT NULL,    -- 0 pending, 1 sent, 2 uncertain, 3 parked
    attempt    INTEGER NOT NULL,    -- the current one
    request    INTEGER,             -- the last one that contained it
    hash       TEXT,                -- of the current attempt, once it was sent
    because_of BLOB,                -- the mutation whose end parked this one
    reason     INTEGER,             -- why it is parked
    detail     TEXT,                -- the server's message and both rows of a conflict, as JSON
    effect     BLOB NOT NULL,       -- what the user wrote; never changes
    basis      BLOB,                -- old values of the current attempt that differ from those of the effect
    frozen     BLOB,                -- what else was sent with the current attempt: dependencies, versions
    undo       BLOB,                -- what the last replay overwrote; NULL if that equals the old values of the effect
    parts      BLOB,                -- plain server: verdicts on single rows, while others wait for theirs
    policy_state     BLOB,                -- what the policies of its tables keep from one attempt to the next; NULL for most
    reads      BLOB,                -- the tables that the last run of an action read or wrote; NULL for plain SQL
    told       INTEGER NOT NULL DEFAULT 0, -- whether the app knows its end, although it is sent again to a restored server
    undoes     BLOB                 -- the mutation that this one reverts, by undo or redo
);

-- Accepted mutations; bounded.
CREATE TABLE rejoin_history (
    seq         INTEGER PRIMARY KEY,
    id          BLOB NOT NULL,
    time_ms     INTEGER NOT NULL,
    counter     INTEGER NOT NULL,
    action      TEXT,
    version     INTEGER,
    args        TEXT,
    attempt     INTEGER NOT NULL,
    accepted_ms INTEGER NOT NULL,
    epoch       TEXT,               -- of the server, when it accepted the mutation
    effect      BLOB NOT NULL,
    basis       BLOB,
    frozen      BLOB,               -- what else was sent, in case a restored server has to be sent it again
    displaced   BLOB,               -- the values that it replaced on the server
    undoes      BLOB                -- the mutation that this one reverts
);

-- What a plain server is sent: one record per row, as it was sent, until its verdict. Empty with a Rejoin server.
CREATE TABLE rejoin_record (
    place   INTEGER PRIMARY KEY, -- the order in which they were frozen
    content BLOB NOT NULL
);

-- Mutations that the app has discarded while a server may have them: they no longer change the rows, and are withdrawn by id
-- until the server has answered.
CREATE TABLE rejoin_cancel (
    seq       INTEGER PRIMARY KEY, -- its place in the queue, which its reversal takes if the server had accepted it
    id        BLOB NOT NULL,
    root      BLOB NOT NULL,       -- the mutation that the app named; what depended on it is discarded with it
    effect    BLOB NOT NULL,       -- what it wrote, with the old values of its last attempt
    attempt   INTEGER NOT NULL DEFAULT 1, -- the last one that was sent
    of_action INTEGER NOT NULL DEFAULT 0  -- an action is reversed completely, or the app decides
);

-- How mutations ended, until the app has acknowledged it; the newest are kept.
CREATE TABLE rejoin_verdict (
    number     INTEGER PRIMARY KEY AUTOINCREMENT, -- in the order of arrival; never used twice
    mutation   BLOB NOT NULL,
    attempt    INTEGER NOT NULL,
    kind       INTEGER NOT NULL,                  -- 0 accepted, 1 withdrawn, 2 corrected, from 10: parked, by reason
    because_of BLOB,                              -- the mutation that parked it, or reverses it
    action     TEXT,
    detail     TEXT,                              -- the server's message and both rows of a conflict, as JSON
    at_ms      INTEGER NOT NULL
);

-- Hashes of rows that a plain server had and deleted: a create with such a key may meet a row of another user.
CREATE TABLE rejoin_gone (
    hash INTEGER PRIMARY KEY
);

-- Subscriptions of this device to streams. Ended ones stay while mutations wait for the server, which may need their rights,
-- and until a pull has removed their rows.
CREATE TABLE rejoin_subscription (
    stream     TEXT NOT NULL,
    parameters TEXT NOT NULL,    -- their values by name, as JSON in the order of the names
    priority   INTEGER NOT NULL, -- lower ones are loaded first
    ttl_ms     INTEGER NOT NULL, -- how long it lasts after the app no longer holds it
    expires_ms INTEGER NOT NULL, -- when it ends, unless it is held; 0 if the app has ended it
    state      TEXT,             -- its state in the last pull, as JSON; NULL before
    pushed     INTEGER NOT NULL DEFAULT 0, -- 1 from a push with it until its rows are current: the cursor may not have it
    PRIMARY KEY (stream, parameters)
) WITHOUT ROWID;

-- The log model (docs/log.md). Keys of entries are 48 bytes, big-endian: time, counter, author, id. So SQLite orders them
-- as the model does.

-- Author, clock, cursor, horizon and the like, as JSON: one row, once there is a log.
CREATE TABLE rejoin_log_facts (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    facts TEXT NOT NULL
);

-- The entries above the horizon, with their before-images. `own` is NULL for entries of other authors; for own ones 0, or
-- what the entry waits for: 1 the server, 2 the user.
CREATE TABLE rejoin_log_entry (
    id     BLOB PRIMARY KEY NOT NULL,
    key    BLOB NOT NULL UNIQUE,
    own    INTEGER,
    record TEXT NOT NULL
);
CREATE INDEX rejoin_log_own ON rejoin_log_entry (own, key) WHERE own IS NOT NULL;

-- The index of the entries that count: the rows that each names, by row and by entry. An entry that names none has a row
-- without a name.
CREATE TABLE rejoin_log_row (
    table_name TEXT NOT NULL,
    row_id     TEXT NOT NULL,
    key        BLOB NOT NULL,
    PRIMARY KEY (key, table_name, row_id)
) WITHOUT ROWID;
CREATE INDEX rejoin_log_name ON rejoin_log_row (table_name, row_id, key);

-- The tables that the last run of an entry read or wrote.
CREATE TABLE rejoin_log_table (
    table_name TEXT NOT NULL,
    key        BLOB NOT NULL,
    PRIMARY KEY (key, table_name)
) WITHOUT ROWID;
CREATE INDEX rejoin_log_read ON rejoin_log_table (table_name, key);

-- The pages of a snapshot of the log that replaces its rows, as JSON, until the last one.
CREATE TABLE rejoin_log_page (
    number INTEGER PRIMARY KEY,
    page   TEXT NOT NULL
);
