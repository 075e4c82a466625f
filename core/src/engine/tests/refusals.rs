//! Statements that an app must not run, on the writer and on a reader.

use rejoin_protocol::Manifest;

use super::{all, engine, in_log, mutations, notes, open, queued, table};
use crate::engine::schema::app_trigger;
use crate::engine::{Engine, adopt, ddl};
use crate::error::{Error, InputFault, StorageFault};

/// What happened instead, if it was not refused.
fn not_refused(engine: &mut Engine, sql: &str) -> Option<String> {
    let before = (mutations(engine), objects(engine));
    let result = engine.execute_batch(sql);
    if before != (mutations(engine), objects(engine)) {
        return Some(format!("{sql}: left something behind"));
    }
    match result {
        Err(Error::InvalidInput(InputFault::Refused { .. })) => None,
        other => Some(format!("{sql}: {other:?}")),
    }
}

fn objects(engine: &mut Engine) -> Vec<String> {
    all(engine, "SELECT coalesce(sql, name) FROM sqlite_schema ORDER BY 1")
}

/// Known ways to bypass the engine.
const AROUND: &[&str] = &[
    // Transactions belong to the engine.
    "BEGIN",
    "COMMIT",
    "END",
    "ROLLBACK",
    "SAVEPOINT s",
    "RELEASE s",
    "ROLLBACK TO s",
    "/*rejoin*/COMMIT",
    " /*rejoin*/BEGIN IMMEDIATE",
    // The engine's tables.
    "INSERT INTO rejoin_meta VALUES ('cursor', 'x')",
    "UPDATE rejoin_mutation SET state = 3",
    "DELETE FROM rejoin_mutation",
    "DROP TABLE rejoin_mutation",
    "DROP TRIGGER rejoin_insert_1",
    "ALTER TABLE rejoin_meta ADD COLUMN x",
    "CREATE TABLE rejoin_mine (x)",
    "CREATE INDEX rejoin_mine ON notes (n)",
    "CREATE VIEW rejoin_mine AS SELECT 1",
    "CREATE INDEX mine ON rejoin_mutation (state)",
    "CREATE VIRTUAL TABLE rejoin_fts USING fts5(x)",
    "ALTER TABLE mirror RENAME TO rejoin_mirror",
    "CREATE TRIGGER rejoin_mine AFTER INSERT ON mirror BEGIN SELECT 1; END",
    "CREATE TRIGGER sly AFTER INSERT ON mirror BEGIN DELETE FROM rejoin_mutation; END",
    // Synced tables keep the manifest's schema.
    "DROP TABLE notes",
    "ALTER TABLE notes ADD COLUMN x",
    "ALTER TABLE notes RENAME TO n2",
    "ALTER TABLE notes RENAME COLUMN body TO x",
    "ALTER TABLE notes DROP COLUMN body",
    "CREATE UNIQUE INDEX once ON notes (body)",
    "CREATE INDEX e ON notes (lower(body))",
    "CREATE INDEX p ON notes (body) WHERE json_extract(body, '$') = 1",
    "CREATE TABLE child (x REFERENCES notes (id))",
    "ALTER TABLE mirror ADD COLUMN x REFERENCES notes (id)",
    // Temporary objects that hide a synced table.
    "CREATE TEMP TABLE notes (id, body)",
    "CREATE TEMP TABLE NOTES AS SELECT 1 AS id",
    "CREATE TEMP VIEW notes AS SELECT 1 AS id",
    "CREATE TEMP TABLE rejoin_meta (key, value)",
    "CREATE TEMP TRIGGER quiet AFTER INSERT ON notes BEGIN SELECT 1; END",
    "CREATE VIRTUAL TABLE temp.notes USING fts5(body)",
    "CREATE TEMP TABLE other (x); ALTER TABLE temp.other RENAME TO notes",
    // Triggers of the app.
    "CREATE TRIGGER writes AFTER INSERT ON notes BEGIN UPDATE notes SET n = 1; END",
    "CREATE TRIGGER writes AFTER INSERT ON mirror BEGIN DELETE FROM notes; END",
    "CREATE TRIGGER writes INSTEAD OF INSERT ON seen BEGIN INSERT INTO notes (id) VALUES (NEW.id); END",
    "CREATE TRIGGER stops AFTER INSERT ON notes BEGIN SELECT RAISE(ABORT, 'no'); END",
    "CREATE TRIGGER stops BEFORE UPDATE ON notes BEGIN SELECT raise /* x */ (IGNORE); END",
    // Pragmas that the engine depends on.
    "PRAGMA recursive_triggers = OFF",
    "PRAGMA writable_schema = ON",
    "PRAGMA journal_mode = DELETE",
    "PRAGMA foreign_keys = OFF",
    "PRAGMA query_only = 0",
    "PRAGMA trusted_schema = ON",
    "PRAGMA schema_version = 7",
    "PRAGMA user_version = 'seven'",
    "SELECT * FROM pragma_user_version",
    "PRAGMA application_id = 7",
    "PRAGMA wal_autocheckpoint = 0",
    "PRAGMA wal_checkpoint(TRUNCATE)",
    "PRAGMA synchronous = OFF",
    "PRAGMA ignore_check_constraints = ON",
    "PRAGMA defer_foreign_keys = ON",
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA main.journal_mode = DELETE",
    "PRAGMA legacy_alter_table = ON",
    // Other files.
    "ATTACH ':memory:' AS other",
    "DETACH main",
    "VACUUM INTO 'copy.db'",
    "VACUUM",
    // Forged captures.
    "SELECT rejoin_capture(1, 0, 'forged', 'x', 1, NULL, NULL)",
    "SELECT rejoin_local()",
    "SELECT rejoin_fail(1, 0)",
    "SELECT \"Rejoin_Capture\"(1, 0, 'k', 'x', 1, NULL, NULL)",
    "WITH rejoin_insert_1 AS (SELECT rejoin_capture(1, 0, 'k', 'x', 1, NULL, NULL)) SELECT * FROM rejoin_insert_1",
    "CREATE VIEW forger AS SELECT rejoin_capture(1, 0, 'k', 'x', 1, NULL, NULL)",
    "CREATE TABLE forger (x DEFAULT (rejoin_capture(1, 0, 'k', 'x', 1, NULL, NULL)))",
];

