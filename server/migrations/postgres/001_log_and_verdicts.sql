-- Our own tables beside the user's, in a schema of their own; none refers to a table of the user's.
CREATE SCHEMA IF NOT EXISTS rejoin;

-- One text per key: epoch, cursor_key, watermark, zero_tag, migration.
CREATE TABLE rejoin.meta(key text COLLATE "C" PRIMARY KEY, value text COLLATE "C" NOT NULL);

-- The number under which the log names a table; it is never given again. Another table under an old name has another
-- `relation`, and keeps the number: a restored dump is the same table to devices.
CREATE TABLE rejoin.table_number(
  number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text COLLATE "C" NOT NULL UNIQUE, relation oid NOT NULL
);

-- Identities of columns (S1), by `pg_attribute.attnum`: a column that is renamed stays itself, one that was dropped and
-- added again under its name is another. A number that is gone is never given again.
CREATE TABLE rejoin.column_identity(
  table_number integer NOT NULL, id integer NOT NULL, attnum integer, name text COLLATE "C" NOT NULL,
  PRIMARY KEY(table_number, id)
);

-- Every schema that was ever served, by its hash and the identities of its columns.
CREATE TABLE rejoin.schema_version(
  version bigint PRIMARY KEY, hash text COLLATE "C" NOT NULL, identities text COLLATE "C" NOT NULL,
  manifest text COLLATE "C" NOT NULL, created_at text COLLATE "C" NOT NULL
);
CREATE UNIQUE INDEX schema_version_content ON rejoin.schema_version(hash, md5(identities));

-- What changed, for whom, as the triggers write it: without a position, for nobody knows yet when it commits (C1).
CREATE TABLE rejoin.inbox(
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tx xid8 NOT NULL DEFAULT pg_current_xact_id(),
  bucket text COLLATE "C" NOT NULL, table_number integer NOT NULL, record_id text COLLATE "C" NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- The same with positions, in the order in which the sequencer found it committed. The tag is the position's
-- fingerprint: a restored database gives other tags to the same numbers (O14).
CREATE TABLE rejoin.changelog(
  position bigint PRIMARY KEY, tx xid8 NOT NULL, bucket text COLLATE "C" NOT NULL, table_number integer NOT NULL,
  record_id text COLLATE "C" NOT NULL, tag bigint NOT NULL DEFAULT (floor(random() * 9007199254740992))::bigint
);
CREATE INDEX changelog_bucket ON rejoin.changelog(bucket, position);
CREATE INDEX changelog_row ON rejoin.changelog(table_number, record_id);
CREATE INDEX inbox_row ON rejoin.inbox(table_number, record_id);

-- One row: the last position that was given. It only rises, also when the log has been emptied (C2).
CREATE TABLE rejoin.head(
  one boolean PRIMARY KEY DEFAULT true CHECK (one), position bigint NOT NULL
) WITH (fillfactor = 50);
INSERT INTO rejoin.head(position) VALUES (0);

CREATE TABLE rejoin.client(
  user_id text COLLATE "C" NOT NULL, client_id text COLLATE "C" NOT NULL, id text COLLATE "C" NOT NULL,
  client_name text, platform text NOT NULL, app_version text NOT NULL, incarnation bigint NOT NULL,
  opening text NOT NULL, acked_below bigint NOT NULL, purged_below bigint NOT NULL, position bigint,
  last_pull_at text COLLATE "C", last_push_at text COLLATE "C", created_at text COLLATE "C" NOT NULL,
  seen_at text COLLATE "C" NOT NULL, PRIMARY KEY(user_id, client_id)
);

-- The verdict on the latest attempt of each mutation (O2), and what an accepted one displaced (O13).
CREATE TABLE rejoin.verdict(
  user_id text COLLATE "C" NOT NULL, mutation_id text COLLATE "C" NOT NULL, attempt bigint NOT NULL,
  hash text COLLATE "C" NOT NULL, ending text COLLATE "C" NOT NULL, client_id text COLLATE "C" NOT NULL,
  seq bigint NOT NULL, verdict text NOT NULL, displaced text, at text COLLATE "C" NOT NULL,
  PRIMARY KEY(user_id, mutation_id)
);
CREATE INDEX verdict_client ON rejoin.verdict(user_id, client_id, seq);

-- When a row was written by its author, where that was before it came here (O11); for one version of the row.
CREATE TABLE rejoin.written(
  table_number integer NOT NULL, record_id text COLLATE "C" NOT NULL, version text COLLATE "C" NOT NULL,
  at bigint NOT NULL, PRIMARY KEY(table_number, record_id)
);

-- Buckets that a user may read beside `user:<id>` and `global`; kept by the operator, by SQL.
CREATE TABLE rejoin.bucket(
  user_id text COLLATE "C" NOT NULL, bucket text COLLATE "C" NOT NULL, PRIMARY KEY(user_id, bucket)
);

-- The sequencer (C1). The statement after the lock has a snapshot of its own, which is why this must run in READ
-- COMMITTED: it sees whatever committed before the lock was given, and numbers it behind everything that has a number. A
-- transaction that is still open delays itself and nobody else. Entries of one transaction get neighbouring positions
-- (D15), for a transaction is visible as a whole. Returns the last position.
CREATE FUNCTION rejoin.sequence() RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $rejoin$
BEGIN
  IF EXISTS (SELECT FROM rejoin.inbox) THEN
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
      RAISE EXCEPTION 'rejoin.sequence() needs READ COMMITTED';
    END IF;
    PERFORM pg_advisory_xact_lock(1380600394, 0);
    WITH taken AS (
      DELETE FROM rejoin.inbox RETURNING id, tx, bucket, table_number, record_id
    ), numbered AS (
      INSERT INTO rejoin.changelog(position, tx, bucket, table_number, record_id)
      SELECT h.position + row_number() OVER (ORDER BY t.tx, t.id), t.tx, t.bucket, t.table_number, t.record_id
      FROM taken AS t, rejoin.head AS h
      RETURNING 1
    )
    UPDATE rejoin.head SET position = position + (SELECT count(*) FROM numbered)
    WHERE EXISTS (SELECT FROM numbered);
  END IF;
  RETURN (SELECT h.position FROM rejoin.head AS h);
END
$rejoin$;

-- Whoever writes a row whose bucket depends on this parent holds the parent's place, together with others; whoever moves
-- the parent to another owner holds it alone. So one of them sees what the other did (O15). 256 places a table, so that a
-- transaction that writes a million rows does not hold a million locks.
CREATE FUNCTION rejoin.hold(table_number integer, key text, alone boolean) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $rejoin$
DECLARE
  place integer := (table_number << 8) | (hashtext(key) & 255);
BEGIN
  IF key IS NULL THEN
    RETURN;
  ELSIF alone THEN
    PERFORM pg_advisory_xact_lock(1380600395, place);
  ELSE
    PERFORM pg_advisory_xact_lock_shared(1380600395, place);
  END IF;
END
$rejoin$;
