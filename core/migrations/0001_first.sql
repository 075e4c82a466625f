-- The engine's own tables. Everything else in the file is the app's.

-- Facts about the file, by name: client_id, epoch, cursor, subject, manifest, ...
CREATE TABLE rejoin_meta (
    key   TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- Synced tables. A number is given once and never again, so that a recorded effect can name its table by it.
CREATE TABLE rejoin_table (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    name   TEXT NOT NULL UNIQUE COLLATE NOCASE
);

-- The identity of each column that a table has, or had (S1). `gone` ones are kept, so that no identity is given twice.
CREATE TABLE rejoin_column (
    table_number INTEGER NOT NULL,
    id           INTEGER NOT NULL,
    name         TEXT NOT NULL COLLATE NOCASE,
    kind         TEXT NOT NULL,
    gone         INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (table_number, id)
) WITHOUT ROWID;

-- The queue (B4). States: 0 pending, 1 sent, 2 uncertain, 3 parked.
CREATE TABLE rejoin_mutation (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    id         BLOB NOT NULL,
    time_ms    INTEGER NOT NULL,
    counter    INTEGER NOT NULL,
    action     TEXT,
    version    INTEGER,
    args       TEXT,
    state      INTEGER NOT NULL,
    attempt    INTEGER NOT NULL,
    request    INTEGER,
    hash       BLOB,
    because_of BLOB,
    reason     INTEGER,
    detail     TEXT,
    effect     BLOB NOT NULL,
    basis      BLOB,
    undo       BLOB,
    after      BLOB
);

-- Accepted mutations, bounded (D11).
CREATE TABLE rejoin_history (
    seq        INTEGER PRIMARY KEY,
    id         BLOB NOT NULL,
    time_ms    INTEGER NOT NULL,
    counter    INTEGER NOT NULL,
    action     TEXT,
    version    INTEGER,
    args       TEXT,
    attempt    INTEGER NOT NULL,
    effect     BLOB NOT NULL,
    displaced  BLOB,
    accepted_ms INTEGER NOT NULL
);
