-- The server's table for the to-do list, as `rejoin-server init` expects it: an owner and three times, no columns of Rejoin.
CREATE TABLE tasks (
    id         TEXT PRIMARY KEY,
    title      TEXT NOT NULL CHECK (length(title) <= 200),
    done       BOOLEAN NOT NULL DEFAULT FALSE,
    owner_id   TEXT NOT NULL,
    created_at TEXT,
    updated_at TEXT,
    deleted_at TEXT
);
