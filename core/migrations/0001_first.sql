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

-- The identity of each column that a table has, or had (S1): `id` is this file's, `identity` the server's, where it tells
-- one. Columns that are gone are kept, so that no identity is given twice.
CREATE TABLE rejoin_column (
    table_number INTEGER NOT NULL,
    id           INTEGER NOT NULL,
    name         TEXT NOT NULL COLLATE NOCASE,
    identity     INTEGER,
    kind         TEXT NOT NULL,
    gone         INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (table_number, id)
) WITHOUT ROWID;
