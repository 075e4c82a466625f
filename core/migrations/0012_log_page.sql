-- The pages of a snapshot of the log that replaces its rows, as JSON, until the last one.
CREATE TABLE rejoin_log_page (
    number INTEGER PRIMARY KEY,
    page   TEXT NOT NULL
);
