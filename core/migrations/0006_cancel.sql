-- Mutations that the app has given up while a server may have had them (O12): out of the rows, and withdrawn by name until
-- the server's word is here.
CREATE TABLE rejoin_cancel (
    seq    INTEGER PRIMARY KEY, -- its place in the queue, which its reverse takes if it was accepted
    id     BLOB NOT NULL,
    root   BLOB NOT NULL,       -- the mutation that the app named: what stood on that goes back with it
    effect BLOB NOT NULL        -- what it wrote, with the old values of its last attempt
);
