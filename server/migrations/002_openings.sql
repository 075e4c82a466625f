-- The name of the opening of a device's file that spoke last: another one of the same number is a copy's (D10).
ALTER TABLE rejoin_client ADD COLUMN opening TEXT NOT NULL DEFAULT '';
