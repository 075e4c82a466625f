-- The server's table of the quick start, the guides and their tests.
CREATE TABLE tasks (
    id         TEXT PRIMARY KEY,
    owner_id   TEXT NOT NULL,
    title      TEXT NOT NULL CHECK (length(title) <= 200),
    done       BOOLEAN NOT NULL DEFAULT FALSE,
    position   INTEGER NOT NULL DEFAULT 0,
    updated_at TEXT
);
