-- The log model (docs/log.md). Keys of entries are 48 bytes, big-endian: time, counter, author, id. So SQLite orders
-- them as the model does.

-- Author, clock, cursor, horizon and the like, as JSON: one row, once there is a log.
CREATE TABLE rejoin_log_facts (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    facts TEXT NOT NULL
);

-- The entries above the horizon, with their before-images. `own` is NULL for entries of other authors; for own ones 0,
-- or what the entry waits for: 1 the server, 2 the user.
CREATE TABLE rejoin_log_entry (
    id     BLOB PRIMARY KEY NOT NULL,
    key    BLOB NOT NULL UNIQUE,
    own    INTEGER,
    record TEXT NOT NULL
);
CREATE INDEX rejoin_log_own ON rejoin_log_entry (own, key) WHERE own IS NOT NULL;

-- The index of the entries that count: what each touches, and the entries by row and by table.
CREATE TABLE rejoin_log_step (
    key       BLOB PRIMARY KEY NOT NULL,
    footprint TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE rejoin_log_row (
    table_name TEXT NOT NULL,
    row_id     TEXT NOT NULL,
    key        BLOB NOT NULL,
    PRIMARY KEY (table_name, row_id, key)
) WITHOUT ROWID;
-- `reads`: 1 where the last run of the entry read or wrote the table, 0 where the entry names a row of it.
CREATE TABLE rejoin_log_table (
    table_name TEXT NOT NULL,
    reads      INTEGER NOT NULL,
    key        BLOB NOT NULL,
    PRIMARY KEY (table_name, reads, key)
) WITHOUT ROWID;
