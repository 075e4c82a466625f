-- Tables of the log model, only where a log table is configured. Bodies are JSON. A key is 48 bytes that order as it does.
CREATE TABLE IF NOT EXISTS rejoin.log_facts(one integer PRIMARY KEY CHECK (one = 1), body text COLLATE "C" NOT NULL) WITH (fillfactor = 50);
CREATE TABLE IF NOT EXISTS rejoin.log_entry(
  id bytea PRIMARY KEY, key bytea NOT NULL UNIQUE, position bigint NOT NULL UNIQUE, author bytea NOT NULL,
  body text COLLATE "C" NOT NULL
);
-- The rows at the horizon, and each row's history above it.
CREATE TABLE IF NOT EXISTS rejoin.log_base(
  table_name text COLLATE "C" NOT NULL, row_id text COLLATE "C" NOT NULL, body text COLLATE "C" NOT NULL,
  PRIMARY KEY(table_name, row_id)
);
CREATE TABLE IF NOT EXISTS rejoin.log_link(
  table_name text COLLATE "C" NOT NULL, row_id text COLLATE "C" NOT NULL, key bytea NOT NULL, body text COLLATE "C" NOT NULL,
  PRIMARY KEY(table_name, row_id, key)
);
-- Entries that are folded into the base.
CREATE TABLE IF NOT EXISTS rejoin.log_final(id bytea PRIMARY KEY, author bytea NOT NULL);
CREATE INDEX IF NOT EXISTS log_final_author ON rejoin.log_final(author);
CREATE TABLE IF NOT EXISTS rejoin.log_author(id bytea PRIMARY KEY, body text COLLATE "C" NOT NULL);
CREATE TABLE IF NOT EXISTS rejoin.log_member(user_id text COLLATE "C" PRIMARY KEY, body text COLLATE "C" NOT NULL);

-- An entry concerns several users, so no policy can show it in part: with row level security and no policy, only the owner
-- of these tables reads them, whatever is granted on the schema.
ALTER TABLE rejoin.log_facts ENABLE ROW LEVEL SECURITY;
ALTER TABLE rejoin.log_entry ENABLE ROW LEVEL SECURITY;
ALTER TABLE rejoin.log_base ENABLE ROW LEVEL SECURITY;
ALTER TABLE rejoin.log_link ENABLE ROW LEVEL SECURITY;
ALTER TABLE rejoin.log_final ENABLE ROW LEVEL SECURITY;
ALTER TABLE rejoin.log_author ENABLE ROW LEVEL SECURITY;
ALTER TABLE rejoin.log_member ENABLE ROW LEVEL SECURITY;
