-- What the policies of its tables remember of a mutation from one attempt to the next; NULL for most (O10, O11).
ALTER TABLE rejoin_mutation ADD COLUMN stance BLOB;
