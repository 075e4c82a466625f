//! The tables of the stories.

/// The server's tables. The CHECK on `task.title` is the server's own and not carried to devices: a task that is titled `refused` is
/// taken by every device and refused by the server.
pub(crate) const SERVER: &str = "
    CREATE TABLE task (
        id TEXT PRIMARY KEY, user_id TEXT, title TEXT NOT NULL CHECK (title <> 'refused'),
        done BOOLEAN NOT NULL DEFAULT 0, rank INTEGER NOT NULL DEFAULT 0, note TEXT,
        updated_at TEXT, deleted_at TEXT
    );
    CREATE TABLE tag (
        id TEXT PRIMARY KEY, task_id TEXT NOT NULL REFERENCES task (id), name TEXT NOT NULL,
        updated_at TEXT, deleted_at TEXT
    );
    CREATE TABLE sample (
        id TEXT PRIMARY KEY, user_id TEXT, number INTEGER, measure REAL, label TEXT, data BLOB,
        updated_at TEXT, deleted_at TEXT
    );
";
