-- Whoever is given a bucket, or loses one, is woken, whoever wrote it. The entry names no row.
CREATE TRIGGER rejoin_subscribed AFTER INSERT ON rejoin_bucket BEGIN
  INSERT INTO rejoin_changelog(bucket, table_number, record_id) VALUES('user:' || NEW.user_id, 0, '');
END;
CREATE TRIGGER rejoin_unsubscribed AFTER DELETE ON rejoin_bucket BEGIN
  INSERT INTO rejoin_changelog(bucket, table_number, record_id) VALUES('user:' || OLD.user_id, 0, '');
END;
