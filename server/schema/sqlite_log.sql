-- Tables of the log model, only where a log table is configured. Bodies are JSON. A key is 48 bytes that order as it does.
CREATE TABLE IF NOT EXISTS rejoin_log_facts(one INTEGER PRIMARY KEY CHECK (one = 1), body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS rejoin_log_entry(
  id BLOB PRIMARY KEY, key BLOB NOT NULL UNIQUE, position INTEGER NOT NULL UNIQUE, author BLOB NOT NULL, body TEXT NOT NULL
) WITHOUT ROWID;
-- The rows at the horizon, and each row's history above it.
CREATE TABLE IF NOT EXISTS rejoin_log_base(
  table_name TEXT NOT NULL, row_id TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY(table_name, row_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rejoin_log_link(
  table_name TEXT NOT NULL, row_id TEXT NOT NULL, key BLOB NOT NULL, body TEXT NOT NULL, PRIMARY KEY(table_name, row_id, key)
) WITHOUT ROWID;
-- Entries that are folded into the base.
CREATE TABLE IF NOT EXISTS rejoin_log_final(id BLOB PRIMARY KEY, author BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS rejoin_log_final_author ON rejoin_log_final(author);
CREATE TABLE IF NOT EXISTS rejoin_log_author(id BLOB PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rejoin_log_member(user_id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
