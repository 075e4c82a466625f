//! The engine as its neighbours use it: files, captured writes, mutations.

use std::sync::Arc;

use rejoin_protocol::manifest::{ColumnManifest, Manifest, Rule, TableExtension, TableManifest};
use tempfile::TempDir;

use super::{Engine, OpenOptions};
use crate::host::TestHost;
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

/// An engine over a fresh file with these tables.
pub(crate) fn engine(tables: Vec<TableManifest>) -> (TempDir, Engine) {
    let folder = tempfile::tempdir().unwrap();
    let options = OpenOptions {
        path: folder.path().join("app.db"),
        manifest: Some(Manifest::new(1, tables)),
    };
    let engine = Engine::open(&options, Arc::new(TestHost::new(1))).unwrap();
    (folder, engine)
}

fn notes() -> Vec<TableManifest> {
    vec![table("notes", &[("id", "string"), ("body", "string"), ("n", "int64")], Vec::new())]
}

#[test]
fn a_write_and_its_mutation_are_one() {
    let (_folder, mut engine) = engine(notes());
    engine
        .execute("INSERT INTO notes (id, body) VALUES (?1, ?2)", &["a".into(), "hello".into()])
        .unwrap();
    assert_eq!(engine.queue.len(), 1);
    let error = engine.execute("INSERT INTO notes (id, body) VALUES ('a', 'again')", &[]);
    assert!(error.is_err());
    assert_eq!(engine.queue.len(), 1);
    let found: Vec<String> = engine
        .open_reader()
        .unwrap()
        .query("SELECT body FROM notes", &[], |row| row.get(0))
        .unwrap();
    assert_eq!(found, ["hello"]);
    let none: [Value; 0] = [];
    engine.execute("UPDATE notes SET body = 'hello'", &none).unwrap();
    assert_eq!(engine.queue.len(), 1, "a write that changes nothing is no mutation");
}
