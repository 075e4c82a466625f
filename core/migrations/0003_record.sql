-- What a plain v0.1.2 server is sent: one record per row, as it left, until its verdict (P2). Empty with a Rejoin server.
CREATE TABLE rejoin_record (
    place   INTEGER PRIMARY KEY, -- the order in which they were frozen
    content BLOB NOT NULL
);

-- What has become of single rows of a mutation (P8): accepted ones, and refused ones that wait for the rest of it.
ALTER TABLE rejoin_mutation ADD COLUMN parts BLOB;
