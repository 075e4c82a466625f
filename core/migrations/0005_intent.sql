-- The tables that the last run of an action read, those that it wrote among them (R2): NULL for plain SQL.
ALTER TABLE rejoin_mutation ADD COLUMN reads BLOB;
