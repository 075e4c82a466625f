-- In which buckets rows are by a function of the operator's: what it said when a row was written last.
CREATE TABLE rejoin.member(
  table_number integer NOT NULL, record_id text COLLATE "C" NOT NULL, bucket text COLLATE "C" NOT NULL,
  PRIMARY KEY(table_number, record_id, bucket)
);
CREATE INDEX member_bucket ON rejoin.member(bucket, table_number, record_id);

-- Rows that such a function could say nothing of: they are in none of its buckets until they are written again, or replayed.
CREATE TABLE rejoin.bucket_failure(
  table_number integer NOT NULL, record_id text COLLATE "C" NOT NULL, why text NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY(table_number, record_id)
);
