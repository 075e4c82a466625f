-- Our own tables beside the user's. Each is named rejoin_*; none refers to a table of the user's.

-- One text per key: epoch, cursor_key, watermark, watermark_tag, zero_tag.
CREATE TABLE rejoin_meta(key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- The number under which the log names a table; it is never given again.
CREATE TABLE rejoin_table(number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE);

-- Identities of columns (S1). A name that goes is marked; when it comes back it gets a new identity.
CREATE TABLE rejoin_column(
  table_number INTEGER NOT NULL, id INTEGER NOT NULL, name TEXT NOT NULL, gone INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY(table_number, id)
) WITHOUT ROWID;

-- Every schema that was ever served, by its hash and the identities of its columns: a column that was dropped and added
-- again under its name has the old hash, and is another column all the same (S1).
CREATE TABLE rejoin_schema(
  version INTEGER PRIMARY KEY, hash TEXT NOT NULL, identities TEXT NOT NULL, manifest TEXT NOT NULL,
  created_at TEXT NOT NULL, UNIQUE(hash, identities)
);

-- What changed, for whom (B9). AUTOINCREMENT, or numbers begin again behind every cursor (C2).
-- The tag is the position's fingerprint: a restored file gives other tags to the same numbers (O14).
CREATE TABLE rejoin_changelog(
  seq INTEGER PRIMARY KEY AUTOINCREMENT, bucket TEXT NOT NULL, table_number INTEGER NOT NULL,
  record_id TEXT NOT NULL, tx INTEGER, tag INTEGER NOT NULL DEFAULT (random())
);
CREATE INDEX rejoin_changelog_bucket ON rejoin_changelog(bucket, seq);
CREATE INDEX rejoin_changelog_row ON rejoin_changelog(table_number, record_id);

-- One row. `last` is the newest version given to any row; `bumping` marks the trigger's own update; `tx` and `now` are
-- set by a push inside its transaction and cleared before it commits (B11).
CREATE TABLE rejoin_clock(
  one INTEGER PRIMARY KEY CHECK(one = 1), last TEXT NOT NULL, bumping INTEGER NOT NULL DEFAULT 0,
  transactions INTEGER NOT NULL DEFAULT 0, tx INTEGER, now TEXT
);
INSERT INTO rejoin_clock(one, last) VALUES(1, '0001-01-01T00:00:00.000000Z');

CREATE TABLE rejoin_client(
  user_id TEXT NOT NULL, client_id TEXT NOT NULL, id TEXT NOT NULL, client_name TEXT, platform TEXT NOT NULL,
  app_version TEXT NOT NULL, incarnation INTEGER NOT NULL DEFAULT 0, acked_below INTEGER NOT NULL DEFAULT 0,
  purged_below INTEGER NOT NULL DEFAULT 0, position INTEGER, last_pull_at TEXT, last_push_at TEXT,
  created_at TEXT NOT NULL, seen_at TEXT NOT NULL, PRIMARY KEY(user_id, client_id)
) WITHOUT ROWID;

-- The verdict on the latest attempt of each mutation (O2), and what an accepted one displaced (O13).
CREATE TABLE rejoin_verdict(
  user_id TEXT NOT NULL, mutation_id TEXT NOT NULL, attempt INTEGER NOT NULL, hash TEXT NOT NULL, ending TEXT NOT NULL,
  client_id TEXT NOT NULL, seq INTEGER NOT NULL, verdict TEXT NOT NULL, displaced TEXT, at TEXT NOT NULL,
  PRIMARY KEY(user_id, mutation_id)
) WITHOUT ROWID;
CREATE INDEX rejoin_verdict_client ON rejoin_verdict(user_id, client_id, seq);

-- Buckets that a user may read beside `user:<id>` and `global`; kept by the operator, by SQL.
CREATE TABLE rejoin_bucket(
  user_id TEXT NOT NULL, bucket TEXT NOT NULL, PRIMARY KEY(user_id, bucket)
) WITHOUT ROWID;
