-- Hashes of rows that a plain server had and deleted: a create under such a key may meet a row of another user.
CREATE TABLE rejoin_gone (
    hash INTEGER PRIMARY KEY
);
