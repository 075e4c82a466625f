//! The tables of the test server.

/// The server's tables. Devices do not have the CHECK on `task.title`: a task with the title
/// `refused` is accepted by every device and rejected by the server.
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
    CREATE TABLE seat (id TEXT PRIMARY KEY, event TEXT, note TEXT);
    CREATE TABLE board_member (user_id TEXT, board INTEGER, edits BOOLEAN, PRIMARY KEY (user_id, board));
    CREATE TABLE card (
        id TEXT PRIMARY KEY, board INTEGER NOT NULL, title TEXT, updated_at TEXT, deleted_at TEXT
    );
";

/// The table of the quick start and the guides, whose examples the SDKs test with this server.
/// Devices do not have its CHECK either.
pub(crate) const GUIDES: &str = include_str!("../../../examples/cli/tasks.sql");
