//! A device that ran the Synchro SDK v0.1.2: its database, created with the SDK's tables and
//! triggers, and edited through them.
//!
//! The file is left as by a killed app: its last commits are only in the write-ahead log.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::config::DbConfig;

/// The SDK's own tables, as it creates them.
const INFRASTRUCTURE: &str = "
    CREATE TABLE _synchro_pending_changes (
        record_id TEXT NOT NULL, table_name TEXT NOT NULL, operation TEXT NOT NULL,
        base_updated_at TEXT, client_updated_at TEXT NOT NULL,
        PRIMARY KEY (table_name, record_id)
    );
    CREATE TABLE _synchro_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
    INSERT INTO _synchro_meta VALUES
        ('sync_lock', '0'), ('checkpoint', '7'), ('schema_version', '1'), ('schema_hash', 'abc'),
        ('client_server_id', '5f0c8f5e-5b5e-4c39-8a7b-1f6a3f1f9f10'), ('known_buckets', '[]'),
        ('snapshot_complete', '1');
    CREATE TABLE grdb_migrations (identifier TEXT NOT NULL PRIMARY KEY);
";

/// The test tables, as the SDK creates them from the server's schema.
const TABLES: &str = r#"
    CREATE TABLE IF NOT EXISTS "places" (
        "id" TEXT PRIMARY KEY, "name" TEXT NOT NULL, "note" TEXT, "score" INTEGER, "user_id" TEXT,
        "created_at" TEXT DEFAULT CURRENT_TIMESTAMP, "updated_at" TEXT DEFAULT CURRENT_TIMESTAMP,
        "deleted_at" TEXT
    );
    CREATE TABLE IF NOT EXISTS "visits" (
        "id" TEXT PRIMARY KEY, "place_id" TEXT NOT NULL, "day" TEXT,
        "created_at" TEXT DEFAULT CURRENT_TIMESTAMP, "updated_at" TEXT DEFAULT CURRENT_TIMESTAMP,
        "deleted_at" TEXT
    );
"#;

