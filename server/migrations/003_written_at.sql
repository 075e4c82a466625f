-- When a row was written by its author, where that was before it came here: only in tables in which the later edit wins
-- (O11). It holds for one version of the row; any other writer makes it void by giving the row another one.
CREATE TABLE rejoin_written(
  table_number INTEGER NOT NULL, record_id TEXT NOT NULL, version TEXT NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY(table_number, record_id)
) WITHOUT ROWID;
