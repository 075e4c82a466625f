//! Manifests whose texts are any bytes: whatever a device makes of one, only the declared tables
//! change.

use std::cell::RefCell;
use std::sync::Arc;

use rejoin_core::engine::adopt;
use rejoin_core::engine::{Engine, OpenOptions};
use rejoin_core::host::TestHost;
use rejoin_core::{Error, InputFault, Manifest};
use rejoin_protocol::manifest::{
    ColumnManifest, GeneratedColumn, Index, Rule, TableExtension, TableManifest,
};
use rusqlite::{Connection, OpenFlags};
use serde_json::json;
use tempfile::TempDir;

/// A device with a pending edit and a table of the app, and a connection that reads its file.
struct Site {
    engine: Engine,
    look: Connection,
    before: Vec<String>,
    _folder: TempDir,
}

thread_local! {
    static SITE: RefCell<Option<Site>> = const { RefCell::new(None) };
}

/// The lines are the texts: default, type and expression of a generated column, CHECK rule, default
/// in a local-only table, names of an index and of that table.
pub(crate) fn manifest(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    SITE.with_borrow_mut(|site| site.get_or_insert_with(Site::new).meet(text));
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("app.db");
        let options = OpenOptions { path: path.clone(), manifest: Some(declared("")) };
        let mut engine = Engine::open(&options, Arc::new(TestHost::new(1))).expect("an engine");
        let sql = "CREATE TABLE mine (x); INSERT INTO mine VALUES (1);
                   INSERT INTO kept (id, body) VALUES ('a', 'waits')";
        engine.execute_batch(sql).expect("the first rows");
        let look = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY);
        let look = look.expect("a second look");
        let before = facts(&look);
        Self { engine, look, before, _folder: folder }
    }

    fn meet(&mut self, text: &str) {
        let manifest = declared(text);
        match adopt::adopt(&mut self.engine, &manifest) {
            Ok(_) => {
                self.has_what_is_declared(&manifest, text);
                // Whatever the manifest contains, its rules run in a write of the app.
                let write = "INSERT INTO notes (id, body) VALUES ('n', 'x')";
                let undone: Result<(), Error> = self.engine.transaction(|tx| {
                    tx.execute(write, &[])?;
                    tx.execute("UPDATE notes SET body = 'y'", &[])?;
                    Err(Error::Internal(String::new()))
                });
                assert!(undone.is_err());
            }
            Err(Error::InvalidInput(InputFault::SchemaRefused { .. })) => {}
            Err(error) => panic!("{text:?} is refused otherwise: {error}"),
        }
        assert_eq!(facts(&self.look), self.before, "{text:?}");
        adopt::adopt(&mut self.engine, &declared("")).expect("the first manifest");
    }

    /// Checks that SQLite has no more columns or rules than the manifest declares.
    fn has_what_is_declared(&self, manifest: &Manifest, text: &str) {
        for table in &manifest.tables {
            let plain = table.columns.iter().map(|column| &column.name);
            let generated = table.rejoin.iter().flat_map(|extension| &extension.generated);
            let names: Vec<&String> = plain.chain(generated.map(|column| &column.name)).collect();
            let sql = "SELECT json_group_array(name) FROM pragma_table_xinfo(?1)";
            assert_eq!(self.json(sql, &table.table_name), json!(names), "{text:?}");
            let sql = "SELECT json_group_array(\"table\") FROM pragma_foreign_key_list(?1)";
            assert_eq!(self.json(sql, &table.table_name), json!([]), "{text:?}");
        }
    }

    fn json(&self, sql: &str, table: &str) -> serde_json::Value {
        let text: String = self.look.query_row(sql, [table], |row| row.get(0)).expect(sql);
        serde_json::from_str(&text).expect("SQLite's JSON")
    }
}

/// The state that no manifest may change: every other object of the schema, the app's rows, the
/// queue, the attached files.
fn facts(look: &Connection) -> Vec<String> {
    let mut facts = Vec::new();
    for sql in [
        "SELECT type || name || tbl_name || coalesce(sql, '') FROM sqlite_schema
         WHERE tbl_name NOT IN ('notes', 'aside') ORDER BY name",
        "SELECT id || body FROM kept",
        "SELECT x FROM mine",
        "SELECT quote(effect) || state FROM rejoin_mutation",
        "SELECT count(*) FROM rejoin_history",
        "SELECT name FROM pragma_database_list",
    ] {
        let mut statement = look.prepare(sql).expect(sql);
        let rows = statement.query_map([], |row| row.get::<_, rusqlite::types::Value>(0));
        facts.extend(rows.expect(sql).map(|row| format!("{:?}", row.expect(sql))));
    }
    facts
}

fn column(name: &str, default: Option<&str>) -> ColumnManifest {
    ColumnManifest {
        name: name.to_owned(),
        logical_type: "string".to_owned(),
        sqlite_default_sql: default.map(str::to_owned),
        is_primary_key: name == "id",
        ..Default::default()
    }
}

fn table(name: &str, columns: Vec<ColumnManifest>, extension: TableExtension) -> TableManifest {
    TableManifest {
        table_name: name.to_owned(),
        primary_key: vec!["id".to_owned()],
        columns,
        rejoin: Some(extension),
        ..Default::default()
    }
}

fn declared(text: &str) -> Manifest {
    let mut lines = text.split('\n');
    let mut next = || lines.next().filter(|line| !line.is_empty());
    let mut extension = TableExtension::default();
    let notes = vec![column("id", None), column("body", next())];
    let sql_type = next().unwrap_or("TEXT").to_owned();
    extension.generated.extend(next().map(|expression| GeneratedColumn {
        name: "made".to_owned(),
        sql_type,
        expression: expression.to_owned(),
        stored: false,
    }));
    extension.rules.extend(next().map(|expression| Rule::Check {
        name: "rule".to_owned(),
        expression: expression.to_owned(),
    }));
    let local = next().map(|default| vec![column("id", None), column("body", Some(default))]);
    extension.indexes.extend(
        next().map(|name| Index { name: name.to_owned(), columns: vec!["body".to_owned()] }),
    );
    let mut tables = vec![
        table("kept", vec![column("id", None), column("body", None)], TableExtension::default()),
        table("notes", notes, extension),
    ];
    let local_only = TableExtension { local_only: true, ..Default::default() };
    tables.extend(local.map(|columns| table("aside", columns, local_only)));
    Manifest::new(1, tables)
}
