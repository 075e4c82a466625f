//! Moving over, through the exported objects.

use rejoin_core::block_on;
use rejoin_ffi::{ImportedTable, LeftOut, RejoinError, SynchroImport};

use crate::home::Home;

const SCHEMA: &str = r#"{"schema_version": 1, "schema_hash": "", "tables": [{"table_name": "task",
    "push_policy": "owner_only", "updated_at_column": "updated_at", "deleted_at_column": "",
    "primary_key": ["id"], "columns": [
    {"name": "id", "db_type": "text", "logical_type": "string", "is_primary_key": true},
    {"name": "title", "db_type": "text", "logical_type": "string"},
    {"name": "updated_at", "db_type": "text", "logical_type": "datetime", "nullable": true}]}]}"#;

/// What the SDK leaves behind: a row that was sent, one that was made, one that was edited, and a table of the app's own.
const OLD: &str = "
    CREATE TABLE _synchro_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
    CREATE TABLE _synchro_pending_changes (
        record_id TEXT NOT NULL, table_name TEXT NOT NULL, operation TEXT NOT NULL,
        base_updated_at TEXT, client_updated_at TEXT NOT NULL, PRIMARY KEY (table_name, record_id));
    CREATE TABLE task (id TEXT PRIMARY KEY, title TEXT, colour TEXT, updated_at TEXT);
    CREATE TABLE draft (id TEXT PRIMARY KEY);
    CREATE TRIGGER _synchro_cdc_insert_task AFTER INSERT ON task WHEN 0 BEGIN SELECT 1; END;
    INSERT INTO task VALUES ('sent', 'a', 'red', '2026-01-01T00:00:00.000001+00:00'),
        ('made', 'b', 'red', '2026-01-01 00:00:00'),
        ('edited', 'c', 'red', '2026-01-01T00:00:00.000001+00:00');
    INSERT INTO _synchro_pending_changes VALUES
        ('made', 'task', 'create', NULL, '2026-01-02T00:00:00.000Z'),
        ('edited', 'task', 'update', '2026-01-01T00:00:00.000001+00:00', '2026-01-02T00:00:00.000Z');
";

#[test]
fn an_old_database_is_taken_over_and_the_report_crosses() {
    let home = Home::with(|config| config.schema_json = Some(SCHEMA.to_owned()), None, None);
    let old = home.folder.path().join("old.db");
    let app = rusqlite::Connection::open(&old).unwrap();
    app.execute_batch(OLD).unwrap();
    drop(app);

    let old = old.to_string_lossy().into_owned();
    let report = block_on(home.client.import_synchro(old)).unwrap();

    let task = ImportedTable {
        name: "task".to_owned(),
        rows: 2,
        creates: 1,
        updates: 1,
        deletes: 0,
        columns_left_out: vec!["colour".to_owned()],
    };
    let draft = LeftOut {
        table: "draft".to_owned(),
        record_id: None,
        unsent: 0,
        why: "the app made it for this device only; copy what is needed of it by hand".to_owned(),
    };
    assert_eq!(
        report,
        SynchroImport { tables: vec![task], left_out: vec![draft], taken_before: 0, awaiting: 1 }
    );
    assert_eq!(home.sees("SELECT title FROM task ORDER BY id"), ["c", "b", "a"]);
    let none = block_on(home.client.import_synchro("/nowhere/old.db".to_owned())).unwrap_err();
    assert!(matches!(none, RejoinError::Storage { .. }), "{none:?}");
}
