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
