-- What a table's stored values depend on besides its rows: the files, the columns' catalogue rows and the labels of enums. A
-- statement that changes the schema can rewrite the values of all rows, and no trigger is called.
ALTER TABLE rejoin.table_number ADD COLUMN stored json;
