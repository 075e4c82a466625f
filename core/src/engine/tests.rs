//! Tests of the engine on real files, and their helpers.

mod beside;
mod book;
mod capture;
mod failures;
mod files;
mod hostile;
mod left_out;
mod property;
mod refusals;
mod reset;
mod rowids;
mod rules;
mod schema;
mod search;
mod texts;
mod watched;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use rejoin_protocol::Policy;
use rejoin_protocol::manifest::{
    ColumnManifest, Manifest, Rule, SyncModel, TableExtension, TableManifest,
};
use tempfile::TempDir;

use super::change::Origin;
use super::queue::store;
use super::rows::patch::PatchKind;
use super::schema::model::{Column, Table};
use super::{Engine, OpenOptions};
use crate::error::Error;
use crate::host::{Host, TestHost};
use crate::ids::TableNumber;
use crate::value::Value;

/// A column of a manifest.
pub(crate) fn column(name: &str, logical: &str) -> ColumnManifest {
    ColumnManifest {
        name: name.to_owned(),
        logical_type: logical.to_owned(),
        db_type: logical.to_owned(),
        nullable: true,
        default_kind: String::from("none"),
        is_primary_key: name == "id",
        ..ColumnManifest::default()
    }
}

/// A table with the key `id`.
pub(crate) fn table(name: &str, columns: &[(&str, &str)], rules: Vec<Rule>) -> TableManifest {
    TableManifest {
        table_name: name.to_owned(),
        push_policy: String::from("owner_only"),
        updated_at_column: String::from("updated_at"),
        deleted_at_column: String::from("deleted_at"),
        primary_key: vec![String::from("id")],
        columns: columns.iter().map(|(name, logical)| column(name, logical)).collect(),
        rejoin: Some(TableExtension { rules, ..TableExtension::default() }),
        ..TableManifest::default()
    }
}

/// The same table, of the log.
pub(crate) fn in_log(mut table: TableManifest) -> TableManifest {
    table.rejoin.get_or_insert_default().sync = SyncModel::Log;
    table
}

/// A table with number 1 and no rules; its first column is the key.
pub(crate) fn known_table(name: &str, columns: Vec<Column>) -> Table {
    Table {
        number: TableNumber(1),
        name: name.to_owned(),
        columns,
        key: 0,
        updated_at: None,
        deleted_at: None,
        rules: Vec::new(),
        generated: Vec::new(),
        indexes: Vec::new(),
        writable: true,
        owner: None,
        sync: SyncModel::Rows,
        without_rowid: false,
        policy: Policy::default(),
        whole_rows: false,
        removed: Vec::new(),
    }
}

/// An engine over a new file with these tables.
pub(crate) fn engine(tables: Vec<TableManifest>) -> (TempDir, Engine) {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(&folder, Some(Manifest::new(1, tables))).unwrap();
    (folder, engine)
}

/// A host whose clock advances by a millisecond with each reading.
#[derive(Debug)]
pub(crate) struct Ticking(pub(crate) TestHost);

impl Host for Ticking {
    fn now_micros(&self) -> i64 {
        self.0.now_micros()
    }

    fn elapsed(&self) -> Duration {
        self.0.advance(Duration::from_millis(1));
        self.0.elapsed()
    }

    fn random(&self, bytes: &mut [u8]) {
        self.0.random(bytes);
    }
}

/// Opens the file in the folder.
pub(crate) fn open(folder: &TempDir, manifest: Option<Manifest>) -> Result<Engine, Error> {
    let options = OpenOptions { path: folder.path().join("app.db"), manifest };
    Engine::open(&options, Arc::new(TestHost::new(1)))
}

/// Two tables for most tests: notes without references, and a local-only mirror.
pub(crate) fn notes() -> (TempDir, Engine) {
    let columns =
        [("id", "string"), ("body", "string"), ("n", "int64"), ("r", "float"), ("b", "bytes")];
    let (folder, mut engine) = engine(vec![table("notes", &columns, Vec::new())]);
    engine.execute("CREATE TABLE mirror (id TEXT PRIMARY KEY, body TEXT UNIQUE)", &[]).unwrap();
    (folder, engine)
}

/// A value in the notation of these tests.
fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::from("NULL"),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => format!("{number:?}"),
        Value::Text(text) => format!("'{text}'"),
        Value::Blob(bytes) => format!("x{bytes:02x?}"),
    }
}

/// The queue, a line per patch: `notes a update body 'x'>'y'`. A delete shows old values, an insert
/// new ones; their NULLs are left out.
pub(crate) fn queued(engine: &Engine) -> Vec<String> {
    let mut out = Vec::new();
    for mutation in store::read_all(engine.db.conn()).unwrap() {
        for patch in mutation.effect.rows {
            let table = engine.schema.table(patch.row.table).unwrap();
            let key = patch.row.key.to_id().unwrap();
            let mut line = format!("{} {key} {:?}", table.name, patch.kind).to_lowercase();
            for column in patch.columns {
                let known = table.position(column.column).map(|at| table.columns[at].name.as_str());
                let name = known.or_else(|| table.former_name(column.column)).unwrap();
                let (old, new) = (text_of(&column.old), text_of(&column.new));
                let _ = match patch.kind {
                    PatchKind::Update => write!(line, " {name} {old}>{new}"),
                    PatchKind::Insert if new != "NULL" => write!(line, " {name} {new}"),
                    PatchKind::Delete if old != "NULL" => write!(line, " {name} {old}"),
                    _ => Ok(()),
                };
            }
            out.push(line);
        }
    }
    out
}

/// Number of pending mutations.
pub(crate) fn mutations(engine: &Engine) -> usize {
    engine.queue.len()
}

/// Empties the queue as if the server had accepted everything.
pub(crate) fn settle(engine: &Engine) {
    engine.db.conn().execute_batch("/*rejoin*/DELETE FROM rejoin_mutation").unwrap();
}

/// Writes as the engine does for rows from the server.
pub(crate) fn base(engine: &mut Engine, sql: &str) {
    engine.write(Origin::Remote, |engine| Ok(engine.db.conn().execute_batch(sql)?)).unwrap();
}

/// The first column of a query's rows, as text.
pub(crate) fn all(engine: &mut Engine, sql: &str) -> Vec<String> {
    engine
        .transaction(|tx| tx.query(sql, &[], |row| row.get::<_, Value>(0)))
        .unwrap()
        .iter()
        .map(text_of)
        .collect()
}

#[test]
fn write_and_its_mutation_commit_together() {
    let (_folder, mut engine) = notes();
    let insert = "INSERT INTO notes (id, body) VALUES (?1, ?2)";
    engine.execute(insert, &["a".into(), "hello".into()]).unwrap();
    assert_eq!(mutations(&engine), 1);
    engine.execute(insert, &["a".into(), "again".into()]).unwrap_err();
    assert_eq!(mutations(&engine), 1, "a failed statement adds no mutation");
    let found: Vec<String> = engine
        .open_reader()
        .unwrap()
        .query("SELECT body FROM notes", &[], |row| row.get(0))
        .unwrap();
    assert_eq!(found, ["hello"]);
}
