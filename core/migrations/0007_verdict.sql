-- How mutations ended, until the app has said that it knows (bounded; the newest stay).
CREATE TABLE rejoin_verdict (
    number     INTEGER PRIMARY KEY AUTOINCREMENT, -- in the order in which they came; never given again
    mutation   BLOB NOT NULL,
    attempt    INTEGER NOT NULL,
    kind       INTEGER NOT NULL,                  -- 0 accepted, 1 withdrawn, 2 corrected, 10 and more: parked, by its reason
    because_of BLOB,                              -- the mutation that parked it, or takes it back
    action     TEXT,
    detail     TEXT,                              -- the server's words and both rows of a conflict, as JSON
    at_ms      INTEGER NOT NULL
);

-- Whether the end of a mutation was told before it was offered again to another life of the server (O14).
ALTER TABLE rejoin_mutation ADD COLUMN told INTEGER NOT NULL DEFAULT 0;

-- Which attempt of what was given up had been sent last.
ALTER TABLE rejoin_cancel ADD COLUMN attempt INTEGER NOT NULL DEFAULT 1;
