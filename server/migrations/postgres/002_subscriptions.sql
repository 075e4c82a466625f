-- Whoever is given a bucket, or loses one, is woken, whoever wrote it. The entry names no row.
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
