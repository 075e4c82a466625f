-- The inbox is emptied while every write fills it, and what was taken stays in the way until a vacuum has been there, which
-- one open transaction can put off for long. So the sequencer remembers what it saw when it numbered last, and reads on
-- from there along an index: entries of transactions that had not begun then, and of those that were open. `tx` is whose
-- change an entry tells, which a resolver's answer names much later; `writer` is who put it here.
ALTER TABLE rejoin.inbox ADD COLUMN writer xid8 NOT NULL DEFAULT pg_current_xact_id();
ALTER TABLE rejoin.inbox DROP CONSTRAINT inbox_pkey, ADD PRIMARY KEY (writer, id);

-- Every transaction from `later` on had not begun when the sequencer numbered last; those of `open` had not ended, its own
-- among them, for it may write more. That holds where `seen_by` is who wrote the row: numbers of transactions mean nothing
-- in a database that was restored elsewhere, and whoever else changes the row has everything looked through once.
ALTER TABLE rejoin.head ADD COLUMN later xid8, ADD COLUMN open xid8[], ADD COLUMN seen_by xid8;

-- The sequencer (C1) as it was, but for where it looks. It must take whatever its statement sees: what is remembered is
-- that statement's own snapshot.
CREATE OR REPLACE FUNCTION rejoin.sequence() RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $rejoin$
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
