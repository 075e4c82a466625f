-- The mutation that this one takes back, by undo or redo.
ALTER TABLE rejoin_mutation ADD COLUMN undoes BLOB;
ALTER TABLE rejoin_history ADD COLUMN undoes BLOB;
