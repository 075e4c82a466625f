-- A table that the server has removed keeps its number and its name; one of the same name that it makes later gets a number of
-- its own. The old rule of renaming leaves the app's views alone.
CREATE TABLE rejoin_table_next (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    name   TEXT NOT NULL COLLATE NOCASE
);
INSERT INTO rejoin_table_next (number, name) SELECT number, name FROM rejoin_table;
DROP TABLE rejoin_table;
PRAGMA legacy_alter_table = ON;
ALTER TABLE rejoin_table_next RENAME TO rejoin_table;
PRAGMA legacy_alter_table = OFF;

-- What the default of a removed column gave: an insert that holds it has not named the column.
ALTER TABLE rejoin_column ADD COLUMN removed_default;
