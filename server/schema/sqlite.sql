-- The server's own tables beside the app's in SQLite. Each is named rejoin_*; none refers to a table of the app.
--
-- No release has written a database yet, so there are no migrations: the first release freezes this text, and each later
-- change of it becomes a migration.

-- One text per key: epoch, cursor_key, watermark, watermark_tag, zero_tag.
CREATE TABLE rejoin_meta(key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- The number by which the log names a table; never used twice.
CREATE TABLE rejoin_table(number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE);

-- Identities of columns. The name of a removed column is marked; if it comes back it gets a new identity.
CREATE TABLE rejoin_column(
  table_number INTEGER NOT NULL, id INTEGER NOT NULL, name TEXT NOT NULL, gone INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY(table_number, id)
) WITHOUT ROWID;

-- Every schema that was ever served, by its hash and the identities of its columns: a column that was dropped and added
-- again under its name leaves the hash as it was, and is another column.
CREATE TABLE rejoin_schema(
  version INTEGER PRIMARY KEY, hash TEXT NOT NULL, identities TEXT NOT NULL, manifest TEXT NOT NULL,
  created_at TEXT NOT NULL, UNIQUE(hash, identities)
);

-- Which row has changed, by bucket. AUTOINCREMENT: otherwise numbers would begin again behind every cursor after the log
-- was emptied. The tag identifies the position: a restored file gives other tags to the same numbers.
CREATE TABLE rejoin_changelog(
  seq INTEGER PRIMARY KEY AUTOINCREMENT, bucket TEXT NOT NULL, table_number INTEGER NOT NULL,
  record_id TEXT NOT NULL, tx INTEGER, tag INTEGER NOT NULL DEFAULT (random())
);
CREATE INDEX rejoin_changelog_bucket ON rejoin_changelog(bucket, seq);
CREATE INDEX rejoin_changelog_row ON rejoin_changelog(table_number, record_id);

-- One row. `last` is the newest version given to any row; `bumping` marks the update of the trigger itself; `tx` and `now`
-- are set by a push inside its transaction and cleared before it commits.
CREATE TABLE rejoin_clock(
  one INTEGER PRIMARY KEY CHECK(one = 1), last TEXT NOT NULL, bumping INTEGER NOT NULL DEFAULT 0,
  transactions INTEGER NOT NULL DEFAULT 0, tx INTEGER, now TEXT
);
INSERT INTO rejoin_clock(one, last) VALUES(1, '0001-01-01T00:00:00.000000Z');

-- `opening` is the name of the last opening of a device's file: another one with the same number is of a copy of the file.
CREATE TABLE rejoin_client(
  user_id TEXT NOT NULL, client_id TEXT NOT NULL, id TEXT NOT NULL, client_name TEXT, platform TEXT NOT NULL,
  app_version TEXT NOT NULL, incarnation INTEGER NOT NULL DEFAULT 0, acked_below INTEGER NOT NULL DEFAULT 0,
  purged_below INTEGER NOT NULL DEFAULT 0, position INTEGER, last_pull_at TEXT, last_push_at TEXT,
  created_at TEXT NOT NULL, seen_at TEXT NOT NULL, opening TEXT NOT NULL DEFAULT '', PRIMARY KEY(user_id, client_id)
) WITHOUT ROWID;

-- The verdict on the latest attempt of each mutation, and the values that an accepted one replaced.
CREATE TABLE rejoin_verdict(
  user_id TEXT NOT NULL, mutation_id TEXT NOT NULL, attempt INTEGER NOT NULL, hash TEXT NOT NULL, ending TEXT NOT NULL,
  client_id TEXT NOT NULL, seq INTEGER NOT NULL, verdict TEXT NOT NULL, displaced TEXT, at TEXT NOT NULL,
  PRIMARY KEY(user_id, mutation_id)
) WITHOUT ROWID;
CREATE INDEX rejoin_verdict_client ON rejoin_verdict(user_id, client_id, seq);

-- When the author wrote a row, if that was before the server got it: only in tables in which the later edit wins. It holds
-- for one version of the row: every other write gives the row another version.
CREATE TABLE rejoin_written(
  table_number INTEGER NOT NULL, record_id TEXT NOT NULL, version TEXT NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY(table_number, record_id)
) WITHOUT ROWID;

-- Buckets that a user may read or write beside `user:<id>` and `global`; the operator writes here by SQL.
CREATE TABLE rejoin_bucket(
  user_id TEXT NOT NULL, bucket TEXT NOT NULL, reads INTEGER NOT NULL DEFAULT 1, writes INTEGER NOT NULL DEFAULT 1,
  PRIMARY KEY(user_id, bucket)
) WITHOUT ROWID;

-- A user who gets or loses a bucket is notified, whichever program wrote it. The entry names no row.
CREATE TRIGGER rejoin_granted AFTER INSERT ON rejoin_bucket BEGIN
  INSERT INTO rejoin_changelog(bucket, table_number, record_id) VALUES('user:' || NEW.user_id, 0, '');
END;
CREATE TRIGGER rejoin_revoked AFTER DELETE ON rejoin_bucket BEGIN
  INSERT INTO rejoin_changelog(bucket, table_number, record_id) VALUES('user:' || OLD.user_id, 0, '');
END;
CREATE TRIGGER rejoin_regranted AFTER UPDATE ON rejoin_bucket BEGIN
  INSERT INTO rejoin_changelog(bucket, table_number, record_id)
    SELECT 'user:' || OLD.user_id, 0, '' UNION SELECT 'user:' || NEW.user_id, 0, '';
END;

-- Parts of a group that is larger than one request; at most one content for each device.
CREATE TABLE rejoin_staged(
  user_id TEXT NOT NULL, client_id TEXT NOT NULL, at_byte INTEGER NOT NULL, content TEXT NOT NULL, size INTEGER NOT NULL,
  bytes BLOB NOT NULL, at TEXT NOT NULL, PRIMARY KEY(user_id, client_id, at_byte)
);
