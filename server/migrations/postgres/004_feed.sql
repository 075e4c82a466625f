-- Rows whose buckets a resolver in Rust is to name, as whoever wrote them left them. Until it has answered, nobody sees such a row
-- by its buckets. Writers only add here and only the feeder takes away, so that neither ever waits for the other. For one row
-- the ids rise as it was written: each write holds the row's lock.
CREATE TABLE rejoin.ask(
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tx xid8 NOT NULL DEFAULT pg_current_xact_id(),
  table_number integer NOT NULL, record_id text COLLATE "C" NOT NULL, operation text NOT NULL, new_row jsonb, old_row jsonb,
  at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
CREATE INDEX ask_row ON rejoin.ask(table_number, record_id, id);
CREATE INDEX ask_tx ON rejoin.ask(tx, id);

-- Rows of which whoever holds the buckets of another row (the source: the row itself, or one above it) is to be told: entries
-- that get their buckets, and then their positions, from the feeder.
CREATE TABLE rejoin.tell(
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tx xid8 NOT NULL DEFAULT pg_current_xact_id(),
  source_table integer NOT NULL, source_id text COLLATE "C" NOT NULL, table_number integer NOT NULL,
  record_id text COLLATE "C" NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
CREATE INDEX tell_source ON rejoin.tell(source_table, source_id);
