-- The server's own tables beside the app's in PostgreSQL, in a schema of their own; none refers to a table of the app.
--
-- No release has written a database yet, so there are no migrations: the first release freezes this text, and each later
-- change of it becomes a migration.
CREATE SCHEMA IF NOT EXISTS rejoin;

-- One text per key: epoch, cursor_key, watermark, zero_tag, migration.
CREATE TABLE rejoin.meta(key text COLLATE "C" PRIMARY KEY, value text COLLATE "C" NOT NULL);

-- The number by which the log names a table; never used twice. Another table under a former name has another `relation` and
-- keeps the number: a restored dump is the same table to devices. `stored`: what the table's stored values depend on besides
-- its rows (files, catalogue rows of the columns, labels of enums). A statement that changes the schema can rewrite the
-- values of all rows, and no trigger is called.
CREATE TABLE rejoin.table_number(
  number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text COLLATE "C" NOT NULL UNIQUE, relation oid NOT NULL,
  stored json
);

-- Identities of columns, by `pg_attribute.attnum`: a renamed column stays the same, one that was dropped and added again under
-- its name is another. A removed number is never used again.
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

-- Which row has changed, by bucket, as the triggers write it: without a position, because it is not known yet when the
-- transaction commits. `tx` is the transaction whose change an entry reports, which the answer of a bucket resolver names much
-- later; `writer` is the one that put the entry here.
CREATE TABLE rejoin.inbox(
  id bigint GENERATED ALWAYS AS IDENTITY, tx xid8 NOT NULL DEFAULT pg_current_xact_id(),
  bucket text COLLATE "C" NOT NULL, table_number integer NOT NULL, record_id text COLLATE "C" NOT NULL,
  writer xid8 NOT NULL DEFAULT pg_current_xact_id(), PRIMARY KEY (writer, id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
CREATE INDEX inbox_row ON rejoin.inbox(table_number, record_id);

-- The same with positions, in the order in which the sequencer found it committed. The tag identifies the position: a restored
-- database gives other tags to the same numbers.
CREATE TABLE rejoin.changelog(
  position bigint PRIMARY KEY, tx xid8 NOT NULL, bucket text COLLATE "C" NOT NULL, table_number integer NOT NULL,
  record_id text COLLATE "C" NOT NULL, tag bigint NOT NULL DEFAULT (floor(random() * 9007199254740992))::bigint
);
CREATE INDEX changelog_bucket ON rejoin.changelog(bucket, position);
CREATE INDEX changelog_row ON rejoin.changelog(table_number, record_id);

-- One row: the last position, which only rises, also when the log has been emptied, and what the sequencer saw when it numbered
-- last. Each transaction from `later` on had not begun then; those of `open` had not ended, its own among them, because it may
-- write more. That holds only if `seen_by` has written the row: numbers of transactions mean nothing in a database that was
-- restored elsewhere, and after any other change of the row the whole inbox is read once.
CREATE TABLE rejoin.head(
  one boolean PRIMARY KEY DEFAULT true CHECK (one), position bigint NOT NULL, later xid8, open xid8[], seen_by xid8
) WITH (fillfactor = 50);
INSERT INTO rejoin.head(position) VALUES (0);

CREATE TABLE rejoin.client(
  user_id text COLLATE "C" NOT NULL, client_id text COLLATE "C" NOT NULL, id text COLLATE "C" NOT NULL,
  client_name text, platform text NOT NULL, app_version text NOT NULL, incarnation bigint NOT NULL,
  opening text NOT NULL, acked_below bigint NOT NULL, purged_below bigint NOT NULL, position bigint,
  last_pull_at text COLLATE "C", last_push_at text COLLATE "C", created_at text COLLATE "C" NOT NULL,
  seen_at text COLLATE "C" NOT NULL, PRIMARY KEY(user_id, client_id)
);

-- The verdict on the latest attempt of each mutation, and the values that an accepted one replaced.
CREATE TABLE rejoin.verdict(
  user_id text COLLATE "C" NOT NULL, mutation_id text COLLATE "C" NOT NULL, attempt bigint NOT NULL,
  hash text COLLATE "C" NOT NULL, ending text COLLATE "C" NOT NULL, client_id text COLLATE "C" NOT NULL,
  seq bigint NOT NULL, verdict text NOT NULL, displaced text, at text COLLATE "C" NOT NULL,
  PRIMARY KEY(user_id, mutation_id)
);
CREATE INDEX verdict_client ON rejoin.verdict(user_id, client_id, seq);

-- When the author wrote a row, if that was before the server got it; for one version of the row.
CREATE TABLE rejoin.written(
  table_number integer NOT NULL, record_id text COLLATE "C" NOT NULL, version text COLLATE "C" NOT NULL,
  at bigint NOT NULL, PRIMARY KEY(table_number, record_id)
);

-- Buckets that a user may read or write beside `user:<id>` and `global`; the operator writes here by SQL.
CREATE TABLE rejoin.bucket(
  user_id text COLLATE "C" NOT NULL, bucket text COLLATE "C" NOT NULL,
  reads boolean NOT NULL DEFAULT true, writes boolean NOT NULL DEFAULT true, PRIMARY KEY(user_id, bucket)
);

-- A user who gets or loses a bucket is notified, whichever program wrote it. The entry names no row.
CREATE FUNCTION rejoin.subscribed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $rejoin$
BEGIN
  IF TG_OP <> 'INSERT' THEN
    INSERT INTO rejoin.inbox(bucket, table_number, record_id) VALUES ('user:' || OLD.user_id, 0, '');
  END IF;
  IF TG_OP <> 'DELETE' THEN
    INSERT INTO rejoin.inbox(bucket, table_number, record_id) VALUES ('user:' || NEW.user_id, 0, '');
  END IF;
  RETURN NULL;
END
$rejoin$;
CREATE TRIGGER subscribed AFTER INSERT OR UPDATE OR DELETE ON rejoin.bucket
FOR EACH ROW EXECUTE FUNCTION rejoin.subscribed();
ALTER TABLE rejoin.bucket ENABLE ALWAYS TRIGGER subscribed;

-- The sequencer moves entries from the inbox to the log and returns the last position. Every write fills the inbox while it is
-- emptied, and deleted entries stay in the way until a vacuum, which one open transaction can delay. So the sequencer remembers
-- what it saw when it numbered last, and continues from there along an index: entries of transactions that had not begun then,
-- and of those that were open. It must take everything that its statement sees, because it remembers the snapshot of that
-- statement. The statement after the lock has its own snapshot, so this must run in READ COMMITTED: it sees what committed
-- before the lock was given, and numbers it after everything that has a number. An open transaction delays only itself. Entries
-- of one transaction get neighbouring positions, because a transaction is visible as a whole.
--
-- Without `jit = off` the planner compiles the statement, which takes longer than running it: it estimates a plan without a
-- sequential scan as expensive.
CREATE FUNCTION rejoin.sequence() RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET jit = off AS $rejoin$
DECLARE
  later_on xid8;
  were_open xid8[];
BEGIN
  SELECT h.later, h.open INTO later_on, were_open FROM rejoin.head AS h WHERE h.seen_by::xid = h.xmin;
  IF NOT FOUND THEN
    later_on := '0';
    were_open := '{}';
  END IF;
  IF EXISTS (SELECT FROM rejoin.inbox AS i WHERE i.writer >= later_on)
    OR EXISTS (SELECT FROM rejoin.inbox AS i WHERE i.writer = ANY(ARRAY(SELECT o FROM unnest(were_open) AS o
      WHERE pg_visible_in_snapshot(o, pg_current_snapshot()) OR o = pg_current_xact_id_if_assigned())))
  THEN
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
      RAISE EXCEPTION 'rejoin.sequence() needs READ COMMITTED';
    END IF;
    PERFORM pg_advisory_xact_lock(1380600394, 0);
    WITH taken AS (
      DELETE FROM rejoin.inbox AS i
      WHERE i.writer >= later_on OR i.writer = ANY(ARRAY(SELECT o FROM unnest(were_open) AS o
        WHERE pg_visible_in_snapshot(o, pg_current_snapshot()) OR o = pg_current_xact_id_if_assigned()))
      RETURNING i.id, i.tx, i.bucket, i.table_number, i.record_id
    ), numbered AS (
      INSERT INTO rejoin.changelog(position, tx, bucket, table_number, record_id)
      SELECT h.position + row_number() OVER (ORDER BY t.tx, t.id), t.tx, t.bucket, t.table_number, t.record_id
      FROM taken AS t, rejoin.head AS h
      RETURNING 1
    )
    UPDATE rejoin.head SET position = position + (SELECT count(*) FROM numbered),
      later = pg_snapshot_xmax(pg_current_snapshot()),
      open = ARRAY(SELECT pg_snapshot_xip(pg_current_snapshot()) UNION SELECT pg_current_xact_id()),
      seen_by = pg_current_xact_id()
    WHERE EXISTS (SELECT FROM numbered);
  END IF;
  RETURN (SELECT h.position FROM rejoin.head AS h);
END
$rejoin$;

-- A transaction that writes a row whose bucket depends on this parent holds the parent's place, shared with others; one that
-- moves the parent to another owner holds it alone. So one of them sees what the other did. There are 256 places per table, so
-- that a transaction that writes a million rows does not hold a million locks.
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

-- The buckets of rows by a function of the operator: its answer when a row was last written.
CREATE TABLE rejoin.member(
  table_number integer NOT NULL, record_id text COLLATE "C" NOT NULL, bucket text COLLATE "C" NOT NULL,
  PRIMARY KEY(table_number, record_id, bucket)
);
CREATE INDEX member_bucket ON rejoin.member(bucket, table_number, record_id);

-- Rows for which such a function failed: they are in none of its buckets until they are written again, or replayed.
CREATE TABLE rejoin.bucket_failure(
  table_number integer NOT NULL, record_id text COLLATE "C" NOT NULL, why text NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY(table_number, record_id)
);

-- Rows whose buckets a resolver in Rust has yet to name, as they were written. Until it has answered, such a row is visible by
-- no bucket. Writers only add here and only the feeder removes, so neither waits for the other. The ids of one row rise in the
-- order of its writes, because each write holds the row's lock.
CREATE TABLE rejoin.ask(
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tx xid8 NOT NULL DEFAULT pg_current_xact_id(),
  table_number integer NOT NULL, record_id text COLLATE "C" NOT NULL, operation text NOT NULL, new_row jsonb, old_row jsonb,
  at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
CREATE INDEX ask_row ON rejoin.ask(table_number, record_id, id);
CREATE INDEX ask_tx ON rejoin.ask(tx, id);

-- Rows that concern the holders of the buckets of another row (the source: the row itself, or one above it): entries that get
-- their buckets, and then their positions, from the feeder.
CREATE TABLE rejoin.tell(
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tx xid8 NOT NULL DEFAULT pg_current_xact_id(),
  source_table integer NOT NULL, source_id text COLLATE "C" NOT NULL, table_number integer NOT NULL,
  record_id text COLLATE "C" NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
CREATE INDEX tell_source ON rejoin.tell(source_table, source_id);

-- Parts of a group that is larger than one request; at most one content for each device.
CREATE TABLE rejoin.staged(
  user_id text COLLATE "C" NOT NULL, client_id text COLLATE "C" NOT NULL, at_byte bigint NOT NULL,
  content text COLLATE "C" NOT NULL, size bigint NOT NULL, bytes bytea NOT NULL, at text COLLATE "C" NOT NULL,
  PRIMARY KEY(user_id, client_id, at_byte)
);
