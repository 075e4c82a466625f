-- The queue: one row per mutation, and no other row is written with it (perf.md 1): the index by row and by id is in
-- memory, and the numbers given last stand in rejoin_meta (last_given), written only when a mutation leaves.
CREATE TABLE rejoin_mutation (
    seq        INTEGER PRIMARY KEY, -- rises, never given again
    id         BLOB NOT NULL,       -- 16 bytes, random
    time_ms    INTEGER NOT NULL,    -- when it was written
    counter    INTEGER NOT NULL,    -- orders mutations of one millisecond
    action     TEXT,                -- NULL for plain SQL
    version    INTEGER,             -- the action's
    args       TEXT,                -- the action's, as JSON
    state      INTEGER NOT NULL,    -- 0 pending, 1 sent, 2 uncertain, 3 parked
    attempt    INTEGER NOT NULL,    -- of the present content (O2)
    request    INTEGER,             -- that carried it last
    hash       TEXT,                -- of the present attempt, once it was sent
    because_of BLOB,                -- the mutation whose end parked this one (R10)
    reason     INTEGER,             -- why it is parked
    detail     TEXT,                -- the server's words and both rows of a conflict, as JSON
    effect     BLOB NOT NULL,       -- what the user wrote; never changes (R1)
    basis      BLOB,                -- old values of the present attempt, where they differ from the effect's (R11)
    frozen     BLOB,                -- what else left with the present attempt: after, versions (O4, O5)
    undo       BLOB                 -- what the last application displaced; NULL while that is the effect's own olds
);

-- Accepted mutations, bounded (D11).
CREATE TABLE rejoin_history (
    seq         INTEGER PRIMARY KEY,
    id          BLOB NOT NULL,
    time_ms     INTEGER NOT NULL,
    counter     INTEGER NOT NULL,
    action      TEXT,
    version     INTEGER,
    args        TEXT,
    attempt     INTEGER NOT NULL,
    accepted_ms INTEGER NOT NULL,
    epoch       TEXT,               -- the server's, when it accepted (O14)
    effect      BLOB NOT NULL,
    basis       BLOB,
    frozen      BLOB,               -- what else left with the accepted attempt, should it be offered again (O14)
    displaced   BLOB                -- what the server's row had instead (O13)
);