/// The capture triggers of a table; `{t}` is replaced by its name.
const TRIGGERS: &str = r#"
    CREATE TRIGGER "_synchro_cdc_insert_{t}" AFTER INSERT ON "{t}"
    WHEN (SELECT value FROM _synchro_meta WHERE key = 'sync_lock') = '0'
    BEGIN
        INSERT INTO _synchro_pending_changes
        VALUES (NEW.id, '{t}', 'create', NULL, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
        ON CONFLICT (table_name, record_id) DO UPDATE SET
            operation = CASE operation WHEN 'delete' THEN 'update' ELSE operation END,
            client_updated_at = excluded.client_updated_at;
    END;
    CREATE TRIGGER "_synchro_cdc_update_{t}" AFTER UPDATE ON "{t}"
    WHEN (SELECT value FROM _synchro_meta WHERE key = 'sync_lock') = '0'
    BEGIN
        INSERT INTO _synchro_pending_changes
        VALUES (NEW.id, '{t}',
            CASE WHEN NEW.deleted_at IS NOT NULL AND OLD.deleted_at IS NULL THEN 'delete' ELSE 'update' END,
            OLD.updated_at, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
        ON CONFLICT (table_name, record_id) DO UPDATE SET
            base_updated_at = CASE WHEN operation = 'create' AND excluded.operation = 'delete' THEN NULL
                ELSE coalesce(base_updated_at, excluded.base_updated_at) END,
            operation = CASE WHEN operation = 'create' AND excluded.operation = 'update' THEN 'create'
                ELSE excluded.operation END,
            client_updated_at = excluded.client_updated_at;
        DELETE FROM _synchro_pending_changes WHERE table_name = '{t}' AND record_id = NEW.id
            AND operation = 'delete' AND base_updated_at IS NULL;
    END;
    CREATE TRIGGER "_synchro_cdc_delete_{t}" BEFORE DELETE ON "{t}"
    WHEN (SELECT value FROM _synchro_meta WHERE key = 'sync_lock') = '0'
    BEGIN
        UPDATE "{t}" SET deleted_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE id = OLD.id;
        SELECT RAISE(IGNORE);
    END;
"#;

/// A connection of another program.
pub fn connect(path: &Path) -> Connection {
    Connection::open(path).expect("the file opens")
}

/// An app on the SDK, with its file open.
#[derive(Debug)]
pub struct OldApp {
    conn: Connection,
    path: PathBuf,
}

impl OldApp {
    /// A file with the test tables, synced and empty.
    pub fn new(path: &Path) -> Self {
        let app = Self::bare(path);
        app.run(TABLES);
        app.watch_over("places");
        app.watch_over("visits");
        app
    }

    /// A file with only the SDK's own tables.
    pub fn bare(path: &Path) -> Self {
        let conn = Connection::open(path).expect("the old file opens");
        conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;")
            .expect("a log");
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).expect("a setting");
        let app = Self { conn, path: path.to_owned() };
        app.run(INFRASTRUCTURE);
        app
    }

    /// Creates the SDK's triggers for a table.
    pub fn watch_over(&self, table: &str) {
        self.run(&TRIGGERS.replace("{t}", table));
    }

    /// Runs an offline edit of the app's user.
    #[track_caller]
    pub fn run(&self, sql: &str) {
        if let Err(error) = self.conn.execute_batch(sql) {
            panic!("{sql}: {error}");
        }
    }

    /// Runs SQL as the SDK writes pulled rows: nothing is queued.
    #[track_caller]
    pub fn pulled(&self, sql: &str) {
        self.run(&format!(
            "BEGIN; UPDATE _synchro_meta SET value = '1' WHERE key = 'sync_lock'; {sql};
             UPDATE _synchro_meta SET value = '0' WHERE key = 'sync_lock'; COMMIT;"
        ));
    }

    /// The queue: `table id operation base`, a line each, in the order in which the SDK sends.
    pub fn queue(&self) -> Vec<String> {
        self.conn
            .prepare(
                "SELECT table_name || ' ' || record_id || ' ' || operation || ' ' || coalesce(base_updated_at, '-')
                 FROM _synchro_pending_changes ORDER BY client_updated_at, rowid",
            )
            .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
            .expect("the old queue is read")
    }

    /// Kills the app; the file stays, with its log.
    pub fn end(self) -> PathBuf {
        self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The queue entry that the SDK's own triggers made, recorded by running them. Each case has
    /// the edits of a row, whether the server has the row (`server`), and the operation and base of
    /// the entry.
    #[test]
    fn triggers_queue_the_recorded_entries() {
        const V: &str = "2026-11-20T06:41:50.896045+00:00";
        let insert = "INSERT INTO places (id, name, updated_at) VALUES ('1', 'x', 'made')";
        let update = "UPDATE places SET name = 'y'";
        let delete = "DELETE FROM places";
        let undelete = "UPDATE places SET deleted_at = NULL";
        let cases: [(&str, bool, Vec<&str>, Option<&str>); 12] = [
            ("insert", false, vec![insert], Some("create -")),
            ("insert, update", false, vec![insert, update], Some("create made")),
            ("insert, update, delete", false, vec![insert, update, delete], None),
            ("insert, delete", false, vec![insert, delete], None),
            (
                "insert, delete, undelete",
                false,
                vec![insert, delete, undelete],
                Some("update made"),
            ),
            (
                "replace",
                true,
                vec!["INSERT OR REPLACE INTO places (id, name) VALUES ('1', 'z')"],
                Some("create -"),
            ),
            ("update", true, vec![update], Some("update V")),
            ("update twice", true, vec![update, update], Some("update V")),
            ("update, delete", true, vec![update, delete], Some("delete V")),
            ("delete, undelete", true, vec![delete, undelete], Some("update V")),
            ("delete twice", true, vec![delete, delete], Some("update V")),
            ("another key", true, vec!["UPDATE places SET id = '1', name = 'k'"], Some("update V")),
        ];
        for (name, on_server, steps, expected) in cases {
            let folder = tempfile::tempdir().unwrap();
            let app = OldApp::new(&folder.path().join("old.db"));
            if on_server {
                app.pulled(&format!(
                    "INSERT INTO places (id, name, updated_at) VALUES ('1', 'srv', '{V}')"
                ));
            }
            for step in steps {
                app.run(step);
            }
            let expected: Vec<String> = expected
                .map(|words| format!("places 1 {}", words.replace('V', V)))
                .into_iter()
                .collect();
            assert_eq!(app.queue(), expected, "{name}");
        }
    }

    #[test]
    fn killed_app_leaves_last_commits_in_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let app = OldApp::new(&folder.path().join("old.db"));
        app.run("INSERT INTO places (id, name) VALUES ('1', 'x')");
        let path = app.end();
        let log = folder.path().join("old.db-wal");
        assert!(log.metadata().unwrap().len() > 0);
        assert!(path.metadata().unwrap().len() < log.metadata().unwrap().len());
    }
}