#[test]
fn statements_that_bypass_the_engine_are_refused_by_name() {
    let (_folder, mut engine) = notes();
    engine.execute_batch("CREATE VIEW seen AS SELECT id FROM notes").unwrap();
    let let_through: Vec<String> =
        AROUND.iter().filter_map(|sql| not_refused(&mut engine, sql)).collect();
    assert!(let_through.is_empty(), "{let_through:#?}");
    assert!(queued(&engine).is_empty());
    // The engine still works after that.
    engine.execute("INSERT INTO notes (id) VALUES ('a')", &[]).unwrap();
    assert_eq!(mutations(&engine), 1);
}

#[test]
fn harmless_statements_are_allowed() {
    let (_folder, mut engine) = notes();
    for sql in [
        "CREATE TABLE mine (id INTEGER PRIMARY KEY, x TEXT NOT NULL UNIQUE, y REFERENCES mine (id))",
        "ALTER TABLE mine ADD COLUMN z",
        "ALTER TABLE mine RENAME TO mine2",
        "DROP TABLE mine2",
        "CREATE TEMP TABLE scratch AS SELECT * FROM notes; DROP TABLE scratch",
        "CREATE INDEX by_n ON notes (n, body)",
        "DROP INDEX by_n",
        "CREATE VIEW seen AS SELECT id FROM notes",
        "DROP VIEW seen",
        "CREATE VIRTUAL TABLE fts USING fts5(body)",
        "INSERT INTO fts VALUES ('x')",
        "DROP TABLE fts",
        "CREATE TRIGGER local BEFORE INSERT ON mirror BEGIN SELECT RAISE(IGNORE) WHERE NEW.id IS NULL; END",
        "CREATE TRIGGER mirrored AFTER DELETE ON notes BEGIN INSERT INTO mirror VALUES (OLD.id, 'please raise'); END",
        "PRAGMA table_info(notes)",
        "PRAGMA user_version = 7",
        "PRAGMA integrity_check",
        "ANALYZE",
        "REINDEX",
        "SELECT * FROM pragma_index_list('notes')",
        "SELECT rejoin_now(), rejoin_new_id()",
        "EXPLAIN QUERY PLAN SELECT * FROM notes",
    ] {
        engine.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

#[test]
fn index_on_synced_table_is_created_unless_unique() {
    let (_folder, mut engine) = notes();
    ddl::create_index(&mut engine, "by body", "notes", &["body", "n"]).unwrap();
    ddl::create_index(&mut engine, "by body", "notes", &["body", "n"]).unwrap();
    let plan = all(&mut engine, "SELECT name FROM pragma_index_list('notes') WHERE origin = 'c'");
    assert_eq!(plan, ["'by body'"]);
    ddl::create_table(&mut engine, "drafts", "id TEXT PRIMARY KEY, body TEXT").unwrap();
    ddl::alter_table(&mut engine, "drafts", "\"at\" INTEGER").unwrap();
    let refused = [
        ddl::alter_table(&mut engine, "notes", "x INTEGER"),
        ddl::create_table(&mut engine, "d2", "id REFERENCES notes"),
        ddl::create_index(&mut engine, "rejoin_x", "notes", &["n"]),
    ];
    assert!(
        refused
            .iter()
            .all(|result| matches!(result, Err(Error::InvalidInput(InputFault::Refused { .. })))),
        "{refused:?}"
    );
}

#[test]
fn reader_cannot_write() {
    let (_folder, mut engine) = notes();
    engine.execute("INSERT INTO notes (id) VALUES ('a')", &[]).unwrap();
    let mut reader = engine.open_reader().unwrap();
    for sql in [
        "PRAGMA query_only = 0",
        "PRAGMA query_only = OFF",
        "PRAGMA User_Version = 3",
        "BEGIN",
        "COMMIT",
        "/*rejoin*/BEGIN",
        "INSERT INTO notes (id) VALUES ('b')",
        "INSERT INTO notes (id) VALUES ('b') RETURNING id",
        "DELETE FROM notes",
        "CREATE TEMP TABLE notes (id)",
        "CREATE TEMP TABLE other (id)",
        "ATTACH ':memory:' AS other",
        "PRAGMA writable_schema = ON",
        "VACUUM",
    ] {
        let result = reader.query(sql, &[], |_| Ok(()));
        assert!(
            matches!(
                result,
                Err(Error::InvalidInput(InputFault::Refused { .. })
                    | Error::Storage(StorageFault::ReadOnly(_)))
            ),
            "{sql}: {result:?}"
        );
    }
    assert_eq!(
        reader.query("SELECT id FROM notes", &[], |row| row.get::<_, String>(0)).unwrap(),
        ["a"]
    );
}

#[test]
fn reader_reports_what_a_query_reads() {
    let (_folder, mut engine) = notes();
    engine.execute_batch("CREATE VIEW seen AS SELECT id FROM notes").unwrap();
    let mut reader = engine.open_reader().unwrap();
    let tables = |reader: &mut crate::engine::Reader, sql: &str| {
        let set = reader.tables_of(sql).unwrap();
        (set.tables.contains("notes"), set.tables.contains("mirror"), set.row_state)
    };
    assert_eq!(tables(&mut reader, "SELECT count(*) FROM notes"), (true, false, false));
    assert_eq!(tables(&mut reader, "SELECT * FROM seen"), (true, false, false));
    let both =
        "SELECT rejoin_row_state('notes', id) FROM Notes WHERE id IN (SELECT id FROM mirror)";
    assert_eq!(tables(&mut reader, both), (true, true, true));
}

#[test]
fn row_states_are_read_in_one_query() {
    let (_folder, mut engine) = notes();
    engine.execute("INSERT INTO notes (id) VALUES ('a')", &[]).unwrap();
    let mut reader = engine.open_reader().unwrap();
    let sql = "SELECT rejoin_row_state('notes', id) FROM notes";
    let states = reader.query(sql, &[], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(states, ["pending"]);
}

#[test]
fn error_for_a_missing_table_has_the_remedy() {
    let (_folder, mut engine) = notes();
    let error = engine.execute("DELETE FROM nowhere", &[]).unwrap_err().to_string();
    assert!(
        error.starts_with("sql: no such table: nowhere; ") && error.contains("first sync"),
        "{error}"
    );
}

#[test]
fn several_statements_need_execute_script() {
    let (_folder, mut engine) = notes();
    let result = engine.execute("SELECT 1; SELECT 2", &[]);
    assert!(
        matches!(result, Err(Error::InvalidInput(InputFault::Refused { reason: why, .. })) if why.contains("execute_script()"))
    );
    engine.execute_batch("INSERT INTO notes (id) VALUES ('a;b'); -- done\n;").unwrap();
    assert_eq!(mutations(&engine), 1);
}

#[test]
#[allow(clippy::disallowed_methods)] // Another program, which has its own SQLite.
fn raising_trigger_is_dropped_and_recorded_on_open() {
    let (folder, engine) = notes();
    engine.close().unwrap();
    let other = rusqlite::Connection::open(folder.path().join("app.db")).unwrap();
    let triggers = "CREATE TRIGGER stops BEFORE INSERT ON notes BEGIN SELECT RAISE(ABORT, 'no'); END;
        CREATE TRIGGER mirrors AFTER INSERT ON notes BEGIN INSERT INTO mirror (id) VALUES (NEW.id); END;
        CREATE TRIGGER local BEFORE INSERT ON mirror BEGIN SELECT RAISE(IGNORE) WHERE NEW.id = 'x'; END;";
    other.execute_batch(triggers).unwrap();
    drop(other);
    let disabled = |engine: &Engine| engine.meta(app_trigger::TRIGGER_DISABLED).unwrap();
    let mut engine = open(&folder, None).unwrap();
    engine.execute("INSERT INTO notes (id) VALUES ('a')", &[]).unwrap();
    let kept = "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND name NOT LIKE 'rejoin%' ORDER BY 1";
    assert_eq!(all(&mut engine, kept), ["'local'", "'mirrors'"]);
    assert_eq!(all(&mut engine, "SELECT id FROM mirror"), ["'a'"]);
    let recorded = disabled(&engine).unwrap();
    for part in
        [r#""trigger":"stops""#, "it calls RAISE", "declare a rule", "SELECT RAISE(ABORT, 'no')"]
    {
        assert!(recorded.contains(part), "{part}: {recorded}");
    }
    engine.close().unwrap();
    assert_eq!(disabled(&open(&folder, None).unwrap()), Some(recorded), "once");
}

#[test]
fn writes_to_tables_of_the_log_are_no_mutations() {
    let columns = [("id", "string"), ("body", "string")];
    let notes = || table("notes", &columns, Vec::new());
    let halls = |name| in_log(table(name, &columns, Vec::new()));
    let (_folder, mut engine) = engine(vec![notes(), halls("seats")]);
    engine.execute("INSERT INTO notes VALUES ('a', 'b')", &[]).unwrap();
    let error = engine.execute("INSERT INTO seats VALUES ('a', 'b')", &[]);
    assert_eq!(error.unwrap(), 1);
    let next = Manifest::new(2, vec![notes(), halls("seats"), halls("halls")]);
    adopt::adopt(&mut engine, &next).unwrap();
    engine.execute("INSERT INTO halls VALUES ('a', 'b')", &[]).unwrap();
    assert_eq!(mutations(&engine), 1);
    assert_eq!(engine.counts().unwrap().pending, 3);
}
